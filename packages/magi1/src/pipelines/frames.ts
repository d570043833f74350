// Between frames and latents: a prefix into the VAE, finished latents out of it.
import { affine, cast, framesToUint8, uint8ToVideo } from '@magi1/kernels';
import { Magi1Error, describeValue, scope } from '@magi1/tensor';
import type { Device, Tensor } from '@magi1/tensor';
import { LATENT_STRIDE, paramsDType } from '../config/index.ts';
import type { Magi1Config, RuntimeConfig } from '../config/index.ts';
import { usablePrefixFrames } from '../media/prefix-frames.ts';
import { checkFrames } from '../media/rgb-frames.ts';
import type { RgbFrames } from '../media/rgb-frames.ts';
import { runStage } from '../nn/index.ts';
import { MagnitudeReading, NotFiniteError, largestMagnitude, magnitudeFault } from '../not-finite.ts';
import type { NotFinitePlace } from '../not-finite.ts';
import { defaultTiles, tiledDecode, tiledEncode } from '../vae/tiling.ts';
import type { ViTVae } from '../vae/vit-vae.ts';

import type { Facts, FrameValues, GeneratedVideo, OutputType, VideoChunk } from './request.ts';

/** Latents of a video on the host, as the sampler has them: times scale_factor. */
export interface Latents {
  /** [C, latentFrames, height, width] */
  readonly values: Float32Array;
  readonly latentFrames: number;
  /** In latents: an eighth of the pixels. */
  readonly height: number;
  readonly width: number;
}

/** @returns the latent frames that all of the pictures become */
export function checkEncodable(pictures: RgbFrames, fps: number): number {
  if (typeof pictures !== 'object' || (pictures as unknown) === null)
    throw new Magi1Error(`encodeFrames: decoded frames expected, got ${describeValue(pictures)}`);
  checkFrames('encodeFrames', pictures);
  const { frameCount, width, height } = pictures;
  if (width % LATENT_STRIDE !== 0 || height % LATENT_STRIDE !== 0)
    throw new Magi1Error(
      `encodeFrames: width and height must be multiples of ${LATENT_STRIDE}, got ${width}x${height}`,
    );
  const { used, latentFrames, note } = usablePrefixFrames(frameCount, fps);
  if (used !== frameCount) throw new Magi1Error(`encodeFrames: ${note ?? `${frameCount} frames cannot be encoded`}`);
  return latentFrames;
}

/** @returns the shape [1, C, t, h, w] */
export function checkLatents(latents: Latents, channels: number): number[] {
  if (!((latents as Partial<Latents> | null | undefined)?.values instanceof Float32Array))
    throw new Magi1Error(
      `decodeLatents: { values: Float32Array, latentFrames, height, width } expected, got ${describeValue(latents)}`,
    );
  const { values, latentFrames, height, width } = latents;
  const shape = [1, channels, latentFrames, height, width];
  const whole = shape.every((extent) => Number.isInteger(extent) && extent > 0);
  if (!whole || values.length !== shape.reduce((product, extent) => product * extent, 1))
    throw new Magi1Error(
      `decodeLatents: ${values.length} values are not latents of shape [${shape.slice(1).join(', ')}] (C, t, h, w)`,
    );
  const fault = magnitudeFault(largestMagnitude(values));
  if (fault !== undefined) throw new Magi1Error(`decodeLatents: the values ${fault}`);
  return shape;
}

/** For errors: which chunk of a run latents are, and what of the request may be changed. */
export interface LatentsOrigin {
  readonly chunk?: NotFinitePlace['chunk'];
  readonly remedies?: readonly string[];
}

/** What encoding is told by. */
type EncoderConfig = Pick<Magi1Config, 'model_config' | 'runtime_config'>;
type VaeSettings = Pick<RuntimeConfig, 'scale_factor' | 'fps'>;

/** The first `count` pictures, u8 [count, H, W, 3]. */
export function upload(device: Device, { data, width, height }: RgbFrames, count: number): Tensor {
  return device.tensor(data.subarray(0, count * width * height * 3), [count, height, width, 3], 'u8');
}

/**
 * Pictures u8 [n, H, W, 3], which are freed -> latents f32 [1, C, t, h, w], as the sampler takes them, of values that the
 * config's `params_dtype` holds, as in the original; the caller disposes them.
 * @throws NotFiniteError where the VAE gives anything else than numbers
 */
export async function encodePrefix(
  vae: ViTVae,
  pictures: Tensor,
  config: EncoderConfig,
  signal: AbortSignal | undefined,
): Promise<Tensor> {
  const { scale_factor: scale, fps } = config.runtime_config;
  const dtype = paramsDType(config);
  using video = await runStage(pictures, uint8ToVideo, { signal });
  using z = await tiledEncode(vae, video, defaultTiles(fps), { signal });
  const latents = scope(() => {
    const scaled = affine(z, { scale, shift: 0 });
    return dtype === 'f32' ? scaled : cast(cast(scaled, dtype), 'f32');
  });
  try {
    const place = { stage: 'encoding', what: 'the latents of the picture or clip' } as const;
    await refuseTensors([{ tensor: latents, place }]);
  } catch (error) {
    latents.dispose();
    throw error;
  }
  return latents;
}

/** @throws NotFiniteError for the first tensor with values that are not finite, or too large */
async function refuseTensors(
  tensors: readonly {
    readonly tensor: Tensor;
    readonly place: NotFinitePlace;
    readonly remedies?: readonly string[];
  }[],
): Promise<void> {
  const magnitudes = await new MagnitudeReading(tensors.map(({ tensor }) => tensor)).read();
  const bad = magnitudes.findIndex((magnitude) => magnitudeFault(magnitude) !== undefined);
  if (bad >= 0) throw new NotFiniteError(tensors[bad]!.place, magnitudes[bad]!, tensors[bad]!.remedies);
}

/**
 * One chunk's latents [1, C, t, h, w] as the caller wants them; `frameCount` counts latent frames where these are wanted.
 * @throws NotFiniteError where the VAE gives anything else than numbers
 */
export async function deliver(
  vae: ViTVae,
  latent: Tensor,
  outputType: OutputType,
  settings: VaeSettings,
  signal: AbortSignal | undefined,
  origin?: LatentsOrigin,
): Promise<{ frames: FrameValues; frameCount: number }> {
  if (outputType === 'latents') return { frames: await latent.toFloat32(), frameCount: latent.shape[2]! };
  using video = await decodeVideo(vae, latent, settings, signal, origin);
  const frameCount = video.shape[2]!;
  if (outputType === 'float') return { frames: channelsLast(await video.toFloat32()), frameCount };
  using rgb = framesToUint8(video);
  await latent.device.sync(signal);
  return { frames: await rgb.read(), frameCount };
}

/** One chunk's latents as a video f32 [1, 3, T, H, W], not clamped; the caller disposes it. */
export async function decodeVideo(
  vae: ViTVae,
  latent: Tensor,
  { scale_factor: scale, fps }: VaeSettings,
  signal?: AbortSignal,
  { chunk, remedies = [] }: LatentsOrigin = {},
): Promise<Tensor> {
  using z = affine(latent, { scale: 1 / scale, shift: 0 });
  const video = await tiledDecode(vae, z, defaultTiles(fps), { signal });
  try {
    await latent.device.sync(signal);
    const what = `the latents over scale_factor (${scale})`;
    await refuseTensors([
      {
        tensor: z,
        place: { stage: 'decoding', chunk, what },
        remedies: ['another scale_factor in config.json', ...remedies],
      },
      { tensor: video, place: { stage: 'decoding', chunk, what: 'the frames' }, remedies },
    ]);
    return video;
  } catch (error) {
    video.dispose();
    throw error;
  }
}

/** [3, pixels] in [-1, 1] -> [pixels, 3] from 0 to 1. */
function channelsLast(video: Float32Array): Float32Array {
  const pixels = video.length / 3;
  const out = new Float32Array(video.length);
  for (let c = 0; c < 3; c++)
    for (let i = 0; i < pixels; i++) out[3 * i + c] = Math.min(1, Math.max(0, video[c * pixels + i]! / 2 + 0.5));
  return out;
}

/** All chunks of a run in one piece. @param channels of latents, where the run gives these */
export async function joinChunks(
  stream: AsyncGenerator<VideoChunk<FrameValues>, Facts, undefined>,
  channels: number,
): Promise<GeneratedVideo<FrameValues>> {
  const parts: FrameValues[] = [];
  let numFrames = 0;
  for (;;) {
    const next = await stream.next();
    if (next.done !== true) {
      parts.push(next.value.frames);
      numFrames += next.value.frameCount;
      continue;
    }
    const { width, height, fps, outputType } = next.value.settings;
    const frames = outputType === 'latents' ? joinLatents(parts as Float32Array[], channels) : joinFrames(parts);
    return { frames, numFrames, width, height, fps, facts: next.value };
  }
}

/** Chunks of latents [C, t, area] -> one [C, T, area]. */
function joinLatents(parts: readonly Float32Array[], channels: number): Float32Array {
  const out = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  const row = out.length / channels;
  let at = 0;
  for (const part of parts) {
    const length = part.length / channels;
    for (let c = 0; c < channels; c++) out.set(part.subarray(c * length, (c + 1) * length), c * row + at);
    at += length;
  }
  return out;
}

/** Chunks of frames, one after the other. */
function joinFrames(parts: readonly FrameValues[]): FrameValues {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const out = parts[0] instanceof Float32Array ? new Float32Array(length) : new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
