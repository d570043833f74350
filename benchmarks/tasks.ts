// What is run side by side, and what whoever runs it must offer.

export interface MatmulTask {
  readonly kind: 'matmul';
  readonly name: string;
  /** [M, K] times [K, N]. */
  readonly size: readonly [m: number, k: number, n: number];
}

export interface AttentionTask {
  readonly kind: 'attention';
  readonly name: string;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly queries: number;
  readonly keys: number;
}

export type Task = MatmulTask | AttentionTask;

/** Row-major f32: a and b of a product; q [queries, heads, headDim], k and v [keys, kvHeads, headDim] of attention. */
export type TaskInputs = readonly Float32Array<ArrayBuffer>[];

export interface Prepared {
  /** Starts `repeats` runs and resolves when the device has done all of them. */
  run(repeats: number): Promise<void>;
  /** Row-major; attention as [queries, heads, headDim]. */
  result(): Promise<Float32Array>;
  dispose(): void;
}

export interface Contestant {
  readonly library: 'magi1' | 'tfjs' | 'jax-js';
  readonly group: 'webgpu' | 'wasm';
  readonly name: string;
  /** Threads that compute, on wasm. */
  readonly threads?: number;
  prepare(task: Task, inputs: TaskInputs): Promise<Prepared>;
  dispose(): Promise<void>;
}

/** The shape of input `i` of a task. */
export function shapeOf(task: Task, i: number): number[] {
  if (task.kind === 'matmul') return i === 0 ? [task.size[0], task.size[1]] : [task.size[1], task.size[2]];
  const { queries, keys, heads, kvHeads, headDim } = task;
  return i === 0 ? [queries, heads, headDim] : [keys, kvHeads, headDim];
}

export const threadText = (threads: number): string => `, ${threads} ${threads === 1 ? 'thread' : 'threads'}`;

const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** Waits as @magi1/tensor does: Dawn's busy polling would take a core from a software adapter. */
export async function patiently<T>(promise: Promise<T>): Promise<T> {
  let settled = false;
  const outcome = promise.finally(() => {
    settled = true;
  });
  outcome.catch(() => undefined);
  const start = performance.now();
  for (;;) {
    await new Promise((resolve) => setImmediate(resolve));
    if (settled as boolean) return outcome;
    const sleep = Math.min(1, (performance.now() - start) / 20);
    if (sleep > 0.05) Atomics.wait(sleeper, 0, 0, sleep);
  }
}
