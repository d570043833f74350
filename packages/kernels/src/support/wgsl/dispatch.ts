// How a dispatch is shaped: storage types, grids, and which adapters get the programs of one subgroup per workgroup.
import { OpError } from '@magi1/tensor';
import type { DType, WebGpuCapabilities } from '@magi1/tensor';

/** WGSL element type under which a dtype is bound: 32-bit types as they are, narrower ones packed in `u32` words. */
export function storageType(dtype: DType): 'f32' | 'i32' | 'u32' {
  return dtype === 'f32' || dtype === 'i32' ? dtype : 'u32';
}

/** Workgroups for `count` of them in one line, folded over y when x alone would pass the device's limit. */
export function foldWorkgroups(op: string, count: number, capabilities: WebGpuCapabilities): [number, number, number] {
  const most = capabilities.maxWorkgroupsPerDimension;
  if (count <= most) return [Math.max(count, 1), 1, 1];
  const y = Math.ceil(count / most);
  if (y > most) throw new OpError(op, `${count} workgroups are more than the device's ${most} x ${most}`);
  return [Math.ceil(count / y), y, 1];
}

/** The index of a workgroup in a dispatch shaped by `foldWorkgroups`. */
export const WORKGROUP_INDEX = /* wgsl */ `
fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }
`;

/** Invocations of a workgroup of `MAIN`. */
const LANES = 64;

/** Begins `main` of a program in which every invocation does the same: `i` is its number, counted from an expression on. */
export const mainFrom = (first: string): string => /* wgsl */ `@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = ${first}workgroup_index(id, count) * ${LANES}u + lane;`;

/** As `mainFrom`, from 0 to past the last. */
export const MAIN = mainFrom('');

/** Workgroups for so many invocations of `MAIN`. */
export const gridOf = (op: string, invocations: number, capabilities: WebGpuCapabilities): [number, number, number] =>
  foldWorkgroups(op, Math.ceil(invocations / LANES), capabilities);

/**
 * Lanes of a subgroup on a software adapter whose subgroups all have 4 or 8; else 0. There, programs without barriers were
 * measured 3 to 5 times as fast as tiled ones; on GPUs the opposite holds.
 */
export function softwareLanes(capabilities: WebGpuCapabilities): number {
  const { software, subgroups, subgroupMinSize, subgroupMaxSize } = capabilities;
  const usable = subgroupMinSize === subgroupMaxSize && (subgroupMinSize === 4 || subgroupMinSize === 8);
  return software && subgroups && usable ? subgroupMinSize : 0;
}
