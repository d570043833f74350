// RGB to planar YUV 4:2:0: BT.709, limited range, chroma in the centre of each 2x2 block. Both mp4 writers are fed by
// this one function and tag their streams with these facts, so the same frames give the same picture from either.

/** ITU-T H.273 code points of what `rgbToYuv420` produces. */
export const COLOUR = {
  primaries: 1, // BT.709
  transfer: 1, // BT.709
  matrix: 1, // BT.709
  fullRange: false,
  /** H.264 chroma_sample_loc_type: 1 = centre. */
  chromaLocation: 1,
} as const;

// Weights of red and blue in luma; green has the rest.
const KR = 0.2126;
const KB = 0.0722;
const ONE = 1 << 16;

const Y_GAIN = (219 / 255) * ONE;
const Y_R = Math.round(KR * Y_GAIN);
const Y_B = Math.round(KB * Y_GAIN);
const Y_G = Math.round(Y_GAIN) - Y_R - Y_B; // the three sum to the gain, so grey stays exact
const C_GAIN = (224 / 255) * ONE;
const CB_R = -Math.round(((KR / (1 - KB)) * C_GAIN) / 2);
const CB_B = Math.round(C_GAIN / 2);
const CB_G = -CB_B - CB_R;
const CR_R = CB_B;
const CR_B = -Math.round(((KB / (1 - KR)) * C_GAIN) / 2);
const CR_G = -CR_R - CR_B;
const HALF = ONE >> 1;

/** Bytes of one 4:2:0 frame. */
export function yuv420Bytes(width: number, height: number): number {
  return (width * height * 3) / 2;
}

/** One frame, rgb [height, width, 3] to planes Y [h, w], Cb [h/2, w/2], Cr [h/2, w/2]. Width and height are even. */
export function rgbToYuv420(rgb: Uint8Array, width: number, height: number): Uint8Array {
  const out = new Uint8Array(yuv420Bytes(width, height));
  const halfWidth = width >> 1;
  let cb = width * height;
  let cr = cb + halfWidth * (height >> 1);
  for (let y = 0; y < height; y += 2) {
    let top = y * width * 3;
    let bottom = top + width * 3;
    let luma = y * width;
    for (let x = 0; x < halfWidth; x++) {
      let red = 0;
      let green = 0;
      let blue = 0;
      for (let i = 0; i < 2; i++) {
        const r = rgb[top++]!;
        const g = rgb[top++]!;
        const b = rgb[top++]!;
        const r1 = rgb[bottom++]!;
        const g1 = rgb[bottom++]!;
        const b1 = rgb[bottom++]!;
        out[luma + i] = 16 + ((Y_R * r + Y_G * g + Y_B * b + HALF) >> 16);
        out[luma + width + i] = 16 + ((Y_R * r1 + Y_G * g1 + Y_B * b1 + HALF) >> 16);
        red += r + r1;
        green += g + g1;
        blue += b + b1;
      }
      luma += 2;
      out[cb++] = 128 + ((CB_R * red + CB_G * green + CB_B * blue + 2 * ONE) >> 18);
      out[cr++] = 128 + ((CR_R * red + CR_G * green + CR_B * blue + 2 * ONE) >> 18);
    }
  }
  return out;
}
