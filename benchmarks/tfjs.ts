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
  const given = task.kind === 'matmul' ? matrices(tf, task.size, inputs) : byHeads(tf, task, inputs);
  const compute = () =>
    tf.tidy(() => {
      const [a, b, v] = given;
      if (task.kind === 'matmul') return tf.matMul(a!, b!);
      return tf.matMul(tf.softmax(tf.matMul(a!, b!)), v!);
    });
  return {
    async run(repeats) {
      await tf.setBackend(group);
      for (let i = 0; i < repeats; i++) compute().dispose();
      if (group === 'webgpu') await finish(tf.backend(), errors);
    },
    async result() {
      await tf.setBackend(group);
      const output = compute();
      const data = await patiently(output.data());
      output.dispose();
      return task.kind === 'matmul' ? data : swapAxes(data, task.heads, task.queries, task.headDim);
    },
    dispose() {
      for (const tensor of given) tensor.dispose();
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

function byHeads(tf: Tf, task: Task & { kind: 'attention' }, [q, k, v]: TaskInputs): TfTensor[] {
  const { queries, keys, heads, kvHeads, headDim } = task;
  const scale = 1 / Math.sqrt(headDim);
  const repeated = (byHead: Float32Array, shape: readonly number[]) => {
    const size = keys * headDim;
    const all = new Float32Array(heads * size);
    for (let h = 0; h < heads; h++) {
      const kv = Math.floor(h / (heads / kvHeads));
      all.set(byHead.subarray(kv * size, (kv + 1) * size), h * size);
    }
    return tf.tensor(all, shape);
  };
  // [keys, kvHeads * headDim] turned round is [kvHeads, headDim, keys]: on wasm tfjs is slow at turning it itself.
  const kTurned = swapAxes(k!, keys, kvHeads * headDim, 1);
  const vByHead = swapAxes(v!, keys, kvHeads, headDim);
  const scaled = swapAxes(q!, queries, heads, headDim).map((value) => value * scale);
  return [
    tf.tensor(scaled, [heads, queries, headDim]),
    repeated(kTurned, [heads, headDim, keys]),
    repeated(vByHead, [heads, keys, headDim]),
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
