// The meta device says what a real device would say of memory, op by op and for whole networks, and computes nothing.
import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { copyRows, linear, silu } from '@magi1/kernels';
import { MetaDevice, OpError, defineOp, describeSpec, isOp, runOp } from '@magi1/tensor';
import type { AnyCase, AnyOp, CaseInput, Device, MemoryStats } from '@magi1/tensor';
import { Params } from './index.ts';
import { T5Encoder } from '../t5/encoder.ts';
import { parseT5Config } from '../t5/config.ts';
import { randomTransformer, SMALL_MODEL } from '../transformer/testing.ts';
import { parseVaeConfig } from '../vae/config.ts';
import { ViTVae } from '../vae/vit-vae.ts';
import { loadOps } from '../../../../tests/support/all-ops.ts';
import { TINY_MODEL } from '../../../../tests/support/cli.ts';
import { testDevices } from '../../../../tests/support/devices.ts';

const ops: AnyOp[] = await loadOps();
const config = (path: string): unknown => JSON.parse(readFileSync(join(TINY_MODEL, path), 'utf8'));

/** Runs a case without data. */
function outputOf(op: AnyOp, { inputs, params }: AnyCase, device: Device): string {
  const given = Object.entries(inputs as Record<string, CaseInput | undefined>).filter(([, input]) => input);
  const tensors = given.map(([name, input]) => [name, device.empty(input!.shape, input!.dtype)] as const);
  using y = runOp(op, Object.fromEntries(tensors), params);
  for (const [, tensor] of tensors) tensor.dispose();
  return describeSpec(y);
}

const emptyWeights = (device: Device): Params =>
  Params.create(device, (_, { shape, role }) =>
    device.empty(shape, role === 'vector' ? 'f32' : 'bf16', { weight: true }),
  );

const latent = (device: Device) => device.empty([1, SMALL_MODEL.in_channels, 2, 8, 8], 'f32');

const networks: Record<string, (device: Device) => Promise<void>> = {
  async transformer(device) {
    const model = randomTransformer(device);
    using features = device.empty([3, SMALL_MODEL.caption_channels], 'f32');
    using text = model.readText(features);
    const tokens = 2 * 16;
    const chunks = [0, 1].map((i) => ({
      latent: latent(device),
      t: 0.5,
      firstFrame: 2 * i,
      keys: [0, tokens * (i + 1)] as const,
      text,
    }));
    const velocities = await model.forward({ chunks, condition: 'caption', dt: null });
    for (const tensor of [...velocities, ...chunks.map(({ latent }) => latent)]) tensor.dispose();
    model.dispose();
  },
  async vae(device) {
    const vae = new ViTVae(emptyWeights(device), parseVaeConfig(config('vae/config.json'), 'vae'));
    using video = device.empty([1, 3, 8, 32, 48], 'f32');
    using latents = await vae.encode(video);
    using decoded = await vae.decode(latents);
    expect(decoded.shape).toEqual(video.shape);
    vae.dispose();
  },
  async 'text encoder'(device) {
    const t5 = parseT5Config(config('t5/t5-v1_1-xxl/config.json'), 't5');
    const encoder = new T5Encoder(emptyWeights(device), t5);
    using rows = await encoder.encode(new Int32Array(20), new Int32Array(20).fill(1));
    expect(rows.shape).toEqual([20, t5.d_model]);
    encoder.dispose();
  },
};

for (const { name, open } of testDevices()) {
  describe(`as ${name}`, () => {
    let device: Device;
    let meta: MetaDevice;
    beforeAll(async () => {
      device = await open();
      meta = MetaDevice.like(device);
    });
    afterAll(() => device.dispose());

    async function peaks(run: (device: Device) => void | Promise<void>): Promise<MemoryStats[]> {
      const stats: MemoryStats[] = [];
      for (const each of [device, meta]) {
        each.resetPeak();
        await run(each);
        await each.sync();
        stats.push(each.memory());
      }
      return stats;
    }

    it.each(ops.map((op) => [op.name, op] as const))('%s', async (_, op) => {
      const before = meta.counts.ops;
      for (const opCase of (op.cases as AnyCase[]).filter(({ benchmarkOnly }) => !benchmarkOnly)) {
        const shapes: string[] = [];
        const [real, dry] = await peaks((each) => void shapes.push(outputOf(op, opCase, each)));
        expect({ name: opCase.name, shapes: shapes[1], peak: dry!.peak, tensors: dry!.tensors }).toEqual({
          name: opCase.name,
          shapes: shapes[0],
          peak: real!.peak,
          tensors: 0,
        });
      }
      expect(meta.counts.ops).toBeGreaterThan(before);
    });

    it.each(Object.entries(networks))('a forward of the %s', async (_, forward) => {
      const [real, dry] = await peaks(forward);
      expect(dry!.peak).toBe(real!.peak);
      expect(dry!.inUse).toBe(0);
    });
  });
}

describe('the meta device', () => {
  it('runs layers of any size, and counts operations, bytes and uploads', () => {
    const meta = new MetaDevice({ as: 'wasm' });
    const [rows, width] = [100_000, 16_384];
    const weight = meta.empty([width, width], 'bf16', { weight: true });
    const x = meta.empty([rows, width], 'f32');
    const y = linear(x, weight);
    expect(y.shape).toEqual([rows, width]);
    const bytes = 2 * width * width + 2 * 4 * rows * width;
    expect(meta.memory()).toMatchObject({ inUse: bytes, peak: bytes, tensors: 3 });
    expect(meta.counts).toEqual({ ops: 1, flops: 2 * rows * width * width, bytes, uploaded: 0 });
    meta.tensor([1, 2, 3], [3], 'f32');
    expect(meta.counts).toMatchObject({ ops: 1, uploaded: 12 });
    meta.resetCounts();
    expect(meta.counts).toEqual({ ops: 0, flops: 0, bytes: 0, uploaded: 0 });
  });

  it('keeps large weights outside the heap where wasm does', () => {
    const meta = new MetaDevice({ as: 'wasm' });
    const quarter = 2 ** 28; // two of them are as much as the heap takes
    const weights = [1, 2, 3].map(() => meta.empty([quarter], 'u8', { weight: true }));
    expect(meta.memory().host).toBe(quarter);
    for (const weight of weights) weight.dispose();
    expect(meta.memory()).toMatchObject({ host: 0, inUse: 0, peak: 3 * quarter });
  });

  it('refuses what a real device refuses', async () => {
    const meta = new MetaDevice({ as: 'webgpu', maxBufferSize: 1024 });
    expect(() => meta.empty([1025], 'u8')).toThrow(/1025 bytes/);
    const x = meta.empty([2, 3], 'f32');
    expect(() => linear(x, meta.empty([4, 4], 'f32'))).toThrow(OpError);
    await expect(x.read()).rejects.toThrow('meta: a tensor was read on the meta device, which has no values');
    const op = defineOp({
      name: 'onlyWasm',
      infer: () => ({ shape: [1], dtype: 'f32' }),
      cost: () => ({ flops: 0, bytes: 0 }),
      reference: () => undefined,
      cases: [],
    });
    expect(isOp(op)).toBe(true);
    expect(() => runOp(op, { x }, {})).toThrow('onlyWasm: has no webgpu version');
  });

  it('copies rows and stops at an abort like any other', async () => {
    const meta = new MetaDevice({ as: 'reference' });
    copyRows(meta.empty([4, 2], 'f32'), silu(meta.empty([2, 2], 'f32')), 1);
    await expect(meta.tick(AbortSignal.abort(new Error('stop')))).rejects.toThrow('stop');
    await meta.dispose();
  });
});
