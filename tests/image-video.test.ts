// Image to video and video to video on the wasm device with the tiny model.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  Device,
  Magi1ImageToVideoPipeline,
  Magi1Pipeline,
  Magi1VideoToVideoPipeline,
  exportToVideo,
  findFfmpeg,
  loadVideo,
  openPngWriter,
} from '@magi1/core';
import type { ImageToVideoRequest, RgbFrames, VideoToVideoRequest } from '@magi1/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PROGRAM, TINY_MODEL, runCli } from './support/cli.ts';
import { conformanceRoots } from './support/conformance.ts';
import { e2eCase, expectSameFrames } from './support/e2e.ts';
import { readSafetensors } from './support/safetensors-lite.ts';
import { copyTinyModel, editConfig, temporaryFolder } from './support/tiny-model.ts';

const BACKEND = 'wasm';
const SMALL = { prompt: 'a cat', height: 32, width: 32, numFrames: 24, numInferenceSteps: 4 };
const SIZE = 32 * 32 * 3;

let device: Device;
let fromImage: Magi1ImageToVideoPipeline;
let fromVideo: Magi1VideoToVideoPipeline;
let loaded: number;

beforeAll(async () => {
  device = await Device.open({ backend: BACKEND });
  fromImage = await Magi1ImageToVideoPipeline.fromPretrained(TINY_MODEL, { device });
  fromVideo = await Magi1VideoToVideoPipeline.fromPretrained(TINY_MODEL, { device });
  loaded = device.memory().tensors;
});
afterAll(async () => {
  await fromImage.dispose();
  await fromVideo.dispose();
  expect(device.memory().tensors).toBe(0);
  await device.dispose();
});

/** A moving gradient. */
function clip(frameCount: number, width = 32, height = 32): RgbFrames {
  const data = Uint8Array.from({ length: frameCount * width * height * 3 }, (_, i) => {
    const pixel = Math.floor(i / 3);
    const [x, y, t] = [pixel % width, Math.floor(pixel / width) % height, Math.floor(pixel / width / height)];
    return i % 3 === 0 ? (8 * x + 5 * t) % 256 : i % 3 === 1 ? (8 * y) % 256 : 128;
  });
  return { data, frameCount, width, height };
}

describe('image to video', () => {
  it('starts at frame 0 and depends on the image', async () => {
    const result = await fromImage({ ...SMALL, image: clip(1) });
    // 6 + 1 latent frames make two chunks, from the image's on.
    expect(result).toMatchObject({ numFrames: 48, width: 32, height: 32 });
    expect(result.frames).toHaveLength(48 * SIZE);
    expect(result.facts).toMatchObject({
      mode: 'i2v',
      settings: { prefixFrames: 1, prefixLatentFrames: 1, frames: 48, chunks: 2, latentFrames: 12 },
    });
    expect(result.facts.seconds.encoding).toBeGreaterThan(0);
    const other = await fromImage({ ...SMALL, image: { ...clip(1), data: new Uint8Array(SIZE) } });
    expect(other.frames).not.toEqual(result.frames);
    expect(device.memory().tensors).toBe(loaded);
  });

  it('scales an image of another size, from bytes or a file as from frames', async () => {
    const folder = join(temporaryFolder(), 'png');
    const writer = await openPngWriter({ path: folder, width: 48, height: 40, fps: 24 });
    const picture = clip(1, 48, 40);
    await writer.write(picture.data, 1);
    await writer.finish();
    const request = await fromImage.prepare({ ...SMALL, image: join(folder, 'frame_00000.png') });
    expect(request.pictures).toMatchObject({ frameCount: 1, width: 32, height: 32 });
    const bytes = readFileSync(join(folder, 'frame_00000.png'));
    const fromBytes = await fromImage.prepare({ ...SMALL, image: bytes });
    expect(fromBytes.pictures).toMatchObject({ data: request.pictures!.data });
    const fromFrames = await fromImage.prepare({ ...SMALL, image: picture });
    const levels = fromFrames.pictures!.data.map((level, i) => Math.abs(level - request.pictures!.data[i]!));
    expect(Math.max(...levels)).toBeLessThanOrEqual(1);
    expect(fromImage.plan(request).settings).toMatchObject({ frames: 48 });
  });

  it('frees everything when it is cancelled while encoding', async () => {
    const signal = AbortSignal.abort();
    await expect(fromImage({ ...SMALL, image: clip(1), signal })).rejects.toMatchObject({ name: 'AbortError' });
    const controller = new AbortController();
    const onStep = () => controller.abort();
    const run = fromImage({ ...SMALL, image: clip(1), signal: controller.signal, onStep });
    await expect(run).rejects.toMatchObject({ name: 'AbortError' });
    expect(device.memory().tensors).toBe(loaded);
  });

  const bad: [string, Record<string, unknown>, RegExp][] = [
    ['no image', { image: undefined }, /image: a path, bytes or decoded frames expected, got nothing/],
    ['a number', { image: 5 }, /image: a path, bytes or decoded frames expected, got 5/],
    ['a missing file', { image: '/no/such.png' }, /such\.png/],
    ['an empty file', { image: new Uint8Array(0) }, /empty/],
    ['something else', { image: new Uint8Array(100).fill(7) }, /JPEG, PNG or WebP expected/],
    ['too few bytes', { image: { ...clip(1), data: new Uint8Array(5) } }, /got 5 bytes/],
    ['a clip', { image: clip(2) }, /image: .*2/],
    ['a video too', { image: clip(1), video: clip(1) }, /unknown option video/],
  ];
  for (const [what, change, message] of bad) {
    it(`${what} is refused before any work`, async () => {
      const request = { ...SMALL, image: clip(1), ...change } as unknown as ImageToVideoRequest;
      await expect(fromImage(request)).rejects.toThrow(message);
      await expect(Magi1ImageToVideoPipeline.fromPretrained(TINY_MODEL, { device, request })).rejects.toThrow(message);
      expect(device.memory().tensors).toBe(loaded);
    });
  }
});

describe('video to video', () => {
  it('gives only frames after the prefix', async () => {
    const { numFrames, frames, facts } = await fromVideo({ ...SMALL, video: clip(40) });
    // 8 latent frames: a whole chunk and two of the next, whose other four decode to 12 + 1 frames.
    expect(numFrames).toBe(37);
    expect(frames).toHaveLength(37 * SIZE);
    expect(facts).toMatchObject({
      mode: 'v2v',
      settings: { prefixFrames: 32, prefixLatentFrames: 8, frames: 37, chunks: 2, latentFrames: 10 },
    });
    expect(device.memory().tensors).toBe(loaded);
  });

  const lengths: [
    frames: number,
    wanted: number | undefined,
    used: number,
    latents: number,
    out: number,
    note: RegExp,
  ][] = [
    [1, undefined, 1, 1, 48, /^clip: 1 frame read at 24 fps, it is continued$/],
    [
      6,
      undefined,
      4,
      1,
      48,
      /^clip: 6 frames read .* the last 4 are continued, the 2 before them are dropped,the first 2 of 6/,
    ],
    [8, undefined, 8, 2, 37, /^clip: 8 frames read at 24 fps, all are continued$/],
    [13, undefined, 13, 4, 32, /^clip: 13 frames read at 24 fps, all are continued$/],
    [14, undefined, 12, 3, 36, /the last 12 are continued, .*,the first 2 of 14/],
    [40, 24, 24, 6, 24, /^clip: 40 frames read at 24 fps, the last 24 are continued, the 16 before them are dropped$/],
    [60, 48, 48, 12, 24, /the last 48 are continued, the 12 before them are dropped$/],
  ];
  for (const [frames, prefixFrames, used, latents, out, note] of lengths) {
    it(`${frames} frames, ${prefixFrames ?? 'as many as the original takes'} wanted`, () => {
      const { settings, notes } = fromVideo.plan({ ...SMALL, video: clip(frames), prefixFrames });
      expect(settings).toMatchObject({ prefixFrames: used, prefixLatentFrames: latents, frames: out });
      expect(notes.join()).toMatch(note);
    });
  }

  it('continues the end of a clip, or its start', { timeout: 120_000 }, async () => {
    const long = clip(70);
    const part = (first: number, count: number): RgbFrames => ({
      ...long,
      data: long.data.slice(first * SIZE, (first + count) * SIZE),
      frameCount: count,
    });
    const end = await fromVideo({ ...SMALL, video: long });
    expect(end.facts.clip).toEqual({
      from: 'end',
      framesRead: 70,
      framesContinued: 32,
      framesDropped: 38,
      newFrames: 37,
    });
    expect(end.frames).toEqual((await fromVideo({ ...SMALL, video: part(38, 32) })).frames);
    const start = await fromVideo({ ...SMALL, video: long, videoFrom: 'start' });
    expect(start.facts.clip).toMatchObject({ from: 'start', framesRead: 70, framesContinued: 32, framesDropped: 38 });
    expect(start.frames).toEqual((await fromVideo({ ...SMALL, video: part(0, 32) })).frames);
    expect(start.frames).not.toEqual(end.frames);
    // What fills no latent frame is left out where it is not continued.
    const few = await fromVideo({ ...SMALL, video: part(0, 6) });
    expect(few.frames).toEqual((await fromVideo({ ...SMALL, video: part(2, 4) })).frames);
  });

  it('gives the frames before the new ones as well', async () => {
    const collect = async (request: VideoToVideoRequest): Promise<Uint8Array> => {
      const parts: Uint8Array[] = [];
      for await (const frame of fromVideo.clipFrames(request)) parts.push(frame);
      return Buffer.concat(parts);
    };
    const video = clip(40);
    expect(await collect({ ...SMALL, video })).toEqual(Buffer.from(video.data));
    const start = await collect({ ...SMALL, video, videoFrom: 'start', prefixFrames: 8 });
    expect(start).toEqual(Buffer.from(video.data.subarray(0, 8 * SIZE)));
  });

  it('says when a clip or picture is squeezed, and keeps its shape where asked', async () => {
    const squeezed = await fromVideo.prepare({ ...SMALL, video: clip(4, 64, 32) });
    expect(fromVideo.plan(squeezed).notes.join()).toMatch(
      /video: 64x32 is squeezed into 32x32, 2\.00 times as narrow as it should be; fit pad or crop keeps its shape/,
    );
    const image = await fromImage.prepare({ ...SMALL, image: clip(1, 32, 48) });
    expect(fromImage.plan(image).notes.join()).toMatch(/image: 32x48 is squeezed into 32x32, 1\.50 times as wide/);
    const padded = await fromImage.prepare({ ...SMALL, image: clip(1, 32, 48), fit: 'pad' });
    expect(fromImage.plan(padded).notes).toEqual([]);
    expect(padded.pictures!.data.subarray(0, 9)).toEqual(new Uint8Array(9)); // a black bar
    const nearly = await fromImage.prepare({ ...SMALL, image: clip(1, 48, 47) });
    expect(fromImage.plan(nearly).notes).toEqual([]);
  });

  it('a config file of the original is run in its way', async () => {
    const original = await Magi1VideoToVideoPipeline.fromConfigFile(join(TINY_MODEL, 'config.json'), { device });
    const video = clip(40, 80, 64);
    const start = await original.prepare({ ...SMALL, video });
    expect(original.plan(start).clip).toMatchObject({ from: 'start', framesContinued: 32 });
    const asked = { ...SMALL, video, videoFrom: 'start', scaler: 'original' } as const;
    expect(start.pictures).toEqual((await fromVideo.prepare(asked)).pictures);
    const own = await fromVideo.prepare({ ...SMALL, video, videoFrom: 'start' });
    expect(own.pictures!.data).not.toEqual(start.pictures!.data);
    await original.dispose();
  });

  it('makes the frames it said, whatever the prefix', { timeout: 120_000 }, async () => {
    for (const frames of [1, 13, 24]) {
      const { numFrames, facts } = await fromVideo({ ...SMALL, video: clip(frames) });
      expect(numFrames).toBe(facts.settings.frames);
    }
  });

  it('an image is a clip of one frame', async () => {
    const still = await fromImage({ ...SMALL, image: clip(1) });
    expect((await fromVideo({ ...SMALL, video: clip(1) })).frames).toEqual(still.frames);
  });

  it('stays within the memory that was estimated', async () => {
    const request = { ...SMALL, height: 64, width: 64, video: clip(32, 64, 64) };
    const memory = await fromVideo.planMemory(request);
    expect(memory.encoding).toBeGreaterThan(0);
    // Both pipelines have their weights on the device.
    const others = memory.weights.textEncoder + memory.weights.transformer + memory.weights.vae;
    expect((await fromVideo(request)).facts.peakDeviceBytes).toBeLessThan(memory.peaks.none + others);
  });

  const bad: [string, Record<string, unknown>, RegExp][] = [
    ['no video', { video: undefined }, /video: a path, bytes or decoded frames expected, got nothing/],
    ['three frames', { video: clip(3) }, /video: 3 frames are too few for a prefix/],
    ['no frames', { video: { ...clip(1), frameCount: 0 } }, /at least one frame expected/],
    ['a prefix of none', { prefixFrames: 0 }, /prefixFrames: a whole number above 0 expected, got 0/],
    ['half a frame', { prefixFrames: 4.5 }, /prefixFrames: a whole number above 0 expected, got 4.5/],
    ['a prefix that fills no tile', { prefixFrames: 14 }, /prefixFrames: .*nearest valid: 12 and 16/],
    ['an image too', { image: clip(1) }, /unknown option image/],
    ['no end of it', { videoFrom: 'middle' }, /videoFrom: one of end, start expected, got "middle"/],
    ['no fit', { fit: 'squeeze' }, /fit: one of stretch, pad, crop expected, got "squeeze"/],
    ['no scaler', { scaler: 'fast' }, /scaler: one of accurate, original expected, got "fast"/],
  ];
  for (const [what, change, message] of bad) {
    it(`${what} is refused before any work`, async () => {
      const request = { ...SMALL, video: clip(32), ...change } as unknown as VideoToVideoRequest;
      await expect(fromVideo(request)).rejects.toThrow(message);
      await expect(Magi1VideoToVideoPipeline.fromPretrained(TINY_MODEL, { device, request })).rejects.toThrow(message);
      expect(device.memory().tensors).toBe(loaded);
    });
  }
});

describe.runIf(conformanceRoots().kind === 'shared')('the original', () => {
  const media = join(conformanceRoots().root, 'media');
  const frames = (data: Uint8Array, shape: readonly number[]): RgbFrames => {
    const [frameCount, height, width] = shape as [number, number, number];
    return { data, frameCount, height, width };
  };

  it('gives the same frames: i2v', { timeout: 600_000 }, async () => {
    const { goldens, request } = e2eCase('i2v');
    const { data, shape } = goldens.get('prefix_frames')!;
    const result = await fromImage({ ...request, image: frames(data as Uint8Array, shape) });
    expect(result.numFrames).toBe(48);
    expectSameFrames(result, goldens);
  });

  it('gives the same frames: v2v', { timeout: 600_000 }, async () => {
    const { goldens, request } = e2eCase('v2v');
    const recorded = readSafetensors(join(media, 'prefix_video_fps24_64x64.safetensors')).get('frames')!;
    const video = frames(recorded.data as Uint8Array, recorded.shape);
    const result = await fromVideo({ ...request, video });
    expect(result.numFrames).toBe(37);
    expectSameFrames(result, goldens);
  });

  it('gives the same frames: distilled', { timeout: 600_000 }, async () => {
    const { goldens, request } = e2eCase('t2v_distill');
    const own = await Magi1Pipeline.fromPretrained(distilled(), { device });
    expectSameFrames(await own(request), goldens);
    await own.dispose();
  });
});

/** The tiny model as a distilled checkpoint: the same weights in the folder that the original looks in. */
function distilled(): string {
  const folder = copyTinyModel();
  const weights = join(folder, 'magi', 'inference_weight');
  cpSync(weights, `${weights}.distill`, { recursive: true });
  editConfig(folder, (config) => {
    config.engine_config!.distill = true;
    config.runtime_config!.cfg_number = 1;
  });
  return folder;
}

describe('distilled models', () => {
  it('are not run as base models, and the reverse', async () => {
    const folder = distilled();
    rmSync(join(folder, 'magi', 'inference_weight'), { recursive: true });
    editConfig(folder, (config) => {
      config.engine_config!.distill = false;
      config.runtime_config!.cfg_number = 3;
    });
    await expect(Magi1Pipeline.fromPretrained(folder, { device })).rejects.toThrow(
      /there is inference_weight\.distill: to run it, set .*distill to true and runtime_config\.cfg_number to 1/,
    );
    const base = copyTinyModel();
    editConfig(base, (config) => {
      config.engine_config!.distill = true;
      config.runtime_config!.cfg_number = 1;
    });
    await expect(Magi1Pipeline.fromPretrained(base, { device })).rejects.toThrow(
      /there is inference_weight: to run it, set .*distill to false and runtime_config\.cfg_number to 3/,
    );
  });

  it('run from an image too, in one pass', async () => {
    const own = await Magi1ImageToVideoPipeline.fromPretrained(distilled(), { device });
    const request = { ...SMALL, image: clip(1), enableDistillation: true, guidanceScale: 3 };
    const { facts, numFrames } = await own({ ...request, numInferenceSteps: 8 });
    expect(numFrames).toBe(48);
    expect(facts.chunkForwards.run).toBe(facts.chunkForwards.full);
    expect(facts.notes.join()).toMatch(/without effect on this checkpoint.*the guidance scale/);
    await expect(own({ ...request, enableDistillation: false })).rejects.toThrow(/distilled checkpoint .* open a base/);
    const threshold = { ...request, distillNearlyCleanChunkThreshold: 0.9, numInferenceSteps: 8 };
    expect((await own(threshold)).facts.chunkForwards.run).toBeLessThan(facts.chunkForwards.run);
    await own.dispose();
  });
});

describe('the command line', () => {
  const folder = temporaryFolder();
  const out = (name: string) => join(folder, name);
  const arguments_ = (output: string, more: readonly string[]) =>
    ['generate', '--model', TINY_MODEL, '--device', BACKEND, '--prompt', 'a cat', '--height', '32', '--width', '32']
      .concat(['--num-frames', '24', '--steps', '4', '--output', out(output)])
      .concat(more);
  const run = (output: string, ...more: string[]) => runCli(arguments_(output, more));

  it('makes videos of pictures', { timeout: 120_000 }, async () => {
    const writer = await openPngWriter({ path: out('picture'), width: 40, height: 32, fps: 24 });
    await writer.write(clip(1, 40, 32).data, 1);
    await writer.finish();
    const image = join(out('picture'), 'frame_00000.png');
    const { status, stdout, stderr } = await run('i2v', '--mode', 'i2v', '--image_path', image, '--hq');
    expect(stderr).toContain('encoding');
    expect(status).toBe(0);
    expect(stdout).toMatch(/48 frames, 32x32/);
  });

  it('continues videos', { timeout: 120_000 }, async () => {
    const video = out('clip.mp4');
    const { data: frames, width, height } = clip(30, 48, 48);
    await exportToVideo({ frames, width, height }, video, { fps: 24 });
    if ('unusable' in (await findFfmpeg())) {
      // Writing needs no ffmpeg, reading does: said at once, before anything is loaded.
      const { status, stderr } = await run('v2v', '--video', video);
      expect(stderr).toMatch(/reading videos needs ffmpeg/);
      expect(stderr).not.toContain('loading');
      expect(status).toBe(1);
      return;
    }
    const read = await loadVideo(video, { width: 32, height: 32, fps: 24, maxFrames: 32 });
    expect(read.frameCount).toBe(30);
    const args = ['--mode', 'v2v', '--prefix_video_path', video, '--prefix-frames', '24'];
    const { status, stdout, stderr } = await run('v2v', ...args);
    expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/24 frames, 32x32/);
    expect(stderr).toMatch(
      /clip: 30 frames read at 24 fps, the last 24 are continued, the 6 before them are dropped\n/,
    );
    expect(stderr).toMatch(/24 new frames of 32x32 come out, 1 s; the clip is not part of the output \(--include-clip/);
    // The whole of it: the frames that come before, and then the same new ones.
    // It is decoded once.
    const counting = out('ffmpeg');
    writeFileSync(counting, `#!/bin/sh\necho "$*" >> '${out('calls')}'\nexec ffmpeg "$@"\n`, { mode: 0o755 });
    const env: Record<string, string> = process.platform === 'win32' ? {} : { MAGI1_FFMPEG: counting };
    const whole = await runCli(arguments_('whole', [...args, '--include-clip']), { env });
    if (process.platform !== 'win32')
      expect(readFileSync(out('calls'), 'utf8').match(/-i file:\S*clip\.mp4/g)).toHaveLength(1);
    expect(whole.stderr).toContain('after 30 of the clip: 54 in all, 2.25 s');
    expect(whole.stdout).toMatch(/54 frames \(30 of the clip, 24 new\), 32x32/);
    const frame = (folder: string, index: number) =>
      readFileSync(join(out(folder), `frame_${String(index).padStart(5, '0')}.png`));
    for (const index of [0, 23]) expect(frame('whole', 30 + index)).toEqual(frame('v2v', index));
    expect(JSON.parse(readFileSync(`${out('whole')}.json`, 'utf8'))).toMatchObject({
      clipFramesInOutput: 30,
      clip: { from: 'end', framesRead: 30, framesContinued: 24, framesDropped: 6, newFrames: 24 },
    });
  });

  it.skipIf(process.platform === 'win32')('ends at the first Ctrl-C where ffmpeg hangs', async () => {
    const [mute, pid] = [out('mute'), out('mute.pid')];
    writeFileSync(mute, `#!/bin/sh\necho $$ > '${pid}'\nexec sleep 1000\n`, { mode: 0o755 });
    writeFileSync(out('any.mkv'), new Uint8Array(100));
    const args = ['generate', '--model', TINY_MODEL, '--device', BACKEND, '--prompt', 'a cat'];
    const child = spawn(process.execPath, [PROGRAM, ...args, '--video', out('any.mkv'), '--output', out('never.mp4')], {
      env: { ...process.env, MAGI1_FFMPEG: mute },
      stdio: 'ignore',
    });
    await expect.poll(() => existsSync(pid) && readFileSync(pid, 'utf8') !== '', { timeout: 20_000 }).toBe(true);
    child.kill('SIGINT');
    expect((await once(child, 'exit'))[0]).toBe(130);
    expect(() => process.kill(Number(readFileSync(pid, 'utf8')), 0)).toThrow('ESRCH');
    expect(existsSync(out('never.mp4'))).toBe(false);
  });

  const bad: [string, string[], number, RegExp][] = [
    ['another mode', ['--mode', 'x2v'], 2, /--mode: one of t2v, i2v, v2v expected/],
    ['no image', ['--mode', 'i2v'], 2, /--mode i2v needs --image/],
    ['no video', ['--mode', 'v2v'], 2, /--mode v2v needs --video/],
    ['an image without its mode', ['--mode', 't2v', '--image', 'x.png'], 2, /--image belongs to --mode i2v/],
    ['a prefix without a video', ['--prefix-frames', '8'], 2, /--prefix-frames says how much .* there is no --video/],
    ['a fit of nothing', ['--fit', 'pad'], 2, /--fit says how a picture or clip is read, but there is no --image/],
    [
      'an end of an image',
      ['--image', 'x.png', '--video-from', 'end'],
      2,
      /--video-from belongs to --mode v2v, not i2v/,
    ],
    ['a missing image', ['--image', '/no/such.png'], 1, /such\.png/],
    ['a prompt without its time', ['--prompt-at', 'rain'], 2, /--prompt-at: SECONDS:TEXT expected/],
    ['a prompt too late', ['--prompt-at', '9:rain'], 1, /--prompt-at .number 1.: second 9 is past the end/],
    ['no number', ['--guidance-scale', 'much'], 2, /--guidance-scale: a number expected, got "much"/],
  ];
  for (const [what, args, status, message] of bad) {
    it(`refuses ${what}`, async () => {
      const result = await run('x.mp4', ...args);
      expect(result.stderr.trim().split('\n').at(-1)).toMatch(message);
      expect(result.status).toBe(status);
    });
  }
});
