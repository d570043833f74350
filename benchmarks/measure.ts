// Times one case of an op on a device: inputs are uploaded once, a sample is several runs between two syncs, so that it
// holds all the device's work and the latency of one sync is shared.
import { Bench } from 'tinybench';
import { isFloat, runOp, scope, toFloat32 } from '@magi1/tensor';
import type { AnyCase, AnyOp, CaseInput, Device, Tensor } from '@magi1/tensor';
import { disposeAll, uploadInputs } from './inputs.ts';
import { perRun, summarise } from './statistics.ts';
import type { Summary } from './statistics.ts';

export interface Effort {
  /** A sample shall last at least this long. */
  readonly sampleMs: number;
  /** Samples are taken for at least this long in all. */
  readonly totalMs: number;
  /** At least so many samples, unless one run takes more than `slowMs`: then one, besides the run that warmed up. */
  readonly samples: number;
  readonly slowMs: number;
}

const MOST_REPEATS = 256;

/** Milliseconds of one run. Throws when the op fails or gives NaN. */
export async function measureCase(device: Device, op: AnyOp, opCase: AnyCase, effort: Effort): Promise<Summary> {
  const inputs = uploadInputs(device, opCase);
  try {
    await device.sync();
    const first = await milliseconds(() => checkOutput(op, opCase, inputs));
    return await measure(device, () => void runOp(op, inputs, opCase.params), effort, first);
  } finally {
    disposeAll(inputs);
  }
}

/**
 * Milliseconds of one `run`, which records work on the device. Tensors that it makes are disposed. `first` is how long a
 * run took before this, if there was one.
 */
export async function measure(device: Device, run: () => void, effort: Effort, first?: number): Promise<Summary> {
  const batch = async (repeats: number) => {
    for (let i = 0; i < repeats; i++) scope(run);
    await device.sync();
  };
  await device.sync();
  let once = first ?? (await milliseconds(() => batch(1)));
  // Again: engines take their fast code, and drivers their caches, from the second run on.
  if (once < effort.slowMs) once = Math.min(once, await milliseconds(() => batch(1)));
  const slow = once >= effort.slowMs;
  const repeats = Math.max(1, Math.min(MOST_REPEATS, Math.ceil(effort.sampleMs / once)));
  const bench = new Bench({
    iterations: slow ? 1 : effort.samples,
    time: slow ? 0 : effort.totalMs,
    warmup: false,
    retainSamples: true,
    throws: true,
  });
  bench.add('run', async () => {
    await batch(repeats);
  });
  const [task] = await bench.run();
  const result = task?.result;
  if (result === undefined || !('latency' in result)) throw new Error(`no timing: ${result?.state ?? 'no task'}`);
  return perRun(summarise([...(result.latency.samples ?? [])]), repeats);
}

async function milliseconds(body: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await body();
  return performance.now() - start;
}

async function checkOutput(op: AnyOp, opCase: AnyCase, inputs: Readonly<Record<string, Tensor>>): Promise<void> {
  // Values chosen by hand may be NaN or become it; tests hold them against the reference.
  const byHand = Object.values(opCase.inputs as Record<string, CaseInput | undefined>).some(
    (input) => input !== undefined && isFloat(input.dtype) && input.fill?.kind === 'values',
  );
  using y = runOp(op, inputs, opCase.params);
  const data = await y.read();
  if (!isFloat(y.dtype) || byHand) return;
  const bad = toFloat32(y.dtype, data).findIndex((value) => Number.isNaN(value));
  if (bad >= 0) throw new Error(`the output holds NaN at ${bad}`);
}
