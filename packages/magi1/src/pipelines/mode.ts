// What sets the three pipelines apart: the picture or clip they start from. Everything else they share.
import { loadImage, loadVideo } from '../media/index.ts';
import { checkFrames, isRgbFrames } from '../media/rgb-frames.ts';
import type { MediaInput, RgbFrames } from '../media/rgb-frames.ts';
import { Magi1Error } from '@magi1/tensor';
import { RequestError, option, worded } from '../wording.ts';
import type { Wording } from '../wording.ts';
import type { Fit, Scaler } from '../media/scale.ts';
import type { LoadedFrames, VideoEnd } from '../media/types.ts';
import { limitFault } from './limits.ts';
import { expected } from './option-faults.ts';
import { DEFAULT_PREFIX_FRAMES, NO_PREFIX, fitPrefix, prefixFault, shapeNotes } from './prefix.ts';
import type { Prefix } from './prefix.ts';
import type { GenerationOptions, ImageToVideoRequest, VideoToVideoRequest } from './request.ts';

/** Pixels of a run, and the rate that clips are read at. */
export interface MediaSize {
  readonly height: number;
  readonly width: number;
  readonly fps: number;
}

/** What a run takes of its picture or clip where the request does not say. */
export interface MediaDefaults {
  readonly scaler: Scaler;
  readonly videoFrom: VideoEnd;
}

/** A config file of the original is run as the original runs it. */
export function mediaDefaults(asOriginal: boolean): MediaDefaults {
  return asOriginal ? { scaler: 'original', videoFrom: 'start' } : { scaler: 'accurate', videoFrom: 'end' };
}

export interface Mode<Request extends GenerationOptions> {
  readonly name: 't2v' | 'i2v' | 'v2v';
  /** The options that this mode has beyond the common ones, each with what is wrong with it. */
  faults(request: Request, fps: number): Readonly<Record<string, Wording | undefined>>;
  /**
   * What the request starts from; of a clip not read yet, all frames wanted are assumed.
   * @throws RequestError where it cannot start from that
   */
  prefix(request: Request, fps: number, defaults: MediaDefaults): Prefix;
  /** Reads the picture or clip; the same request with decoded frames of the run's size. */
  decode(request: Request, size: MediaSize, defaults: MediaDefaults): Promise<Request>;
}

export const TEXT_TO_VIDEO: Mode<GenerationOptions> = {
  name: 't2v',
  faults: () => ({}),
  prefix: () => NO_PREFIX,
  decode: (request) => Promise.resolve(request),
};

export const IMAGE_TO_VIDEO: Mode<ImageToVideoRequest> = {
  name: 'i2v',
  faults: (request) => ({ image: mediaFault('image', request.image), ...scalingFaults(request) }),
  prefix({ image, fit }) {
    const pictures = decoded(image);
    return { frames: 1, latentFrames: 1, pictures, notes: notesOf('image', pictures, fit) };
  },
  async decode(request, { height, width }, defaults) {
    const { fit, scaler = defaults.scaler, signal } = request;
    const image =
      ofSize(request.image, height, width) ?? (await loadImage(request.image, { height, width, fit, scaler, signal }));
    if (image.frameCount !== 1)
      throw new Magi1Error(`image: a single picture expected, got ${image.frameCount} frames`);
    return { ...request, image };
  },
};

export const VIDEO_TO_VIDEO: Mode<VideoToVideoRequest> = {
  name: 'v2v',
  faults(request, fps) {
    const { video, prefixFrames, videoFrom } = request;
    const whole = Number.isInteger(prefixFrames) && prefixFrames! > 0;
    return {
      video: mediaFault('video', video),
      prefixFrames:
        prefixFrames === undefined
          ? undefined
          : whole
            ? (limitFault('prefixFrames', prefixFrames) ?? prefixFault(prefixFrames, fps))
            : expected('prefixFrames', 'a whole number above 0', prefixFrames),
      videoFrom: choiceFault('videoFrom', videoFrom, ['end', 'start']),
      ...scalingFaults(request),
    };
  },
  prefix({ video, prefixFrames = DEFAULT_PREFIX_FRAMES, videoFrom, fit }, fps, defaults) {
    const pictures = decoded(video);
    const prefix = fitPrefix(pictures, prefixFrames, fps, videoFrom ?? defaults.videoFrom);
    if (typeof prefix === 'string') throw new RequestError(worded`${option('video')}: ${prefix}`);
    return { ...prefix, notes: [...prefix.notes, ...notesOf('video', pictures, fit)] };
  },
  async decode(request, { height, width, fps }, defaults) {
    const { fit, scaler = defaults.scaler, videoFrom: from = defaults.videoFrom, signal } = request;
    const maxFrames = request.prefixFrames ?? DEFAULT_PREFIX_FRAMES;
    const video =
      ofSize(request.video, height, width) ??
      (await loadVideo(request.video, { height, width, fps, maxFrames, from, fit, scaler, signal }));
    return { ...request, video };
  },
};

function choiceFault(name: string, value: unknown, choices: readonly string[]): Wording | undefined {
  if (value === undefined || choices.includes(value as string)) return undefined;
  return expected(name, `one of ${choices.join(', ')}`, value);
}

function scalingFaults({ fit, scaler }: ImageToVideoRequest | VideoToVideoRequest) {
  return {
    fit: choiceFault('fit', fit, ['stretch', 'pad', 'crop']),
    scaler: choiceFault('scaler', scaler, ['accurate', 'original']),
  };
}

/** What reading has to say; nothing of decoded frames that a caller made. */
function notesOf(what: string, pictures: RgbFrames | undefined, fit: Fit | undefined): string[] {
  const { shape, notes = [] } = (pictures ?? {}) as Partial<LoadedFrames>;
  return [...notes.map((note) => `${what}: ${note}`), ...shapeNotes(what, shape, pictures, fit)];
}

function mediaFault(what: string, input: unknown): Wording | undefined {
  if (input === undefined) return expected(what, 'a path, bytes or decoded frames', input);
  try {
    if (isRgbFrames(what, input as MediaInput)) checkFrames(what, input as RgbFrames);
    return undefined;
  } catch (error) {
    if (error instanceof Magi1Error) return worded`${error.message}`;
    throw error;
  }
}

function decoded(input: MediaInput): RgbFrames | undefined {
  return typeof input === 'object' && 'data' in input ? input : undefined;
}

/** Decoded frames that need no scaling. */
function ofSize(input: MediaInput, height: number, width: number): RgbFrames | undefined {
  const frames = decoded(input);
  return frames !== undefined && frames.height === height && frames.width === width ? frames : undefined;
}
