// What sets the three pipelines apart: the picture or clip they start from. Everything else they share.
import { loadImage, loadVideo } from '../media/index.ts';
import { checkFrames, isRgbFrames } from '../media/rgb-frames.ts';
import type { MediaInput, RgbFrames } from '../media/rgb-frames.ts';
import { Magi1Error } from '@magi1/tensor';
import { DEFAULT_PREFIX_FRAMES, NO_PREFIX, fitPrefix, prefixFault } from './prefix.ts';
import type { Prefix } from './prefix.ts';
import type { GenerationOptions, ImageToVideoRequest, VideoToVideoRequest } from './request.ts';

/** Pixels of a run, and the rate that clips are read at. */
export interface MediaSize {
  readonly height: number;
  readonly width: number;
  readonly fps: number;
}

export interface Mode<Request extends GenerationOptions> {
  readonly name: 't2v' | 'i2v' | 'v2v';
  /** The options that this mode has beyond the common ones, each with what is wrong with it. */
  faults(request: Request, fps: number): Readonly<Record<string, string | undefined>>;
  /** What the request starts from, or why it cannot; of a clip not read yet, all frames wanted are assumed. */
  prefix(request: Request, fps: number): Prefix | string;
  /** Reads the picture or clip; the same request with decoded frames of the run's size. */
  decode(request: Request, size: MediaSize): Promise<Request>;
}

export const TEXT_TO_VIDEO: Mode<GenerationOptions> = {
  name: 't2v',
  faults: () => ({}),
  prefix: () => NO_PREFIX,
  decode: (request) => Promise.resolve(request),
};

export const IMAGE_TO_VIDEO: Mode<ImageToVideoRequest> = {
  name: 'i2v',
  faults: ({ image }) => ({ image: mediaFault('image', image) }),
  prefix: ({ image }) => ({ frames: 1, latentFrames: 1, pictures: decoded(image), notes: [] }),
  async decode(request, { height, width }) {
    const image =
      ofSize(request.image, height, width) ??
      (await loadImage(request.image, { height, width, signal: request.signal }));
    if (image.frameCount !== 1)
      throw new Magi1Error(`image: a single picture expected, got ${image.frameCount} frames`);
    return { ...request, image };
  },
};

export const VIDEO_TO_VIDEO: Mode<VideoToVideoRequest> = {
  name: 'v2v',
  faults({ video, prefixFrames }, fps) {
    const whole = Number.isSafeInteger(prefixFrames) && prefixFrames! > 0;
    return {
      video: mediaFault('video', video),
      prefixFrames:
        prefixFrames === undefined
          ? undefined
          : whole
            ? prefixFault(prefixFrames, fps)
            : `prefixFrames: a whole number above 0 expected, got ${String(prefixFrames)}`,
    };
  },
  prefix({ video, prefixFrames = DEFAULT_PREFIX_FRAMES }, fps) {
    const prefix = fitPrefix(decoded(video), prefixFrames, fps);
    return typeof prefix === 'string' ? `video: ${prefix}` : prefix;
  },
  async decode(request, { height, width, fps }) {
    const maxFrames = request.prefixFrames ?? DEFAULT_PREFIX_FRAMES;
    const video =
      ofSize(request.video, height, width) ??
      (await loadVideo(request.video, { height, width, fps, maxFrames, signal: request.signal }));
    return { ...request, video };
  },
};

function mediaFault(what: string, input: unknown): string | undefined {
  if (input === undefined) return `${what}: a path, bytes or decoded frames expected, got nothing`;
  try {
    if (isRgbFrames(what, input as MediaInput)) checkFrames(what, input as RgbFrames);
    return undefined;
  } catch (error) {
    if (error instanceof Magi1Error) return error.message;
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
