// Attention in float64, eight queries at a time.
import type { HostView, InputsOf, OpCall } from '@magi1/tensor';
import { gatherColumns, gatherRows, productsOfRows } from '../support/reference/products.ts';
import { attentionSizes } from './contract.ts';
import type { Attention, AttentionBlock, RingRange } from './contract.ts';

const QUERY_TILE = 8;

export function reference({ inputs: given, y, params }: OpCall<Attention, HostView>): void {
  const { cachedK, cachedV } = given;
  const [k, v] = [joined(cachedK, params.cached, given.k), joined(cachedV, params.cached, given.v)];
  const inputs = { ...given, k, v };
  for (let head = 0; head < attentionSizes(inputs).heads; head++) {
    for (const block of params.blocks) attendBlock(inputs, y.data as Float64Array, head, block, params.scale);
  }
}

/** The whole key axis: the seen rows of a ring, then those given. */
function joined(ring: HostView | undefined, cached: RingRange | undefined, own: HostView): HostView {
  if (ring === undefined || cached === undefined) return own;
  const { first, rows } = cached;
  const width = own.shape[1]! * own.shape[2]!;
  const data = new Float32Array(rows * width + own.data.length);
  for (let i = 0; i < rows; i++) {
    const row = (first + i) % ring.shape[0]!;
    data.set(ring.data.subarray(row * width, (row + 1) * width), i * width);
  }
  data.set(own.data, rows * width);
  return { ...own, shape: [rows + own.shape[0]!, ...own.shape.slice(1)], data };
}

function attendBlock(
  inputs: InputsOf<Attention, HostView>,
  out: Float64Array,
  head: number,
  { q, k }: AttentionBlock,
  scale: number,
): void {
  const { queries, heads, headDim, kvHeads } = attentionSizes(inputs);
  const kvHead = Math.floor(head / (heads / kvHeads));
  const count = k[1] - k[0];
  const keyStart = (k[0] * kvHeads + kvHead) * headDim;
  const keys = gatherRows(inputs.k.data, keyStart, kvHeads * headDim, count, headDim);
  const values = gatherColumns(inputs.v.data, keyStart, kvHeads * headDim, count, headDim);
  const hidden = Array.from({ length: count }, (_, j) => inputs.keyMask?.data[k[0] + j] === 0);
  if (hidden.every((key) => key)) return; // outputs start as zeros
  const scores = new Float64Array(QUERY_TILE * count);
  const biasStart = head * (queries + inputs.k.shape[0]! - 1) + queries - 1;
  for (let first = q[0]; first < q[1]; first += QUERY_TILE) {
    const rows = Math.min(QUERY_TILE, q[1] - first);
    const start = (first * heads + head) * headDim;
    const tile = gatherRows(inputs.q.data, start, heads * headDim, rows, headDim);
    productsOfRows(tile, keys, headDim, scores, 0, count);
    for (let i = 0; i < rows; i++) {
      const row = scores.subarray(i * count, (i + 1) * count);
      for (let j = 0; j < count; j++) {
        row[j]! *= scale;
        if (inputs.relativeBias) row[j]! += inputs.relativeBias.data[biasStart + k[0] + j - (first + i)]!;
        if (hidden[j]) row[j] = -Infinity;
      }
      softmaxInPlace(row);
    }
    const weights = { data: scores, start: 0, stride: count, count: rows };
    productsOfRows(weights, values, count, out, start, heads * headDim);
  }
}

/** All NaN where a score is NaN or Infinity, and where all of them are -Infinity. */
function softmaxInPlace(row: Float64Array): void {
  const most = row.reduce((a, b) => Math.max(a, b), -Infinity);
  let sum = 0;
  for (let j = 0; j < row.length; j++) sum += row[j] = Math.exp(row[j]! - most);
  for (let j = 0; j < row.length; j++) row[j]! /= sum;
}
