// Adds low-rank changes into the weights of a loaded model, in place: W + scale B A, rounded once to the weight's dtype.
import { add, affine, cast, copyRows, matmul } from '@magi1/kernels';
import { scope } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import type { Linear, LowRankUpdate } from '../nn/index.ts';

/** Elements of a weight that are widened at a time. */
const PIECE = 1 << 22;

/** Adds all changes of one layer. Rows are changed piece by piece: what it takes does not grow with the weight. */
export async function fuseLayer(
  { weight }: Linear,
  updates: readonly LowRankUpdate[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const matrix = weight.reshape([weight.shape[0]!, -1]);
  try {
    const [rows, columns] = matrix.shape as [number, number];
    const step = Math.max(8, 8 * Math.floor(PIECE / columns / 8)); // whole words of 16 bytes, whatever the dtype
    for (let row = 0; row < rows; row += step) {
      const end = Math.min(rows, row + step);
      scope(() => copyRows(matrix, changedRows(matrix.slice(row, end), updates, row, end), row));
      await weight.device.tick(signal);
    }
  } finally {
    matrix.dispose();
  }
}

function changedRows(weight: Tensor, updates: readonly LowRankUpdate[], row: number, end: number): Tensor {
  let sum: Tensor = cast(weight, 'f32');
  for (const { a, b, scale } of updates) sum = add(sum, affine(matmul(b.slice(row, end), a), { scale, shift: 0 }));
  return cast(sum, weight.dtype);
}
