// WGSL of SwiGLU: one quad (or one element, when rows do not consist of whole quads) per invocation.
import type { WebGpuOf, WgslProgram } from '@magi1/tensor';
import { MAIN, WORKGROUP_INDEX, gridOf } from '../support/wgsl/dispatch.ts';
import { SILU, valueType } from '../support/wgsl/functions.ts';
import { rowRanges } from '../support/wgsl/row-ranges.ts';
import type { Swiglu } from './contract.ts';

const program: WgslProgram<{ readonly wide: boolean }> = {
  name: 'swiglu',
  bindings: ({ wide }) => [
    { name: 'x', type: wide ? 'array<vec4f>' : 'array<f32>', access: 'read' },
    { name: 'y', type: wide ? 'array<vec4f>' : 'array<f32>', access: 'read_write' },
  ],
  params: { size: 'u32', features: 'u32' },
  source: ({ wide }) => /* wgsl */ `
${WORKGROUP_INDEX}
${valueType(wide)}
${SILU}
${MAIN}
  if (i < params.size) {
    let gate = i + i / params.features * params.features;
    y[i] = silu(x[gate]) * x[gate + params.features];
  }
}
`,
};

export const webgpu: WebGpuOf<Swiglu> = ({ inputs: { x }, y }, capabilities) => {
  const features = y.shape.at(-1)!;
  const wide = features % 4 === 0;
  const step = wide ? features / 4 : features;
  return rowRanges('swiglu', y.size / features, [8 * features, 4 * features], capabilities).map((range) => ({
    program,
    variant: { wide },
    bindings: { x: range.window(x, 8 * features), y: range.window(y, 4 * features) },
    params: { size: range.count * step, features: step },
    workgroups: gridOf('swiglu', range.count * step, capabilities),
  }));
};
