// Splitting a call over rows so that every binding stays within the device's limit.
import { OpError } from '@magi1/tensor';
import type { Tensor, TensorWindow, WebGpuCapabilities } from '@magi1/tensor';

export interface RowRange {
  readonly start: number;
  readonly count: number;
  /** The rows of a tensor as a binding. `rowBytes` is one of those that the split was made for. */
  window(tensor: Tensor, rowBytes: number): Tensor | TensorWindow;
}

const ALIGNMENT = 256;

/** Ranges that together cover `rows`, for tensors whose rows take the given bytes; one range when all fit. */
export function rowRanges(
  op: string,
  rows: number,
  rowBytes: readonly number[],
  capabilities: WebGpuCapabilities,
): RowRange[] {
  const longest = Math.max(...rowBytes);
  if (rows * longest <= capabilities.maxBindingBytes) return [{ start: 0, count: rows, window: (tensor) => tensor }];
  let group = 1;
  while (rowBytes.some((bytes) => (group * bytes) % ALIGNMENT !== 0)) group *= 2;
  const step = Math.floor(capabilities.maxBindingBytes / (group * longest)) * group;
  if (step === 0) {
    throw new OpError(
      op,
      `${group} rows of ${longest} bytes exceed one binding of ${capabilities.maxBindingBytes} bytes`,
    );
  }
  const ranges: RowRange[] = [];
  for (let start = 0; start < rows; start += step) {
    const count = Math.min(step, rows - start);
    ranges.push({
      start,
      count,
      window: (tensor, bytes) => ({ tensor, byteStart: start * bytes, byteLength: count * bytes }),
    });
  }
  return ranges;
}
