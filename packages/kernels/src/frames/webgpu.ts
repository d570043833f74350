// WGSL between video tensors and packed frames.
import type { WebGpuOf, WgslProgram } from '@magi1/tensor';
import { MAIN, WORKGROUP_INDEX, gridOf } from '../support/wgsl/dispatch.ts';
import type { FramesToUint8, Uint8ToVideo } from './contract.ts';

/** One word of the output per invocation. */
const toUint8: WgslProgram = {
  name: 'framesToUint8',
  bindings: () => [
    { name: 'y', type: 'array<f32>', access: 'read' },
    { name: 'frames', type: 'array<u32>', access: 'read_write' },
  ],
  params: { words: 'u32', pixels: 'u32', plane: 'u32', zero: 'u32' },
  source: () => /* wgsl */ `
${WORKGROUP_INDEX}
fn level(byte: u32) -> u32 {
  let pixel = min(byte / 3u, params.pixels - 1u);
  let clip = pixel / params.plane;
  let at = (clip * 2u + byte % 3u) * params.plane + pixel;
  // Truncation shows every rounding: the exclusive or with 0 keeps compilers from fusing product and sum.
  let scaled = bitcast<u32>(y[at] * 127.5) ^ params.zero;
  // clamp need not make 0 of NaN.
  return select(u32(clamp(bitcast<f32>(scaled) + 127.5, 0.0, 255.0)), 0u, (scaled & 0x7fffffffu) > 0x7f800000u);
}

${MAIN}
  if (i >= params.words) { return; }
  var word = 0u;
  for (var k = 0u; k < 4u; k++) { word |= level(4u * i + k) << (8u * k); }
  frames[i] = word;
}
`,
};

/** One pixel per invocation. */
const toVideo: WgslProgram = {
  name: 'uint8ToVideo',
  bindings: () => [
    { name: 'frames', type: 'array<u32>', access: 'read' },
    { name: 'y', type: 'array<f32>', access: 'read_write' },
  ],
  // A literal divisor would become a multiplication, off in the last place for half of the bytes.
  params: { pixels: 'u32', most: 'f32' },
  source: () => /* wgsl */ `
${WORKGROUP_INDEX}

${MAIN}
  if (i >= params.pixels) { return; }
  for (var c = 0u; c < 3u; c++) {
    let byte = 3u * i + c;
    let level = (frames[byte / 4u] >> (8u * (byte % 4u))) & 255u;
    // u / 127.5 - 1 without the cancellation.
    y[c * params.pixels + i] = f32(2 * i32(level) - 255) / params.most;
  }
}
`,
};

export const framesToUint8WebGpu: WebGpuOf<FramesToUint8> = ({ inputs: { y: video }, y }, capabilities) => {
  const pixels = video.size / 3;
  const words = Math.ceil((3 * pixels) / 4);
  return [
    {
      program: toUint8,
      variant: {},
      bindings: { y: video, frames: y },
      params: { words, pixels, plane: pixels / video.shape[0]!, zero: 0 },
      workgroups: gridOf('framesToUint8', words, capabilities),
    },
  ];
};

export const uint8ToVideoWebGpu: WebGpuOf<Uint8ToVideo> = ({ inputs: { frames }, y }, capabilities) => {
  const pixels = frames.size / 3;
  return [
    {
      program: toVideo,
      variant: {},
      bindings: { frames, y },
      params: { pixels, most: 255 },
      workgroups: gridOf('uint8ToVideo', pixels, capabilities),
    },
  ];
};
