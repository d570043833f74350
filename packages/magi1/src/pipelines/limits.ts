// The largest requests that are planned: beyond them a plan alone would fill the memory of the machine.
import { MAX_SIDE } from '../media/rgb-frames.ts';
import { option, worded } from '../wording.ts';
import type { OptionName, Wording } from '../wording.ts';

/** Frames of over an hour at 24 fps, the steps of a whole noise schedule, and sides that media have as well. */
export const LIMITS = {
  height: MAX_SIDE,
  width: MAX_SIDE,
  numFrames: 100_000,
  numInferenceSteps: 1000,
  prefixFrames: 100_000,
  numVideosPerPrompt: 10_000,
} as const;

/** Runs of one batch. */
export const MAX_VIDEOS = 100_000;
/** Steps of the window over the chunks; each is an object of the plan. */
export const MAX_PLANNED_STEPS = 200_000;
/** Guidance and strengths far beyond what gives a picture; float32 holds what comes of them. */
export const MAX_SCALE = 1e6;

export type LimitedOption = keyof typeof LIMITS;

/** What is wrong with a number that a request or a config gives, `name` being what it is called there. */
export function limitFault(limited: LimitedOption, value: number, name?: string): Wording | undefined {
  if (value <= LIMITS[limited]) return undefined;
  const called: OptionName | string = name ?? option(limited);
  return worded`${called}: at most ${LIMITS[limited]} expected, got ${value}`;
}
