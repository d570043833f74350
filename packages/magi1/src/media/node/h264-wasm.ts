// H.264 without ffmpeg: h264-mp4-encoder (WebAssembly, Baseline profile). It hands out a file only at its end, so every
// group of frames gets an encoder of its own, whose samples go into our own fragments: memory stays bounded, and what
// was written plays even after a kill.
import { setImmediate } from 'node:timers/promises';
import { Magi1Error } from '@magi1/tensor';
import type { H264MP4Encoder } from 'h264-mp4-encoder';
import { tagSps } from '../h264-sps.ts';
import { concatBytes, readMp4, type Mp4Sample } from '../mp4.ts';
import type { VideoOptions } from '../types.ts';
import { rgbToYuv420 } from '../yuv.ts';
import type { FrameSink } from './frame-sink.ts';
import type { Mp4File } from './mp4-file.ts';

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

/** Sizes are checked by the caller. */
export async function startWasmEncoder(options: VideoOptions, file: Mp4File): Promise<FrameSink> {
  const { width, height, fps } = options;
  const create = await loadEncoder();
  let pending: Uint8Array[] = [];
  let avcC: Uint8Array | undefined;

  const encode = async (frames: readonly Uint8Array[]): Promise<{ avcC: Uint8Array; samples: Mp4Sample[] }> => {
    const encoder = await create();
    const name = `${crypto.randomUUID()}.mp4`; // all encoders share one file system
    try {
      // It knows whole rates from 1 up only; the file's own rate is ours.
      const frameRate = Math.max(1, Math.round(fps));
      Object.assign(encoder, { outputFilename: name, width, height, frameRate });
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
    if (encoded.samples.length !== group.length || !encoded.samples[0]!.keyframe)
      throw new Magi1Error(`the encoder took ${group.length} frames and gave ${encoded.samples.length}`);
    avcC ??= encoded.avcC;
    if (!equal(encoded.avcC, avcC))
      throw new Magi1Error('the encoder changed its parameters between two groups of frames');
    await file.append(tagAvcC(avcC), encoded.samples);
  };

  let failed = false;
  return {
    failed: new AbortController().signal, // it runs in this process
    async add(frame) {
      try {
        await file.check();
        pending.push(frame.slice());
        if (pending.length === GROUP) await flush();
      } catch (error) {
        failed = true;
        throw error;
      }
    },
    async settle() {
      try {
        // A group of one frame would put two keyframes in a row with equal idr_pic_id, which H.264 forbids.
        if (pending.length > 1) await flush();
      } catch (error) {
        failed = true;
        throw error;
      }
      return file.frames;
    },
    async finish() {
      await flush();
      if (file.frames > 0) await file.finish();
      await file.close();
      return file.frames;
    },
    async stop() {
      try {
        if (!failed) await flush();
        await file.finish();
      } catch {
        // What is on the disk by now is what can be kept, and fragments play as well.
      } finally {
        await file.close();
      }
      return file.frames;
    },
  };
}
