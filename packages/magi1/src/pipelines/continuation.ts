// A run that goes on from what was kept of an earlier one: what is left to do, the chunks that are there, and what is kept
// of it in turn.
import { concat, narrow } from '@magi1/kernels';
import { scope } from '@magi1/tensor';
import type { Device, Tensor } from '@magi1/tensor';
import { LATENT_STRIDE, latentChannels } from '../config/index.ts';
import type { LoraChoice } from '../lora/index.ts';
import { largestMagnitude, magnitudeFault } from '../not-finite.ts';
import { planSampling } from '../sampler/index.ts';
import type { FinishedChunk, SamplingPlan, SamplingStep } from '../sampler/index.ts';
import type { FinishedLatents, SamplerState } from '../sampler/sample.ts';
import { RequestError, option, worded } from '../wording.ts';
import type { RunState } from './kept.ts';
import type { ModelFiles } from './model-files.ts';
import type { CheckedRequest } from './prepare.ts';
import { checkedIdentity, differences } from './run-state.ts';

/** What is left to do of a run whose state was kept; all of one that begins. */
export class Continuation {
  /** Of what is made anew: its steps count the chunks before `firstChunk` as given. */
  readonly plan: SamplingPlan;
  /** Among the chunks that are made. */
  readonly firstChunk: number;
  readonly resume: SamplerState | undefined;
  readonly keeper: StateKeeper | undefined;
  readonly notes: readonly string[];
  readonly #sampling: SamplingPlan;
  readonly #shape: readonly number[];
  /** Latents of the chunks before `firstChunk`. */
  readonly #early: ReadonlyMap<number, Float32Array>;

  /**
   * @throws RequestError for a state of another run, naming what differs, and for chunks to redo that are not there
   */
  static async of(files: ModelFiles, run: CheckedRequest, choice: LoraChoice, device: Device): Promise<Continuation> {
    const { resume, onState } = run.request;
    const identity = (resume ?? onState) ? await checkedIdentity(files, run, choice) : {};
    return new Continuation(run, identity, device);
  }

  private constructor(
    { request, sampling, settings, source }: CheckedRequest,
    identity: RunState['identity'],
    { backend, info }: Device,
  ) {
    const { resume: state, redoFromChunk, onState } = request;
    // Of the very run that redoes this end, interrupted in its turn: it goes on.
    const goesOn = state?.firstChunk === redoFromChunk && differences(state?.identity ?? {}, identity).length === 0;
    const redo = goesOn ? undefined : redoFromChunk;
    const { chunkWidth } = sampling.options;
    const size = [settings.height / LATENT_STRIDE, settings.width / LATENT_STRIDE];
    this.#shape = [1, latentChannels(source.config.model_config), chunkWidth, ...size];
    this.#sampling = sampling;
    this.firstChunk = redo ?? state?.firstChunk ?? 0;
    this.plan = planFrom(sampling, this.firstChunk);
    this.resume = redo === undefined ? state : undefined;
    const finished = state === undefined ? [] : finishedLatents(sampling, state, this.#shape);
    if (redo !== undefined && redo > finished.length)
      throw new RequestError(
        worded`${option('redoFromChunk')}: at most ${finished.length} expected, got ${redo}: ${finished.length === 1 ? '1 chunk is' : `${finished.length} chunks are`} finished in what was kept`,
      );
    const early = finished.slice(0, this.firstChunk);
    this.#early = new Map(early);
    const device = `${backend}: ${info.name}`;
    const facts = { identity, firstChunk: this.firstChunk, device };
    this.keeper =
      onState && new StateKeeper(facts, onState, redo === undefined ? finished : early, this.plan.steps.length - 1);
    this.notes = state === undefined ? [] : notesOf(state, this, sampling.steps.length, device);
  }

  /** What the sampler starts from: the given start, and the chunks that are there. Frees `prefix`. */
  start(device: Device, prefix: Tensor | undefined): Tensor | undefined {
    if (this.firstChunk === 0) return prefix;
    try {
      return scope(() => {
        const { chunkOffset, options } = this.#sampling;
        const whole = chunkOffset * options.chunkWidth;
        const given = whole === 0 ? [] : [narrow(prefix!, 2, 0, whole)];
        return concat([...given, ...[...this.#early.values()].map((values) => this.#latent(device, values))], 2);
      });
    } finally {
      prefix?.dispose();
    }
  }

  /** The chunks that are there, then those that `sampled` gives. */
  async *chunks(
    device: Device,
    sampled: AsyncIterable<FinishedLatents>,
  ): AsyncGenerator<Pick<FinishedLatents, 'order' | 'latent'>, void, undefined> {
    const { chunkWidth } = this.#sampling.options;
    for (const { chunk, order, frames } of finishedChunks(this.#sampling)) {
      const values = this.#early.get(chunk);
      if (values === undefined) continue;
      const [start, end] = frames.map((frame) => frame - chunk * chunkWidth) as [number, number];
      yield { order, latent: scope(() => narrow(this.#latent(device, values), 2, start, end - start)) };
    }
    for await (const { order, latent } of sampled) yield { order: this.firstChunk + order, latent };
  }

  #latent(device: Device, values: Float32Array): Tensor {
    return device.tensor(values, this.#shape, 'f32');
  }
}

/** For the user. */
function notesOf(
  { step, device: had }: RunState,
  { resume, firstChunk }: Continuation,
  steps: number,
  has: string,
): string[] {
  const where = had === has ? [] : [`what was kept was computed on ${had}, this is ${has}: the last bits may differ`];
  const what =
    resume === undefined
      ? `chunks before chunk ${firstChunk} were kept, it and those after it are made anew`
      : `resumed after step ${step + 1} of ${steps}`;
  return [what, ...where];
}

/** The plan of a run whose first chunks are given, whole. */
function planFrom(sampling: SamplingPlan, firstChunk: number): SamplingPlan {
  if (firstChunk === 0) return sampling;
  const { options, chunkOffset } = sampling;
  const chunks = options.chunks - chunkOffset;
  if (firstChunk >= chunks)
    throw new RequestError(
      worded`${option('redoFromChunk')}: a chunk from 0 to ${chunks - 1} expected, got ${firstChunk}`,
    );
  return planSampling({ ...options, prefixLatentFrames: (chunkOffset + firstChunk) * options.chunkWidth });
}

const finishedChunks = ({ steps }: { readonly steps: readonly SamplingStep[] }): FinishedChunk[] =>
  steps.flatMap(({ finished }) => finished ?? []);

/**
 * Latents of the chunks that a state has finished, in order.
 * @throws RequestError where it is not of this plan
 */
function finishedLatents(
  sampling: SamplingPlan,
  { step: last, firstChunk, latents }: RunState,
  shape: readonly number[],
): [number, Float32Array][] {
  const wrong = (problem: string) =>
    new RequestError(worded`${option('resume')}: the state does not belong to this run: ${problem}`);
  if (firstChunk >= sampling.options.chunks - sampling.chunkOffset) throw wrong(`it has no chunk ${firstChunk}`);
  const plan = planFrom(sampling, firstChunk);
  const step = plan.steps[last];
  if (step === undefined) throw wrong(`it has no step ${last}`);
  const length = shape.reduce((product, side) => product * side, 1);
  const latentOf = (chunk: number): [number, Float32Array] => {
    const values = latents.get(chunk);
    if (values?.length !== length) throw wrong(`latents of chunk ${chunk} are missing or of another size`);
    return [chunk, values];
  };
  for (const { chunk, clean } of step.chunks) if (!clean) latentOf(chunk);
  const given = Array.from({ length: firstChunk }, (_, i) => sampling.chunkOffset + i);
  const done = finishedChunks({ steps: plan.steps.slice(0, last + 1) }).map(({ chunk }) => chunk);
  return [...given, ...done].map(latentOf);
}

/** Share of a run's time that keeping its state may take. */
const SHARE = 1 / 50;

/** Hands the state of a run out after its steps, as often as the time that it takes allows, and after the last one. */
class StateKeeper {
  readonly #facts: Pick<RunState, 'identity' | 'firstChunk' | 'device'>;
  readonly #onState: (state: RunState) => unknown;
  readonly #finished: Map<number, Float32Array>;
  readonly #lastStep: number;
  #due = 0;

  /** @param finished latents of chunks that are finished already @param lastStep which is always kept */
  constructor(
    facts: Pick<RunState, 'identity' | 'firstChunk' | 'device'>,
    onState: (state: RunState) => unknown,
    finished: Iterable<readonly [number, Float32Array]>,
    lastStep: number,
  ) {
    this.#lastStep = lastStep;
    this.#facts = facts;
    this.#onState = onState;
    this.#finished = new Map(finished);
  }

  async after(step: SamplingStep, latents: ReadonlyMap<number, Tensor>): Promise<void> {
    if (step.finished !== null) {
      const { chunk } = step.finished;
      this.#finished.set(chunk, await latents.get(chunk)!.toFloat32());
    }
    if (performance.now() < this.#due && step.index < this.#lastStep) return;
    const kept = new Map(this.#finished);
    for (const { chunk, clean } of step.chunks) {
      if (clean) continue;
      const values = kept.get(chunk) ?? (await latents.get(chunk)!.toFloat32());
      // What was kept before is worth more: with this, nothing can be gone on with.
      if (magnitudeFault(largestMagnitude(values)) !== undefined) return;
      kept.set(chunk, values);
    }
    // From here on only: a device that lags behind has the step itself to finish before its latents can be read.
    const start = performance.now();
    await this.#onState({ ...this.#facts, step: step.index, latents: kept });
    const end = performance.now();
    this.#due = end + (end - start) / SHARE;
  }
}
