// Splitting a call over rows so that every binding stays within the device's limit.
import { OpError } from '@magi1/tensor';
import type { Tensor, TensorWindow, WebGpuCapabilities } from '@magi1/tensor';

/** Rows of a program that takes the place of the first one as a parameter: they may lie anywhere in a tensor. In bytes. */
export interface StridedRows {
  readonly start: number;
  /** From one row to the next. */
  readonly stride: number;
  /** From the start of a row to its end. */
  readonly span: number;
}

export interface RowRange {
  readonly start: number;
  readonly count: number;
  /** These rows of a tensor as a binding. `rows` is one of those that the split was made for. */
  window(tensor: Tensor, rows: number | StridedRows): Tensor | TensorWindow;
}

/** What a window's first byte must be a multiple of. */
const ALIGNMENT = 256;

/** Rows that lie one after the other from a tensor's start on are given by the bytes of one. */
const strided = (rows: number | StridedRows): StridedRows =>
  typeof rows === 'number' ? { start: 0, stride: rows, span: rows } : rows;

const endOf = ({ start, stride, span }: StridedRows, count: number): number => start + (count - 1) * stride + span;

/**
 * Ranges that together cover `count` rows, for tensors whose rows lie as given; one range when all fit. Windows start with
 * their first row, those of strided rows up to 252 bytes before it.
 */
export function rowRanges(
  op: string,
  count: number,
  tensors: readonly (number | StridedRows)[],
  { maxBindingBytes }: WebGpuCapabilities,
): RowRange[] {
  // A single row cannot be cut: if it is too long, the device says of which tensor.
  if (count === 1 || tensors.every((rows) => endOf(strided(rows), count) <= maxBindingBytes)) {
    // A tensor may be larger than what is read of it.
    const window = (tensor: Tensor, rows: number | StridedRows) =>
      tensor.byteLength <= maxBindingBytes ? tensor : rowWindow(tensor, rows, 0, count);
    return [{ start: 0, count, window }];
  }
  // The fewest rows after which every tensor's next row is aligned.
  let group = 1;
  while (tensors.some((rows) => typeof rows === 'number' && (group * rows) % ALIGNMENT !== 0)) group *= 2;
  const fitting = (rows: number | StridedRows): number => {
    const { stride, span } = strided(rows);
    const before = typeof rows === 'number' ? 0 : ALIGNMENT;
    return Math.floor((maxBindingBytes - before - span) / Math.max(stride, 1)) + 1;
  };
  const step = Math.floor(Math.min(...tensors.map(fitting)) / group) * group;
  if (step < 1) {
    const longest = Math.max(...tensors.map((rows) => strided(rows).span));
    const what = group === 1 ? `a row of ${longest} bytes exceeds` : `${group} rows of ${longest} bytes exceed`;
    throw new OpError(op, `${what} one binding of ${maxBindingBytes} bytes`);
  }
  return Array.from({ length: Math.ceil(count / step) }, (_, i) => {
    const start = i * step;
    const length = Math.min(step, count - start);
    return { start, count: length, window: (tensor, rows) => rowWindow(tensor, rows, start, length) };
  });
}

/** `count` rows of a tensor from row `start` on, from the aligned byte at or before the first of them. */
export function rowWindow(tensor: Tensor, rows: number | StridedRows, start: number, count: number): TensorWindow {
  const layout = strided(rows);
  const first = layout.start + start * layout.stride;
  const byteStart = first - (first % ALIGNMENT);
  return { tensor, byteStart, byteLength: first + endOf({ ...layout, start: 0 }, count) - byteStart };
}
