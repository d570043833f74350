// When each denoising step happens: t from 0 (noise) to 1 (clean), in float32 as the original computes it.
import { Magi1Error } from '@magi1/tensor';
import { linspace } from './linspace.ts';
import type { LinspaceRounding } from './linspace.ts';

/** sd3 is what every shipped checkpoint uses; the others exist in the original's code. */
export type TimestepSchedule = 'sd3' | 'square' | 'piecewise' | 'identity';

/** "16,16,8" selects the other 12-step split; every other value means "8,16,16". */
export type ShortcutMode = string;

const LATE_SHORTCUT: ShortcutMode = '16,16,8';
const DEFAULT_SHIFT = 3;
const f32 = Math.fround;

/**
 * The numSteps + 1 times of a run. At 3/4 of the steps sd3 gives 0.30000001192, which is above the double 0.3,
 * and its last value is 1.0000001.
 */
export function initT(
  numSteps: number,
  shortcutMode: ShortcutMode,
  schedule: TimestepSchedule = 'sd3',
  shift: number = DEFAULT_SHIFT,
  rounding?: LinspaceRounding,
): Float32Array {
  if (!Number.isInteger(numSteps) || numSteps < 1)
    throw new Magi1Error(`steps: expected a whole number from 1 up, got ${numSteps}`);
  return progress(numSteps, shortcutMode, rounding).map((x) => warp(x, schedule, shift));
}

/** Evenly spaced in [0, 1], except for 12 steps: quarters, each split unevenly in three. */
function progress(numSteps: number, shortcutMode: ShortcutMode, rounding?: LinspaceRounding): Float32Array {
  if (numSteps !== 12) return linspace(numSteps, rounding);
  const within = shortcutMode === LATE_SHORTCUT ? [0, 1 / 16, 1 / 8] : [0, 1 / 8, 3 / 16];
  return Float32Array.from({ length: 13 }, (_, i) => Math.floor(i / 3) / 4 + within[i % 3]!);
}

function warp(x: number, schedule: TimestepSchedule, shift: number): number {
  switch (schedule) {
    case 'identity':
      return x;
    case 'piecewise':
      return x < 0.875 ? f32(x * f32(0.5 / 0.875)) : f32(0.5 + f32(4 * f32(x - 0.875)));
    case 'square':
      return f32(x * x);
    case 'sd3': {
      const u = f32(x * x);
      const numerator = f32(f32(1 / shift) * u);
      return f32(numerator / f32(1 + f32(f32(1 / shift - 1) * u)));
    }
  }
}

/** The interval of each step within a stage: three-step groups split 2,1,1 or 1,1,2 where N is divisible by 3. */
export function distillIntervals(numSteps: number, shortcutMode: ShortcutMode): number[] {
  if (numSteps % 3 !== 0) return Array.from({ length: numSteps }, () => 1);
  const pattern = shortcutMode === LATE_SHORTCUT ? [1, 1, 2] : [2, 1, 1];
  return Array.from({ length: numSteps }, (_, i) => pattern[i % 3]!);
}

/** The step size that a distilled model is conditioned on. Only 12 steps have uneven intervals. */
export function distillDt(numSteps: number, interval: number): number {
  return numSteps === 12 ? (2 * 4) / interval : (2 * numSteps) / 4;
}
