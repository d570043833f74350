// Trilinear resize of a channels-last grid, align_corners false, as torch.nn.functional.interpolate does it.
import { defineOp, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { cases, randomCase } from './cases.ts';
import { contract } from './contract.ts';
import type { ResizeParams, ResizeTrilinear } from './contract.ts';
import { interpolationTaps } from './taps.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

export const resizeOp = defineOp<ResizeTrilinear>({
  ...contract,
  reference({ inputs: { x }, y, params: { size } }) {
    const [, height, width, channels] = x.shape as [number, number, number, number];
    const [ts, hs, ws] = size.map((to, axis) => interpolationTaps(x.shape[axis]!, to));
    const at = (t: number, h: number, w: number, c: number) => x.data[((t * height + h) * width + w) * channels + c]!;
    const mix = (a: number, b: number, weight: number) => a * (1 - weight) + b * weight;
    let o = 0;
    for (const t of ts!)
      for (const h of hs!)
        for (const w of ws!)
          for (let c = 0; c < channels; c++) {
            const plane = (ti: number) =>
              mix(
                mix(at(ti, h.left, w.left, c), at(ti, h.left, w.right, c), w.weight),
                mix(at(ti, h.right, w.left, c), at(ti, h.right, w.right, c), w.weight),
                h.weight,
              );
            y.data[o++] = mix(plane(t.left), plane(t.right), t.weight);
          }
  },
  webgpu,
  wasm,
  cases,
  randomCase,
});

/** x f32 [t, h, w, C] -> f32 [t2, h2, w2, C]; align_corners false, no antialiasing. */
export const resizeTrilinear = (x: Tensor, params: ResizeParams): Tensor => runOp(resizeOp, { x }, params);
