// Trilinear resize of a channels-last grid, align_corners false, as torch.nn.functional.interpolate does it.
import { OpError, defineOp, elementCount, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { checkDType, checkRank } from '../support/checks.ts';
import { cases, randomCase } from './cases.ts';
import { interpolationTaps } from './taps.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

export interface ResizeParams {
  readonly size: readonly [t: number, h: number, w: number];
}

export const resizeOp = defineOp<'x', never, ResizeParams>({
  name: 'resizeTrilinear',
  infer({ x }, { size }) {
    checkDType('resizeTrilinear', 'x', x, ['f32']);
    checkRank('resizeTrilinear', 'x', x, 4);
    if (size.some((n) => !Number.isInteger(n) || n < 1) || elementCount(x.shape) === 0) {
      throw new OpError('resizeTrilinear', `cannot resize [${x.shape.join(',')}] to [${size.join(',')}]`);
    }
    return [{ shape: [...size, x.shape[3]!], dtype: 'f32' }];
  },
  cost({ x }, { size }) {
    const out = elementCount(size) * x.shape[3]!;
    return { flops: 14 * out, bytes: 4 * (out + elementCount(x.shape)) };
  },
  reference({ x }, [out], { size }) {
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
            out!.data[o++] = mix(plane(t.left), plane(t.right), t.weight);
          }
  },
  webgpu,
  wasm,
  cases,
  randomCase,
});

/** x f32 [t, h, w, C] -> f32 [t2, h2, w2, C]; align_corners false, no antialiasing. */
export const resizeTrilinear = (x: Tensor, params: ResizeParams): Tensor => runOp(resizeOp, { x }, params)[0]!;
