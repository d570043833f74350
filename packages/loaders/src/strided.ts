// Strided views of a storage made contiguous: transposes, slices, expanded dimensions.
import { destination } from './bytes.ts';

export interface View {
  readonly shape: readonly number[];
  /** In elements, never negative. */
  readonly strides: readonly number[];
  /** Of the first element, in elements. */
  readonly offset: number;
}

const WINDOW = 1 << 20;

/** True when the view's elements lie one after another in row-major order. */
export function isContiguous({ shape, strides }: View): boolean {
  let expected = 1;
  for (let dim = shape.length - 1; dim >= 0; dim--) {
    if (shape[dim] === 0) return true;
    if (shape[dim] !== 1 && strides[dim] !== expected) return false;
    expected *= shape[dim]!;
  }
  return true;
}

/** One past the last element that the view touches; 0 for a view without elements. */
export function viewEnd({ shape, strides, offset }: View): number {
  if (shape.includes(0)) return 0;
  return shape.reduce((end, dim, i) => end + (dim - 1) * strides[i]!, offset + 1);
}

/** Row-major strides of a contiguous tensor. */
export function contiguousStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length).fill(1);
  for (let dim = shape.length - 2; dim >= 0; dim--) strides[dim] = strides[dim + 1]! * shape[dim + 1]!;
  return strides;
}

/**
 * Copies a view into contiguous memory, reading the storage through a window of about 1 MiB. Dimensions are walked with
 * the largest stride outermost, so that the window moves forwards through the storage, whatever the view's order.
 * @param count elements of the view
 * @param read bytes of the storage, from a byte offset
 */
export async function gather(
  name: string,
  view: View,
  itemSize: number,
  count: number,
  read: (offset: number, length: number) => Promise<Uint8Array>,
): Promise<Uint8Array> {
  const out = destination(name, count * itemSize, undefined);
  if (count === 0) return out;
  const outStrides = contiguousStrides(view.shape);
  const dims = view.shape
    .map((size, dim) => ({ size, stride: view.strides[dim]!, outStride: outStrides[dim]! }))
    .filter(({ size }) => size > 1)
    .sort((a, b) => b.stride - a.stride);
  const end = viewEnd(view);
  const index = new Array<number>(dims.length).fill(0);
  let from = view.offset;
  let to = 0;
  let window = new Uint8Array(0);
  let windowStart = 0;
  for (let done = 0; done < count; done++) {
    let at = (from - windowStart) * itemSize;
    if (at < 0 || at >= window.length) {
      window = (await read(from * itemSize, Math.min(WINDOW, (end - from) * itemSize))) as Uint8Array<ArrayBuffer>;
      windowStart = from;
      at = 0;
    }
    for (let byte = 0; byte < itemSize; byte++) out[to * itemSize + byte] = window[at + byte]!;
    for (let dim = dims.length - 1; dim >= 0; dim--) {
      const { size, stride, outStride } = dims[dim]!;
      from += stride;
      to += outStride;
      if (++index[dim]! < size) break;
      index[dim] = 0;
      from -= size * stride;
      to -= size * outStride;
    }
  }
  return out;
}
