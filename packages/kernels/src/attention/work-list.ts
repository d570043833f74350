// A call's block list cut into query tiles, the unit of work of every kernel, and tiles grouped into dispatches.
import { OpError } from '@magi1/tensor';
import type { AttentionBlock, Range } from './contract.ts';

/**
 * Rows [query start, query end, key start, key end] that together cover all queries once, each at most `size` queries
 * of one block. Queries of no block get an empty key range: their output is 0.
 */
export function queryTiles(blocks: readonly AttentionBlock[], queries: number, size: number): Uint32Array {
  const parts: (readonly [start: number, end: number, keys: Range])[] = [];
  let next = 0;
  for (const { q, k } of blocks.filter((block) => block.q[1] > block.q[0]).sort((a, b) => a.q[0] - b.q[0])) {
    parts.push([next, q[0], [0, 0]], [q[0], q[1], k]);
    next = q[1];
  }
  parts.push([next, queries, [0, 0]]);
  const tiles = parts.reduce((sum, [start, end]) => sum + Math.max(0, Math.ceil((end - start) / size)), 0);
  const rows = new Uint32Array(4 * tiles);
  let at = 0;
  for (const [start, end, [keyStart, keyEnd]] of parts) {
    for (let q = start; q < end; q += size) {
      rows[at++] = q;
      rows[at++] = Math.min(q + size, end);
      rows[at++] = keyStart;
      rows[at++] = keyEnd;
    }
  }
  return rows;
}

/** The tiles of one dispatch, their rows counted from the starts of its windows on queries and keys. */
export interface TileGroup {
  readonly tiles: Uint32Array;
  readonly queries: Range;
  readonly keys: Range;
}

/** Windows start at multiples of this many rows: multiples of 256 bytes, whatever the rows of f32 are. */
export const WINDOW_ROWS = 64;
const EMPTY: Range = [Infinity, 0];

const rowsIn = ([start, end]: Range): number => Math.max(end - start, 0);

/** The smallest window that holds another one and a range. */
function widened(window: Range, [start, end]: Range): Range {
  return start === end ? window : [Math.min(window[0], start - (start % WINDOW_ROWS)), Math.max(window[1], end)];
}

/**
 * Neighbouring tiles whose queries, and the keys that these see, fit windows of so many rows. A tile is never cut, so its
 * result is the same in any group. OpError when one tile alone sees more keys.
 */
export function tileGroups(tiles: Uint32Array, mostQueries: number, mostKeys: number): TileGroup[] {
  const groups: TileGroup[] = [];
  let [start, queries, keys] = [0, EMPTY, EMPTY];
  const close = (end: number) => {
    const [q0, k0] = [queries[0], keys[0]];
    // Queries without keys keep an empty range at 0.
    const shifted = tiles.slice(start, end).map((row, i) => Math.max(row - (i % 4 < 2 ? q0 : k0), 0));
    groups.push({ tiles: shifted, queries, keys: rowsIn(keys) === 0 ? [0, 0] : keys });
    [start, queries, keys] = [end, EMPTY, EMPTY];
  };
  for (let at = 0; at < tiles.length; at += 4) {
    const [q0, q1, k0, k1] = tiles.subarray(at, at + 4) as unknown as [number, number, number, number];
    const fits = () => rowsIn(queries) <= mostQueries && rowsIn(keys) <= mostKeys;
    const before = { queries, keys };
    [queries, keys] = [widened(queries, [q0, q1]), widened(keys, [k0, k1])];
    if (!fits() && at > start) {
      ({ queries, keys } = before);
      close(at);
      [queries, keys] = [widened(EMPTY, [q0, q1]), widened(EMPTY, [k0, k1])];
    }
    if (!fits()) {
      throw new OpError(
        'attention',
        `one binding of this device holds ${mostQueries} queries and ${mostKeys} keys; queries ${q0}..${q1} see keys ${k0}..${k1}`,
      );
    }
  }
  close(tiles.length);
  return groups;
}
