// WGSL of maxMagnitude: an invocation has a stretch to itself. Bound as words, since shaders may assume that there is no NaN.
import type { WebGpuOf, WgslProgram } from '@magi1/tensor';
import { WORKGROUP_INDEX, foldWorkgroups } from '../support/wgsl/dispatch.ts';
import { rowRanges } from '../support/wgsl/row-ranges.ts';
import { MAGNITUDE_BITS, STRETCH } from './contract.ts';
import type { MaxMagnitude } from './contract.ts';

const program: WgslProgram<Record<string, never>> = {
  name: 'maxMagnitude',
  bindings: () => [
    { name: 'x', type: 'array<u32>', access: 'read' },
    { name: 'y', type: 'array<i32>', access: 'read_write' },
  ],
  params: { size: 'u32', stretch: 'u32' },
  source: () => /* wgsl */ `
${WORKGROUP_INDEX}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let part = workgroup_index(id, count) * 64u + lane;
  let start = part * params.stretch;
  if (start >= params.size) { return; }
  var most = 0u;
  for (var k = start; k < min(start + params.stretch, params.size); k++) { most = max(most, x[k] & ${MAGNITUDE_BITS}u); }
  y[part] = i32(most);
}
`,
};

export const webgpu: WebGpuOf<MaxMagnitude> = ({ inputs: { x }, y }, capabilities) =>
  rowRanges('maxMagnitude', y.size, [4 * STRETCH, 4], capabilities).map((range) => ({
    program,
    variant: {},
    bindings: { x: range.window(x, 4 * STRETCH), y: range.window(y, 4) },
    params: { size: Math.min(x.size - range.start * STRETCH, range.count * STRETCH), stretch: STRETCH },
    workgroups: foldWorkgroups('maxMagnitude', Math.ceil(range.count / 64), capabilities),
  }));
