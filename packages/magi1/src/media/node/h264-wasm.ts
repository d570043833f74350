// H.264 without ffmpeg: h264-mp4-encoder (WebAssembly, Baseline profile). It hands out a file only at its end, so every
// group of frames gets an encoder of its own, whose samples go into our own fragments: memory stays bounded, and what
// was written plays even after a kill.
import { open, rename, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { Magi1Error } from '@magi1/tensor';
import type { H264MP4Encoder } from 'h264-mp4-encoder';
import { tagSps } from '../h264-sps.ts';
import { concatBytes, Mp4Muxer, readMp4, type Mp4Sample } from '../mp4.ts';
import type { VideoFile, VideoOptions, VideoWriter } from '../types.ts';
import { rgbToYuv420 } from '../yuv.ts';
import { splitFrames } from './frames.ts';
import { workingPath } from './output.ts';

/** Frames per encoder and fragment: the first one is a keyframe. */
const GROUP = 24;
const QUANTIZER = 11; // 10 is best, 51 smallest

type CreateEncoder = () => Promise<H264MP4Encoder>;
let factory: Promise<CreateEncoder> | undefined;

/** Loads the encoder once, and takes back the process-wide error handlers that its loader installs. */
function loadEncoder(): Promise<CreateEncoder> {
  return (factory ??= (async () => {
    const events = ['uncaughtException', 'unhandledRejection'] as const;
    const before = events.map((event) => process.rawListeners(event));
    const module = await import('h264-mp4-encoder');
    const create: CreateEncoder = module.default.createH264MP4Encoder;
    (await create()).delete();
    for (const [i, event] of events.entries()) {
      for (const listener of process.rawListeners(event)) {
        if (!before[i]!.includes(listener)) process.removeListener(event, listener as () => void);
      }
    }
    return create;
  })());
}

const equal = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, i) => byte === b[i]);

/** Replaces the parameter set inside an avcC record by one that declares its colour. */
function tagAvcC(avcC: Uint8Array): Uint8Array {
  const length = (avcC[6]! << 8) | avcC[7]!;
  const sps = tagSps(avcC.subarray(8, 8 + length));
  return concatBytes([
    avcC.subarray(0, 6),
    Uint8Array.of(sps.length >> 8, sps.length & 255),
    sps,
    avcC.subarray(8 + length),
  ]);
}

/** Sizes and the path are checked by the caller. */
export async function openWasmWriter(options: VideoOptions, reason: string): Promise<VideoWriter> {
  const { width, height, fps, metadata, signal } = options;
  const path = resolve(options.path);
  const what = `output ${options.path}`;
  const create = await loadEncoder();
  const working = await workingPath(path);
  const file = await open(working, 'w');
  let pending: Uint8Array[] = [];
  let muxer: Mp4Muxer | undefined;
  let avcC: Uint8Array | undefined;
  let busy: Promise<void> = Promise.resolve();
  let aborted = false;
  let closing: Promise<VideoFile | undefined> | undefined;

  const encode = async (frames: readonly Uint8Array[]): Promise<{ avcC: Uint8Array; samples: Mp4Sample[] }> => {
    const encoder = await create();
    const name = `${crypto.randomUUID()}.mp4`; // all encoders share one file system
    try {
      Object.assign(encoder, { outputFilename: name, width, height, frameRate: fps });
      Object.assign(encoder, { groupOfPictures: GROUP * 2, quantizationParameter: QUANTIZER, speed: 0 });
      encoder.initialize();
      for (const frame of frames) {
        encoder.addFrameYuv(rgbToYuv420(frame, width, height));
        await setImmediate(); // a frame takes a tenth of a second at 480x832
      }
      encoder.finalize();
      return readMp4(encoder.FS.readFile(name));
    } finally {
      encoder.delete();
      encoder.FS.unlink(name);
    }
  };

  const flush = async (): Promise<void> => {
    const group = pending;
    pending = [];
    if (group.length === 0) return;
    const encoded = await encode(group);
    if (encoded.samples.length !== group.length || !encoded.samples[0]!.keyframe) {
      throw new Magi1Error(`${what}: the encoder took ${group.length} frames and gave ${encoded.samples.length}`);
    }
    if (muxer === undefined) {
      avcC = encoded.avcC;
      muxer = new Mp4Muxer({ width, height, fps, avcC: tagAvcC(avcC), ...(metadata && { metadata }) });
      await file.appendFile(muxer.header());
    } else if (!equal(encoded.avcC, avcC!)) {
      throw new Magi1Error(`${what}: the encoder changed its parameters between two groups of frames`);
    }
    await file.appendFile(muxer.fragment(encoded.samples));
  };

  const close = (): Promise<VideoFile | undefined> =>
    (closing ??= (async () => {
      try {
        await busy.catch(() => undefined); // write() has thrown it
        await flush();
        if (muxer !== undefined) {
          const { index, patch, patchAt } = muxer.finish();
          await file.appendFile(index);
          await file.write(patch, 0, patch.length, patchAt);
        }
      } finally {
        await file.close();
      }
      if (muxer === undefined) {
        await rm(working, { force: true });
        return undefined;
      }
      if (working !== path) await rename(working, path);
      return { path, frames: muxer.frames };
    })());
  const abort = (): Promise<VideoFile | undefined> => {
    aborted = true;
    return close();
  };
  const onSignal = (): void => void abort().catch(() => undefined); // whoever calls abort() or finish() gets the error
  signal?.addEventListener('abort', onSignal, { once: true });

  const writeFrames = async (frames: readonly Uint8Array[]): Promise<void> => {
    for (const frame of frames) {
      signal?.throwIfAborted();
      pending.push(frame.slice());
      if (pending.length === GROUP) await flush();
    }
    // A group of one frame would put two keyframes in a row with equal idr_pic_id, which H.264 forbids.
    if (pending.length > 1) await flush();
  };

  return {
    path,
    encoder: `h264-mp4-encoder (WebAssembly; ${reason})`,
    async write(chunk, count) {
      const frames = splitFrames(what, chunk, count, width, height);
      signal?.throwIfAborted();
      if (closing !== undefined) throw new Magi1Error(`${what}: closed already`);
      busy = writeFrames(frames);
      await busy;
      signal?.throwIfAborted();
    },
    async finish() {
      signal?.throwIfAborted();
      if (aborted) throw new Magi1Error(`${what}: aborted already`);
      const result = await close();
      signal?.removeEventListener('abort', onSignal);
      if (result === undefined) throw new Magi1Error(`${what}: no frame was written`);
      return result;
    },
    abort,
  };
}
