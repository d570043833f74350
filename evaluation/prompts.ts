// Held-out prompts and clips, written by training/pocket/held_out.py: combinations that were never trained on.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { Clip } from './oracle/clip.ts';
import type { BackgroundName, ColorName, ShapeName } from './oracle/names.ts';
import { ROOT } from '../benchmarks/root.ts';

export interface WantedThing {
  readonly shape: ShapeName;
  readonly color: ColorName;
  readonly size: 'small' | 'medium' | 'large';
  /** A direction, or bounce, orbit, spin, grow, shrink, appear, still. */
  readonly kind: string;
}

export interface HeldOutPrompt {
  readonly prompt: string;
  readonly background: BackgroundName;
  readonly objects: readonly WantedThing[];
}

const SIDE = 64;
const CLIP_FRAMES = 56;
const DATA = join(ROOT, 'evaluation', 'data');

export function heldOutPrompts(): HeldOutPrompt[] {
  return JSON.parse(readFileSync(join(DATA, 'prompts.json'), 'utf8')) as HeldOutPrompt[];
}

/** Clips of the first prompts, 56 frames each. */
export function heldOutClips(): Clip[] {
  const bytes = new Uint8Array(gunzipSync(readFileSync(join(DATA, 'clips.u8.gz'))));
  const size = CLIP_FRAMES * SIDE * SIDE * 3;
  return Array.from({ length: bytes.length / size }, (_, i) => ({
    frames: bytes.subarray(i * size, (i + 1) * size),
    numFrames: CLIP_FRAMES,
    width: SIDE,
    height: SIDE,
  }));
}

/** Frames [start, end) of a clip. */
export function cut(clip: Clip, start: number, end: number): Clip {
  const size = clip.width * clip.height * 3;
  return { ...clip, frames: clip.frames.slice(start * size, end * size), numFrames: end - start };
}

export const isDirection = (kind: string): boolean => /^(left|right|up|down)/.test(kind);
