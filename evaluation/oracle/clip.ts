// What happens in a clip: the things that stay through it, their names, and how they move.
import { backgroundOf, distance, thingsIn } from './frame.ts';
import type { Frame, Rgb, Thing } from './frame.ts';
import { COLORS, nearestName, shapeName } from './names.ts';
import type { ColorName, ShapeName } from './names.ts';

/** RGB bytes [frames, height, width, 3]. */
export interface Clip {
  readonly frames: Uint8Array;
  readonly numFrames: number;
  readonly width: number;
  readonly height: number;
}

export interface Seen {
  readonly color: ColorName;
  readonly shape: ShapeName;
  /** Share of the frames it is in. */
  readonly presence: number;
  /** One place and area for each frame it is in. */
  readonly track: readonly { readonly frame: number; readonly x: number; readonly y: number; readonly area: number }[];
}

export interface Watched {
  readonly background: Rgb;
  /** How many things most frames hold. */
  readonly count: number;
  /** By falling presence. */
  readonly things: readonly Seen[];
}

/** Pixels that a thing may jump between two frames and still be the same. */
const JUMP = 12;
/** Two glimpses of one thing differ less in colour. */
const SAME_COLOR = 90;
/** Shorter appearances are accidents. */
const LEAST_PRESENCE = 0.2;

interface Path {
  readonly glimpses: { frame: number; thing: Thing }[];
}

export function frameOf({ frames, width, height }: Clip, index: number): Frame {
  const size = width * height * 3;
  return { data: frames.subarray(index * size, (index + 1) * size), width, height };
}

export function watch(clip: Clip): Watched {
  const background = backgroundOf(frameOf(clip, Math.floor(clip.numFrames / 2)));
  const paths: Path[] = [];
  const counts: number[] = [];
  for (let frame = 0; frame < clip.numFrames; frame++) {
    const things = thingsIn(frameOf(clip, frame), background);
    counts.push(things.length);
    for (const thing of things) follow(paths, frame, thing);
  }
  const things = paths
    .filter(({ glimpses }) => glimpses.length >= LEAST_PRESENCE * clip.numFrames)
    .map(({ glimpses }) => ({
      color: mostly(glimpses.map(({ thing }) => nearestName(thing.color, COLORS))),
      shape: mostly(glimpses.map(({ thing }) => shapeName(thing.outline))),
      presence: glimpses.length / clip.numFrames,
      track: glimpses.map(({ frame, thing: { x, y, area } }) => ({ frame, x, y, area })),
    }))
    .sort((a, b) => b.presence - a.presence);
  return { background, count: mostly(counts), things };
}

function follow(paths: Path[], frame: number, thing: Thing): void {
  const near = paths.filter(({ glimpses }) => {
    const last = glimpses.at(-1)!;
    return (
      last.frame < frame &&
      frame - last.frame <= 3 &&
      Math.hypot(last.thing.x - thing.x, last.thing.y - thing.y) < JUMP &&
      distance(last.thing.color, thing.color) < SAME_COLOR
    );
  });
  const path = near[0];
  if (path === undefined) paths.push({ glimpses: [{ frame, thing }] });
  else path.glimpses.push({ frame, thing });
}

export type Direction = 'left' | 'right' | 'up' | 'down' | 'up-left' | 'up-right' | 'down-left' | 'down-right';

/** Pixels that count as moving at all. */
const LEAST_MOVE = 4;
const COMPASS: readonly Direction[] = ['right', 'down-right', 'down', 'down-left', 'left', 'up-left', 'up', 'up-right'];

/** Where a thing went from the first to the last glimpse, to the nearest eighth of a turn; null if it stayed. */
export function directionOf({ track }: Seen): Direction | null {
  const [first, last] = [track[0]!, track.at(-1)!];
  const [dx, dy] = [last.x - first.x, last.y - first.y];
  if (Math.hypot(dx, dy) < LEAST_MOVE) return null;
  const eighth = Math.round((Math.atan2(dy, dx) / (2 * Math.PI)) * 8);
  return COMPASS[(eighth + 8) % 8]!;
}

function mostly<T>(values: readonly T[]): T {
  const counts = new Map<T, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].reduce((best, entry) => (entry[1] > best[1] ? entry : best))[0];
}
