// Which adapters get the programs made for one subgroup per workgroup.
import type { WebGpuCapabilities } from '@magi1/tensor';

/**
 * Lanes of a subgroup on a software adapter whose subgroups all have 4 or 8; else 0. There, programs without barriers were
 * measured 3 to 5 times as fast as tiled ones; on GPUs the opposite holds.
 */
export function softwareLanes(capabilities: WebGpuCapabilities): number {
  const { software, subgroups, subgroupMinSize, subgroupMaxSize } = capabilities;
  const usable = subgroupMinSize === subgroupMaxSize && (subgroupMinSize === 4 || subgroupMinSize === 8);
  return software && subgroups && usable ? subgroupMinSize : 0;
}
