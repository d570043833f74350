// Weights outside the wasm heap: what is freed goes back to the system, from the workers that have seen it too.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { linear } from '@magi1/kernels';
import type { Tensor } from '@magi1/tensor';
import { WasmDevice } from '../packages/tensor/src/wasm/device.ts';

const MIB = 2 ** 20;
const COUNT = 8;
const WEIGHT = 32 * MIB;

let device: WasmDevice;
beforeAll(() => {
  device = new WasmDevice({ reason: 'test', threads: 3, heapWeightLimit: 0, smallestExternal: MIB });
});
afterAll(() => device.dispose());

async function loadAndUse(): Promise<Tensor[]> {
  using x = device.zeros([16, 1024], 'f32');
  const weights: Tensor[] = [];
  for (let i = 0; i < COUNT; i++) {
    const data = new Float32Array(WEIGHT / 4).fill(1);
    weights.push(device.tensor(data, [WEIGHT / 4096, 1024], 'f32', { weight: true }));
    using y = linear(x, weights[i]!);
    await y.read();
  }
  return weights;
}

test('the process shrinks by the weights that are disposed', async () => {
  expect(device.memory().host).toBe(0);
  const weights = await loadAndUse();
  expect(device.memory().host).toBe(COUNT * WEIGHT);
  const held = process.memoryUsage.rss();
  for (const weight of weights) weight.dispose();
  expect(device.memory().host).toBe(0);
  const wanted = held - 0.8 * COUNT * WEIGHT;
  for (let i = 0; i < 100 && process.memoryUsage.rss() > wanted; i++) await new Promise((done) => setTimeout(done, 50));
  expect(process.memoryUsage.rss()).toBeLessThan(wanted);
});

test('weights disposed while work reads them stay until it is done', async () => {
  const [weight] = await loadAndUse();
  using x = device.tensor(new Float32Array(1024).fill(1), [1, 1024], 'f32');
  using y = linear(x, weight!);
  weight!.dispose();
  expect((await y.toFloat32())[WEIGHT / 4096 - 1]).toBe(1024);
});
