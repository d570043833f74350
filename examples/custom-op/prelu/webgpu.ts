// WGSL of PReLU: a vector of four (or one element, when rows do not consist of whole vectors) per invocation.
import { WORKGROUP_INDEX, foldWorkgroups, rowRanges } from '@magi1/kernels/support';
import type { WebGpuOf, WgslProgram } from '@magi1/tensor';
import type { Prelu } from './contract.ts';

const LANES = 64;

const program: WgslProgram<{ readonly wide: boolean }> = {
  name: 'prelu',
  bindings: ({ wide }) => {
    const type = wide ? 'array<vec4f>' : 'array<f32>';
    return [
      { name: 'x', type, access: 'read' },
      { name: 'slope', type, access: 'read' },
      { name: 'y', type, access: 'read_write' },
    ];
  },
  params: { size: 'u32', features: 'u32' },
  source({ wide }) {
    const type = wide ? 'vec4f' : 'f32';
    return /* wgsl */ `
${WORKGROUP_INDEX}
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(id, count) * ${LANES}u + lane;
  if (i < params.size) {
    y[i] = select(slope[i % params.features] * x[i], x[i], x[i] > ${type}());
  }
}
`;
  },
};

export const webgpu: WebGpuOf<Prelu> = ({ inputs: { x, slope }, y }, capabilities) => {
  const features = slope.size;
  const wide = features % 4 === 0;
  const unit = wide ? 4 : 1;
  // One range, unless x is larger than one binding may be.
  const operands = { x: [x, 4 * features], y: [y, 4 * features] } as const;
  return rowRanges('prelu', x.size / features, operands, capabilities).map((range) => {
    const size = (range.count * features) / unit;
    return {
      program,
      variant: { wide },
      bindings: { ...range.bindings, slope },
      params: { size, features: features / unit },
      workgroups: foldWorkgroups('prelu', Math.ceil(size / LANES), capabilities),
    };
  });
};
