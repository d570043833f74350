// WGSL of blendEdges: one element of the output per invocation.
import { elementCount } from '@magi1/tensor';
import type { WebGpuOf, WgslProgram } from '@magi1/tensor';
import { MAIN, WORKGROUP_INDEX, gridOf } from '../support/wgsl/dispatch.ts';
import { blendExtent } from './contract.ts';
import type { BlendEdges } from './contract.ts';

const program: WgslProgram = {
  name: 'blendEdges',
  bindings: () => [
    { name: 'previous', type: 'array<f32>', access: 'read' },
    { name: 'current', type: 'array<f32>', access: 'read' },
    { name: 'y', type: 'array<f32>', access: 'read_write' },
  ],
  params: { size: 'u32', inner: 'u32', length: 'u32', length_before: 'u32', extent: 'u32' },
  source: () => /* wgsl */ `
${WORKGROUP_INDEX}
${MAIN}
  if (i >= params.size) { return; }
  let run = i / params.inner;
  let outer = run / params.length;
  let k = run - outer * params.length;
  var value = current[i];
  if (k < params.extent) {
    let weight = f32(k) / f32(params.extent);
    let other = outer * params.length_before + params.length_before - params.extent + k;
    value = previous[other * params.inner + i % params.inner] * (1.0 - weight) + value * weight;
  }
  y[i] = value;
}
`,
};

export const webgpu: WebGpuOf<BlendEdges> = ({ inputs: { previous, current }, y, params }, capabilities) => {
  const { axis } = params;
  return [
    {
      program,
      variant: {},
      bindings: { previous, current, y },
      params: {
        size: current.size,
        inner: elementCount(current.shape.slice(axis + 1)),
        length: current.shape[axis]!,
        length_before: previous.shape[axis]!,
        extent: blendExtent(previous, current, params),
      },
      workgroups: gridOf('blendEdges', current.size, capabilities),
    },
  ];
};
