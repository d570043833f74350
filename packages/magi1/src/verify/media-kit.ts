// Goldens of image and video input: what the original's ffmpeg made of a picture and a clip, and ffmpeg's scaler alone.
import { Magi1Error } from '@magi1/tensor';
import type { HostTensor } from '@magi1/tensor';
import { loadImage, loadVideo, scaleFrames } from '../media/index.ts';
import type { Fit, LoadedFrames } from '../media/index.ts';
import { golden } from './goldens.ts';
import type { Check, FileTree, Kit, VerifyCase } from './types.ts';
import { readJson, readTensors } from './files.ts';

/** Levels by which a frame may differ on average where another ffmpeg, or none, did the work. */
const OTHER_DECODER = 3;
/** Frames that the original takes from a clip that has as many. */
const PREFIX = 32;
/** Most levels that our scaler, in float64, may be off ffmpeg's, which is in fixed point, at any value. */
const SCALER = 1;

interface MediaCase {
  readonly file: string;
  readonly fps?: number;
}

interface Manifest {
  readonly ffmpeg?: string;
  readonly sources?: Readonly<Record<string, unknown>>;
  readonly cases?: readonly MediaCase[];
}

export const mediaKit: Kit = async (tree) => {
  const cases: VerifyCase[] = [];
  for (const folder of tree.foldersWith('manifest.json')) {
    const prefix = folder === '' ? '' : `${folder}/`;
    const manifest = (await readJson(tree.resolve(`${prefix}manifest.json`))) as Manifest;
    if (typeof manifest.ffmpeg !== 'string' || manifest.cases === undefined) continue;
    for (const found of manifest.cases) cases.push(mediaCase(tree, prefix, manifest, found));
  }
  return cases;
};

function mediaCase(tree: FileTree, prefix: string, manifest: Manifest, found: MediaCase): VerifyCase {
  const path = prefix + found.file;
  const kind = kindOf(found.file);
  const source = sourceOf(manifest, kind);
  const files = [path, ...(source === undefined ? [] : [prefix + source])];
  return {
    path,
    kind: `media.${kind ?? 'unknown'}`,
    files: files.filter((file) => tree.has(file)),
    async run({ signal }) {
      const goldens = await readTensors(tree.resolve(path));
      if (kind === 'scale') return compareScaler(goldens);
      if (kind === undefined || source === undefined) throw new Magi1Error(`${path}: no kind of case is called that`);
      const stored = golden(goldens, 'frames');
      const [frames, height, width] = stored.shape as [number, number, number, number];
      const input = tree.resolve(prefix + source);
      const loaded =
        kind === 'video'
          ? await loadVideo(input, {
              width,
              height,
              fps: found.fps ?? NaN,
              maxFrames: Math.max(frames, PREFIX),
              scaler: 'original',
              signal,
            })
          : await loadImage(input, { width, height, fit: kind, scaler: 'original', signal });
      return [compareFrames(loaded, stored, releaseOf(manifest))];
    },
  };
}

type Kind = Fit | 'video' | 'scale';

function kindOf(file: string): Kind | undefined {
  const name = file.slice(file.lastIndexOf('/') + 1);
  if (name.startsWith('image_fit_')) return 'stretch';
  if (name.startsWith('image_crop_')) return 'crop';
  if (name.startsWith('image_pad_')) return 'pad';
  if (name.startsWith('prefix_video_')) return 'video';
  return name.startsWith('scale_') ? 'scale' : undefined;
}

/** The manifest lists one picture and one clip. */
function sourceOf({ sources = {} }: Manifest, kind: Kind | undefined): string | undefined {
  const isVideo = (name: string): boolean => /\.(mp4|mkv|mov|webm)$/i.test(name);
  if (kind === undefined || kind === 'scale') return undefined;
  return Object.keys(sources).find((name) => isVideo(name) === (kind === 'video'));
}

/** `ffmpeg version 5.1.9-0+deb12u1` -> `5.1`: releases of one branch decode and scale alike. */
const releaseOf = ({ ffmpeg = '' }: Manifest): string => branch(ffmpeg.replace(/^ffmpeg version /, ''));
const branch = (version: string): string => /^n?(\d+\.\d+)/.exec(version)?.[1] ?? version;

/** Byte for byte with the same ffmpeg; otherwise within some levels, frame by frame. */
function compareFrames(loaded: LoadedFrames, stored: HostTensor, release: string): Check {
  const what = `frames by ${loaded.decoder}`;
  const expected = stored.data as Uint8Array;
  if (loaded.data.length !== expected.length) {
    const shape = [loaded.frameCount, loaded.height, loaded.width, 3];
    const detail = `[${shape.join(', ')}], expected [${stored.shape.join(', ')}]`;
    return { what, pass: false, tolerance: 'shape', detail };
  }
  const { maxAbs, means } = levels(loaded.data, expected, loaded.frameCount);
  const worst = Math.max(...means);
  const same = loaded.decoder.startsWith('ffmpeg ') && branch(loaded.decoder.slice('ffmpeg '.length)) === release;
  return {
    what,
    pass: same ? maxAbs === 0 : worst < OTHER_DECODER,
    maxAbs,
    tolerance: same ? 'exact' : `mean below ${OTHER_DECODER} levels in each frame`,
    detail: `mean difference of the worst frame ${worst.toFixed(3)} levels`,
  };
}

/** Largest difference, and the mean difference of each frame. */
function levels(a: Uint8Array, b: Uint8Array, frames: number): { maxAbs: number; means: number[] } {
  const size = b.length / frames;
  let maxAbs = 0;
  const means = Array.from({ length: frames }, (_, frame) => {
    let sum = 0;
    for (let i = frame * size; i < (frame + 1) * size; i++) {
      const difference = Math.abs(a[i]! - b[i]!);
      sum += difference;
      if (difference > maxAbs) maxAbs = difference;
    }
    return sum / size;
  });
  return { maxAbs, means };
}

/** `in` [H, W, 3] scaled to the size of every `out.WxH`. */
function compareScaler(goldens: ReadonlyMap<string, HostTensor>): Check[] {
  const input = golden(goldens, 'in');
  const [height, width] = input.shape as [number, number, number];
  const picture = { data: input.data as Uint8Array, frameCount: 1, width, height };
  return [...goldens]
    .filter(([name]) => name.startsWith('out.'))
    .map(([name, { shape, data }]) => {
      const target = { width: shape[1]!, height: shape[0]! };
      const scaled = scaleFrames(picture, target, 'stretch', 'original').data;
      const { maxAbs, means } = levels(scaled, data as Uint8Array, 1);
      const detail = `mean difference ${means[0]!.toFixed(3)} levels`;
      return { what: name, pass: maxAbs <= SCALER, maxAbs, tolerance: `${SCALER} level`, detail };
    });
}
