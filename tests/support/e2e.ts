// Runs recorded with the original: their settings, and how close frames must be to theirs.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { HostTensor } from '@magi1/tensor';
import { conformanceRoots } from './conformance.ts';
import { readSafetensors } from './safetensors-lite.ts';

export interface E2eManifest {
  readonly prompt: string;
  readonly env: Record<string, string>;
  readonly config: {
    readonly runtime_config: {
      readonly video_size_h: number;
      readonly video_size_w: number;
      readonly num_steps: number;
      readonly num_frames: number;
    };
  };
}

export interface E2eCase {
  readonly manifest: E2eManifest;
  readonly goldens: ReadonlyMap<string, HostTensor>;
  readonly request: {
    readonly prompt: string;
    readonly height: number;
    readonly width: number;
    readonly numFrames: number;
    readonly numInferenceSteps: number;
    readonly latents: Float32Array;
  };
}

export function e2eCase(name: string): E2eCase {
  const cases = join(conformanceRoots().root, 'e2e', 'cases');
  const manifest = JSON.parse(readFileSync(join(cases, `${name}.manifest.json`), 'utf8')) as E2eManifest;
  const goldens = readSafetensors(join(cases, `${name}.safetensors`));
  const { video_size_h, video_size_w, num_steps, num_frames } = manifest.config.runtime_config;
  const request = {
    prompt: manifest.prompt,
    height: video_size_h,
    width: video_size_w,
    numFrames: num_frames,
    numInferenceSteps: num_steps,
    latents: goldens.get('noise')!.data as Float32Array,
  };
  return { manifest, goldens, request };
}

/** At most one level apart, and that on less than one value of a thousand. */
export function expectSameFrames(
  result: { readonly frames: Uint8Array; readonly width: number; readonly height: number },
  goldens: E2eCase['goldens'],
): void {
  const expected = goldens.get('frames')!;
  const index = goldens.get('frame_index')?.data ?? new Int32Array(expected.shape[0]!).map((_, i) => i);
  const size = result.width * result.height * 3;
  expect(expected.shape.slice(1)).toEqual([result.height, result.width, 3]);
  let apart = 0;
  let most = 0;
  for (const [i, frame] of [...index].entries()) {
    for (let k = 0; k < size; k++) {
      const levels = Math.abs(result.frames[frame * size + k]! - (expected.data as Uint8Array)[i * size + k]!);
      if (!(levels === 0)) apart++;
      most = Math.max(most, Number.isNaN(levels) ? Infinity : levels);
    }
  }
  expect(most).toBeLessThanOrEqual(1);
  expect(apart / expected.data.length).toBeLessThan(0.001);
}
