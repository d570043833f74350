// Which chunks a chunk may look at, as one contiguous range [start, end) in chunks.

export type ChunkRange = readonly [start: number, end: number];

export interface KeyRangeSettings {
  readonly numSteps: number;
  /** Chunks visible, itself included, by progress of the looking chunk; empty: everything before. */
  readonly noise2cleanKvRange: readonly number[];
  /** Chunks visible to a clean chunk; -1: the last entry of noise2cleanKvRange. */
  readonly cleanChunkKvRange: number;
}

/** Reach of a prefix chunk where neither setting gives one. */
const PREFIX_REACH = 8;

function lookBack(chunk: number, reach: number): ChunkRange {
  return [Math.max(0, chunk + 1 - reach), chunk + 1];
}

/** Keys of a chunk about to take step `stepIndex` (0 .. numSteps-1), or of a clean chunk (`numSteps`). */
export function denoisingKeyRange(chunk: number, stepIndex: number, settings: KeyRangeSettings): ChunkRange {
  const { numSteps, noise2cleanKvRange: ranges, cleanChunkKvRange } = settings;
  if (ranges.length === 0) return [0, chunk + 1];
  if (stepIndex === numSteps) return lookBack(chunk, cleanChunkKvRange === -1 ? ranges.at(-1)! : cleanChunkKvRange);
  return lookBack(chunk, ranges[Math.floor(stepIndex / (numSteps / ranges.length))]!);
}

/** Keys of the whole prefix chunks, which are run once before the first step. */
export function prefixKeyRanges(prefixChunks: number, settings: Omit<KeyRangeSettings, 'numSteps'>): ChunkRange[] {
  const { noise2cleanKvRange: ranges, cleanChunkKvRange } = settings;
  const reach = cleanChunkKvRange === -1 ? (ranges.at(-1) ?? PREFIX_REACH) : cleanChunkKvRange;
  return Array.from({ length: prefixChunks }, (_, chunk) => lookBack(chunk, reach));
}

/** The same range counted in tokens of the key axis, cached chunks first. */
export function inTokens([start, end]: ChunkRange, tokensPerChunk: number): [start: number, end: number] {
  return [start * tokensPerChunk, end * tokensPerChunk];
}
