// Decoding by the system's ffmpeg: a file or bytes in, raw RGB frames out. Its filters are the original's.
import { spawn } from 'node:child_process';
import { FileFormatError, Magi1Error } from '@magi1/tensor';
import { ORIENT_FILTERS } from '../orient.ts';
import type { ImageHeader } from '../image-header.ts';
import type { Fit, Size } from '../scale.ts';
import type { Ffmpeg } from './ffmpeg.ts';

export interface FrameSource {
  /** For messages: `video clip.mp4`. */
  readonly what: string;
  /** What precedes `-i`, and the input itself. */
  readonly input: readonly string[];
  /** Goes down its stdin when `input` is pipe:0. */
  readonly bytes?: Uint8Array;
  readonly filters: string;
  /** Larger source pictures are refused. */
  readonly maxPixels: number;
  readonly size: Size;
  readonly maxFrames: number;
  readonly signal?: AbortSignal | undefined;
}

/** Nothing but local files: a playlist must not make ffmpeg fetch. Damage ends the run instead of being painted over. */
const SAFE_INPUT = ['-protocol_whitelist', 'file,pipe', '-xerror'];

/** Frames [count, size.height, size.width, 3], at most `maxFrames`. */
export async function readFrames(ffmpeg: Ffmpeg, source: FrameSource): Promise<Uint8Array> {
  const { what, input, bytes, filters, maxPixels, size, maxFrames, signal } = source;
  signal?.throwIfAborted();
  const args = [
    ...[
      '-hide_banner',
      '-nostdin',
      '-v',
      'error',
      ...SAFE_INPUT,
      '-max_pixels',
      String(maxPixels),
      ...input,
      '-map',
      '0:V:0',
      '-vf',
      filters,
    ],
    ...['-frames:v', String(maxFrames), '-f', 'rawvideo', '-pix_fmt', 'rgb24', 'pipe:1'],
  ];
  // A group of its own, so that Ctrl-C in the terminal reaches it only through the signal.
  const child = spawn(ffmpeg.command, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
  const kill = (): void => void child.kill('SIGKILL');
  signal?.addEventListener('abort', kill, { once: true });
  const chunks: Buffer[] = [];
  let errors = '';
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors = (errors + text).slice(0, 10_000)));
  child.stdin.on('error', () => undefined); // it ends as soon as it has what it needs
  child.stdin.end(bytes);
  let status: number | null;
  try {
    status = await new Promise<number | null>((done, fail) => child.once('error', fail).once('close', done));
  } catch (error) {
    throw new Magi1Error(`${what}: ${ffmpeg.command} does not start: ${(error as Error).message}`);
  } finally {
    signal?.removeEventListener('abort', kill);
  }
  signal?.throwIfAborted();
  const data = Buffer.concat(chunks);
  const frame = size.width * size.height * 3;
  if (status !== 0) throw new FileFormatError(`${what}: ffmpeg cannot read it: ${reason(errors)}`);
  if (data.length % frame !== 0)
    throw new Magi1Error(
      `${what}: ffmpeg gave ${data.length} bytes, no multiple of ${frame} for ${size.width}x${size.height}`,
    );
  // It reports damage and goes on where a decoder can conceal it; within what was asked for that is no good picture.
  if (errors !== '' && data.length < maxFrames * frame)
    throw new FileFormatError(
      `${what}: it is damaged or truncated after ${data.length / frame} frames: ${reason(errors)}`,
    );
  return new Uint8Array(data.buffer, data.byteOffset, data.length);
}

/** The line that says most, without ffmpeg's component and address in front. */
function reason(errors: string): string {
  const lines = errors
    .split('\n')
    .map((line) => line.replace(/^(\[[^\]]*\]\s*)+/, '').trim())
    .filter((line) => line !== '');
  return (
    lines.find((line) => !/^(Error while|Conversion failed|Last message)/.test(line)) ?? lines[0] ?? 'no reason given'
  );
}

/** Filters of a picture: upright, then the original's scale with one of its aspect policies. */
export function pictureFilters(
  { orientation }: Pick<ImageHeader, 'orientation'>,
  fit: Fit,
  { width, height }: Size,
): string {
  return [...ORIENT_FILTERS[orientation], ...fitFilters(fit, width, height)].join(',');
}

export function fitFilters(fit: Fit, w: number, h: number): string[] {
  switch (fit) {
    case 'stretch':
      return [`scale=${w}:${h}`];
    case 'crop':
      return [`scale=${w}:${h}:force_original_aspect_ratio=increase`, `crop=${w}:${h}`];
    case 'pad':
      return [`scale=${w}:${h}:force_original_aspect_ratio=decrease`, `pad=${w}:${h}:(ow-iw)/2:(oh-ih)/2:black`];
  }
}
