// What one clip is worth: which of the things that its prompt asks for the oracle finds in it.
import { directionOf, watch } from './oracle/clip.ts';
import type { Clip, Seen } from './oracle/clip.ts';
import { isDirection } from './prompts.ts';
import type { HeldOutPrompt, WantedThing } from './prompts.ts';

/** Each true or false, or absent where the prompt does not ask. */
export interface Score {
  readonly color: boolean;
  readonly shape: boolean;
  readonly count: boolean;
  readonly direction?: boolean;
}

/** Colour, shape and direction hold if they hold for every object that the prompt names. */
export function scoreClip(clip: Clip, { objects }: HeldOutPrompt): Score {
  const { count, things } = watch(clip);
  const pairs = match(objects, things);
  const every = (holds: (wanted: WantedThing, seen: Seen) => boolean): boolean =>
    pairs.every(([wanted, seen]) => seen !== undefined && holds(wanted, seen));
  const moving = pairs.filter(([wanted]) => isDirection(wanted.kind));
  return {
    color: every((wanted, seen) => seen.color === wanted.color),
    shape: every((wanted, seen) => seen.shape === wanted.shape),
    count: count === objects.length,
    ...(moving.length > 0 && {
      direction: moving.every(([wanted, seen]) => seen !== undefined && directionOf(seen) === wanted.kind),
    }),
  };
}

/** Each wanted thing with the seen one of its colour, else of its shape, else any that is left. */
function match(wanted: readonly WantedThing[], seen: readonly Seen[]): [WantedThing, Seen | undefined][] {
  const left = [...seen];
  const take = (fits: (thing: Seen) => boolean): Seen | undefined => {
    const at = left.findIndex(fits);
    return at < 0 ? undefined : left.splice(at, 1)[0];
  };
  const byColor = wanted.map((w) => take((s) => s.color === w.color));
  return wanted.map((w, i) => [w, byColor[i] ?? take((s) => s.shape === w.shape) ?? take(() => true)]);
}
