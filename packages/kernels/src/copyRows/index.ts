// Writes rows into a long-lived tensor in place, such as a key-value cache. A buffer copy, not an op with an output.
import { OpError, describeSpec, sameShape } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';

/** Copies source [r, ...] over rows row .. row+r-1 of target [R, ...], in order with recorded ops. Same dtype and device. */
export function copyRows(target: Tensor, source: Tensor, row: number): void {
  const rows = source.shape[0];
  if (
    target.device !== source.device ||
    target.dtype !== source.dtype ||
    rows === undefined ||
    !sameShape(target.shape.slice(1), source.shape.slice(1)) ||
    row < 0 ||
    row + rows > (target.shape[0] ?? 0)
  ) {
    throw new OpError('copyRows', `${describeSpec(source)} does not fit at row ${row} of ${describeSpec(target)}`);
  }
  if (source.byteLength === 0) return;
  if (target.buffer === source.buffer) throw new OpError('copyRows', 'source and target must not share storage');
  const rowBytes = source.byteLength / rows;
  target.device.copyBuffer(
    source.buffer,
    source.byteOffset,
    target.buffer,
    target.byteOffset + row * rowBytes,
    source.byteLength,
  );
}
