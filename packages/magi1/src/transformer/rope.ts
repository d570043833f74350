// Learned 3-axis rotary embedding: tables of cos and sin for the tokens of a forward.
import { Magi1Error } from '@magi1/tensor';

export interface RopeTables {
  /** [tokens, 3 bands] each, columns all t bands, then h, then w. */
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}

/** Rope was learned on a 16 x 16 grid of patches: other grids are scaled to its area. */
const TRAINED_PATCHES = 256;

/**
 * Positions along h or w of a grid with `n` patches: centred, and scaled so that the grid covers n / rescale.
 * A side of one patch has no scale of its own: it is refused unless rescale is 1.
 */
function centredPositions(n: number, rescale: number): number[] {
  if (n === 1) {
    if (rescale !== 1) {
      throw new Magi1Error(
        'rope: a side of one patch (16 pixels) is only possible when the area is 256 patches; choose at least 32 pixels',
      );
    }
    return [0];
  }
  const step = (n / rescale - 1) / (n - 1);
  return Array.from({ length: n }, (_, i) => (i - (n - 1) / 2) * step);
}

/**
 * Tables for frames at the given absolute positions of grids of `height` x `width` patches. Time is unscaled.
 * `bands` is the checkpoint's `rope.bands`.
 */
export function ropeTables(frames: readonly number[], height: number, width: number, bands: Float32Array): RopeTables {
  const rescale = Math.sqrt((height * width) / TRAINED_PATCHES);
  const rows = centredPositions(height, rescale);
  const columns = centredPositions(width, rescale);
  const n = bands.length;
  const tokens = frames.length * height * width;
  const cos = new Float32Array(tokens * 3 * n);
  const sin = new Float32Array(tokens * 3 * n);
  let at = 0;
  for (const t of frames)
    for (const h of rows)
      for (const w of columns)
        for (const position of [t, h, w])
          for (let band = 0; band < n; band++) {
            const angle = position * bands[band]!;
            cos[at] = Math.cos(angle);
            sin[at++] = Math.sin(angle);
          }
  return { cos, sin };
}
