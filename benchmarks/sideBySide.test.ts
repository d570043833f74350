// The verdict and the exact rows: what decides whether we are behind.
import { expect, test } from 'vitest';
import { attentionOp } from '@magi1/kernels';
import { exactRows } from './exact.ts';
import { normals } from './inputs.ts';
import { isWrong, whereBehind } from './sideBySide.ts';
import type { SideResult } from './sideBySide.ts';
import { relativeL2, summarise } from './statistics.ts';
import type { Task } from './tasks.ts';

function result(library: string, name: string, changes: Partial<SideResult> = {}): SideResult {
  const ms = summarise([1]);
  return { task: 't', kind: 'matmul', group: 'wasm', library, name, flops: 1, ms, error: 1e-7, ratios: {}, ...changes };
}
const ours = [result('magi1', 'magi1, 1 thread', { threads: 1 }), result('magi1', 'magi1, 2 threads', { threads: 2 })];
const theirs = (oneThread: number, changes: Partial<SideResult> = {}) =>
  result('tfjs', 'tfjs', { threads: 1, ratios: { 'magi1, 1 thread': oneThread, 'magi1, 2 threads': 3 }, ...changes });

test('thread counts are compared like with like', () => {
  expect(whereBehind([...ours, theirs(1.5)])).toEqual([]);
  expect(whereBehind([...ours, theirs(0.5)])).toEqual(['t on wasm: tfjs is 2.00 times as fast as magi1, 1 thread']);
});

test('a wrong or missing result of another library does not count, a wrong one of ours does', () => {
  expect(whereBehind([...ours, theirs(0.5, { error: 0.2 })])).toEqual([]);
  expect(whereBehind([...ours, theirs(0.5, { error: NaN })])).toEqual([]);
  expect(isWrong(theirs(2, { failure: 'out of memory' }))).toBe(true);
  expect(whereBehind([result('magi1', 'magi1', { error: 1e-3 })])).toEqual([
    't on wasm: magi1 is wrong (relative L2 1.0e-3)',
  ]);
});

test('exact rows of attention are those of the op', () => {
  const task = { kind: 'attention', name: 'a', heads: 4, kvHeads: 2, headDim: 8, queries: 9, keys: 11 } as const;
  const inputs = [normals(9 * 32, 1), normals(11 * 16, 2), normals(11 * 16, 3)];
  const views = inputs.map((data, i) => ({ shape: i === 0 ? [9, 4, 8] : [11, 2, 8], dtype: 'f32' as const, data }));
  const y = { shape: [9, 4, 8], dtype: 'f32' as const, data: new Float64Array(9 * 32) };
  const [q, k, v] = views as [(typeof views)[0], (typeof views)[0], (typeof views)[0]];
  const params = { blocks: [{ q: [0, 9], k: [0, 11] }], scale: 1 / Math.sqrt(8) } as const;
  attentionOp.reference({ inputs: { q, k, v }, y, params });
  const { rows, values } = exactRows(task, inputs);
  const wanted = rows.flatMap((row) => [...y.data.subarray(row * 32, (row + 1) * 32)]);
  expect(rows).toContain(8);
  expect(relativeL2(values, wanted)).toBeLessThan(1e-6);
});

test('exact rows of a product', () => {
  const task: Task = { kind: 'matmul', name: 'm', size: [2, 2, 2] };
  const { rows, values } = exactRows(task, [Float32Array.of(1, 2, 3, 4), Float32Array.of(5, 6, 7, 8)]);
  expect(rows).toEqual([0, 1]);
  expect([...values]).toEqual([19, 22, 43, 50]);
});
