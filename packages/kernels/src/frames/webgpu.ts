// WGSL between video tensors and packed frames.
import type { WebGpuOf } from '@magi1/tensor';
import { WORKGROUP_INDEX, gridOf } from '../support/wgsl/dispatch.ts';
import { cutDispatches, elementsOf, wholeAndPart } from '../support/wgsl/parts.ts';
import type { CutOperand } from '../support/wgsl/parts.ts';
import type { FramesToUint8, Uint8ToVideo } from './contract.ts';

const PLANES = ['red', 'green', 'blue'] as const;

const sampleOf = (at: (operand: string, index: string) => string) => /* wgsl */ `
fn sample(colour: u32, at: u32) -> f32 {
  switch colour {
    case 0u: { return red[${at('red', 'at')}]; }
    case 1u: { return green[${at('green', 'at')}]; }
    default: { return blue[${at('blue', 'at')}]; }
  }
}
`;

/** One word of the output per invocation. A part binds the three planes of colour each by itself. */
const toUint8 = wholeAndPart({ operands: [...PLANES, 'frames'], size: 'words' }, ({ part, main, at }) => ({
  name: 'framesToUint8',
  bindings: () => [
    ...(part ? PLANES : ['y']).map((name) => ({ name, type: 'array<f32>', access: 'read' as const })),
    { name: 'frames', type: 'array<u32>', access: 'read_write' },
  ],
  params: { words: 'u32', pixels: 'u32', plane: 'u32', zero: 'u32' },
  source: () => /* wgsl */ `
${WORKGROUP_INDEX}${part ? sampleOf(at) : ''}
fn level(byte: u32) -> u32 {
  let pixel = min(byte / 3u, params.pixels - 1u);
  let clip = pixel / params.plane;
  let at = (clip * 2u + byte % 3u) * params.plane + pixel;
  // Truncation shows every rounding: the exclusive or with 0 keeps compilers from fusing product and sum.
  let scaled = bitcast<u32>(${part ? 'sample(byte % 3u, at)' : 'y[at]'} * 127.5) ^ params.zero;
  // clamp need not make 0 of NaN.
  return select(u32(clamp(bitcast<f32>(scaled) + 127.5, 0.0, 255.0)), 0u, (scaled & 0x7fffffffu) > 0x7f800000u);
}

${main}
  if (i >= params.words) { return; }
  var word = 0u;
  for (var k = 0u; k < 4u; k++) { word |= level(4u * i + k) << (8u * k); }
  frames[${at('frames', 'i')}] = word;
}
`,
}));

/** One pixel per invocation. A part makes one colour, since the three planes lie apart. */
const toVideo = wholeAndPart({ operands: ['frames', 'y'], size: 'pixels' }, ({ part, main, at }) => ({
  name: 'uint8ToVideo',
  bindings: () => [
    { name: 'frames', type: 'array<u32>', access: 'read' },
    { name: 'y', type: 'array<f32>', access: 'read_write' },
  ],
  // A literal divisor would become a multiplication, off in the last place for half of the bytes.
  params: { pixels: 'u32', most: 'f32', ...(part ? { plane: 'u32' as const, colour: 'u32' as const } : {}) },
  source: () => /* wgsl */ `
${WORKGROUP_INDEX}

${main}
  if (i >= params.pixels) { return; }
  for (var c = ${part ? 'params.colour' : '0u'}; c < ${part ? 'params.colour + 1u' : '3u'}; c++) {
    let byte = 3u * i + c;
    let level = (frames[${at('frames', 'byte / 4u')}] >> (8u * (byte % 4u))) & 255u;
    // u / 127.5 - 1 without the cancellation.
    y[${at('y', `c * params.${part ? 'plane' : 'pixels'} + i`)}] = f32(2 * i32(level) - 255) / params.most;
  }
}
`,
}));

export const framesToUint8WebGpu: WebGpuOf<FramesToUint8> = ({ inputs: { y: video }, y }, capabilities) => {
  const pixels = video.size / 3;
  const words = Math.ceil((3 * pixels) / 4);
  const plane = pixels / video.shape[0]!;
  const params = { pixels, plane, zero: 0 };
  if (video.byteLength <= capabilities.maxBindingBytes) {
    const bindings = { y: video, frames: y };
    const workgroups = gridOf('framesToUint8', words, capabilities);
    return [{ program: toUint8.whole, variant: {}, bindings, params: { words, ...params }, workgroups }];
  }
  const planes = PLANES.map((name, colour): [string, CutOperand] => {
    const place = (pixel: number) => (2 * Math.floor(pixel / plane) + colour) * plane + pixel;
    const bytes = (start: number, end: number) =>
      [
        4 * place(Math.floor((4 * start) / 3)),
        4 * (place(Math.min(Math.ceil((4 * end) / 3), pixels) - 1) + 1),
      ] as const;
    return [name, [video, bytes, 4]];
  });
  const operands = { ...Object.fromEntries(planes), frames: elementsOf(y) };
  return cutDispatches('framesToUint8', toUint8, { size: words, operands, variant: {}, params }, capabilities);
};

export const uint8ToVideoWebGpu: WebGpuOf<Uint8ToVideo> = ({ inputs: { frames }, y }, capabilities) => {
  const pixels = frames.size / 3;
  if (y.byteLength <= capabilities.maxBindingBytes) {
    const [bindings, params] = [
      { frames, y },
      { pixels, most: 255 },
    ];
    const workgroups = gridOf('uint8ToVideo', pixels, capabilities);
    return [{ program: toVideo.whole, variant: {}, bindings, params, workgroups }];
  }
  return PLANES.flatMap((_, colour) => {
    const plane = (start: number, end: number) => [4 * (colour * pixels + start), 4 * (colour * pixels + end)] as const;
    const operands = {
      frames: [frames, (start, end) => [3 * start, 3 * end], 4],
      y: [y, plane, 4],
    } satisfies Record<string, CutOperand>;
    const params = { most: 255, plane: pixels, colour };
    return cutDispatches('uint8ToVideo', toVideo, { size: pixels, operands, variant: {}, params }, capabilities);
  });
};
