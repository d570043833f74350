// A device that is full, at every place where a run may find it so: nothing stays behind.
import { Device, Magi1Pipeline, Magi1VideoToVideoPipeline, POCKET_MODEL } from '@magi1/core';
import { OutOfMemoryError } from '@magi1/tensor';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { TINY_MODEL } from './support/cli.ts';

let device: Device;
beforeEach(async () => {
  device = await Device.open({ backend: 'wasm', threads: 1 });
});
afterEach(async () => {
  expect(device.memory().tensors).toBe(0);
  await device.dispose();
});

/** Lets `run` find the device full at its first allocations, and at others spread evenly over the rest. */
async function failAtEach(run: () => Promise<unknown>, places: number): Promise<void> {
  const empty = device.empty.bind(device);
  let [made, failing] = [0, Infinity];
  device.empty = ((...spec: Parameters<typeof empty>) => {
    if (made++ === failing) throw new OutOfMemoryError('full, for a test');
    return empty(...spec);
  }) as typeof empty;
  await run();
  const [total, before] = [made, device.memory().tensors];
  const each = Array.from({ length: places }, (_, i) => (i < places / 4 ? i : Math.floor((i / places) * total)));
  for (const place of each) {
    [made, failing] = [0, place];
    await expect(run()).rejects.toThrow('full, for a test');
    expect({ place, left: device.memory().tensors - before }).toEqual({ place, left: 0 });
  }
}

it('three passes, from a clip', async () => {
  await using pipe = await Magi1VideoToVideoPipeline.fromPretrained(TINY_MODEL, { device });
  const frameCount = 24;
  const data = Uint8Array.from({ length: frameCount * 32 * 32 * 3 }, (_, i) => (i * 7) % 256);
  const video = { data, frameCount, width: 32, height: 32 };
  const request = { prompt: 'a cat', height: 32, width: 32, numFrames: 24, prefixFrames: 24, numInferenceSteps: 4 };
  await failAtEach(() => pipe({ ...request, video }), 60);
});

it('one pass, with a nearly clean chunk', async () => {
  await using pipe = await Magi1Pipeline.fromPretrained(POCKET_MODEL, { device });
  const request = { prompt: 'a red circle', height: 32, width: 32, numFrames: 24, numInferenceSteps: 4 };
  await failAtEach(() => pipe(request), 60);
});
