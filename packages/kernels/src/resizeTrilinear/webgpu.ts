// WGSL of resizeTrilinear: one element or quad of the output per invocation.
import { rowMajorStrides } from '@magi1/tensor';
import type { WebGpuOf } from '@magi1/tensor';
import { WORKGROUP_INDEX } from '../support/wgsl/dispatch.ts';
import { valueType } from '../support/wgsl/functions.ts';
import { cutDispatches, elementsOf, wholeAndPart } from '../support/wgsl/parts.ts';
import type { ResizeTrilinear } from './contract.ts';
import { interpolationTap, tapTables } from './taps.ts';

/** `wide`: channels go in quads. */
type ResizeVariant = { readonly wide: boolean };

const programs = wholeAndPart<ResizeVariant>({ operands: ['x', 'y'] }, ({ main, at }) => ({
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
fn row_at(start: u32, w: vec2u, weight: f32) -> T { return between(x[${at('x', 'start + w.x')}], x[${at('x', 'start + w.y')}], weight); }

${main}
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
  y[${at('y', 'i')}] = between(planes[0], planes[1], weights[t]);
}
`,
}));

export const webgpu: WebGpuOf<ResizeTrilinear> = ({ inputs: { x }, y, params: { size } }, capabilities) => {
  const wide = x.shape[3]! % 4 === 0;
  const unit = wide ? 4 : 1;
  const [frames, height, width] = size;
  const strides = rowMajorStrides(x.shape).map((stride) => stride / unit);
  const channels = x.shape[3]! / unit;
  const [frameBytes, lineBytes] = [4 * unit * strides[0]!, 4 * unit * strides[1]!];
  // Lines of x, from the first that some lines of one frame need to after the last, else whole frames.
  const bytes = (start: number, end: number) => {
    const [first, last] = [start, end - 1].map((i) => Math.floor(i / (channels * width))) as [number, number];
    const [t0, t1] = [Math.floor(first / height), Math.floor(last / height)];
    const h = (line: number) => interpolationTap(x.shape[1]!, height, line % height);
    const lines = t0 === t1 ? [h(first).left, h(last).right + 1] : [0, x.shape[1]!];
    return [
      interpolationTap(x.shape[0]!, frames, t0).left * frameBytes + lines[0]! * lineBytes,
      interpolationTap(x.shape[0]!, frames, t1).right * frameBytes + lines[1]! * lineBytes,
    ] as const;
  };
  return cutDispatches(
    'resizeTrilinear',
    programs,
    {
      size: y.size / unit,
      operands: { x: [x, bytes, 4 * unit], y: elementsOf(y, 4 * unit) },
      others: { ...tapTables(x.shape, size, strides) },
      variant: { wide },
      params: { channels, frames, height, width },
    },
    capabilities,
  );
};
