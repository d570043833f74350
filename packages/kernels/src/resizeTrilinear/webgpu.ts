// WGSL of resizeTrilinear: one element or quad of the output per invocation.
import { rowMajorStrides } from '@magi1/tensor';
import type { WebGpuOf, WgslProgram } from '@magi1/tensor';
import { MAIN, WORKGROUP_INDEX, gridOf } from '../support/wgsl/dispatch.ts';
import { valueType } from '../support/wgsl/functions.ts';
import type { ResizeTrilinear } from './contract.ts';
import { tapTables } from './taps.ts';

/** `wide`: channels go in quads. */
type ResizeVariant = { readonly wide: boolean };

const program: WgslProgram<ResizeVariant> = {
  name: 'resizeTrilinear',
  bindings: ({ wide }) => [
    { name: 'x', type: wide ? 'array<vec4f>' : 'array<f32>', access: 'read' },
    { name: 'offsets', type: 'array<vec2u>', access: 'read' },
    { name: 'weights', type: 'array<f32>', access: 'read' },
    { name: 'y', type: wide ? 'array<vec4f>' : 'array<f32>', access: 'read_write' },
  ],
  params: { size: 'u32', channels: 'u32', frames: 'u32', height: 'u32', width: 'u32' },
  source: ({ wide }) => /* wgsl */ `
${WORKGROUP_INDEX}
${valueType(wide)}
fn between(a: T, b: T, weight: f32) -> T { return a * (1.0 - weight) + b * weight; }
fn row_at(start: u32, w: vec2u, weight: f32) -> T { return between(x[start + w.x], x[start + w.y], weight); }

${MAIN}
  if (i >= params.size) { return; }
  let position = i / params.channels;
  let row = position / params.width;
  let t = row / params.height;
  let h = params.frames + row % params.height;
  let w = params.frames + params.height + position % params.width;
  let channel = i % params.channels;
  var planes = array<T, 2>();
  for (var k = 0u; k < 2u; k++) {
    let start = offsets[t][k] + channel;
    let upper = row_at(start + offsets[h].x, offsets[w], weights[w]);
    let lower = row_at(start + offsets[h].y, offsets[w], weights[w]);
    planes[k] = between(upper, lower, weights[h]);
  }
  y[i] = between(planes[0], planes[1], weights[t]);
}
`,
};

export const webgpu: WebGpuOf<ResizeTrilinear> = ({ inputs: { x }, y, params: { size } }, capabilities) => {
  const wide = x.shape[3]! % 4 === 0;
  const unit = wide ? 4 : 1;
  const [frames, height, width] = size;
  const strides = rowMajorStrides(x.shape).map((stride) => stride / unit);
  const elements = y.size / unit;
  return [
    {
      program,
      variant: { wide },
      bindings: { x, y, ...tapTables(x.shape, size, strides) },
      params: { size: elements, channels: x.shape[3]! / unit, frames, height, width },
      workgroups: gridOf('resizeTrilinear', elements, capabilities),
    },
  ];
};
