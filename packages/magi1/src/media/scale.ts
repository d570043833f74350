// Scales RGB frames as ffmpeg's scaler does: bicubic with a = -0.6, whose support widens when shrinking, edges repeated.
// In float64 where ffmpeg is in fixed point: within 1 level of it for RGB input. Photographs and videos store colour at half
// the resolution to start with; ffmpeg scales those planes as they are, which this cannot see.
import { Magi1Error } from '@magi1/tensor';
import { MAX_PIXELS, checkFrames, checkSides, frameAt } from './rgb-frames.ts';
import type { RgbFrames } from './rgb-frames.ts';

/** `stretch` ignores the aspect ratio, as the original's pipeline does; the others keep it. */
export type Fit = 'stretch' | 'crop' | 'pad';

export interface Size {
  readonly width: number;
  readonly height: number;
}

/**
 * `accurate`: colour at full resolution, every value rounded. `original`: ffmpeg's default, byte for byte what the
 * original's pipeline gets. It halves the horizontal colour resolution when it shrinks to half the width or less, and turns
 * video levels into RGB in a hurry: white becomes 253.
 */
export type Scaler = 'accurate' | 'original';

/** Who scaled, for `LoadedFrames.decoder`. */
export const OWN_SCALER = 'built-in bicubic scaler';

/** Where a picture goes: scaled to `scaled`, then placed with its top left corner at (x, y) of the target. */
export interface Placement {
  readonly scaled: Size;
  readonly x: number;
  readonly y: number;
}

/** ffmpeg's arithmetic for `force_original_aspect_ratio` and centred crop or pad. */
export function placePicture(fit: Fit, source: Size, target: Size): Placement {
  if (fit === 'stretch') return { scaled: { width: target.width, height: target.height }, x: 0, y: 0 };
  const choose = fit === 'crop' ? Math.max : Math.min;
  const width = choose(target.width, Math.max(1, Math.round((target.height * source.width) / source.height)));
  const height = choose(target.height, Math.max(1, Math.round((target.width * source.height) / source.width)));
  if (width * height > MAX_PIXELS)
    throw new Magi1Error(
      `fit ${fit}: ${source.width}x${source.height} is too elongated to fill ${target.width}x${target.height}; use stretch or pad`,
    );
  const offset = (inside: number, outside: number): number => Math.trunc((outside - inside) / 2);
  return { scaled: { width, height }, x: offset(width, target.width), y: offset(height, target.height) };
}

/** Frames of any size to frames [frameCount, target.height, target.width, 3]. Padding is black. */
export function scaleFrames(
  frames: RgbFrames,
  target: Size,
  fit: Fit = 'stretch',
  scaler: Scaler = 'accurate',
): RgbFrames {
  checkFrames('frames', frames);
  checkSides('scaled frames', target);
  const { width, height } = target;
  const { scaled, x, y } = placePicture(fit, frames, target);
  const data = new Uint8Array(frames.frameCount * height * width * 3);
  for (let f = 0; f < frames.frameCount; f++) {
    const picture = scaleRgb(frameAt(frames, f), frames, scaled, scaler);
    const out = data.subarray(f * height * width * 3);
    const left = Math.max(0, x);
    const right = Math.min(width, x + scaled.width);
    for (let row = Math.max(0, y); row < Math.min(height, y + scaled.height); row++) {
      const from = ((row - y) * scaled.width + left - x) * 3;
      out.set(picture.subarray(from, from + (right - left) * 3), (row * width + left) * 3);
    }
  }
  return { data, frameCount: frames.frameCount, width, height };
}

/** For each output position: where its taps start in the input, and their weights, which sum to 1. */
interface Taps {
  readonly starts: Int32Array;
  readonly weights: Float64Array;
  readonly count: number;
}

const A = -0.6;

function bicubic(x: number): number {
  const d = Math.abs(x);
  if (d < 1) return ((A + 2) * d - (A + 3)) * d * d + 1;
  if (d < 2) return A * (((d - 5) * d + 8) * d - 4);
  return 0;
}

/** ffmpeg's positions: steps in 16 bits, and a first tap that is rounded towards 0, which loses one at the near edge. */
function bicubicTaps(from: number, to: number): Taps {
  const increment = Math.floor((from * 65536 + (to >> 1)) / to);
  const widening = Math.max(1, from / to);
  const reach = Math.max(1, Math.min(1 + Math.ceil(4 * widening), from - 2));
  const count = Math.min(from, reach);
  const starts = new Int32Array(to);
  const weights = new Float64Array(to * count);
  for (let i = 0; i < to; i++) {
    const centre = ((2 * i + 1) * increment - 65536) / 131072;
    const first = Math.trunc(centre - (reach - 2) / 2);
    const start = Math.min(Math.max(first, 0), from - count);
    starts[i] = start;
    let sum = 0;
    for (let j = first; j < first + reach; j++) {
      const weight = bicubic((j - centre) / widening);
      // Taps outside the picture read its edge.
      weights[i * count + Math.min(Math.max(j, 0), from - 1) - start]! += weight;
      sum += weight;
    }
    for (let k = 0; k < count; k++) weights[i * count + k]! /= sum;
  }
  return { starts, weights, count };
}

/** rgb [source.height, source.width, 3] -> [target.height, target.width, 3], rounded and clamped to 0..255. */
function scaleRgb(rgb: Uint8Array, source: Size, target: Size, scaler: Scaler): Uint8Array {
  if (source.width === target.width && source.height === target.height) return rgb;
  const scaleRow = rowScaler(source.width, target.width, scaler);
  const { starts, weights, count } = bicubicTaps(source.height, target.height);
  const rowLength = target.width * 3;
  // Scaled rows in a ring: output rows need `count` of them, in rising order.
  const ring = Array.from({ length: count }, () => new Float64Array(rowLength));
  const sum = new Float64Array(rowLength);
  const out = new Uint8Array(target.height * rowLength);
  let ready = 0;
  for (let y = 0; y < target.height; y++) {
    const start = starts[y]!;
    for (ready = Math.max(ready, start); ready < start + count; ready++) {
      const at = ready * source.width * 3;
      scaleRow(rgb.subarray(at, at + source.width * 3), ring[ready % count]!);
    }
    sum.fill(0);
    for (let k = 0; k < count; k++) {
      const weight = weights[y * count + k]!;
      if (weight === 0) continue;
      const row = ring[(start + k) % count]!;
      for (let i = 0; i < rowLength; i++) sum[i]! += weight * row[i]!;
    }
    for (let i = 0; i < rowLength; i++) out[y * rowLength + i] = Math.min(Math.max(Math.round(sum[i]!), 0), 255);
  }
  return out;
}

type RowScaler = (row: Uint8Array, out: Float64Array) => void;

function rowScaler(from: number, to: number, scaler: Scaler): RowScaler {
  const full = bicubicTaps(from, to);
  if (scaler === 'accurate' || to > from >> 1) {
    return (row, out) => {
      for (let c = 0; c < 3; c++) applyTaps(full, row, c, 3, out, c);
    };
  }
  // Luma at full resolution, colour differences from pairs of pixels. Where an odd width is halved, ffmpeg reads past the
  // row in the last columns; this does not.
  const pairs = Math.ceil(from / 2);
  const half = bicubicTaps(pairs, to);
  const luma = new Float64Array(from);
  const scaledLuma = new Float64Array(to);
  const colour = new Float64Array(pairs);
  return (row, out) => {
    for (let x = 0; x < from; x++) luma[x] = 0.299 * row[3 * x]! + 0.587 * row[3 * x + 1]! + 0.114 * row[3 * x + 2]!;
    applyTaps(full, luma, 0, 1, scaledLuma, 0, 1);
    for (let c = 0; c < 3; c++) {
      for (let p = 0; p < pairs; p++) {
        const [a, b] = [2 * p, Math.min(2 * p + 1, from - 1)];
        colour[p] = (row[3 * a + c]! - luma[a]! + row[3 * b + c]! - luma[b]!) / 2;
      }
      applyTaps(half, colour, 0, 1, out, c);
      for (let x = 0; x < to; x++) out[3 * x + c]! += scaledLuma[x]!;
    }
  };
}

function applyTaps(
  { starts, weights, count }: Taps,
  input: Uint8Array | Float64Array,
  inputOffset: number,
  inputStride: number,
  out: Float64Array,
  outOffset: number,
  outStride = 3,
): void {
  for (let i = 0; i < starts.length; i++) {
    let sum = 0;
    let at = starts[i]! * inputStride + inputOffset;
    for (let k = i * count; k < (i + 1) * count; k++, at += inputStride) sum += weights[k]! * input[at]!;
    out[i * outStride + outOffset] = sum;
  }
}
