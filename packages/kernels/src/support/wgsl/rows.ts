// Shared WGSL of ops that reduce rows: `lanes` neighbouring invocations of a workgroup share one row.
import type { WebGpuCapabilities } from '@magi1/tensor';
import { WORKGROUP_INDEX, foldWorkgroups } from './dispatch.ts';
import { valueType } from './functions.ts';

export type RowVariant = {
  /** Rows are read in quads: their length is a multiple of 4. */
  readonly wide: boolean;
  /** Invocations share rows and meet at barriers; otherwise one invocation has a row to itself. */
  readonly shared: boolean;
};

/** How rows are spread over invocations. */
export interface RowLayout {
  readonly variant: RowVariant;
  /** Invocations per row, a power of two; 1 when not shared. */
  readonly lanes: number;
  /** Vectors (quads or single elements) per row. */
  readonly steps: number;
}

const workgroupSize = ({ shared }: RowVariant): number => (shared ? 256 : 8);

export function rowLayout(features: number, capabilities: WebGpuCapabilities): RowLayout {
  const wide = features % 4 === 0;
  const steps = wide ? features / 4 : features;
  // Software adapters run a workgroup on one core: sharing a row gains nothing there, and its barriers cost.
  if (capabilities.software) return { variant: { wide, shared: false }, lanes: 1, steps };
  let lanes = 8;
  while (lanes < 256 && lanes * 4 < steps) lanes *= 2;
  return { variant: { wide, shared: true }, lanes, steps };
}

export function rowWorkgroups(
  op: string,
  rows: number,
  { variant, lanes }: RowLayout,
  capabilities: WebGpuCapabilities,
): [number, number, number] {
  return foldWorkgroups(op, Math.ceil((rows * lanes) / workgroupSize(variant)), capabilities);
}

/** Up to this many elements per lane are summed apart before they join the total, which keeps rounding small. */
const RUN = 32;

const SHARED_REDUCTIONS = /* wgsl */ `
var<workgroup> partial: array<vec2f, 256>;

fn reduce_sum(value: vec2f, lane: u32, slot: u32) -> vec2f {
  partial[slot] = value;
  workgroupBarrier();
  for (var half = params.lanes / 2u; half > 0u; half /= 2u) {
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
  for (var half = params.lanes / 2u; half > 0u; half /= 2u) {
    if (lane < half) { partial[slot].x = max(partial[slot].x, partial[slot + half].x); }
    workgroupBarrier();
  }
  let most = partial[slot - lane].x;
  workgroupBarrier();
  return most;
}
`;

const OWN_REDUCTIONS = /* wgsl */ `
fn reduce_sum(value: vec2f, lane: u32, slot: u32) -> vec2f { return value; }
fn reduce_max(value: f32, lane: u32, slot: u32) -> f32 { return value; }
`;

/**
 * Head of a row program with parameters `rows` and `lanes`: types, `reduce_sum` (of two sums at once) and `reduce_max`
 * over the lanes of a row, and the entry point. The source must define
 * `fn main_row(row: u32, lane: u32, slot: u32, live: bool)`: the lane's steps are lane, lane + LANES and so on, in runs of
 * RUN_STEP; `live` is false for rows past the last, which take part in reductions and store nothing.
 */
export const rowHead = (variant: RowVariant): string => /* wgsl */ `
${WORKGROUP_INDEX}
${valueType(variant.wide)}
fn across_sum(v: T) -> f32 { return ${variant.wide ? '(v.x + v.y) + (v.z + v.w)' : 'v'}; }
fn across_max(v: T) -> f32 { return ${variant.wide ? 'max(max(v.x, v.y), max(v.z, v.w))' : 'v'}; }
const RUN = ${RUN}u;
${variant.shared ? SHARED_REDUCTIONS : OWN_REDUCTIONS}
@compute @workgroup_size(${workgroupSize(variant)})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) slot: u32) {
  let invocation = workgroup_index(id, count) * ${workgroupSize(variant)}u + slot;
  let row = invocation / params.lanes;
  main_row(min(row, params.rows - 1u), invocation % params.lanes, slot, row < params.rows);
}
`;
