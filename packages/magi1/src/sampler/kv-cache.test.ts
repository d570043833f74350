// The key-value cache holds what the plan reads, in the fewest slots, whatever the window and the key ranges.
import type { CacheDType } from '@magi1/kernels';
import { Device } from '@magi1/tensor';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseConfig } from '../config/parse.ts';
import { publishedConfig } from '../config/published.ts';
import { randomTransformer, SMALL_MODEL } from '../transformer/testing.ts';
import type { VideoDiT } from '../transformer/video-dit.ts';
import { seededNoise } from './noise.ts';
import { samplingOptions } from './options.ts';
import { kvCacheShape, sample } from './sample.ts';
import { KvCache } from '../transformer/kv-cache.ts';
import { relativeL2 } from '../../../../tests/support/distance.ts';
import { planSampling, type SamplingOptions, type SamplingPlan } from './schedule.ts';

const CHUNK_WIDTH = 2;
const shipped = samplingOptions(parseConfig(publishedConfig(), 'test'), { numFrames: 24 });

const lcm = (a: number, b: number): number => {
  for (let multiple = a; ; multiple += a) if (multiple % b === 0) return multiple;
};

interface Limits {
  readonly reach: number;
  readonly newChunks: number;
  readonly stepUnits: number;
}

/** Prefixes of none (text), one (picture) and up to 14 latent frames (clip). */
function anyOptions({ reach, newChunks, stepUnits }: Limits): fc.Arbitrary<SamplingOptions> {
  return fc
    .record({
      windowSize: fc.integer({ min: 1, max: 6 }),
      noise2cleanKvRange: fc.array(fc.integer({ min: 1, max: reach }), { maxLength: 4 }),
      cleanChunkKvRange: fc.oneof(fc.constant(-1), fc.integer({ min: 1, max: reach })),
      prefixLatentFrames: fc.oneof(fc.constantFrom(0, 1), fc.integer({ min: 0, max: 14 })),
      newChunks: fc.integer({ min: 1, max: newChunks }),
      stepUnits: fc.integer({ min: 1, max: stepUnits }),
      cfgNumber: fc.constantFrom(1 as const, 3 as const),
    })
    .map(({ newChunks: made, stepUnits: units, ...rest }) => ({
      ...shipped,
      ...rest,
      chunkWidth: CHUNK_WIDTH,
      numSteps: units * lcm(rest.windowSize, Math.max(1, rest.noise2cleanKvRange.length)),
      chunks: Math.floor(rest.prefixLatentFrames / CHUNK_WIDTH) + made,
    }));
}

/** Per forward: the cached chunks that it reads, and the chunk that it stores. */
function cacheUses({ prefix, steps }: SamplingPlan): { reads: [number, number]; stores: number | null }[] {
  return [
    ...(prefix?.keys ?? []).map(([first], chunk) => ({
      reads: [first, chunk] as [number, number],
      stores: chunk,
    })),
    ...steps.map(({ chunks, slicePoint, hasCleanChunk }) => ({
      reads: [Math.min(slicePoint, ...chunks.map(({ keys }) => keys[0])), slicePoint] as [number, number],
      stores: hasCleanChunk ? slicePoint : null,
    })),
  ];
}

/** The first chunk that a layer reads from a ring of `slots` and does not find there; undefined where it finds all. */
function missingFrom(plan: SamplingPlan, slots: number): number | undefined {
  const chunkOfSlot: number[] = [];
  for (const { reads, stores } of cacheUses(plan)) {
    for (let chunk = reads[0]; chunk < reads[1]; chunk++) if (chunkOfSlot[chunk % slots] !== chunk) return chunk;
    if (stores !== null && slots > 0) chunkOfSlot[stores % slots] = stores;
  }
  return undefined;
}

describe('plan', () => {
  const options = anyOptions({ reach: 9, newChunks: 14, stepUnits: 3 });

  it('has room for every chunk that is read, and for none more', () => {
    fc.assert(
      fc.property(options, (given) => {
        const plan = planSampling(given);
        expect(missingFrom(plan, plan.maxCachedChunks)).toBeUndefined();
        if (plan.maxCachedChunks > 0) expect(missingFrom(plan, plan.maxCachedChunks - 1)).toBeDefined();
      }),
      { numRuns: 4000 },
    );
  });

  it('needs no more room for a longer video', () => {
    fc.assert(
      fc.property(options, (given) => {
        if (given.noise2cleanKvRange.length === 0) return;
        const slots = (chunks: number) => planSampling({ ...given, chunks }).maxCachedChunks;
        const enough = Math.floor(given.prefixLatentFrames / CHUNK_WIDTH) + 16;
        expect(slots(enough + 20)).toBe(slots(enough));
      }),
      { numRuns: 500 },
    );
  });
});

describe('sample', () => {
  let device: Device;
  let model: VideoDiT;
  beforeAll(async () => {
    device = await Device.open({ backend: 'wasm', threads: 1 });
    model = randomTransformer(device);
  });
  afterAll(async () => {
    model.dispose();
    expect(device.memory().tensors).toBe(0);
    await device.dispose();
  });

  const [channels, SIDE] = [SMALL_MODEL.in_channels, 4];
  const width = SMALL_MODEL.caption_channels;
  const text = (seed: number, length: number) => ({ rows: seededNoise(seed, length * width), length });

  async function latentsOf(
    plan: SamplingPlan,
    cacheDType?: CacheDType,
    { network = model, tileBytes, side = SIDE }: { network?: VideoDiT; tileBytes?: number; side?: number } = {},
  ): Promise<Float32Array[]> {
    const { chunks, prefixLatentFrames } = plan.options;
    const latents = (seed: number, frames: number) => seededNoise(seed, channels * frames * side * side);
    using prefix =
      prefixLatentFrames === 0
        ? undefined
        : device.tensor(latents(7, prefixLatentFrames), [1, channels, prefixLatentFrames, side, side], 'f32');
    const caption = text(3, 3);
    const conditioning = {
      emptyText: false,
      caption: Array.from({ length: chunks }, (_, chunk) => (chunk < plan.chunkOffset ? null : caption)),
      nullText: text(4, 2),
      negative: null,
    };
    const noise = (chunk: number) => latents(100 + chunk, CHUNK_WIDTH);
    const out: Float32Array[] = [];
    for await (const { latent } of sample({
      model: network,
      plan,
      text: conditioning,
      height: side,
      width: side,
      noise,
      prefix,
      cacheDType,
      tileBytes,
    })) {
      using finished = latent;
      out.push(await finished.toFloat32());
    }
    return out;
  }

  it('gives the latents of a cache that forgets nothing, bit by bit', async () => {
    await fc.assert(
      fc.asyncProperty(anyOptions({ reach: 7, newChunks: 6, stepUnits: 1 }), async (given) => {
        const plan = planSampling(given);
        const whole = await latentsOf({ ...plan, maxCachedChunks: plan.options.chunks });
        expect(whole.every((values) => values.every(Number.isFinite))).toBe(true);
        expect(await latentsOf(plan)).toEqual(whole);
      }),
      {
        numRuns: 25,
        examples: [[{ ...SEEN, chunks: 7 }], [{ ...SEEN, chunks: 8, prefixLatentFrames: 5, cfgNumber: 1 }]],
      },
    );
  });

  it('may be kept in 16 bits: half the memory, and latents as near as its digits let them', async () => {
    const plan = planSampling({ ...SEEN, chunks: 7 });
    const runOf = async (dtype: CacheDType) => {
      device.resetPeak();
      const latents = await latentsOf(plan, dtype);
      return { latents: latents.flatMap((values) => [...values]), peak: device.memory().peak };
    };
    const f32 = await runOf('f32');
    const shape = kvCacheShape({ model, plan, height: SIDE, width: SIDE });
    for (const [dtype, most] of [
      ['f16', 1e-5],
      ['bf16', 1e-4],
    ] as const) {
      const { latents, peak } = await runOf(dtype);
      const error = relativeL2(latents, f32.latents);
      expect(error).toBeLessThan(most);
      expect(error).toBeGreaterThan(0); // it was rounded
      const bytes = KvCache.byteLength({ ...shape, dtype });
      expect(bytes).toBe(KvCache.byteLength(shape) / 2);
      expect(peak).toBeLessThan(f32.peak);
    }
  });

  it('gives the same bits for every tile of tokens, in every type of the cache', async () => {
    const plan = planSampling({ ...SEEN, chunks: 3, prefixLatentFrames: 2 });
    const side = 12; // 72 tokens in a chunk
    const wide = randomTransformer(device, { ...SMALL_MODEL, num_attention_heads: 8, num_query_groups: 4 });
    for (const dtype of ['f32', 'bf16', 'q8'] as const) {
      const whole = await latentsOf(plan, dtype, { network: wide, side });
      let calls = 0;
      for (const tokens of [72, 71, 30, 16]) {
        const tileBytes = 4 * SMALL_MODEL.ffn_hidden_size * tokens;
        let tiled: Float32Array[] = [];
        const { ops } = await device.profile(async () => {
          tiled = await latentsOf(plan, dtype, { network: wide, tileBytes, side });
        });
        expect(tiled).toEqual(whole);
        expect(ops.length).toBeGreaterThan(calls); // in smaller tiles
        calls = ops.length;
      }
    }
    wide.dispose();
  });

  it('may be kept in q8, where heads together are whole groups', async () => {
    const plan = planSampling({ ...SEEN, chunks: 7 });
    const wide = { ...SMALL_MODEL, num_attention_heads: 8, num_query_groups: 4 };
    const network = randomTransformer(device, wide);
    const latents = async (dtype: CacheDType) => (await latentsOf(plan, dtype, { network })).flatMap((x) => [...x]);
    const error = relativeL2(await latents('q8'), await latents('f32'));
    expect(error).toBeLessThan(1e-4);
    expect(error).toBeGreaterThan(0);
    const shape = kvCacheShape({ model: network, plan, height: SIDE, width: SIDE });
    expect(KvCache.byteLength({ ...shape, dtype: 'q8' })).toBe((KvCache.byteLength(shape) * 8.5) / 32);
    network.dispose();
  });
});

/** A stage of one step, in which the clean pass replaces the oldest chunk that the newest one sees. */
const SEEN: SamplingOptions = {
  ...shipped,
  chunkWidth: CHUNK_WIDTH,
  windowSize: 4,
  noise2cleanKvRange: [6, 3, 2, 2],
  cleanChunkKvRange: 2,
  numSteps: 4,
};
