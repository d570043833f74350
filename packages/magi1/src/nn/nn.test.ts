// A network of another kind, written on nn and kernels alone: a causal transformer with grouped queries, rope and SwiGLU.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { add, attention, concat, rope, swiglu } from '@magi1/kernels';
import { openCheckpoint, writeSafetensors } from '@magi1/loaders';
import { Device, MetaDevice, elementCount, scope } from '@magi1/tensor';
import type { HostTensor, Tensor } from '@magi1/tensor';
import { CheckedWeights, Embedding, Linear, Module, Params, RmsNorm, observe, runStage } from './index.ts';
import type { LowRankUpdate, RunOptions } from './index.ts';

const [LAYERS, WIDTH, HEADS, GROUPS, HEAD, HIDDEN, WORDS] = [2, 32, 4, 2, 8, 48, 40];
const plain = { bias: false };

class Layer extends Module {
  readonly input_norm: RmsNorm;
  readonly q: Linear;
  readonly kv: Linear;
  readonly o: Linear;
  readonly output_norm: RmsNorm;
  readonly up: Linear;
  readonly down: Linear;

  constructor(p: Params) {
    super(p);
    this.input_norm = new RmsNorm(p.at('input_norm'), WIDTH, { eps: 1e-6 });
    this.q = Linear.at(p.at('attention.q'), HEADS * HEAD, WIDTH, plain);
    this.kv = Linear.at(p.at('attention.kv'), 2 * GROUPS * HEAD, WIDTH, plain);
    this.o = Linear.at(p.at('attention.o'), WIDTH, HEADS * HEAD, plain);
    this.output_norm = new RmsNorm(p.at('output_norm'), WIDTH, { eps: 1e-6 });
    this.up = Linear.at(p.at('mlp.up'), 2 * HIDDEN, WIDTH, plain);
    this.down = Linear.at(p.at('mlp.down'), WIDTH, HIDDEN, plain);
  }

  forward(x: Tensor, cos: Tensor, sin: Tensor): Tensor {
    const h = add(x, this.attend(this.input_norm.forward(x), cos, sin));
    return add(h, this.down.forward(swiglu(this.up.forward(this.output_norm.forward(h)))));
  }

  attend(x: Tensor, cos: Tensor, sin: Tensor): Tensor {
    const length = x.shape[0]!;
    const heads = (y: Tensor) => y.reshape([length, -1, HEAD]);
    const q = rope(heads(this.q.forward(x)), cos, sin);
    const k = rope(heads(this.kv.forward(x, [0, GROUPS * HEAD])), cos, sin);
    const v = heads(this.kv.forward(x, [GROUPS * HEAD, 2 * GROUPS * HEAD]));
    const blocks = Array.from({ length }, (_, i) => ({ q: [i, i + 1] as const, k: [0, i + 1] as const }));
    return this.o.forward(attention(q, k, v, { blocks, scale: HEAD ** -0.5 }).reshape([length, -1]));
  }
}

class Tiny extends Module {
  readonly params: Params;
  readonly embedding: Embedding;
  readonly layers: readonly Layer[];
  readonly norm: RmsNorm;
  readonly head: Linear;

  constructor(p: Params) {
    super(p);
    this.params = p;
    this.embedding = new Embedding(p.at('embedding'), WORDS, WIDTH);
    this.layers = Array.from({ length: LAYERS }, (_, i) => new Layer(p.at('layers').at(i)));
    this.norm = new RmsNorm(p.at('norm'), WIDTH, { eps: 1e-6 });
    this.head = Linear.at(p.at('head'), WORDS, WIDTH, plain);
  }

  /** Logits [length, words]. */
  async forward(tokens: readonly number[], options: RunOptions = {}): Promise<Tensor> {
    const { device } = this.params;
    const angles = tokens.flatMap((_, position) => Array.from({ length: HEAD / 2 }, (_, i) => position / 100 ** i));
    using cos = device.tensor(angles.map(Math.cos), [tokens.length, HEAD / 2], 'f32');
    using sin = device.tensor(angles.map(Math.sin), [tokens.length, HEAD / 2], 'f32');
    let h = scope(() => this.embedding.forward(device.tensor(tokens, [tokens.length], 'i32')));
    for (const layer of this.layers) h = await runStage(h, (x) => layer.forward(x, cos, sin), options);
    return await runStage(h, (x) => this.head.forward(this.norm.forward(x)), options);
  }
}

const network = { build: (p: Params) => new Tiny(p) };
const specs = Params.record(network.build);
const TOKENS = [3, 1, 4, 1, 5, 9, 2, 6];
/** Small and never the same. */
const values = (count: number, seed: number) =>
  Float32Array.from({ length: count }, (_, i) => 0.4 * Math.sin(1 + seed + i * i * 0.37));

let folder: string;
let device: Device;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'magi1-nn-'));
  const tensors = [...specs].map(([name, { shape }], i): [string, HostTensor] => {
    return [name, { dtype: 'f32', shape, data: values(elementCount(shape), i) }];
  });
  await writeSafetensors(join(folder, 'model.safetensors'), new Map(tensors));
  device = await Device.open({ backend: 'wasm' });
});
afterAll(async () => {
  expect(device.memory().tensors).toBe(0);
  await device.dispose();
  rmSync(folder, { recursive: true });
});

async function opened<T>(use: (weights: CheckedWeights<Tiny>) => T | Promise<T>): Promise<T> {
  const checkpoint = await openCheckpoint(folder);
  try {
    return await use(new CheckedWeights<Tiny>(checkpoint, network));
  } finally {
    await checkpoint.close();
  }
}
const load = () => opened((weights) => weights.load(device));

async function logitsOf(model: Tiny): Promise<Float32Array> {
  using logits = await model.forward(TOKENS);
  return await logits.toFloat32();
}

const largestDifference = (a: Float32Array, b: Float32Array) =>
  a.reduce((largest, value, i) => Math.max(largest, Math.abs(value - b[i]!)), 0);

describe('one constructor', () => {
  it('records what it declares: names, shapes and roles', () => {
    expect([...specs.keys()].slice(0, 3)).toEqual([
      'embedding.weight',
      'layers.0.input_norm.weight',
      'layers.0.attention.q.weight',
    ]);
    expect(specs.get('embedding.weight')).toEqual({ shape: [WORDS, WIDTH], role: 'table' });
    expect(specs.get('layers.1.attention.kv.weight')).toEqual({ shape: [2 * GROUPS * HEAD, WIDTH], role: 'matrix' });
    expect(specs.get('norm.weight')).toEqual({ shape: [WIDTH], role: 'vector' });
  });

  it('builds the model on loaded weights; a token sees those before it alone', async () => {
    const model = await load();
    const logits = await logitsOf(model);
    expect(logits.every(Number.isFinite)).toBe(true);
    using shorter = await model.forward(TOKENS.slice(0, 5));
    const start = await shorter.toFloat32();
    expect(largestDifference(start, logits.subarray(0, start.length))).toBeLessThan(1e-5);
    using other = await model.forward([7, ...TOKENS.slice(1)]);
    expect(largestDifference(await other.toFloat32(), logits)).toBeGreaterThan(1e-2);
    model.params.dispose();
  });

  it('builds it on a meta device, where a forward takes what it takes on the device', async () => {
    const meta = MetaDevice.like(device);
    const planned = await opened((weights) => weights.onMeta(meta));
    const model = await load();
    const peaks: number[] = [];
    for (const each of [model, planned]) {
      each.params.device.resetPeak();
      (await each.forward(TOKENS)).dispose();
      peaks.push(each.params.device.memory().peak);
      each.params.dispose();
    }
    expect(peaks[1]).toBe(peaks[0]);
    expect(meta.memory()).toMatchObject({ inUse: 0, tensors: 0 });
  });

  it('refuses a weight that is declared twice or has another shape', () => {
    const twice = (p: Params) => [new RmsNorm(p.at('norm'), 4, { eps: 0 }), new RmsNorm(p.at('norm'), 4, { eps: 0 })];
    expect(() => Params.record(twice)).toThrow('weight norm.weight is declared twice');
    using tensor = device.tensor([1, 2, 3], [3], 'f32');
    const params = Params.create(device, () => tensor);
    expect(() => new RmsNorm(params.at('norm'), 4, { eps: 0 })).toThrow('weight norm.weight must be [4], got f32[3]');
    expect(() => params.get('other')).toThrow('other is not a weight of this model');
  });
});

it('observing shows what modules and their methods compute, and leaves no trace', async () => {
  const model = await load();
  const seen = new Map<string, string>();
  const show = (path: string, tensor: Tensor) => void seen.set(path, tensor.shape.join('x'));
  const observed = await observe(model.params, show, () => logitsOf(model));
  expect(Object.fromEntries(seen)).toMatchObject({
    embedding: '8x32',
    'layers.0.attend': '8x32',
    'layers.1.mlp.up': '8x96',
    'layers.1': '8x32',
    norm: '8x32',
    '': '8x40',
  });
  seen.clear();
  expect(await logitsOf(model)).toEqual(observed);
  expect(seen.size).toBe(0);
  model.params.dispose();
});

it('a low-rank update acts on a whole layer and on a range of its outputs, and is freed with the network', async () => {
  const model = await load();
  const { kv } = model.layers[0]!;
  const [a, b] = [values(2 * WIDTH, 50), values(4 * GROUPS * HEAD, 51)];
  const update: LowRankUpdate = {
    a: device.tensor(a, [2, WIDTH], 'f32'),
    b: device.tensor(b, [2 * GROUPS * HEAD, 2], 'f32'),
    scale: 0.5,
  };
  const halves = (x: Tensor) => scope(() => [0, 1].map((i) => kv.forward(x, [i * 16, (i + 1) * 16])));
  using x = device.tensor(values(3 * WIDTH, 52), [3, WIDTH], 'f32');
  using before = kv.forward(x);
  kv.setUpdates([update]);
  using after = kv.forward(x);
  const [rowsOfX, expected] = [await x.toFloat32(), await before.toFloat32()];
  for (let i = 0; i < expected.length; i++) {
    const [row, output] = [Math.floor(i / 32), i % 32];
    for (let r = 0; r < 2; r++)
      for (let k = 0; k < WIDTH; k++)
        expected[i]! += 0.5 * b[output * 2 + r]! * a[r * WIDTH + k]! * rowsOfX[row * WIDTH + k]!;
  }
  expect(largestDifference(await after.toFloat32(), expected)).toBeLessThan(1e-5);
  const parts = halves(x);
  using joined = scope(() => concat(parts, 1));
  for (const part of parts) part.dispose();
  expect(await joined.toFloat32()).toEqual(await after.toFloat32());
  model.params.dispose();
  expect(update.a.disposed && update.b.disposed).toBe(true);
});
