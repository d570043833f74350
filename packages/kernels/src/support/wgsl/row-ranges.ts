// Splitting a call over rows so that every binding stays within the device's limit.
import { OpError, describeSpec } from '@magi1/tensor';
import type { Tensor, TensorWindow, WebGpuCapabilities } from '@magi1/tensor';

/** From the first byte that rows `start` to `end` take of a tensor to after the last; more rows never take fewer. */
export type BytesOfRows = (start: number, end: number) => readonly [from: number, to: number];

/**
 * A tensor, and where its rows lie: so many bytes each, one after the other from its start on, or anywhere. The program is
 * told where a binding of the latter starts (`bytesBefore`), counted in units of so many bytes.
 */
export type Operand = readonly [tensor: Tensor, rows: number | BytesOfRows, unit?: number];

export interface RowRange<Name extends string> {
  readonly start: number;
  readonly count: number;
  /** What the operands have of these rows. */
  readonly bindings: Readonly<Record<Name, Tensor | TensorWindow>>;
}

/** What a window's first byte must be a multiple of. */
const ALIGNMENT = 256;

/**
 * Ranges that together cover `count` rows, for operands under the names of their bindings; one range, with whole tensors,
 * when all fit. Windows start with their first row; where rows lie anywhere, up to 252 bytes before it.
 * @throws OpError when the fewest rows that can be cut off exceed one binding
 */
export function rowRanges<Name extends string>(
  op: string,
  count: number,
  operands: Readonly<Record<Name, Operand>>,
  { maxBindingBytes }: WebGpuCapabilities,
): RowRange<Name>[] {
  const whole = {} as Record<Name, Tensor>;
  let fits = true;
  for (const name in operands) {
    const [tensor] = operands[name];
    whole[name] = tensor;
    fits &&= tensor.byteLength <= maxBindingBytes;
  }
  if (fits) return [{ start: 0, count, bindings: whole }];
  const all = Object.entries(operands) as [Name, Operand][];
  const group = alignedRows(all.flatMap(([, [, rows]]) => (typeof rows === 'number' ? [rows] : [])));
  const ranges: RowRange<Name>[] = [];
  for (let start = 0, end = 0; start < count; start = end) {
    const isTooLong = ([tensor, rows]: Operand, end: number) =>
      windowOf(tensor, rows, start, end).byteLength > maxBindingBytes;
    const most = largest(count - start, (n) => all.every(([, operand]) => !isTooLong(operand, start + n)));
    end = start + most === count ? count : start + most - (most % group);
    if (end === start) {
      const fewest = Math.min(start + group, count);
      const [name, [tensor, rows]] = all.find(([, operand]) => isTooLong(operand, fewest))!;
      const { byteLength } = windowOf(tensor, rows, start, fewest);
      throw new OpError(
        op,
        `${name} ${describeSpec(tensor)} can only be cut to pieces of ${byteLength} bytes, ` +
          `which exceed this device's largest binding of ${maxBindingBytes} bytes`,
      );
    }
    const bindings = {} as Record<Name, TensorWindow>;
    for (const [name, [tensor, rows]] of all) bindings[name] = windowOf(tensor, rows, start, end);
    ranges.push({ start, count: end - start, bindings });
  }
  return ranges;
}

/** The fewest rows, of so many bytes in each tensor, after which every tensor's next row is aligned. */
export function alignedRows(bytes: readonly number[]): number {
  let rows = 1;
  while (bytes.some((n) => (rows * n) % ALIGNMENT !== 0)) rows *= 2;
  return rows;
}

/** The largest number from 0 to `most` for which something holds that holds for all smaller ones. */
function largest(most: number, holds: (n: number) => boolean): number {
  if (holds(most)) return most;
  let [low, high] = [0, most];
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (holds(middle)) low = middle;
    else high = middle;
  }
  return low;
}

/** Rows `start` to `end` of a tensor, from the aligned byte at or before the first of them. */
export function windowOf(tensor: Tensor, rows: number | BytesOfRows, start: number, end: number): TensorWindow {
  const [from, to] = typeof rows === 'number' ? [start * rows, end * rows] : rows(start, end);
  const byteStart = from - (from % ALIGNMENT);
  return { tensor, byteStart, byteLength: to - byteStart };
}

/** Bytes of the tensor that lie before the binding. */
export const bytesBefore = (binding: Tensor | TensorWindow): number => ('byteStart' in binding ? binding.byteStart : 0);
