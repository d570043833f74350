// What a run starts from: its texts, put to chunks, and the picture or clip, which sets the three pipelines apart.
import { Magi1Error } from '@magi1/tensor';
import { loadImage, loadVideo, videoFrames } from '../media/index.ts';
import { usablePrefixFrames } from '../media/prefix-frames.ts';
import { frameAt, takeFrames } from '../media/rgb-frames.ts';
import type { MediaInput, RgbFrames } from '../media/rgb-frames.ts';
import type { Fit, Scaler, Size } from '../media/scale.ts';
import type { LoadedFrames, VideoEnd } from '../media/types.ts';
import type { TextRows, Texts } from '../text/conditioning.ts';
import { RequestError, option, worded } from '../wording.ts';
import type { OptionName, Wording } from '../wording.ts';
import { validRows } from './option-checks.ts';
import type {
  ClipCounts,
  GenerationOptions,
  ImageToVideoRequest,
  ModeName,
  Settings,
  TextEmbeds,
  VideoToVideoRequest,
} from './request.ts';

/** What the original takes of a clip. */
const DEFAULT_PREFIX_FRAMES = 32;

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

/** The given start of a video, as far as a run takes it. */
export interface Prefix {
  /** Frames that are encoded, and the latent frames they become. */
  readonly frames: number;
  readonly latentFrames: number;
  /** Those frames; undefined where they have not been read yet. */
  readonly pictures?: RgbFrames | undefined;
  /** Of a clip that has been read. */
  readonly clip?: ClipCounts | undefined;
  /** Frames of the clip before the pictures, of the same size; undefined where not all of them are held. */
  readonly before?: readonly Uint8Array[] | undefined;
  readonly notes: readonly string[];
}

export const NO_PREFIX: Prefix = { frames: 0, latentFrames: 0, notes: [] };

/** Frames as they were given or read. */
type Pictures = RgbFrames & Partial<Pick<LoadedFrames, 'shape' | 'clipFrames' | 'earlier' | 'notes'>>;

export interface Mode<Request extends GenerationOptions> {
  readonly name: ModeName;
  /** The picture or clip that a request starts from. */
  input(request: Request): MediaInput | undefined;
  /**
   * What a run takes of it; of a clip that is not read yet, all frames wanted are assumed.
   * @throws RequestError where it cannot start from that
   */
  prefix(request: Request, pictures: Pictures | undefined, fps: number, defaults: MediaDefaults): Prefix;
  /** Reads the picture or clip, at the run's size. */
  read(request: Request, size: MediaSize, defaults: MediaDefaults): Promise<Pictures>;
}

export const TEXT_TO_VIDEO: Mode<GenerationOptions> = {
  name: 't2v',
  input: () => undefined,
  prefix: () => NO_PREFIX,
  read: () => Promise.reject(new Magi1Error('text to video starts from no picture')),
};

export const IMAGE_TO_VIDEO: Mode<ImageToVideoRequest> = {
  name: 'i2v',
  input: ({ image }) => image,
  prefix({ fit }, pictures) {
    if (pictures !== undefined && pictures.frameCount !== 1)
      throw new RequestError(worded`${option('image')}: a single picture expected, got ${pictures.frameCount} frames`);
    return { frames: 1, latentFrames: 1, pictures, notes: notesOf('image', pictures, fit) };
  },
  read: ({ image, fit, scaler, signal }, { height, width }, defaults) =>
    loadImage(image, { height, width, fit, scaler: scaler ?? defaults.scaler, signal }),
};

export const VIDEO_TO_VIDEO: Mode<VideoToVideoRequest> = {
  name: 'v2v',
  input: ({ video }) => video,
  prefix({ prefixFrames = DEFAULT_PREFIX_FRAMES, videoFrom, fit }, pictures, fps, defaults) {
    const prefix = fitPrefix(pictures, prefixFrames, fps, videoFrom ?? defaults.videoFrom);
    return { ...prefix, notes: [...prefix.notes, ...notesOf('video', pictures, fit)] };
  },
  read(request, size, defaults) {
    const { video, prefixFrames: maxFrames = DEFAULT_PREFIX_FRAMES, fit, keepClip: keepEarlier, signal } = request;
    const { scaler = defaults.scaler, videoFrom: from = defaults.videoFrom } = request;
    return loadVideo(video, { ...size, maxFrames, from, fit, scaler, keepEarlier, signal });
  },
};

/** The frames of a clip up to the last one that is continued; none where no clip is. */
export async function* clipFrames(
  { request, settings, prefix }: { readonly request: object; readonly settings: Settings; readonly prefix: Prefix },
  asOriginal: boolean,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { clip, pictures, before } = prefix;
  if (clip === undefined || pictures === undefined) return;
  if (before !== undefined) {
    yield* before;
    for (let i = 0; i < pictures.frameCount; i++) yield frameAt(pictures, i);
    return;
  }
  const { width, height, fps } = settings;
  const defaults = mediaDefaults(asOriginal);
  const { video, fit, scaler = defaults.scaler, signal } = request as VideoToVideoRequest;
  let left = clip.framesRead;
  for await (const frame of videoFrames(video, { width, height, fps, fit, scaler, signal })) {
    yield frame;
    if (--left === 0) return;
  }
}

/** Decoded frames that were given, of whatever size. */
export function decoded(input: MediaInput | undefined): RgbFrames | undefined {
  return typeof input === 'object' && 'data' in input ? input : undefined;
}

/**
 * How much is taken of a clip when `wanted` frames are asked for; all of them are assumed to be there if the clip has
 * not been read. Frames that fill no latent frame are left out, at the end that is not continued.
 */
function fitPrefix(pictures: Pictures | undefined, wanted: number, fps: number, from: VideoEnd): Prefix {
  const available = pictures?.frameCount ?? wanted;
  const { used, latentFrames, note } = usablePrefixFrames(Math.min(available, wanted), fps, from);
  if (used === 0)
    throw new RequestError(worded`${option('video')}: ${note ?? `no prefix can be made of ${available} frames`}`);
  const notes = note === undefined ? [] : [note];
  if (pictures === undefined) return { frames: used, latentFrames, notes };
  const framesRead = Math.max(pictures.clipFrames ?? 0, available);
  const clip = { from, framesRead, framesContinued: used, framesDropped: framesRead - used };
  const all = pictures.clipFrames !== undefined || !('decoder' in pictures);
  const before = Array.from({ length: from === 'end' ? available - used : 0 }, (_, i) => frameAt(pictures, i));
  const held = [...(pictures.earlier ?? []), ...before];
  return {
    frames: used,
    latentFrames,
    pictures: takeFrames(pictures, used, from),
    clip,
    before: from === 'start' || held.length === clip.framesDropped ? held : undefined,
    notes: [describeClip(clip, fps, all), ...notes],
  };
}

/** One line for a user. */
function describeClip(
  { from, framesRead, framesContinued: used, framesDropped: rest }: ClipCounts,
  fps: number,
  all: boolean,
) {
  const frames = framesRead === 1 ? '1 frame' : `${framesRead} frames`;
  const read = `clip: ${frames} read at ${fps} fps, `;
  const unread = all ? '' : '; what follows is not read';
  if (rest === 0) return `${read}${used === 1 ? 'it is' : 'all are'} continued${unread}`;
  const [which, where] = from === 'end' ? ['last', 'before'] : ['first', 'after'];
  const taken = used === 1 ? `the ${which} one is` : `the ${which} ${used} are`;
  return `${read}${taken} continued, the ${rest} ${where} ${used === 1 ? 'it' : 'them'} ${rest === 1 ? 'is' : 'are'} dropped${unread}`;
}

/** From which change of its shape on a user is told. */
const NOTICEABLE = 1.05;

/** Where a picture is squeezed. */
function shapeNotes(what: string, shape: Size | undefined, target: Size | undefined, fit: Fit = 'stretch') {
  if (shape === undefined || target === undefined || fit !== 'stretch') return [];
  const change = (target.width / target.height) * (shape.height / shape.width);
  const factor = Math.max(change, 1 / change);
  if (factor < NOTICEABLE) return [];
  return [
    `${what}: ${shape.width}x${shape.height} is squeezed into ${target.width}x${target.height}, ${factor.toFixed(2)} times as ${change < 1 ? 'narrow' : 'wide'} as it should be; fit pad or crop keeps its shape`,
  ];
}

/** What reading has to say; nothing of decoded frames that a caller made. */
function notesOf(what: string, pictures: Pictures | undefined, fit: Fit | undefined): string[] {
  const { shape, notes = [] } = pictures ?? {};
  return [...notes.map((note) => `${what}: ${note}`), ...shapeNotes(what, shape, pictures, fit)];
}

/** All prompts that say what is to be seen, those of later chunks and of a whole batch included. */
export function positivePrompts({ prompt, chunkPrompts = [] }: GenerationOptions): string[] {
  const given = typeof prompt === 'string' ? [prompt] : (prompt ?? []);
  return [...given, ...chunkPrompts.map((part) => part.prompt)].filter((text) => text !== undefined);
}

/**
 * The texts of one run; lists stand for their first entry.
 * @param firstFrames first frame of every chunk that comes out, then the number of frames
 * @throws RequestError for a prompt of a chunk that is not there, or has a prompt already
 */
export function resolveTexts(
  request: GenerationOptions,
  firstFrames: readonly number[],
  fps: number,
): Texts<string | TextRows> & { readonly notes: readonly string[] } {
  const given = request.prompt !== undefined || request.promptEmbeds !== undefined;
  const later: { chunk: number; index: number; text: string | TextRows }[] = [];
  const notes: string[] = [];
  for (const [index, part] of (request.chunkPrompts ?? []).entries()) {
    const chunk = part.chunk ?? chunkAt(part.second!, firstFrames, fps);
    const name = option('chunkPrompts', index);
    const asked = part.chunk === undefined ? `second ${part.second!}` : `chunk ${chunk}`;
    const chunks = firstFrames.length - 1;
    if (chunk >= chunks)
      throw new RequestError(
        worded`${name}: ${asked} is past the end of the video, which has ${chunks === 1 ? '1 chunk' : `${chunks} chunks`} and lasts ${seconds(firstFrames.at(-1)! / fps)} s`,
      );
    if (chunk === 0 && given) throw new RequestError(inFirstChunk(name, asked, request, firstFrames, fps));
    const other = later.find((earlier) => earlier.chunk === chunk);
    if (other !== undefined)
      throw new RequestError(
        worded`${option('chunkPrompts', other.index)} and ${name}: both start with chunk ${chunk}; chunks start at ${starts(firstFrames, fps)} s`,
      );
    later.push({ chunk, index, text: textOf(part.prompt, part.promptEmbeds) });
    const start = seconds(firstFrames[chunk]! / fps);
    if (part.second !== undefined && seconds(part.second) !== start)
      notes.push(`the prompt for second ${part.second} acts from ${start} s on, where its chunk starts`);
  }
  later.sort((a, b) => a.chunk - b.chunk);
  const caption = given ? textOf(single(request.prompt), single(request.promptEmbeds)) : later.shift()!.text;
  const negative =
    request.negativePrompt === undefined && request.negativePromptEmbeds === undefined
      ? undefined
      : textOf(single(request.negativePrompt), single(request.negativePromptEmbeds));
  return { caption, later: later.map(({ chunk, text }) => ({ chunk, text })), negative, notes };
}

/** A second prompt for the first chunk would leave the first one without any. */
function inFirstChunk(
  name: OptionName,
  asked: string,
  { prompt }: GenerationOptions,
  firstFrames: readonly number[],
  fps: number,
): Wording {
  const first = option(prompt === undefined ? 'promptEmbeds' : 'prompt');
  const remedy =
    firstFrames.length > 2
      ? `the first that another prompt can have starts at second ${seconds(firstFrames[1]! / fps)} (chunk 1)`
      : `the video has no other; more frames are needed for a second prompt`;
  return worded`${name}: ${asked} lies in the first chunk, which ${first} describes; ${remedy}`;
}

/** The one entry of a list of one. */
function single<T>(value: T | readonly T[] | undefined): T | undefined {
  return Array.isArray(value) ? (value as readonly T[])[0] : (value as T | undefined);
}

function textOf(prompt: string | undefined, embeds: TextEmbeds | undefined): string | TextRows {
  return prompt ?? { rows: embeds!.rows, length: validRows(embeds!) };
}

function chunkAt(second: number, firstFrames: readonly number[], fps: number): number {
  const frame = Math.floor(second * fps + 1e-6);
  const after = firstFrames.findIndex((first) => first > frame);
  return after < 0 ? firstFrames.length : after - 1;
}

const seconds = (value: number): string => String(Math.round(value * 1000) / 1000);

const SHOWN_STARTS = 8;

function starts(firstFrames: readonly number[], fps: number): string {
  const all = firstFrames.slice(0, -1).map((frame) => seconds(frame / fps));
  return all.length <= SHOWN_STARTS ? all.join(', ') : `${all.slice(0, SHOWN_STARTS).join(', ')}, ...`;
}

/** Texts of a run that the text encoder has to read. */
export function promptsOf({ caption, later, negative }: Texts<string | TextRows>): number {
  return [caption, negative, ...later.map(({ text }) => text)].filter((text) => typeof text === 'string').length;
}
