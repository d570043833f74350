// Products of rows in float64, in 4x4 tiles: what the references of linear, matmul and attention share.

/** A block of equally spaced rows. */
export interface Rows {
  readonly data: Float64Array;
  readonly start: number;
  readonly stride: number;
  readonly count: number;
}

/** out[outStart + i * outStride + j] = sum over k of a[i, k] * b[j, k], each summed in order of k. */
export function productsOfRows(
  a: Rows,
  b: Rows,
  length: number,
  out: Float64Array,
  outStart: number,
  outStride: number,
) {
  const whole = a.count - (a.count % 4);
  for (let j = 0; j < b.count; j += 4) {
    for (let i = 0; i < whole; i += 4) tile4x4(a, b, i, j, length, out, outStart, outStride);
    for (let i = whole; i < a.count; i++) tile1x4(a, b, i, j, length, out, outStart, outStride);
  }
}

/** Where row `index` starts; rows past the last one of a tile read the last one again and are not written. */
function rowStart(rows: Rows, index: number): number {
  return rows.start + Math.min(index, rows.count - 1) * rows.stride;
}

function tile1x4(
  a: Rows,
  b: Rows,
  i: number,
  j: number,
  length: number,
  out: Float64Array,
  start: number,
  stride: number,
) {
  const x = a.data;
  const y = b.data;
  const a0 = rowStart(a, i);
  const b0 = rowStart(b, j);
  const b1 = rowStart(b, j + 1);
  const b2 = rowStart(b, j + 2);
  const b3 = rowStart(b, j + 3);
  let c0 = 0;
  let c1 = 0;
  let c2 = 0;
  let c3 = 0;
  for (let k = 0; k < length; k++) {
    const x0 = x[a0 + k]!;
    c0 += x0 * y[b0 + k]!;
    c1 += x0 * y[b1 + k]!;
    c2 += x0 * y[b2 + k]!;
    c3 += x0 * y[b3 + k]!;
  }
  const sums = [c0, c1, c2, c3];
  for (let c = 0; c < 4 && j + c < b.count; c++) out[start + i * stride + j + c] = sums[c]!;
}

function tile4x4(
  a: Rows,
  b: Rows,
  i: number,
  j: number,
  length: number,
  out: Float64Array,
  start: number,
  stride: number,
) {
  const x = a.data;
  const y = b.data;
  const a0 = rowStart(a, i + 0);
  const a1 = rowStart(a, i + 1);
  const a2 = rowStart(a, i + 2);
  const a3 = rowStart(a, i + 3);
  const b0 = rowStart(b, j + 0);
  const b1 = rowStart(b, j + 1);
  const b2 = rowStart(b, j + 2);
  const b3 = rowStart(b, j + 3);
  let c00 = 0;
  let c01 = 0;
  let c02 = 0;
  let c03 = 0;
  let c10 = 0;
  let c11 = 0;
  let c12 = 0;
  let c13 = 0;
  let c20 = 0;
  let c21 = 0;
  let c22 = 0;
  let c23 = 0;
  let c30 = 0;
  let c31 = 0;
  let c32 = 0;
  let c33 = 0;
  for (let k = 0; k < length; k++) {
    const y0 = y[b0 + k]!;
    const y1 = y[b1 + k]!;
    const y2 = y[b2 + k]!;
    const y3 = y[b3 + k]!;
    const x0 = x[a0 + k]!;
    c00 += x0 * y0;
    c01 += x0 * y1;
    c02 += x0 * y2;
    c03 += x0 * y3;
    const x1 = x[a1 + k]!;
    c10 += x1 * y0;
    c11 += x1 * y1;
    c12 += x1 * y2;
    c13 += x1 * y3;
    const x2 = x[a2 + k]!;
    c20 += x2 * y0;
    c21 += x2 * y1;
    c22 += x2 * y2;
    c23 += x2 * y3;
    const x3 = x[a3 + k]!;
    c30 += x3 * y0;
    c31 += x3 * y1;
    c32 += x3 * y2;
    c33 += x3 * y3;
  }
  const sums = [c00, c01, c02, c03, c10, c11, c12, c13, c20, c21, c22, c23, c30, c31, c32, c33];
  for (let r = 0; r < 4; r++) {
    for (let c = 0; c < 4 && j + c < b.count; c++) out[start + (i + r) * stride + j + c] = sums[r * 4 + c]!;
  }
}

/** `rows` rows of `length` elements, taken `stride` apart from `start` on, as float64, one after the other. */
export function gatherRows(data: ArrayLike<number>, start: number, stride: number, rows: number, length: number): Rows {
  const wide = new Float64Array(rows * length);
  for (let i = 0; i < rows; i++) {
    for (let k = 0; k < length; k++) wide[i * length + k] = data[start + i * stride + k]!;
  }
  return { data: wide, start: 0, stride: length, count: rows };
}

/** The transpose of `gatherRows`: `length` rows of `rows` elements. */
export function gatherColumns(
  data: ArrayLike<number>,
  start: number,
  stride: number,
  rows: number,
  length: number,
): Rows {
  const wide = new Float64Array(rows * length);
  for (let i = 0; i < rows; i++) {
    for (let k = 0; k < length; k++) wide[k * rows + i] = data[start + i * stride + k]!;
  }
  return { data: wide, start: 0, stride: rows, count: length };
}
