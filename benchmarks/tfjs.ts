// tfjs as a contestant. It has no attention: product, softmax, product, with what can be done once left out of the time
// (heads to the front, keys turned round, repeated key and value heads, scaled queries).
import { patiently, threadText } from './tasks.ts';
import type { Contestant, Prepared, Task, TaskInputs } from './tasks.ts';

interface TfTensor {
  data(): Promise<Float32Array>;
  dispose(): void;
}

/** The part of tfjs that is used here. */
interface Tf {
  readonly version_core: string;
  setBackend(name: string): Promise<boolean>;
  tensor(data: Float32Array, shape: readonly number[]): TfTensor;
  matMul(a: TfTensor, b: TfTensor): TfTensor;
  softmax(x: TfTensor): TfTensor;
  tidy<T>(body: () => T): T;
  backend(): TfBackend;
}

/** Of WebGPU. */
interface TfBackend {
  ensureCommandEncoderReady(): void;
  endComputePassEncoder(): void;
  submitQueue(): void;
  readonly device: GPUDevice;
}

export async function tfjsContestant(load: (id: string) => unknown, group: 'webgpu' | 'wasm'): Promise<Contestant> {
  const tf = load('@tensorflow/tfjs-core') as Tf;
  const backend = load(`@tensorflow/tfjs-backend-${group}`) as { getThreadsCount?(): number };
  if (!(await tf.setBackend(group))) throw new Error(`tfjs ${tf.version_core}: its ${group} backend does not start`);
  const threads = backend.getThreadsCount?.();
  return {
    library: 'tfjs',
    group,
    name: `tfjs ${tf.version_core}${threads === undefined ? '' : threadText(threads)}`,
    ...(threads === undefined ? {} : { threads }),
    async prepare(task, inputs) {
      await tf.setBackend(group);
      return prepare(tf, group, task, inputs);
    },
    dispose: () => Promise.resolve(),
  };
}

function prepare(tf: Tf, group: string, task: Task, inputs: TaskInputs): Prepared {
  const errors: string[] = [];
  if (group === 'webgpu') {
    tf.backend().device.addEventListener('uncapturederror', ({ error }) => errors.push(error.message));
  }
  const given = task.kind === 'matmul' ? [matrices(tf, task.size, inputs)] : byHeads(tf, task, inputs, group);
  const compute = () =>
    given.map(([a, b, v]) =>
      tf.tidy(() => {
        const product = tf.matMul(a!, b!);
        return v === undefined ? product : tf.matMul(tf.softmax(product), v);
      }),
    );
  return {
    async run(repeats) {
      await tf.setBackend(group);
      for (let i = 0; i < repeats; i++) for (const output of compute()) output.dispose();
      if (group === 'webgpu') await finish(tf.backend(), errors);
    },
    async result() {
      await tf.setBackend(group);
      const outputs = compute();
      const parts: number[] = [];
      for (const output of outputs) {
        for (const value of await patiently(output.data())) parts.push(value);
        output.dispose();
      }
      const data = Float32Array.from(parts);
      return task.kind === 'matmul' ? data : swapAxes(data, task.heads, task.queries, task.headDim);
    },
    dispose() {
      for (const tensor of given.flat()) tensor.dispose();
    },
  };
}

/** Hands over what tfjs has recorded, as it does itself before it reads, and waits. */
async function finish(backend: TfBackend, errors: readonly string[]): Promise<void> {
  backend.ensureCommandEncoderReady();
  backend.endComputePassEncoder();
  backend.submitQueue();
  await patiently(backend.device.queue.onSubmittedWorkDone());
  if (errors.length > 0) throw new Error(errors[0]);
}

function matrices(tf: Tf, [m, k, n]: readonly [number, number, number], [a, b]: TaskInputs): TfTensor[] {
  return [tf.tensor(a!, [m, k]), tf.tensor(b!, [k, n])];
}

/** q, k and v as one batch of heads; on wasm head by head, since tfjs is fast there at single products only. */
function byHeads(
  tf: Tf,
  { queries, keys, heads, kvHeads, headDim }: Task & { kind: 'attention' },
  [q, k, v]: TaskInputs,
  group: string,
): TfTensor[][] {
  const scale = 1 / Math.sqrt(headDim);
  const byHead = [
    { data: swapAxes(q!, queries, heads, headDim).map((value) => value * scale), of: heads, shape: [queries, headDim] },
    // [keys, kvHeads * headDim] turned round is [kvHeads, headDim, keys].
    { data: swapAxes(k!, keys, kvHeads * headDim, 1), of: kvHeads, shape: [headDim, keys] },
    { data: swapAxes(v!, keys, kvHeads, headDim), of: kvHeads, shape: [keys, headDim] },
  ];
  const headAt = ({ data, of }: (typeof byHead)[0], head: number) => {
    const at = Math.floor((head * of) / heads) * (data.length / of);
    return data.subarray(at, at + data.length / of);
  };
  const all = Array.from({ length: heads }, (_, head) => head);
  if (group === 'wasm') return all.map((head) => byHead.map((input) => tf.tensor(headAt(input, head), input.shape)));
  return [
    byHead.map((input) => {
      const repeated = new Float32Array((heads * input.data.length) / input.of);
      for (const head of all) repeated.set(headAt(input, head), (head * input.data.length) / input.of);
      return tf.tensor(repeated, [heads, ...input.shape]);
    }),
  ];
}

/** [a, b, c] to [b, a, c]. */
function swapAxes(data: Float32Array, a: number, b: number, c: number): Float32Array {
  const out = new Float32Array(data.length);
  for (let i = 0; i < a; i++) {
    for (let j = 0; j < b; j++) out.set(data.subarray((i * b + j) * c, (i * b + j + 1) * c), (j * a + i) * c);
  }
  return out;
}
