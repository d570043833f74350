import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseConfig } from '../config/parse.ts';
import { publishedConfig } from '../config/published.ts';
import { guidanceScales, withTextGuidance } from './guidance.ts';
import { LINSPACE_ROUNDINGS, linspace } from './linspace.ts';
import { samplingOptions, tokensPerChunk } from './options.ts';
import { countChunkForwards, planSampling, type SamplingOptions } from './schedule.ts';
import { countChunks } from './stages.ts';
import { distillDt, distillIntervals, initT } from './timesteps.ts';

const shipped = samplingOptions(parseConfig(publishedConfig(), 'test'), { numFrames: 120, numSteps: 8 });
const plan = (change: Partial<SamplingOptions> = {}) => planSampling({ ...shipped, ...change });

describe('timesteps', () => {
  it('stands just above 0.3 at three quarters and just above 1 at the end', () => {
    for (const steps of [4, 8, 16, 24, 32, 48, 64]) {
      const t = initT(steps, '8,16,16');
      expect(t[(3 * steps) / 4]).toBe(0.30000001192092896);
      expect(t[steps]).toBe(1.0000001192092896);
    }
  });

  it('rises strictly for any number of steps and schedule', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 300 }),
        fc.constantFrom('sd3', 'square', 'piecewise', 'identity'),
        (steps, schedule) => {
          const t = initT(steps, '8,16,16', schedule);
          return t.length === steps + 1 && t[0] === 0 && t.every((value, i) => i === 0 || value > t[i - 1]!);
        },
      ),
    );
  });

  it('conditions distilled models on the step size, uneven for 12 steps only', () => {
    expect(
      distillIntervals(12, '8,16,16')
        .slice(0, 3)
        .map((interval) => distillDt(12, interval)),
    ).toEqual([4, 8, 8]);
    expect(
      distillIntervals(12, '16,16,8')
        .slice(0, 3)
        .map((interval) => distillDt(12, interval)),
    ).toEqual([8, 8, 4]);
    expect([8, 16, 32, 64].map((steps) => distillDt(steps, 1))).toEqual([4, 8, 16, 32]);
  });

  // SHA-256 over torch.linspace(0, 1, n + 1) for n = 1..200, from PyTorch 2.13 (AVX2 and AVX-512, then neither) and 1.13
  // (neither, AVX2, AVX-512).
  it('is spaced as PyTorch spaces it, bit by bit', () => {
    const hashes = LINSPACE_ROUNDINGS.map((rounding) => {
      const hash = createHash('sha256');
      for (let n = 1; n <= 200; n++) hash.update(linspace(n, rounding));
      return hash.digest('hex');
    });
    expect(hashes).toEqual([
      '51ad544c411ed603f82bb7285f35b710141df366ed511ffda8a8faa0d7c8e576',
      '14160ca40e9d97fc2f95a7fdefe02ae175c75f6dd5d34c6194ae487e71cff25b',
      '38ffe9b2bf83bd740b5733b51aa3a1e3186585588b5544f26fa714d79dfa6283',
      '6745a0ac71b1eb0aad37736ab2172015eea32f838118201ee83acca175bd0e57',
      'a3b7c268d6bb5d2a565b2de4db195be3ab2374348bbf25d80b879cc6beee2e78',
    ]);
  });

  it('refuses zero, negative and broken step counts', () => {
    for (const steps of [0, -1, 1.5, NaN]) expect(() => initT(steps, '8,16,16')).toThrow(`got ${steps}`);
  });
});

describe('guidance', () => {
  it('scales the text only where the checkpoint does', () => {
    const table = withTextGuidance(shipped.guidance, 5);
    expect(table.textScales).toEqual([5, 5, 5, 0, 0]);
    expect(guidanceScales(table, Math.fround(0.2))).toEqual({ index: 2, prevChunk: 1.5, text: 5 });
  });
});

describe('planSampling', () => {
  it('takes a prefix and a video of any length that fits in memory', () => {
    const long = plan({ prefixLatentFrames: 6 * 150_000, chunks: 150_010, windowSize: 1, numSteps: 4 });
    expect([long.chunkOffset, long.maxCachedChunks]).toEqual([150_000, 4]);
  });

  it('refuses scales that float32 does not hold, where they act', () => {
    const guidance = withTextGuidance(shipped.guidance, 1e308);
    expect(() => plan({ guidance })).toThrow('text_scales: numbers that float32 holds expected, got 1e+308');
    expect(plan({ guidance, cfgNumber: 1 }).steps.length).toBeGreaterThan(0);
  });

  it('counts 128 chunk-forwards for 5 chunks in 8 steps, of which 115 or 108 are needed', () => {
    expect(countChunkForwards(plan())).toEqual({ full: 128, planned: 115 });
    expect(countChunkForwards(plan({ windowSize: 1 }))).toEqual({ full: 128, planned: 108 });
  });

  it('leaves out pass A once the newest chunk has no text guidance, and U where p is 1', () => {
    const { steps } = plan();
    expect(steps.filter((step) => !step.passes.caption).map((step) => step.index)).toEqual([14, 15]);
    for (const step of steps) {
      const late = step.chunks.filter((chunk) => !chunk.clean && chunk.t > 0.3).map((chunk) => chunk.chunk);
      expect(step.passes.alone.some((chunk) => late.includes(chunk))).toBe(false);
      expect(step.passes.nullText!.outputs).toEqual(
        step.chunks.filter((chunk) => !chunk.clean).map((chunk) => chunk.chunk),
      );
      expect(step.passes.caption?.outputs.some((chunk) => late.includes(chunk)) ?? false).toBe(false);
    }
  });

  it('leaves out nothing when every scale matters', () => {
    const guidance = { cfgTRange: [0, 0.3], prevChunkScales: [1.5, 1.2], textScales: [7.5, 0.5] };
    expect(countChunkForwards(plan({ guidance }))).toEqual({ full: 128, planned: 128 });
  });

  it('runs one pass for distilled models, the nearly clean chunk once more', () => {
    const distilled = plan({ cfgNumber: 1, distill: true, chunks: 1 });
    expect(distilled.steps.map((step) => step.passes.nearlyClean)).toEqual([null, null, null, null, null, null, 0, 0]);
    expect(
      distilled.steps.every((step) => step.passes.nullText === null && step.passes.alone.length === 0 && step.dt === 4),
    ).toBe(true);
    expect(countChunkForwards(distilled)).toEqual({ full: 10, planned: 10 });
    const later = plan({ cfgNumber: 1, distill: true, chunks: 1, nearlyCleanThreshold: 0.45 });
    expect(later.steps.filter((step) => step.nearlyClean).map((step) => step.index)).toEqual([7]);
  });

  it('keeps a prefix of one frame and cuts longer ones', () => {
    const firstFrames = (prefixLatentFrames: number) =>
      plan({ prefixLatentFrames }).steps.find((step) => step.finished)!.finished!;
    expect(firstFrames(0)).toEqual({ chunk: 0, order: 0, frames: [0, 6] });
    expect(firstFrames(1)).toEqual({ chunk: 0, order: 0, frames: [0, 6] });
    expect(firstFrames(5)).toEqual({ chunk: 0, order: 0, frames: [5, 6] });
    expect(firstFrames(6)).toEqual({ chunk: 1, order: 0, frames: [6, 12] });
    expect(firstFrames(8)).toEqual({ chunk: 1, order: 0, frames: [8, 12] });
  });

  it('needs a cache of fixed size, however long the video', () => {
    // With the shipped window and ranges all but one visible chunk are in the window itself.
    for (const chunks of [8, 40]) expect(plan({ chunks }).maxCachedChunks).toBe(1);
    for (const chunks of [8, 40]) expect(plan({ chunks, windowSize: 1 }).maxCachedChunks).toBe(4);
    expect(plan({ chunks: 9, noise2cleanKvRange: [] }).maxCachedChunks).toBe(8);
    // A first chunk after a long prefix sees nothing but cached chunks; prefix chunks see each other.
    expect(plan({ chunks: 40, prefixLatentFrames: 60 }).maxCachedChunks).toBe(4);
    expect(plan({ prefixLatentFrames: 24, noise2cleanKvRange: [1], cleanChunkKvRange: 3 }).maxCachedChunks).toBe(2);
  });

  const anyOptions = fc
    .record({
      windowSize: fc.integer({ min: 1, max: 6 }),
      stepsPerStage: fc.integer({ min: 1, max: 4 }),
      newChunks: fc.integer({ min: 1, max: 9 }),
      prefixLatentFrames: fc.integer({ min: 0, max: 20 }),
      reach: fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 1 }),
      cleanChunkKvRange: fc.constantFrom(-1, 1, 3),
      cfgNumber: fc.constantFrom(1 as const, 3 as const),
    })
    .map(({ stepsPerStage, newChunks, reach, ...rest }) => ({
      ...shipped,
      ...rest,
      noise2cleanKvRange: reach,
      numSteps: stepsPerStage * rest.windowSize,
      chunks: Math.floor(rest.prefixLatentFrames / 6) + newChunks + 1,
    }));

  it('takes every chunk through every step once, in order, and delivers each once', () => {
    fc.assert(
      fc.property(anyOptions, (options) => {
        const { steps, chunkOffset, times } = planSampling(options);
        for (let chunk = chunkOffset; chunk < options.chunks; chunk++) {
          const mine = steps.flatMap((step) => step.chunks.filter((c) => c.chunk === chunk && !c.clean));
          expect(mine.map((c) => c.stepIndex)).toEqual(Array.from({ length: options.numSteps }, (_, i) => i));
          expect([...mine.map((c) => c.t), mine.at(-1)!.tNext]).toEqual([...times]);
        }
        const delivered = steps.flatMap((step) => (step.finished ? [step.finished] : []));
        expect(delivered.map((finished) => finished.chunk)).toEqual(Array.from(delivered, (_, i) => chunkOffset + i));
        expect(delivered.at(-1)!.chunk).toBe(options.chunks - 1);
      }),
    );
  });

  it('only looks at chunks that are in the forward, or cached and still kept', () => {
    fc.assert(
      fc.property(anyOptions, (options) => {
        const { steps, chunkOffset } = planSampling(options);
        const cached = new Set(Array.from({ length: chunkOffset }, (_, i) => i));
        for (const step of steps) {
          for (const chunk of cached) if (chunk < step.keepFrom) cached.delete(chunk);
          for (const { keys } of step.chunks)
            for (let k = keys[0]; k < Math.min(keys[1], step.slicePoint); k++) expect(cached.has(k)).toBe(true);
          if (step.hasCleanChunk) cached.add(step.slicePoint);
        }
      }),
    );
  });

  it('names the nearest valid step counts', () => {
    expect(() => plan({ numSteps: 50 })).toThrow('nearest valid: 48 and 52');
    expect(() => plan({ numSteps: 3 })).toThrow('nearest valid: 4');
    expect(() => plan({ numSteps: 10, windowSize: 2, noise2cleanKvRange: [5, 4, 3] })).toThrow(
      'nearest valid: 6 and 12',
    );
    expect(() => plan({ numSteps: 9, noise2cleanKvRange: [] })).toThrow('nearest valid: 8 and 12');
    expect(() => plan({ numSteps: 0 })).toThrow('numInferenceSteps: a whole number from 1 up expected, got 0');
    expect(() => plan({ windowSize: 0 })).toThrow('window_size');
    expect(() => plan({ chunks: 0 })).toThrow('chunks: expected');
    expect(() => plan({ chunks: 1, prefixLatentFrames: 6 })).toThrow('leave nothing to generate');
    expect(() => plan({ prefixLatentFrames: -1 })).toThrow('prefix: expected');
  });
});

describe('sizes', () => {
  const chunksOf = (numFrames: number, prefixLatentFrames = 0): number =>
    countChunks({ numFrames, prefixLatentFrames, chunkWidth: 6, temporalDownsample: 4 });

  it('drops up to three frames, then fills whole chunks', () => {
    expect([96, 97, 99, 100].map((frames) => chunksOf(frames))).toEqual([4, 4, 4, 5]);
    expect([chunksOf(96, 1), chunksOf(96, 8)]).toEqual([5, 6]);
    for (const frames of [0, -4, 3, 9.5]) expect(() => chunksOf(frames)).toThrow(`got ${frames}`);
  });

  it('counts tokens per chunk and refuses sizes that are not multiples of 16', () => {
    const patches = { patch_size: 2, t_patch_size: 1 };
    expect(tokensPerChunk(720, 720, 6, patches)).toBe(12150);
    expect(tokensPerChunk(480, 832, 6, patches)).toBe(9360);
    expect(tokensPerChunk(720, 1280, 6, patches)).toBe(21600);
    expect(() => tokensPerChunk(500, 832, 6, patches)).toThrow('height: a multiple of 16 expected');
    expect(() => tokensPerChunk(480, 830, 6, patches)).toThrow('nearest valid: 816 and 832');
    expect(() => tokensPerChunk(480, 0, 6, patches)).toThrow('width');
  });
});
