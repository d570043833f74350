// A few rows of a product or an attention in float64: what the measured results are held against.
import type { Task, TaskInputs } from './tasks.ts';

const ROWS = 7;

/** Row numbers, spread over the output, and their values one after the other. */
export function exactRows(task: Task, inputs: TaskInputs): { rows: number[]; values: Float64Array } {
  const count = task.kind === 'matmul' ? task.size[0] : task.queries;
  const rows = [...new Set(Array.from({ length: ROWS }, (_, i) => Math.floor((i * (count - 1)) / (ROWS - 1))))];
  const all = rows.map((row) =>
    task.kind === 'matmul' ? productRow(task, inputs, row) : attentionRow(task, inputs, row),
  );
  return { rows, values: Float64Array.from(all.flatMap((row) => [...row])) };
}

function productRow({ size: [, k, n] }: Task & { kind: 'matmul' }, [a, b]: TaskInputs, row: number): Float64Array {
  const out = new Float64Array(n);
  for (let i = 0; i < k; i++) {
    const factor = a![row * k + i]!;
    for (let j = 0; j < n; j++) out[j]! += factor * b![i * n + j]!;
  }
  return out;
}

function attentionRow(task: Task & { kind: 'attention' }, [q, k, v]: TaskInputs, row: number): Float64Array {
  const { heads, kvHeads, headDim, keys } = task;
  const out = new Float64Array(heads * headDim);
  const scores = new Float64Array(keys);
  for (let h = 0; h < heads; h++) {
    const kv = Math.floor(h / (heads / kvHeads));
    for (let j = 0; j < keys; j++) {
      let sum = 0;
      for (let d = 0; d < headDim; d++)
        sum += q![(row * heads + h) * headDim + d]! * k![(j * kvHeads + kv) * headDim + d]!;
      scores[j] = sum / Math.sqrt(headDim);
    }
    const largest = scores.reduce((a, b) => Math.max(a, b));
    const weights = scores.map((score) => Math.exp(score - largest));
    const total = weights.reduce((a, b) => a + b);
    for (let j = 0; j < keys; j++) {
      const weight = weights[j]! / total;
      for (let d = 0; d < headDim; d++) out[h * headDim + d]! += weight * v![(j * kvHeads + kv) * headDim + d]!;
    }
  }
  return out;
}
