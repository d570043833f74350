// A call's block list cut into query tiles, the unit of work of every kernel.
import type { AttentionBlock } from './index.ts';

/**
 * Rows [query start, query end, key start, key end] that together cover all queries once, each at most `size` queries
 * of one block. Queries of no block get an empty key range: their output is 0.
 */
export function queryTiles(blocks: readonly AttentionBlock[], queries: number, size: number): Uint32Array {
  const rows: number[] = [];
  const add = (start: number, end: number, [keyStart, keyEnd]: readonly [number, number]) => {
    for (let q = start; q < end; q += size) rows.push(q, Math.min(q + size, end), keyStart, keyEnd);
  };
  let next = 0;
  for (const { q, k } of blocks.filter((block) => block.q[1] > block.q[0]).sort((a, b) => a.q[0] - b.q[0])) {
    add(next, q[0], [0, 0]);
    add(q[0], q[1], k);
    next = q[1];
  }
  add(next, queries, [0, 0]);
  return Uint32Array.from(rows);
}
