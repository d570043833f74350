// jax-js as a contestant, jitted. Its arrays are lazy and counted by hand: an operation uses up its arguments, `ref` keeps them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PEERS } from './root.ts';
import { patiently, shapeOf, threadText } from './tasks.ts';
import type { Contestant, Prepared, Task, TaskInputs } from './tasks.ts';

interface JaxArray {
  readonly ref: JaxArray;
  blockUntilReady(): Promise<JaxArray>;
  data(): Promise<Float32Array>;
  dispose(): void;
}

/** The part of jax-js that is used here. */
interface Jax {
  init(device: string): Promise<string[]>;
  defaultDevice(device: string): string;
  jit(compute: (...args: JaxArray[]) => JaxArray): (...args: JaxArray[]) => JaxArray;
  readonly numpy: {
    array(data: Float32Array, options: { shape: number[]; device: string }): JaxArray;
    matmul(a: JaxArray, b: JaxArray): JaxArray;
  };
  readonly nn: { dotProductAttention(q: JaxArray, k: JaxArray, v: JaxArray): JaxArray };
}

export async function jaxContestant(load: (id: string) => unknown, group: 'webgpu' | 'wasm'): Promise<Contestant> {
  addIteratorHelpers();
  const jax = load('@jax-js/jax') as Jax;
  const manifest = readFileSync(join(PEERS, 'node_modules', '@jax-js', 'jax', 'package.json'), 'utf8');
  const { version } = JSON.parse(manifest) as { version: string };
  if (!(await jax.init(group)).includes(group))
    throw new Error(`jax-js ${version}: its ${group} backend does not start`);
  // It makes threads of browsers' workers only.
  const threads = group === 'wasm' && !('Worker' in globalThis) ? 1 : undefined;
  return {
    library: 'jax-js',
    group,
    name: `jax-js ${version}${threads === undefined ? '' : threadText(threads)}`,
    ...(threads === undefined ? {} : { threads }),
    prepare: (task, inputs) => Promise.resolve(prepare(jax, group, task, inputs)),
    dispose: () => Promise.resolve(),
  };
}

function prepare(jax: Jax, group: string, task: Task, inputs: TaskInputs): Prepared {
  jax.defaultDevice(group);
  const given = inputs.map((data, i) => {
    const shape = shapeOf(task, i);
    if (group !== 'wasm' || task.kind === 'matmul' || i === 0) return jax.numpy.array(data, { shape, device: group });
    // On wasm its grouped heads were measured ten times slower than repeated ones.
    const repeated = repeatHeads(data, task.headDim, task.heads / task.kvHeads);
    return jax.numpy.array(repeated, { shape: [task.keys, task.heads, task.headDim], device: group });
  });
  const compiled = jax.jit(
    task.kind === 'matmul' ? (a, b) => jax.numpy.matmul(a, b) : (q, k, v) => jax.nn.dotProductAttention(q, k, v),
  );
  const compute = () => compiled(...given.map((array) => array.ref));
  return {
    async run(repeats) {
      jax.defaultDevice(group);
      const outputs = Array.from({ length: repeats }, compute);
      await patiently(Promise.all(outputs.map((output) => output.blockUntilReady())));
      for (const output of outputs) output.dispose();
    },
    async result() {
      jax.defaultDevice(group);
      return Float32Array.from(await patiently(compute().data()));
    },
    dispose() {
      for (const array of given) array.dispose();
    },
  };
}

/** [rows, heads, width] to [rows, heads * times, width]. */
function repeatHeads(data: Float32Array, width: number, times: number): Float32Array {
  const out = new Float32Array(data.length * times);
  for (let i = 0; i < data.length / width; i++) {
    const head = data.subarray(i * width, (i + 1) * width);
    for (let j = 0; j < times; j++) out.set(head, (i * times + j) * width);
  }
  return out;
}

/** jax-js calls methods of iterators that Node has from version 22 on. */
function addIteratorHelpers(): void {
  const prototype = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]())) as Record<string, unknown>;
  const helpers: Record<string, (this: Iterable<unknown>, f: (value: unknown, i: number) => unknown) => unknown> = {
    map(f) {
      return Array.from(this, f).values();
    },
    filter(f) {
      return [...this].filter(f).values();
    },
    flatMap(f) {
      return [...this].flatMap((value, i) => [...(f(value, i) as Iterable<unknown>)]).values();
    },
    toArray() {
      return [...this];
    },
    some(f) {
      return [...this].some(f);
    },
    every(f) {
      return [...this].every(f);
    },
    find(f) {
      return [...this].find(f);
    },
    forEach(f) {
      [...this].forEach(f);
    },
  };
  for (const [name, value] of Object.entries(helpers)) {
    if (!(name in prototype)) Object.defineProperty(prototype, name, { value, writable: true, configurable: true });
  }
}
