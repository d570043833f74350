// WGSL of conv3d: an invocation computes eight neighbouring positions along the width for up to four filters.
import { bitsPerElement } from '@magi1/tensor';
import type { DType, WebGpuOf } from '@magi1/tensor';
import { decodeOne } from '../support/wgsl/decode.ts';
import { WORKGROUP_INDEX } from '../support/wgsl/dispatch.ts';
import { cutDispatches, wholeAndPart } from '../support/wgsl/parts.ts';
import type { CutOperand } from '../support/wgsl/parts.ts';
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

const CHANNELS = ['first_channel', 'end_channel'];

const four = (value: (n: number) => string, first: number): string =>
  `vec4f(${[0, 1, 2, 3].map((n) => value(first + n)).join(', ')})`;

// A part may also take some channels only: the first ones start sums in y, others add to them.
const cuts = { operands: ['x', 'weight', 'bias', 'y'], size: 'invocations', index: 'i32' } as const;
const programs = wholeAndPart<ConvVariant>(cuts, ({ part, main, at }) => ({
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
    ...Object.fromEntries([...SIZES, ...(part ? CHANNELS : [])].map((name) => [name, 'i32' as const])),
  },
  source({ weight, bias, filters, unitStride }) {
    const all = Array.from({ length: filters }, (_, f) => f);
    const start = all.map(
      (f) => `
  var low${f} = vec4f(${bias ? `bias[${at('bias', `filter0 + ${f}`)}]` : ''});
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
          let w${f} = decode_at(u32(${at('weight', `tap + ${f} * filter_size + k`)}));
          low${f} += low_x * w${f};
          high${f} += high_x * w${f};`,
    );
    const outside = all.map(
      (f) => `
            padded${f} += decode_at(u32(${at('weight', `tap + ${f} * filter_size + k`)})) * params.zero;`,
    );
    const stores = all.map(
      (f) => `
  low${f} += padded${f};
  high${f} += padded${f};
  store(base + ${f} * plane, w, low${f});
  store(base + ${f} * plane, w + 4, high${f});`,
    );
    const place = `
  let plane = params.out_frames * params.out_height * params.out_width;
  let base = (item * params.filters + filter0) * plane + (t * params.out_height + h) * params.out_width;`;
    const more = `
  if (params.first_channel > 0) {${all
    .map(
      (f) => `
    low${f} = load(base + ${f} * plane, w);
    high${f} = load(base + ${f} * plane, w + 4);`,
    )
    .join('')}
  }`;
    const load = `
fn load(row: i32, w: i32) -> vec4f {
  var values = vec4f();
  for (var n = 0; n < min(4, params.out_width - w); n++) { values[n] = y[${at('y', 'row + w + n')}]; }
  return values;
}`;
    return /* wgsl */ `
${WORKGROUP_INDEX}
${decodeOne(weight, 'weight').code}
fn x_at(row: i32, w: i32) -> f32 {
  let inside = w >= 0 && w < params.width;
  return select(0.0, x[${at('x', 'row + select(0, w, inside)')}], inside);
}
fn store(row: i32, w: i32, values: vec4f) {
  for (var n = 0; n < min(4, params.out_width - w); n++) { y[${at('y', 'row + w + n')}] = values[n]; }
}${part ? load : ''}

${main}
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
  let left = w * params.stride_w - params.pad_w;${part ? place : ''}${start.join('')}${part ? more : ''}
  for (var c = ${part ? 'params.first_channel' : '0'}; c < params.${part ? 'end_channel' : 'channels'}; c++) {
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
${part ? '' : place.slice(1)}${stores.join('')}
}
`;
  },
}));

type Bytes = CutOperand[1];

export const webgpu: WebGpuOf<Conv3d> = (
  { inputs: { x, weight, bias }, y, params: { padding, stride } },
  capabilities,
) => {
  const [, channels, frames, height, width] = x.shape as [number, number, number, number, number];
  const [filters, , ...kernel] = weight.shape as [number, number, number, number, number];
  const [outFrames, outHeight, outWidth] = y.shape.slice(2) as [number, number, number];
  const [plane, channel] = [outFrames * outHeight * outWidth, frames * height * width];
  // Filters that are computed together are planes of one binding.
  const { maxBindingBytes } = capabilities;
  const most = maxBindingBytes - 256;
  const together = y.byteLength <= maxBindingBytes || 16 * plane <= most ? filtersTogether(filters) : 1;
  const blocks = filters / together;
  const groups = Math.ceil(outWidth / POSITIONS);

  /** Where an invocation's line of the output lies. */
  const lineOf = (invocation: number) => {
    const row = Math.floor(invocation / groups);
    const [h, frame] = [row % outHeight, Math.floor(row / outHeight)];
    const block = Math.floor(frame / outFrames);
    return { h, t: frame % outFrames, block, filter: (block % blocks) * together, item: Math.floor(block / blocks) };
  };
  const yBytes: Bytes = (start, end) => {
    const base = (invocation: number) => {
      const { h, t, filter, item } = lineOf(invocation);
      return (item * filters + filter) * plane + (t * outHeight + h) * outWidth;
    };
    return [4 * base(start), 4 * (base(end - 1) + (together - 1) * plane + outWidth)];
  };
  const perFilter =
    (bytes: number): Bytes =>
    (start, end) => {
      const [first, last] = [lineOf(start), lineOf(end - 1)];
      return first.item === last.item ? [first.filter * bytes, (last.filter + together) * bytes] : [0, filters * bytes];
    };
  /** What outputs `first` to `last` along an axis read of x. */
  const read = (axis: 0 | 1, first: number, last: number): [number, number] => {
    const length = x.shape[axis + 2]!;
    const from = Math.min(Math.max(first * stride[axis] - padding[axis], 0), length);
    return [from, Math.max(Math.min(last * stride[axis] - padding[axis] + kernel[axis], length), from)];
  };
  const xBytes =
    (firstChannel: number, endChannel: number): Bytes =>
    (start, end) => {
      const [first, last] = [lineOf(start), lineOf(end - 1)];
      const [f0, f1] = first.block === last.block ? read(0, first.t, last.t) : [0, frames];
      const [l0, l1] = first.block === last.block && first.t === last.t ? read(1, first.h, last.h) : [0, height];
      const from = (first.item * channels + firstChannel) * channel + (f0 * height + l0) * width;
      const to = (last.item * channels + endChannel - 1) * channel + ((f1 - 1) * height + l1) * width;
      return [4 * from, 4 * Math.max(from, to)];
    };

  const values = [...x.shape, ...y.shape.slice(2), filters, ...kernel, ...stride, ...padding];
  const sizes = Object.fromEntries(SIZES.map((name, i) => [name, values[i]!]));
  const variant = { weight: weight.dtype, bias: bias !== undefined, filters: together, unitStride: stride[2] === 1 };
  const fitting = Math.min(Math.max(Math.floor(most / (4 * channel)), 1), channels);
  const channelsAtOnce = x.byteLength <= maxBindingBytes ? channels : fitting;
  const weightUnit = bitsPerElement(weight.dtype) / 8;
  const filterBytes = (weight.size / filters) * weightUnit;
  return Array.from({ length: Math.ceil(channels / channelsAtOnce) }, (_, i) => {
    const [firstChannel, endChannel] = [i * channelsAtOnce, Math.min((i + 1) * channelsAtOnce, channels)];
    const operands: Record<string, CutOperand> = {
      x: [x, xBytes(firstChannel, endChannel), 4],
      weight: [weight, perFilter(filterBytes), weightUnit],
      ...(bias && { bias: [bias, perFilter(4), 4] as const }),
      y: [y, yBytes, 4],
    };
    const size = (y.shape[0]! * filters * outFrames * outHeight * groups) / together;
    const params = { groups, zero: 0, ...sizes };
    const partParams = { first_channel: firstChannel, end_channel: endChannel };
    return cutDispatches('conv3d', programs, { size, operands, variant, params, partParams }, capabilities);
  }).flat();
};
