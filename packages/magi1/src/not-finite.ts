// Values that left what float32 can work with: found where they arise, so that no run ends in a black video.
import { concat, magnitudeOf, maxMagnitude } from '@magi1/kernels';
import { Magi1Error, MetaDevice, keep, scope } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';

/** What a run was doing. */
export type RunStage = 'text' | 'encoding' | 'denoising' | 'decoding';

export interface NotFinitePlace {
  readonly stage: RunStage;
  /** Such as "the latents". */
  readonly what: string;
  /** Chunk that is made, from 0, and how many there are. */
  readonly chunk?: { readonly index: number; readonly count: number } | undefined;
  /** Denoising step of the run, from 0, and how many there are. */
  readonly step?: { readonly index: number; readonly count: number } | undefined;
}

/** Norms square their inputs, which overflows beyond this; features, latents and frames lie near 1. */
export const LARGEST_VALUE = 1e18;

const WEIGHTS: Readonly<Record<RunStage, string>> = {
  text: 'text encoder',
  encoding: 'VAE',
  denoising: 'transformer',
  decoding: 'VAE',
};

/** A run met NaN, infinities or values that no norm can take. Says where, and what to try. */
export class NotFiniteError extends Magi1Error {
  override name = 'NotFiniteError';
  readonly place: NotFinitePlace;

  /** @param magnitude largest that was found; NaN for NaN */
  constructor(place: NotFinitePlace, magnitude: number, remedies: readonly string[] = []) {
    const { stage, what, chunk, step } = place;
    const where = [
      stage,
      chunk && `chunk ${chunk.index + 1} of ${chunk.count}`,
      step && `step ${step.index + 1} of ${step.count}`,
    ].filter((part) => part !== undefined);
    const tries = [
      ...remedies,
      `weights of the ${WEIGHTS[stage]} as bf16 or f32 if they are f16`,
      'and a fresh copy of its files',
    ];
    super(`${where.join(', ')}: ${what} ${magnitudeFault(magnitude) ?? 'are not finite'}; try ${tries.join(', ')}`);
    this.place = place;
  }
}

/** What is wrong with a largest magnitude, undefined if nothing is. */
export function magnitudeFault(magnitude: number): string | undefined {
  if (Number.isNaN(magnitude)) return 'are not finite (NaN)';
  if (magnitude === Infinity) return 'are not finite (Infinity)';
  return magnitude > LARGEST_VALUE
    ? `reach ${magnitude.toExponential(1)}, more than float32 norms can take`
    : undefined;
}

/** The largest magnitude on the host; NaN if one of the values is NaN. */
export function largestMagnitude(values: Float32Array): number {
  let most = 0;
  for (const value of values) {
    const magnitude = Math.abs(value);
    if (!(magnitude <= most)) most = magnitude;
    if (Number.isNaN(most)) break;
  }
  return most;
}

/** @throws NotFiniteError if values on the host are not finite, or too large */
export function refuseNotFinite(values: Float32Array, place: NotFinitePlace): void {
  const magnitude = largestMagnitude(values);
  if (magnitudeFault(magnitude) !== undefined) throw new NotFiniteError(place, magnitude);
}

/** Finds the largest magnitude of f32 tensors: recorded at once, to be read when the caller waits for the device anyway. */
export class MagnitudeReading {
  readonly #bits: Tensor<'i32'>;
  /** Where each tensor's bits begin, and where the last one's end. */
  readonly #starts: number[] = [0];

  constructor(tensors: readonly Tensor[]) {
    const bits = scope(() => {
      const each = tensors.map((tensor) => maxMagnitude(tensor));
      for (const { size } of each) this.#starts.push(this.#starts.at(-1)! + size);
      return concat(each, 0) as Tensor<'i32'>;
    });
    keep(bits);
    this.#bits = bits;
  }

  /** One for each tensor; frees what it holds. */
  async read(): Promise<number[]> {
    try {
      const ends = this.#starts.slice(1);
      // A dry run has no values.
      if (this.#bits.device instanceof MetaDevice) return ends.map(() => 0);
      const bits = await this.#bits.read();
      return ends.map((end, i) => magnitudeOf(bits.subarray(this.#starts[i], end)));
    } finally {
      this.dispose();
    }
  }

  dispose(): void {
    this.#bits.dispose();
  }
  [Symbol.dispose](): void {
    this.dispose();
  }
}
