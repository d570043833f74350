// How an output is compared with what the op's reference gives.
import { bitsPerElement, fromFloat32, isWeight, toFloat32 } from '../dtype.ts';
import type { HostView, NumberArray } from '../op.ts';
import { rowMajorStrides } from '../shape.ts';
import type { Shape } from '../shape.ts';

export interface CaseError {
  /** ||got - want|| / ||want|| over the finite elements of all float outputs. */
  readonly relativeL2: number;
  /** Largest |got - want|, relative to the largest |want|. */
  readonly relativeMax: number;
}

const DEFAULT_TOLERANCE = 1e-6;
/** One element may be off by this many times the tolerance, relative to the largest: catches single wrong elements. */
const MAX_ERROR_FACTOR = 32;

/** Integers exactly, floats by the norm of their error and their largest error. */
export function compareByNorm(
  name: string,
  got: NumberArray,
  want: HostView,
  tolerance: number = DEFAULT_TOLERANCE,
): CaseError {
  const expected = asStored(want, tolerance === 0);
  if (tolerance === 0 || !isWeight(want.dtype)) return exactly(name, got, want.shape, expected);
  const { worst, ...error } = floatError(name, got, want.shape, expected);
  if (error.relativeL2 <= tolerance && error.relativeMax <= tolerance * MAX_ERROR_FACTOR) return error;
  throw new Error(
    `${element(name, worst, want.shape)} is ${got[worst]!}, must be ${expected[worst]!}; ` +
      `relative L2 error ${error.relativeL2.toExponential(2)}, largest error ${error.relativeMax.toExponential(2)} ` +
      `of the largest value; tolerance ${tolerance}`,
  );
}

/** Narrow outputs are judged against the reference rounded to their dtype, f32 ones if they must be the same bits. */
export function asStored(want: HostView, rounded: boolean): NumberArray {
  if (!isWeight(want.dtype) || !(rounded || bitsPerElement(want.dtype) < 32)) return want.data;
  return toFloat32(want.dtype, fromFloat32(want.dtype, want.data));
}

/** What a number may be off by where no scale is known: this share of itself, and this much beside. */
const ELEMENT_TOLERANCE = 1e-5;
const ELEMENT_FLOOR = 1e-6;

/** Every element by itself, so that large ones hide nothing: NaN for NaN, infinities with their sign, narrow ones exactly. */
export function compareByElement(name: string, got: NumberArray, want: HostView): CaseError {
  if (want.dtype !== 'f32') return exactly(name, got, want.shape, asStored(want, true));
  want.data.forEach((exact, i) => {
    // f32 has no numbers beyond its largest one.
    const wanted = Math.fround(exact);
    const near = Math.abs(got[i]! - wanted) <= ELEMENT_TOLERANCE * Math.abs(wanted) + ELEMENT_FLOOR;
    if (!(Object.is(got[i], wanted) || (Number.isFinite(wanted) && near))) {
      throw new Error(`${element(name, i, want.shape)} is ${got[i]!}, must be ${wanted}`);
    }
  });
  return { relativeL2: 0, relativeMax: 0 };
}

/** An element by its place in the tensor. */
function element(name: string, index: number, shape: Shape): string {
  const place = rowMajorStrides(shape).map((stride, axis) => Math.floor(index / stride) % shape[axis]!);
  return `${name}[${place.join(',')}]`;
}

function exactly(name: string, got: NumberArray, shape: Shape, want: NumberArray): CaseError {
  for (let i = 0; i < want.length; i++) {
    if (!Object.is(got[i], want[i])) {
      throw new Error(`${element(name, i, shape)} is ${got[i]!}, must be exactly ${want[i]!}`);
    }
  }
  return { relativeL2: 0, relativeMax: 0 };
}

function floatError(
  name: string,
  got: NumberArray,
  shape: Shape,
  want: NumberArray,
): CaseError & { readonly worst: number } {
  let errors = 0;
  let squares = 0;
  let maxError = 0;
  let max = 0;
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    const [value, wanted] = [got[i]!, want[i]!];
    if (!Number.isFinite(wanted) || !Number.isFinite(value)) {
      if (Object.is(value, Math.fround(wanted))) continue;
      throw new Error(`${element(name, i, shape)} is ${value}, must be ${wanted}`);
    }
    const error = Math.abs(value - wanted);
    errors += error * error;
    squares += wanted * wanted;
    if (error > maxError) [maxError, worst] = [error, i];
    max = Math.max(max, Math.abs(wanted));
  }
  const ratio = (error: number, size: number) => (error === 0 ? 0 : error / size);
  return { relativeL2: ratio(Math.sqrt(errors), Math.sqrt(squares)), relativeMax: ratio(maxError, max), worst };
}

/** Only which elements are NaN or infinite, and with which sign: NaN and infinities spoil no more and no less than they must. */
export function compareFiniteness(name: string, got: NumberArray, want: HostView): CaseError {
  asStored(want, true).forEach((wanted, i) => {
    const right = Number.isFinite(wanted) ? Number.isFinite(got[i]) : Object.is(got[i], wanted);
    if (!right) throw new Error(`${element(name, i, want.shape)} is ${got[i]!}, must be ${wanted}`);
  });
  return { relativeL2: 0, relativeMax: 0 };
}
