// WGSL of rope: one element of the output per invocation.
import type { OpDefinition, WgslProgram } from '@magi1/tensor';
import { rowRanges } from '../support/rowRanges.ts';
import { WORKGROUP_INDEX, foldWorkgroups } from '../support/wgsl.ts';
import type { RopeParams } from './index.ts';

const program: WgslProgram = {
  name: 'rope',
  bindings: () => [
    { name: 'x', type: 'array<f32>', access: 'read' },
    { name: 'cosines', type: 'array<f32>', access: 'read' },
    { name: 'sines', type: 'array<f32>', access: 'read' },
    { name: 'y', type: 'array<f32>', access: 'read_write' },
  ],
  params: { size: 'u32', heads: 'u32', features: 'u32', columns: 'u32' },
  source: () => /* wgsl */ `
${WORKGROUP_INDEX}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(id, count) * 64u + lane;
  if (i >= params.size) { return; }
  let row = i / params.features;
  let feature = i - row * params.features;
  let value = x[i];
  if (feature >= 2u * params.columns) {
    y[i] = value;
    return;
  }
  let first = feature < params.columns;
  let column = select(feature - params.columns, feature, first);
  let partner = x[select(i - params.columns, i + params.columns, first)];
  let angle = row / params.heads * params.columns + column;
  let sine = select(sines[angle], -sines[angle], first);
  y[i] = value * cosines[angle] + partner * sine;
}
`,
};

export const webgpu: NonNullable<OpDefinition<'x' | 'cos' | 'sin', never, RopeParams>['webgpu']> = (
  { inputs: { x, cos, sin }, outputs },
  capabilities,
) => {
  const [tokens, heads, features] = x.shape as [number, number, number];
  const columns = cos.shape[1]!;
  const token = heads * features;
  return rowRanges('rope', tokens, columns === 0 ? [4 * token] : [4 * token, 4 * columns], capabilities).map((range) => ({
    program,
    variant: {},
    bindings: {
      x: range.window(x, 4 * token),
      cosines: range.window(cos, 4 * columns),
      sines: range.window(sin, 4 * columns),
      y: range.window(outputs[0]!, 4 * token),
    },
    params: { size: range.count * token, heads, features, columns },
    workgroups: foldWorkgroups('rope', Math.ceil((range.count * token) / 64), capabilities),
  }));
};
