// The sampler as plain data: a pure function from settings to the list of steps that a small loop executes.
import { Magi1Error } from '@magi1/tensor';
import { checkGuidance, guidanceScales, type GuidanceScales, type GuidanceTable } from './guidance.ts';
import { denoisingKeyRange, prefixKeyRanges, type ChunkRange, type KeyRangeSettings } from './key-ranges.ts';
import type { LinspaceRounding } from './linspace.ts';
import { checkSteps, planStages, type Stage } from './stages.ts';
import { distillDt, distillIntervals, initT, type ShortcutMode, type TimestepSchedule } from './timesteps.ts';

export interface SamplingOptions extends KeyRangeSettings {
  /** Chunks of the whole video, prefix included (see countChunks). */
  readonly chunks: number;
  readonly prefixLatentFrames: number;
  /** Latent frames per chunk. */
  readonly chunkWidth: number;
  readonly windowSize: number;
  /** Time of chunks that are finished or given. */
  readonly cleanT: number;
  /** 3: passes A, B and U; 1: one pass. */
  readonly cfgNumber: 1 | 3;
  /** Condition on the step size dt. */
  readonly distill: boolean;
  readonly shortcutMode: ShortcutMode;
  readonly nearlyCleanThreshold: number;
  readonly guidance: GuidanceTable;
  /** No caption token at all: the null text takes the caption's place. */
  readonly emptyText?: boolean;
  readonly schedule?: TimestepSchedule;
  /** How the steps are rounded; as PyTorch 2 does where left out. */
  readonly rounding?: LinspaceRounding;
}

/** One chunk inside a forward. */
export interface ForwardChunk {
  /** Position in the video; its first latent frame is chunk x chunkWidth, also for rope. */
  readonly chunk: number;
  /** Finished already, run again for its K and V only. */
  readonly clean: boolean;
  /** Step it is about to take; numSteps for a clean chunk. */
  readonly stepIndex: number;
  readonly t: number;
  /** t after the step; equal to t for a clean chunk. */
  readonly tNext: number;
  /** Chunks whose keys it sees. */
  readonly keys: ChunkRange;
  /** Text in pass A and in the single pass. Passes B and U always use the null text. */
  readonly text: 'caption' | 'null';
  /** Weights that combine the passes; null for a clean chunk and where there is one pass. */
  readonly scales: GuidanceScales | null;
}

/** A pass over all chunks of a forward. */
export interface PassPlan {
  /** Chunks whose output is used; the others serve as keys only. */
  readonly outputs: readonly number[];
}

export interface Passes {
  /** Pass A, or the single pass of a distilled model. Null where no output needs it. */
  readonly caption: PassPlan | null;
  /** Pass B; null where there is one pass. */
  readonly nullText: PassPlan | null;
  /** Pass U: chunks that are run each on its own, with positions from 0 and without a cache. */
  readonly alone: readonly number[];
  /** Single pass only: the chunk that is appended once more, seeing only itself, at the next time positions. */
  readonly nearlyClean: number | null;
  /** The pass whose K and V are kept. */
  readonly cacheWriter: 'caption' | 'nullText';
}

export interface SamplingStep {
  readonly index: number;
  readonly stageIndex: number;
  /** Step within the stage. */
  readonly stageStep: number;
  readonly stage: Stage;
  /** First chunk of the forward: chunks before it are in the cache. */
  readonly slicePoint: number;
  /** The forward's first chunk is the one just finished. */
  readonly hasCleanChunk: boolean;
  /** Chunks of the forward, oldest first. */
  readonly chunks: readonly ForwardChunk[];
  readonly passes: Passes;
  /** The oldest noisy chunk has passed the threshold (whatever the number of passes). */
  readonly nearlyClean: boolean;
  readonly distillInterval: number;
  /** Step size a distilled model is conditioned on; null otherwise. */
  readonly dt: number | null;
  /** Cached chunks before this one are never looked at again, from this step on. */
  readonly keepFrom: number;
  /** The chunk that this step completes. */
  readonly finished: FinishedChunk | null;
}

export interface FinishedChunk {
  readonly chunk: number;
  /** Place in the order of delivery, from 0. */
  readonly order: number;
  /** Latent frames [start, end) to deliver: prefix frames are left out, except a prefix of a single frame. */
  readonly frames: readonly [start: number, end: number];
}

/** The pass over all whole prefix chunks before the first step: null text, only its K and V are kept. */
export interface PrefixForward {
  readonly t: number;
  /** Keys of each prefix chunk, in chunks. */
  readonly keys: readonly ChunkRange[];
  readonly distillInterval: number;
  readonly dt: number | null;
}

export interface SamplingPlan {
  readonly options: SamplingOptions;
  readonly times: Float32Array;
  /** Whole prefix chunks. */
  readonly chunkOffset: number;
  readonly latentFrames: number;
  readonly stepsPerStage: number;
  readonly prefix: PrefixForward | null;
  readonly steps: readonly SamplingStep[];
  /** Most chunks that the cache must hold at any time, also if the prefix chunks are run one by one. */
  readonly maxCachedChunks: number;
}

/**
 * Plans a whole run.
 * @throws Magi1Error for sizes that cannot be run, naming the nearest valid step counts
 */
export function planSampling(options: SamplingOptions): SamplingPlan {
  checkSteps(options.numSteps, options.windowSize, options.noise2cleanKvRange.length);
  const chunkOffset = checkChunks(options);
  if (options.cfgNumber === 3) checkGuidance(options.guidance);
  const times = initT(options.numSteps, options.shortcutMode, options.schedule, undefined, options.rounding);
  const intervals = distillIntervals(options.numSteps, options.shortcutMode);
  const stepsPerStage = options.numSteps / options.windowSize;
  const conditioning = (stageStep: number) => ({
    distillInterval: intervals[stageStep]!,
    dt: options.distill ? distillDt(options.numSteps, intervals[stageStep]!) : null,
  });
  const drafts = planStages(options.chunks, options.windowSize, chunkOffset).flatMap((stage, stageIndex) =>
    Array.from({ length: stepsPerStage }, (_, stageStep) => ({
      index: stageIndex * stepsPerStage + stageStep,
      stageIndex,
      stageStep,
      stage,
      ...planForward(options, times, stage, stageStep, chunkOffset),
      ...conditioning(stageStep),
      finished: finishedChunk(options, stage, stageStep, chunkOffset),
    })),
  );
  const steps = withCacheNeeds(drafts);
  const prefix =
    chunkOffset > 0
      ? { t: Math.fround(options.cleanT), keys: prefixKeyRanges(chunkOffset, options), ...conditioning(0) }
      : null;
  return {
    options,
    times,
    chunkOffset,
    latentFrames: options.chunks * options.chunkWidth,
    stepsPerStage,
    prefix,
    steps,
    maxCachedChunks: steps.reduce(
      (most, step) => Math.max(most, step.slicePoint - step.keepFrom),
      (prefix?.keys ?? []).reduce((most, [start], chunk) => Math.max(most, chunk - start), 0),
    ),
  };
}

function checkChunks({ chunks, prefixLatentFrames, chunkWidth }: SamplingOptions): number {
  if (!Number.isInteger(chunkWidth) || chunkWidth < 1)
    throw new Magi1Error(`chunk_width: expected a whole number from 1 up, got ${chunkWidth}`);
  if (!Number.isInteger(prefixLatentFrames) || prefixLatentFrames < 0)
    throw new Magi1Error(`prefix: expected a whole number of latent frames from 0 up, got ${prefixLatentFrames}`);
  if (!Number.isInteger(chunks) || chunks < 1)
    throw new Magi1Error(`chunks: expected a whole number from 1 up, got ${chunks}`);
  if (chunks * chunkWidth <= prefixLatentFrames)
    throw new Magi1Error(
      `chunks: ${chunks} of ${chunkWidth} latent frames leave nothing to generate after a prefix of ${prefixLatentFrames}`,
    );
  return Math.floor(prefixLatentFrames / chunkWidth);
}

function planForward(
  options: SamplingOptions,
  times: Float32Array,
  stage: Stage,
  stageStep: number,
  chunkOffset: number,
) {
  const { numSteps, windowSize, cfgNumber } = options;
  // The window has just moved on: the chunk it left behind is run once more, clean, for the cache.
  const hasCleanChunk = stageStep === 0 && stage.chunkStart > chunkOffset;
  const slicePoint = stage.chunkStart - (hasCleanChunk ? 1 : 0);
  const stepsPerStage = numSteps / windowSize;
  const chunks: ForwardChunk[] = [];
  for (let chunk = slicePoint; chunk < stage.chunkEnd; chunk++) {
    const clean = chunk < stage.chunkStart;
    const part = stage.tStart + (stage.chunkEnd - 1 - chunk);
    const stepIndex = clean ? numSteps : part * stepsPerStage + stageStep;
    const t = clean ? Math.fround(options.cleanT) : times[stepIndex]!;
    chunks.push({
      chunk,
      clean,
      stepIndex,
      t,
      tNext: clean ? t : times[stepIndex + 1]!,
      keys: denoisingKeyRange(chunk, stepIndex, options),
      text: clean || options.emptyText ? 'null' : 'caption',
      scales: clean || cfgNumber === 1 ? null : guidanceScales(options.guidance, t),
    });
  }
  const oldest = chunks[hasCleanChunk ? 1 : 0]!;
  const nearlyClean = isNearlyClean(oldest.t, options.nearlyCleanThreshold);
  return {
    hasCleanChunk,
    slicePoint,
    chunks,
    nearlyClean,
    passes: planPasses(chunks, cfgNumber, nearlyClean ? oldest.chunk : null),
  };
}

/** t is a float32 widened to double: the step at 0.30000001192 is above a threshold of 0.3. */
function isNearlyClean(t: number, threshold: number): boolean {
  return t > threshold;
}

/** Leaves out only what multiplies by zero and feeds nothing else. */
function planPasses(chunks: readonly ForwardChunk[], cfgNumber: 1 | 3, nearlyClean: number | null): Passes {
  const noisy = chunks.filter((c) => !c.clean);
  const where = (used: (scales: GuidanceScales) => boolean): number[] =>
    noisy.filter((c) => used(c.scales!)).map((c) => c.chunk);
  if (cfgNumber === 1)
    return {
      caption: { outputs: noisy.map((c) => c.chunk) },
      nullText: null,
      alone: [],
      nearlyClean,
      cacheWriter: 'caption',
    };
  // One chunk that needs pass A needs it for all: it looks at the A-pass keys of the older chunks.
  const captioned = where((scales) => scales.text !== 0);
  return {
    caption: captioned.length > 0 ? { outputs: captioned } : null,
    // Pass B writes the cache, so it runs even where its output has weight 0.
    nullText: { outputs: where((scales) => scales.prevChunk !== scales.text) },
    alone: where((scales) => scales.prevChunk !== 1),
    nearlyClean: null,
    cacheWriter: 'nullText',
  };
}

function finishedChunk(
  options: SamplingOptions,
  stage: Stage,
  stageStep: number,
  chunkOffset: number,
): FinishedChunk | null {
  const { windowSize, numSteps, chunkWidth, prefixLatentFrames } = options;
  if (stage.tEnd !== windowSize || stageStep !== numSteps / windowSize - 1) return null;
  const chunk = stage.chunkStart;
  const end = (chunk + 1) * chunkWidth;
  const start = chunk * chunkWidth;
  return {
    chunk,
    order: chunk - chunkOffset,
    frames: [prefixLatentFrames === 1 ? start : Math.max(start, prefixLatentFrames), end],
  };
}

function withCacheNeeds(drafts: readonly Omit<SamplingStep, 'keepFrom'>[]): SamplingStep[] {
  let keepFrom = Infinity;
  return drafts
    .toReversed()
    .map((step) => {
      keepFrom = step.chunks.reduce((first, { keys }) => Math.min(first, keys[0]), Math.min(keepFrom, step.slicePoint));
      return { ...step, keepFrom };
    })
    .toReversed();
}

/** Chunk-forwards of all steps: with every pass run in full, and as planned. Prefix chunks are not counted. */
export function countChunkForwards(plan: SamplingPlan): { full: number; planned: number } {
  let full = 0;
  let planned = 0;
  for (const { chunks, passes } of plan.steps) {
    const noisy = chunks.filter((c) => !c.clean).length;
    const copy = passes.nearlyClean === null ? 0 : 1;
    full += plan.options.cfgNumber === 3 ? 2 * chunks.length + noisy : chunks.length + copy;
    planned +=
      (passes.caption ? chunks.length : 0) + (passes.nullText ? chunks.length : 0) + passes.alone.length + copy;
  }
  return { full, planned };
}
