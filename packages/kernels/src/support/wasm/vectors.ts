// Loops over f32 rows of any length, four lanes at a time. The last, partial vector is computed like all others: it reads
// past the row's end (harmless) and only its valid lanes are stored or counted.
import { F32x4, I32x4 } from '@magi1/tensor';
import type { F32, I32, KernelBuilder } from '@magi1/tensor';

export type Put = (address: I32, value: F32x4) => void;

/** Calls `body` with the byte offset of each vector of `count` elements; results are stored through `put`. */
export function forVectors(k: KernelBuilder, count: I32, body: (at: I32, put: Put) => void): void {
  const whole = k.let(count.and(-4).shl(2));
  k.forRange(0, whole, 16, (at) => {
    body(at, (address, value) => {
      k.store(address, value);
    });
  });
  const rest = k.let(count.and(3));
  k.if(rest, () => {
    body(whole, (address, value) => {
      storeLanes(k, address, value, rest);
    });
  });
}

/** Stores the first `lanes` (1 to 3) lanes. */
export function storeLanes(k: KernelBuilder, address: I32, value: F32x4, lanes: I32): void {
  const [to, lane] = [k.let(address), k.let(value)];
  k.store32Lane(to, lane, 0);
  k.if(lanes.gtU(1), () => {
    k.store32Lane(to, lane, 1, 4);
    k.if(lanes.gtU(2), () => {
      k.store32Lane(to, lane, 2, 8);
    });
  });
}

/** Bytes whose elements are summed apart before they join the total, which keeps rounding small. */
const RUN_BYTES = 512;

/** For each term the sum over `count` elements; `terms` gets the byte offset of a vector. */
export function sumVectors(k: KernelBuilder, count: I32, terms: (at: I32) => readonly F32x4[], number: number): F32[] {
  const zeros = () => Array.from({ length: number }, () => k.var(F32x4.of(0)));
  const [totals, runs] = [zeros(), zeros()];
  const whole = k.let(count.and(-4).shl(2));
  k.forRange(0, whole, RUN_BYTES, (start) => {
    for (const run of runs) run.set(F32x4.of(0));
    k.forRange(start, k.let(start.add(RUN_BYTES)).minU(whole), 16, (at) => {
      terms(at).forEach((term, i) => {
        runs[i]!.set(runs[i]!.add(term));
      });
    });
    totals.forEach((total, i) => {
      total.set(total.add(runs[i]!));
    });
  });
  const rest = k.let(count.and(3));
  k.if(rest, () => {
    const valid = k.let(I32x4.lanes(0, 1, 2, 3).ltS(rest.splat()));
    terms(whole).forEach((term, i) => {
      totals[i]!.set(totals[i]!.add(valid.and(term.asI32x4()).asF32x4()));
    });
  });
  return totals.map((t) =>
    k.let(
      t
        .lane(0)
        .add(t.lane(1))
        .add(t.lane(2).add(t.lane(3))),
    ),
  );
}

/**
 * The largest of `count` elements (at least one). NaN may be passed over: where it must come out, add what makes it. The
 * smallest is minus the largest of the negated elements, exactly, here and with `reduce_max` in WGSL.
 */
export function maxVectors(k: KernelBuilder, count: I32, value: (at: I32) => F32x4): F32 {
  const LOWEST = -3.4028235e38;
  const most = k.var(F32x4.of(LOWEST));
  const whole = k.let(count.and(-4).shl(2));
  k.forRange(0, whole, 16, (at) => {
    most.set(most.pmax(value(at)));
  });
  const rest = k.let(count.and(3));
  k.if(rest, () => {
    const valid = I32x4.lanes(0, 1, 2, 3).ltS(rest.splat());
    most.set(most.pmax(valid.select(value(whole), F32x4.of(LOWEST))));
  });
  return k.let(
    most
      .lane(0)
      .max(most.lane(1))
      .max(most.lane(2).max(most.lane(3))),
  );
}
