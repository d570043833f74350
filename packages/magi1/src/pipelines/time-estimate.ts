// How long a run will take on a device: its ops are tried there for a few seconds, with the model's own widths and few
// rows, and extrapolated to the whole run.
import { byteLengthOf } from '@magi1/tensor';
import type { Device, Tensor, TensorSpec } from '@magi1/tensor';
import { LATENT_STRIDE } from '../config/index.ts';
import type { ModelShapes, RunSize } from './memory-plan.ts';
import { resized } from './memory.ts';
import { countWork, sizeOfCall } from './work.ts';
import type { CallShape, OpWork, Stage, Work } from './work.ts';

export interface StageEstimate {
  readonly stage: Stage;
  readonly seconds: number;
  readonly flops: number;
}

/** Of computing alone: reading the weights and writing the file come on top. */
export interface TimeEstimate {
  /** Where the ops were tried. */
  readonly device: string;
  readonly seconds: number;
  readonly flops: number;
  readonly stages: readonly StageEstimate[];
}

/** One op at one size. */
interface Trial {
  readonly size: number;
  readonly milliseconds: number;
}

/** No trial begins later. */
const MOST_MS = 8000;
/** A larger size, with four times the work, is tried as long as one call of each op should take less than this. */
const ROUND_MS = 300;
/** Ops that make up less than this share of a run are taken to be like the others. */
const LEFT_OUT = 0.005;

/** @param available bytes that trials may take; undefined comes back where that is too little for one of them */
export async function estimateTime(
  shapes: ModelShapes,
  run: RunSize,
  device: Device,
  { available, signal }: { readonly available: number; readonly signal?: AbortSignal | undefined },
): Promise<TimeEstimate | undefined> {
  const whole = await countWork(shapes, run, device, signal);
  const tried: Work[] = []; // the largest size that takes little, then one below it
  for (let round = 0; ; round++) {
    const small = smaller(run, shapes, round);
    tried.unshift(small === run ? whole : await countWork(shapes, small, device, signal));
    const calls = [...tried[0]!.values()];
    if (calls.some(({ largest }) => bytesOfTrial(largest) > available)) return undefined;
    if (small === run) break;
    const heaviest = calls.reduce((most, work) => (work.largest.flops > most.largest.flops ? work : most));
    const pace = (await timeOf(device, heaviest, signal)) / sizeOfCall(heaviest.largest);
    if (4 * pace * sumOf(calls.map(({ largest }) => sizeOfCall(largest))) > ROUND_MS) break;
  }
  const sizes = tried[0] === whole ? [whole] : tried.slice(0, 2);
  const trials = new Map<string, Trial[]>();
  const start = performance.now();
  for (const key of heaviest(whole, sizes[0]!)) {
    if (performance.now() - start > MOST_MS) break;
    const own: Trial[] = [];
    for (const work of sizes.map((size) => size.get(key)).filter((work) => work !== undefined))
      own.push({ size: sizeOfCall(work.largest), milliseconds: await timeOf(device, work, signal) });
    trials.set(key, own);
  }
  return { device: device.info.name, ...extrapolated(whole, trials) };
}

/** The run at 32x32 with 16 tokens of text, at four times as much in every further round, and at last itself. */
function smaller(run: RunSize, { config }: ModelShapes, round: number): RunSize {
  const side = 2 * LATENT_STRIDE * config.model_config.patch_size * 2 ** round;
  if (side * side >= run.height * run.width) return run;
  const most = 16 * 4 ** round;
  const { caption, encoded } = run.texts;
  const texts = { ...run.texts, caption: Math.min(caption, most), encoded: Math.min(encoded, most) };
  return {
    ...resized(run, { height: side, width: side, chunks: run.plan.options.chunks - run.plan.chunkOffset }),
    texts,
  };
}

/** What a device may take for it, roughly: arithmetic, bytes and calls alike. */
const weight = ({ calls, flops, bytes }: OpWork): number => flops + 8 * bytes + 1e5 * calls;
const sumOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);

/** Ops of both, the heaviest of the whole run first, but for those that hardly count. */
function heaviest(whole: Work, tried: Work): string[] {
  const all = sumOf([...whole.values()].map(weight));
  const keys = [...whole.keys()].sort((a, b) => weight(whole.get(b)!) - weight(whole.get(a)!));
  let left = all;
  return keys.filter((key) => {
    const counts = left > LEFT_OUT * all;
    left -= weight(whole.get(key)!);
    return counts && tried.has(key);
  });
}

/** A call costs a share that its size does not change, and grows with it beyond that; by two trials, or by one. */
function extrapolated(whole: Work, trials: ReadonlyMap<string, readonly Trial[]>): Omit<TimeEstimate, 'device'> {
  const least = Math.min(...[...trials.values()].flat().map(({ milliseconds }) => milliseconds));
  const times = new Map<string, number>();
  for (const [key, tried] of trials) {
    const { calls, flops, bytes } = whole.get(key)!;
    const [last, before] = tried as [Trial, Trial?];
    const grows = before !== undefined && before.size < last.size;
    const rate = grows ? (last.milliseconds - before.milliseconds) / (last.size - before.size) : 0;
    const fixed = grows
      ? Math.min(Math.max(0, last.milliseconds - rate * last.size), before.milliseconds)
      : Math.min(least, last.milliseconds);
    times.set(key, calls * fixed + ((last.milliseconds - fixed) / last.size) * (flops + bytes));
  }
  const tried = [...times.keys()].map((key) => weight(whole.get(key)!));
  const perWeight = sumOf([...times.values()]) / sumOf(tried);
  const stages = new Map<Stage, StageEstimate>();
  for (const [key, work] of whole) {
    const { stage } = work;
    const { seconds, flops } = stages.get(stage) ?? { seconds: 0, flops: 0 };
    const own = (times.get(key) ?? perWeight * weight(work)) / 1000;
    stages.set(stage, { stage, seconds: seconds + own, flops: flops + work.flops });
  }
  const all = [...stages.values()];
  return {
    seconds: sumOf(all.map(({ seconds }) => seconds)),
    flops: sumOf(all.map(({ flops }) => flops)),
    stages: all,
  };
}

const bytesOfTrial = ({ inputs, y }: CallShape): number => sumOf([...Object.values(inputs), y].map(byteLengthOf));

/** A call that takes longer is timed once, others in batches, of which the fastest counts: others may use the machine too. */
const LONG_TRIAL_MS = 100;
const BATCHES = 4;
const BATCH_MS = 6;

/** Milliseconds of a call, among others of its kind. */
async function timeOf(device: Device, { op, largest }: OpWork, signal: AbortSignal | undefined): Promise<number> {
  const { params } = largest;
  const inputs: Record<string, Tensor> = {};
  const made: Tensor[] = [];
  try {
    for (const [name, spec] of Object.entries(largest.inputs))
      made.push((inputs[name] = filled(device, spec, name === 'weight')));
    const y = device.empty(largest.y.shape, largest.y.dtype);
    made.push(y);
    const timed = async (times: number): Promise<number> => {
      const start = performance.now();
      for (let i = 0; i < times; i++) device.execute(op, { inputs, y, params });
      await device.sync(signal);
      return (performance.now() - start) / times;
    };
    await timed(1); // compiles
    let least = await timed(1);
    if (least > LONG_TRIAL_MS) return least;
    const times = Math.min(50, Math.ceil(BATCH_MS / least));
    for (let batch = 0; batch < BATCHES; batch++) least = Math.min(least, await timed(times));
    return least;
  } finally {
    for (const tensor of made) tensor.dispose();
  }
}

/** Zeros, and ones where they choose something. */
function filled(device: Device, { shape, dtype }: TensorSpec, weight: boolean): Tensor {
  const tensor = device.empty(shape, dtype, { weight });
  const bytes = new Uint8Array(byteLengthOf({ shape, dtype }));
  if (dtype === 'i32' || dtype === 'u32') new Uint32Array(bytes.buffer).fill(1);
  tensor.writeBytes(bytes);
  return tensor;
}
