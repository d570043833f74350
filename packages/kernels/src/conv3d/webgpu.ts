// WGSL of conv3d: an invocation computes eight neighbouring positions along the width for up to four filters.
import type { DType, WebGpuOf, WgslProgram } from '@magi1/tensor';
import { decodeOne } from '../support/wgsl/decode.ts';
import { MAIN, WORKGROUP_INDEX, gridOf } from '../support/wgsl/dispatch.ts';
import { rowRanges } from '../support/wgsl/row-ranges.ts';
import { filtersTogether } from './contract.ts';
import type { Conv3d } from './contract.ts';

type ConvVariant = {
  readonly weight: DType;
  readonly bias: boolean;
  /** Filters that an invocation computes together. */
  readonly filters: number;
  /** Neighbouring outputs read neighbouring inputs. */
  readonly unitStride: boolean;
};

const POSITIONS = 8;

const SIZES = [
  ...['batch', 'channels', 'frames', 'height', 'width'],
  ...['out_frames', 'out_height', 'out_width', 'filters'],
  ...['kernel_t', 'kernel_h', 'kernel_w', 'stride_t', 'stride_h', 'stride_w', 'pad_t', 'pad_h', 'pad_w'],
];

const four = (value: (n: number) => string, first: number): string =>
  `vec4f(${[0, 1, 2, 3].map((n) => value(first + n)).join(', ')})`;

const program: WgslProgram<ConvVariant> = {
  name: 'conv3d',
  bindings: ({ weight, bias }) => [
    { name: 'x', type: 'array<f32>', access: 'read' },
    { name: 'weight', type: `array<${decodeOne(weight, 'weight').type}>`, access: 'read' },
    ...(bias ? [{ name: 'bias', type: 'array<f32>', access: 'read' as const }] : []),
    { name: 'y', type: 'array<f32>', access: 'read_write' },
  ],
  // A literal 0 would be folded.
  params: {
    invocations: 'u32',
    groups: 'u32',
    zero: 'f32',
    ...Object.fromEntries(SIZES.map((name) => [name, 'i32' as const])),
  },
  source({ weight, bias, filters, unitStride }) {
    const all = Array.from({ length: filters }, (_, f) => f);
    const start = all.map(
      (f) => `
  var low${f} = vec4f(${bias ? `bias[filter0 + ${f}]` : ''});
  var high${f} = low${f};
  var padded${f} = 0.0;`,
    );
    const stepped = `
          low_x = ${four((n) => `x_at(row, left + k + ${n} * params.stride_w)`, 0)};
          high_x = ${four((n) => `x_at(row, left + k + ${n} * params.stride_w)`, 4)};`;
    const slid = `
          low_x = vec4f(low_x.yzw, high_x.x);
          high_x = vec4f(high_x.yzw, x_at(row, left + k + 7));`;
    const before = unitStride
      ? `low_x = ${four((n) => (n === 0 ? '0.0' : `x_at(row, left + ${n - 1})`), 0)};
        high_x = ${four((n) => `x_at(row, left + ${n - 1})`, 4)};`
      : '';
    const products = all.map(
      (f) => `
          let w${f} = decode_at(u32(tap + ${f} * filter_size + k));
          low${f} += low_x * w${f};
          high${f} += high_x * w${f};`,
    );
    const outside = all.map(
      (f) => `
            padded${f} += decode_at(u32(tap + ${f} * filter_size + k)) * params.zero;`,
    );
    const stores = all.map(
      (f) => `
  low${f} += padded${f};
  high${f} += padded${f};
  store(base + ${f} * plane, w, low${f});
  store(base + ${f} * plane, w + 4, high${f});`,
    );
    return /* wgsl */ `
${WORKGROUP_INDEX}
${decodeOne(weight, 'weight').code}
fn x_at(row: i32, w: i32) -> f32 {
  let inside = w >= 0 && w < params.width;
  return select(0.0, x[row + select(0, w, inside)], inside);
}
fn store(row: i32, w: i32, values: vec4f) {
  for (var n = 0; n < min(4, params.out_width - w); n++) { y[row + w + n] = values[n]; }
}

${MAIN}
  if (i >= params.invocations) { return; }
  let out_row = i32(i / params.groups);
  let w = i32(i % params.groups) * ${POSITIONS};
  let h = out_row % params.out_height;
  let out_frame = out_row / params.out_height;
  let t = out_frame % params.out_frames;
  let filter_blocks = params.filters / ${filters};
  let clip_block = out_frame / params.out_frames;
  let filter0 = (clip_block % filter_blocks) * ${filters};
  let item = clip_block / filter_blocks;
  let filter_size = params.channels * params.kernel_t * params.kernel_h * params.kernel_w;
  let left = w * params.stride_w - params.pad_w;${start.join('')}
  for (var c = 0; c < params.channels; c++) {
    for (var dt = 0; dt < params.kernel_t; dt++) {
      let frame = t * params.stride_t + dt - params.pad_t;
      for (var dh = 0; dh < params.kernel_h; dh++) {
        let line = h * params.stride_h + dh - params.pad_h;
        let tap = filter0 * filter_size + ((c * params.kernel_t + dt) * params.kernel_h + dh) * params.kernel_w;
        if (frame < 0 || frame >= params.frames || line < 0 || line >= params.height) {
          // Products with zeros: NaN for a weight that is not finite.
          for (var k = 0; k < params.kernel_w; k++) {${outside.join('')}
          }
          continue;
        }
        let row = (((item * params.channels + c) * params.frames + frame) * params.height + line) * params.width;
        var low_x: vec4f;
        var high_x: vec4f;
        ${before}
        for (var k = 0; k < params.kernel_w; k++) {${unitStride ? slid : stepped}${products.join('')}
        }
      }
    }
  }
  let plane = params.out_frames * params.out_height * params.out_width;
  let base = (item * params.filters + filter0) * plane + (t * params.out_height + h) * params.out_width;${stores.join('')}
}
`;
  },
};

export const webgpu: WebGpuOf<Conv3d> = (
  { inputs: { x, weight, bias }, y, params: { padding, stride } },
  capabilities,
) => {
  const together = filtersTogether(weight.shape[0]!);
  const [outFrames, outHeight, outWidth] = y.shape.slice(2) as [number, number, number];
  const groups = Math.ceil(outWidth / POSITIONS);
  const [xBytes, yBytes] = [x.byteLength / x.shape[0]!, y.byteLength / x.shape[0]!];
  const sizes = [...x.shape, ...y.shape.slice(2), weight.shape[0]!, ...weight.shape.slice(2), ...stride, ...padding];
  return rowRanges('conv3d', x.shape[0]!, [xBytes, yBytes], capabilities).map((range) => {
    const invocations = (range.count * weight.shape[0]! * outFrames * outHeight * groups) / together;
    return {
      program,
      variant: { weight: weight.dtype, bias: bias !== undefined, filters: together, unitStride: stride[2] === 1 },
      bindings: { x: range.window(x, xBytes), weight, ...(bias && { bias }), y: range.window(y, yBytes) },
      params: { invocations, groups, zero: 0, ...Object.fromEntries(SIZES.map((name, i) => [name, sizes[i]!])) },
      workgroups: gridOf('conv3d', invocations, capabilities),
    };
  });
};
