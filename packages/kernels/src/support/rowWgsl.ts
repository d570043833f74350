// Shared WGSL of ops that reduce rows: `LANES` neighbouring invocations of a workgroup share one row.
import type { WebGpuCapabilities } from '@magi1/tensor';
import { WORKGROUP_INDEX } from './wgsl.ts';
import { valueType } from './wgslFunctions.ts';

export type RowVariant = {
  /** Rows are read in quads: their length is a multiple of 4. */
  readonly wide: boolean;
  /** Invocations per row, a power of two. */
  readonly lanes: number;
  /** Invocations per workgroup, a multiple of `lanes`. */
  readonly workgroup: number;
};

/** How rows of `features` elements are spread over invocations. */
export function rowVariant(features: number, capabilities: WebGpuCapabilities): RowVariant {
  const wide = features % 4 === 0;
  // Software adapters: one SIMD register per row, since their barriers are dear beyond it.
  if (capabilities.software) return { wide, lanes: 8, workgroup: 8 };
  const steps = wide ? features / 4 : features;
  let lanes = 8;
  while (lanes < 256 && lanes * 4 < steps) lanes *= 2;
  return { wide, lanes, workgroup: 256 };
}

/** Sums of up to this many elements per lane are made apart and then added, which keeps rounding small. */
const RUN = 32;

/**
 * Head of a row program: types, `reduce` (of a pair of sums or of a maximum over the lanes of a row) and the loop over a
 * row's elements. The source must define `fn main_row(row: u32, lane: u32, slot: u32, live: bool)`; `live` is false for
 * rows past the last, which take part in the barriers and store nothing.
 */
export const rowHead = ({ wide, lanes, workgroup }: RowVariant): string => /* wgsl */ `
${WORKGROUP_INDEX}
${valueType(wide)}
const LANES = ${lanes}u;
const RUN_STEP = ${RUN * lanes}u;
fn across_sum(v: T) -> f32 { return ${wide ? '(v.x + v.y) + (v.z + v.w)' : 'v'}; }
fn across_max(v: T) -> f32 { return ${wide ? 'max(max(v.x, v.y), max(v.z, v.w))' : 'v'}; }

var<workgroup> partial: array<vec2f, ${workgroup}>;

fn reduce_sum(value: vec2f, lane: u32, slot: u32) -> vec2f {
  partial[slot] = value;
  workgroupBarrier();
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partial[slot] += partial[slot + half]; }
    workgroupBarrier();
  }
  let total = partial[slot - lane];
  workgroupBarrier();
  return total;
}

fn reduce_max(value: f32, lane: u32, slot: u32) -> f32 {
  partial[slot].x = value;
  workgroupBarrier();
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partial[slot].x = max(partial[slot].x, partial[slot + half].x); }
    workgroupBarrier();
  }
  let most = partial[slot - lane].x;
  workgroupBarrier();
  return most;
}

@compute @workgroup_size(${workgroup})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) slot: u32) {
  let row = workgroup_index(id, count) * ${workgroup / lanes}u + slot / LANES;
  main_row(min(row, params.rows - 1u), slot % LANES, slot, row < params.rows);
}
`;

/** Workgroups that `rows` rows need. */
export const rowWorkgroups = (rows: number, { lanes, workgroup }: RowVariant): number =>
  Math.ceil((rows * lanes) / workgroup);
