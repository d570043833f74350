// The pocket model on the wasm device: clips show what their prompts say, whichever way they begin.
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Device, Magi1ImageToVideoPipeline, Magi1Pipeline, POCKET_MODEL } from '@magi1/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { watch } from './oracle/clip.ts';
import { cut, heldOutClips, heldOutPrompts } from './prompts.ts';
import { scoreClip } from './score.ts';
import type { Score } from './score.ts';

const CLIPS = 12;
const prompts = heldOutPrompts().slice(0, CLIPS);

let device: Device;
beforeAll(async () => {
  device = await Device.open({ backend: 'wasm' });
});
afterAll(async () => {
  await device.dispose();
});

describe('the pocket model', () => {
  test('shows what held-out prompts ask for', async () => {
    const pipe = await Magi1Pipeline.fromPretrained(POCKET_MODEL, { device });
    const scores: Score[] = [];
    for (const [seed, prompt] of prompts.entries())
      scores.push(scoreClip(await pipe({ prompt: prompt.prompt, seed }), prompt));
    await pipe.dispose();
    const share = (name: keyof Score) => {
      const asked = scores.filter((score) => score[name] !== undefined);
      return asked.filter((score) => score[name] === true).length / asked.length;
    };
    // A little below what `npm run eval` finds over many clips.
    expect(share('color')).toBeGreaterThanOrEqual(0.85);
    expect(share('shape')).toBeGreaterThanOrEqual(0.7);
    expect(share('direction')).toBeGreaterThanOrEqual(0.75);
  });

  test('keeps what a picture shows', async () => {
    const pipe = await Magi1ImageToVideoPipeline.fromPretrained(POCKET_MODEL, { device });
    const clip = heldOutClips()[0]!;
    const { frames: data, width, height } = cut(clip, 0, 1);
    const image = { data, frameCount: 1, width, height };
    const video = await pipe({ image, prompt: prompts[0]!.prompt, numFrames: 24, seed: 1 });
    await pipe.dispose();
    expect(watch(video).things[0]!.color).toBe(watch(cut(clip, 0, 8)).things[0]!.color);
  });

  test('has as many parameters as its README says', () => {
    const parameters = (file: string) => {
      const bytes = readFileSync(join(POCKET_MODEL, file));
      const header = bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE(0))).toString();
      const tensors = Object.values(JSON.parse(header) as Record<string, { shape?: number[] }>);
      return tensors.reduce((sum, { shape }) => sum + (shape?.reduce((a, b) => a * b, 1) ?? 0), 0);
    };
    const readme = readFileSync(join(POCKET_MODEL, 'README.md'), 'utf8');
    const said = (name: string) =>
      Number(new RegExp(`\\| ${name} +\\| ([\\d,]+)`).exec(readme)![1]!.replaceAll(',', ''));
    expect(said('transformer')).toBe(parameters('magi/inference_weight.distill/model.safetensors'));
    expect(said('transformer')).toBe(parameters('magi/inference_weight/model.safetensors'));
    expect(said('VAE')).toBe(parameters('vae/diffusion_pytorch_model.safetensors'));
    expect(said('T5 encoder')).toBe(parameters('t5/t5-v1_1-xxl/model.safetensors'));
  });

  test('fits', () => {
    const files = readdirSync(POCKET_MODEL, { recursive: true, encoding: 'utf8' });
    const sizes = files.map((name) => statSync(join(POCKET_MODEL, name))).filter((stats) => stats.isFile());
    expect(sizes.reduce((sum, { size }) => sum + size, 0)).toBeLessThanOrEqual(12e6);
  });
});
