// Guidance weights by time: out = (1-p) U + (p-s) B + s A, with p and s looked up by t.
// A = caption and previous chunks, B = null text and previous chunks, U = null text alone.

import { Magi1Error } from '@magi1/tensor';

export interface GuidanceTable {
  readonly cfgTRange: readonly number[];
  readonly prevChunkScales: readonly number[];
  readonly textScales: readonly number[];
}

export interface GuidanceScales {
  /** Which range of the table t lies in. */
  readonly index: number;
  /** p, float32 */
  readonly prevChunk: number;
  /** s, float32 */
  readonly text: number;
}

const f32 = Math.fround;

/** @throws Magi1Error for scales that float32 does not hold */
export function checkGuidance({ prevChunkScales, textScales }: GuidanceTable): void {
  const scales = { prev_chunk_scales: prevChunkScales, text_scales: textScales };
  for (const [name, values] of Object.entries(scales)) {
    const bad = values.find((value) => !Number.isFinite(f32(value)));
    if (bad !== undefined) throw new Magi1Error(`${name}: numbers that float32 holds expected, got ${bad}`);
  }
}

/** Looks up t (a float32). A range begins 1e-7 before its bound; compared in float32 as the original does. */
export function guidanceScales(table: GuidanceTable, t: number): GuidanceScales {
  const index = table.cfgTRange.filter((bound) => f32(f32(bound) - f32(1e-7)) < t).length - 1;
  const prevChunk = table.prevChunkScales[index];
  const text = table.textScales[index];
  if (prevChunk === undefined || text === undefined) throw new RangeError(`guidance table has no range for t = ${t}`);
  return { index, prevChunk: f32(prevChunk), text: f32(text) };
}

/** Replaces the text guidance wherever the checkpoint guides by text at all (7.5 in the first three ranges as shipped). */
export function withTextGuidance(table: GuidanceTable, scale: number): GuidanceTable {
  return { ...table, textScales: table.textScales.map((own) => (own === 0 ? 0 : scale)) };
}
