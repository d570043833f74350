// What runs side by side: this project, tfjs and jax-js, each doing the same product or attention on the same numbers.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { attention, matmul } from '@magi1/kernels';
import { Device, scope } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { jaxContestant } from './jax.ts';
import { PEERS, ROOT } from './root.ts';
import { shapeOf, threadText } from './tasks.ts';
import type { Contestant, Prepared, Task, TaskInputs } from './tasks.ts';
import { tfjsContestant } from './tfjs.ts';

async function ourContestant(options: {
  backend: 'wasm' | 'webgpu';
  threads?: number;
  adapter?: string;
}): Promise<Contestant> {
  const device = await Device.open(options);
  const { backend, threads } = options;
  const name = backend === 'webgpu' ? 'magi1' : `magi1${threadText(threads!)}`;
  const prepare = (task: Task, inputs: TaskInputs): Promise<Prepared> => {
    const tensors = inputs.map((data, i) => device.tensor(data, shapeOf(task, i), 'f32'));
    const compute = (): Tensor =>
      task.kind === 'matmul'
        ? matmul(tensors[0]!, tensors[1]!)
        : attention(tensors[0]!, tensors[1]!, tensors[2]!, {
            blocks: [{ q: [0, task.queries], k: [0, task.keys] }],
            scale: 1 / Math.sqrt(task.headDim),
          });
    return Promise.resolve({
      async run(repeats) {
        for (let i = 0; i < repeats; i++) scope(() => void compute());
        await device.sync();
      },
      async result() {
        using output = compute();
        return await output.toFloat32();
      },
      dispose() {
        for (const tensor of tensors) tensor.dispose();
      },
    });
  };
  return {
    library: 'magi1',
    group: backend,
    name,
    ...(threads === undefined ? {} : { threads }),
    prepare,
    dispose: () => device.dispose(),
  };
}

/**
 * Opens everybody: ours first, since from then on `navigator.gpu` is the adapter that the others shall take. Without
 * `adapter` nobody runs on WebGPU. This changes globals of the process and cannot be undone.
 */
export async function openContestants(adapter: string | undefined, threads: number): Promise<Contestant[]> {
  const ours: Contestant[] = [];
  if (adapter !== undefined) ours.push(await ourContestant({ backend: 'webgpu', adapter }));
  ours.push(await ourContestant({ backend: 'wasm', threads: 1 }));
  if (threads > 1) ours.push(await ourContestant({ backend: 'wasm', threads }));
  const load = createRequire(join(PEERS, 'package.json'));
  if (adapter !== undefined) offerWebGpu(adapter);
  const groups = adapter === undefined ? (['wasm'] as const) : (['webgpu', 'wasm'] as const);
  const peers: Contestant[] = [];
  for (const group of groups) peers.push(await tfjsContestant(load, group), await jaxContestant(load, group));
  const all = [...ours, ...peers];
  return groups.flatMap((group) => all.filter((contestant) => contestant.group === group));
}

/** Makes `navigator.gpu` and WebGPU's constants, as a browser has them, from the Dawn that @magi1/tensor uses. */
function offerWebGpu(adapter: string): void {
  const load = createRequire(join(ROOT, 'packages', 'tensor', 'package.json'));
  const dawn = load('webgpu') as { create(flags: string[]): GPU; globals: object };
  const gpu = dawn.create(['enable-dawn-features=allow_unsafe_apis', `adapter=${adapter}`]);
  Object.assign(globalThis, dawn.globals);
  const known = (globalThis as { navigator?: object }).navigator;
  if (known === undefined) {
    const navigator = { userAgent: `Node.js/${process.versions.node}` };
    Object.defineProperty(globalThis, 'navigator', { value: navigator, configurable: true });
  }
  Object.defineProperty(globalThis.navigator, 'gpu', { value: gpu, configurable: true });
}
