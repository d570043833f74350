// The oracle must name what is really there, on clips whose contents are known, and nothing else.
import { describe, expect, test } from 'vitest';
import { cut, heldOutClips, heldOutPrompts } from '../prompts.ts';
import { directionOf, watch } from './clip.ts';
import type { Clip } from './clip.ts';
import { backgroundOf, thingsIn } from './frame.ts';
import { BACKGROUNDS, nearestName, shapeName } from './names.ts';

const SIDE = 64;
const FRAME_BYTES = SIDE * SIDE * 3;
const clips = heldOutClips();
const prompts = heldOutPrompts().slice(0, clips.length);
const clip = (index: number, numFrames: number): Clip => cut(clips[index]!, 0, numFrames);

describe('on rendered clips', () => {
  test.each(prompts.map((prompt, index) => ({ ...prompt, index })))('$prompt', ({ index, background, objects }) => {
    const seen = watch(clip(index, 48));
    expect(nearestName(seen.background, BACKGROUNDS)).toBe(background);
    expect(seen.count).toBe(objects.length);
    const names = (things: readonly { color: string; shape: string }[]) =>
      things.map(({ color, shape }) => `${color} ${shape}`).sort();
    expect(names(seen.things)).toEqual(names(objects));
    for (const thing of seen.things) {
      const { kind } = objects.find(({ color }) => color === thing.color)!;
      if (/^(left|right|up|down)/.test(kind)) expect(directionOf(thing)).toBe(kind);
      if (/^(grow|shrink|still|spin)$/.test(kind)) expect(directionOf(thing)).toBeNull();
    }
  });
});

test('an empty frame holds nothing', () => {
  const frame = { data: new Uint8Array(FRAME_BYTES).fill(90), width: SIDE, height: SIDE };
  expect(thingsIn(frame)).toEqual([]);
  expect(backgroundOf(frame)).toEqual([90, 90, 90]);
});

test('noise is not taken for a thing that stays', () => {
  const random = seeded(5);
  const frames = Uint8Array.from({ length: 24 * FRAME_BYTES }, () => Math.floor(random() * 256));
  const seen = watch({ frames, numFrames: 24, width: SIDE, height: SIDE });
  // One blot as large as the frame may be seen, but no two things and no direction.
  expect(seen.things.every((thing) => directionOf(thing) === null)).toBe(true);
});

test('a star with soft edges is no ring; what is empty in the middle is', () => {
  /** Green on gray, from an inner radius to one that waves by the angle, fading over five pixels. */
  const drawn = (inner: number, tips: number) => {
    const data = new Uint8Array(FRAME_BYTES).fill(112);
    for (let y = 0; y < SIDE; y++)
      for (let x = 0; x < SIDE; x++) {
        const far = Math.hypot(x - 30, y - 33);
        const outer = 10 + tips * Math.cos(5 * Math.atan2(x - 30, 33 - y));
        const strength = far < inner ? 0 : Math.max(0, Math.min(1, 0.5 - (far - outer) / 5));
        [40, 180, 70].forEach((level, c) => (data[3 * (y * SIDE + x) + c] = 112 + strength * (level - 112)));
      }
    return thingsIn({ data, width: SIDE, height: SIDE }).map(({ outline }) => shapeName(outline));
  };
  expect(drawn(0, 4)).toEqual(['star']);
  expect(drawn(0, 0)).toEqual(['circle']);
  expect(drawn(5, 0)).toEqual(['ring']);
});

/** mulberry32 */
function seeded(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
