// A small ISO base media (mp4) muxer for one H.264 track, written in fragments, so that a file cut off at any point plays
// up to its last whole fragment. At the end the file becomes a plain mp4: an index is appended and everything before it
// is declared media data, without copying. Also reads the samples out of a plain mp4, which is what the encoder returns.
import { FileFormatError } from '@magi1/tensor';
import { COLOUR } from './yuv.ts';

/** Text kept inside the mp4 itself; everything else belongs into the sidecar. */
export interface VideoMetadata {
  readonly title?: string;
  readonly comment?: string;
  readonly description?: string;
}

export interface Mp4Track {
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  /** Contents of the avcC box. */
  readonly avcC: Uint8Array;
  readonly metadata?: VideoMetadata;
}

export interface Mp4Sample {
  /** Length-prefixed NAL units. */
  readonly data: Uint8Array;
  readonly keyframe: boolean;
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const u8 = (...values: number[]): Uint8Array => Uint8Array.from(values);

function u16(...values: number[]): Uint8Array {
  const out = new DataView(new ArrayBuffer(values.length * 2));
  values.forEach((value, i) => out.setUint16(i * 2, value));
  return new Uint8Array(out.buffer);
}

function u32(...values: number[]): Uint8Array {
  const out = new DataView(new ArrayBuffer(values.length * 4));
  values.forEach((value, i) => out.setUint32(i * 4, value));
  return new Uint8Array(out.buffer);
}

function u64(value: number): Uint8Array {
  return u32(Math.floor(value / 2 ** 32), value % 2 ** 32);
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const latin1 = (value: string): Uint8Array => Uint8Array.from(value, (c) => c.charCodeAt(0));

function box(type: string, ...parts: readonly Uint8Array[]): Uint8Array {
  const body = concatBytes(parts);
  return concatBytes([u32(body.length + 8), latin1(type), body]);
}

const fullBox = (type: string, version: number, flags: number, ...parts: readonly Uint8Array[]): Uint8Array =>
  box(type, u32(version * 2 ** 24 + flags), ...parts);

const MATRIX = u32(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000);
const KEYFRAME = 0x02000000; // depends on no other sample
const DIFFERENCE = 0x01010000; // depends on others, not a sync sample

/** Ticks per second and per frame; whole for every frame rate with three decimals. */
export function timing(fps: number): { timescale: number; ticks: number } {
  return Number.isInteger(fps)
    ? { timescale: fps * 512, ticks: 512 }
    : { timescale: Math.round(fps * 1000), ticks: 1000 };
}

function sampleEntry(track: Mp4Track): Uint8Array {
  const colr = box(
    'colr',
    latin1('nclx'),
    u16(COLOUR.primaries, COLOUR.transfer, COLOUR.matrix),
    u8(COLOUR.fullRange ? 128 : 0),
  );
  const avc1 = box(
    'avc1',
    concatBytes([new Uint8Array(6), u16(1), new Uint8Array(16), u16(track.width, track.height)]),
    u32(0x480000, 0x480000, 0), // 72 dpi
    concatBytes([u16(1), new Uint8Array(32), u16(24, 0xffff)]), // one frame a sample, no name, depth, no palette
    box('avcC', track.avcC),
    colr,
    box('pasp', u32(1, 1)),
  );
  return fullBox('stsd', 0, 0, u32(1), avc1);
}

function metadataBox(metadata: VideoMetadata): Uint8Array {
  const names = { title: '\u00a9nam', comment: '\u00a9cmt', description: 'desc' } as const;
  const items = (['title', 'comment', 'description'] as const).flatMap((key) => {
    const value = metadata[key];
    return value === undefined ? [] : [box(names[key], box('data', u32(1, 0), text(value)))];
  });
  if (items.length === 0) return new Uint8Array(0);
  const handler = fullBox('hdlr', 0, 0, u32(0), latin1('mdir'), new Uint8Array(13));
  return box('udta', fullBox('meta', 0, 0, handler, box('ilst', ...items)));
}

function movie(track: Mp4Track, frames: number, sampleTables: readonly Uint8Array[], fragmented: boolean): Uint8Array {
  const { timescale, ticks } = timing(track.fps);
  const duration = frames * ticks;
  const header = fullBox(
    'mvhd',
    0,
    0,
    concatBytes([
      u32(0, 0, timescale, duration, 0x10000),
      u16(0x100),
      new Uint8Array(10),
      MATRIX,
      new Uint8Array(24),
      u32(2),
    ]),
  );
  const trackHeader = fullBox(
    'tkhd',
    0,
    3, // enabled, in the movie
    u32(0, 0, 1, 0, duration),
    new Uint8Array(16),
    MATRIX,
    u32(track.width * 0x10000, track.height * 0x10000),
  );
  const media = box(
    'mdia',
    fullBox('mdhd', 0, 0, u32(0, 0, timescale, duration), u16(0x55c4, 0)), // language: und
    fullBox('hdlr', 0, 0, u32(0), latin1('vide'), new Uint8Array(12), latin1('VideoHandler\0')),
    box(
      'minf',
      fullBox('vmhd', 0, 1, new Uint8Array(8)),
      box('dinf', fullBox('dref', 0, 0, u32(1), fullBox('url ', 0, 1))),
      box('stbl', sampleEntry(track), ...sampleTables),
    ),
  );
  const extends_ = fragmented ? [box('mvex', fullBox('trex', 0, 0, u32(1, 1, ticks, 0, 0)))] : [];
  return box('moov', header, box('trak', trackHeader, media), ...extends_, metadataBox(track.metadata ?? {}));
}

/** Becomes a 64-bit mdat header at the end. */
const RESERVED = box('free', new Uint8Array(8));

/** Produces the bytes of one file in order; where they go is the caller's business. */
export class Mp4Muxer {
  readonly #track: Mp4Track;
  readonly #sizes: number[] = [];
  readonly #keyframes: number[] = [];
  readonly #chunks: { offset: number; samples: number }[] = [];
  #position = 0;
  #reserved = 0;
  #sequence = 0;

  constructor(track: Mp4Track) {
    this.#track = track;
  }

  get frames(): number {
    return this.#sizes.length;
  }

  /** The start of the file. */
  header(): Uint8Array {
    const type = box('ftyp', latin1('isom'), u32(0x200), latin1('isomiso5iso6avc1mp41'));
    this.#reserved = type.length;
    const empty = [fullBox('stts', 0, 0, u32(0)), fullBox('stsc', 0, 0, u32(0)), fullBox('stsz', 0, 0, u32(0, 0))];
    const out = concatBytes([type, RESERVED, movie(this.#track, 0, [...empty, fullBox('stco', 0, 0, u32(0))], true)]);
    this.#position = out.length;
    return out;
  }

  /** One fragment, to be appended. The first sample of the file is a keyframe. */
  fragment(samples: readonly Mp4Sample[]): Uint8Array {
    const { ticks } = timing(this.#track.fps);
    const entries = samples.map(({ data, keyframe }) => u32(data.length, keyframe ? KEYFRAME : DIFFERENCE));
    const build = (dataOffset: number): Uint8Array =>
      box(
        'moof',
        fullBox('mfhd', 0, 0, u32(this.#sequence + 1)),
        box(
          'traf',
          fullBox('tfhd', 0, 0x20000, u32(1)), // offsets count from the moof
          fullBox('tfdt', 1, 0, u64(this.frames * ticks)),
          fullBox('trun', 0, 0x601, u32(samples.length, dataOffset), ...entries), // data offset, sizes, flags
        ),
      );
    const head = build(build(0).length + 8);
    this.#chunks.push({ offset: this.#position + head.length + 8, samples: samples.length });
    for (const { data, keyframe } of samples) {
      this.#sizes.push(data.length);
      if (keyframe) this.#keyframes.push(this.#sizes.length);
    }
    const out = concatBytes([head, box('mdat', ...samples.map((sample) => sample.data))]);
    this.#position += out.length;
    this.#sequence++;
    return out;
  }

  /** Makes a plain mp4: append `index`, then write `patch` over the bytes at `patchAt`. `undo` makes fragments of it again. */
  finish(): { index: Uint8Array; patch: Uint8Array; undo: Uint8Array; patchAt: number } {
    const { ticks } = timing(this.#track.fps);
    // Runs of chunks with equally many samples share an stsc entry.
    const runs = this.#chunks.flatMap(({ samples }, i) =>
      i > 0 && this.#chunks[i - 1]!.samples === samples ? [] : [u32(i + 1, samples, 1)],
    );
    const tables = [
      fullBox('stts', 0, 0, u32(1, this.frames, ticks)),
      fullBox('stss', 0, 0, u32(this.#keyframes.length, ...this.#keyframes)),
      fullBox('stsc', 0, 0, u32(runs.length), ...runs),
      fullBox('stsz', 0, 0, u32(0, this.frames, ...this.#sizes)),
      fullBox('co64', 0, 0, u32(this.#chunks.length), ...this.#chunks.map(({ offset }) => u64(offset))),
    ];
    const index = movie(this.#track, this.frames, tables, false);
    const patch = concatBytes([u32(1), latin1('mdat'), u64(this.#position - this.#reserved)]);
    return { index, patch, undo: RESERVED, patchAt: this.#reserved };
  }
}

interface Box {
  readonly type: string;
  readonly body: Uint8Array;
}

function boxes(bytes: Uint8Array): Box[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out: Box[] = [];
  for (let at = 0; at + 8 <= bytes.length;) {
    const size = view.getUint32(at);
    if (size < 8 || at + size > bytes.length)
      throw new FileFormatError(`mp4: box of ${size} bytes at ${at} does not fit`);
    out.push({ type: String.fromCharCode(...bytes.subarray(at + 4, at + 8)), body: bytes.subarray(at + 8, at + size) });
    at += size;
  }
  return out;
}

function inside(bytes: Uint8Array, ...path: readonly string[]): Uint8Array {
  return path.reduce((body, type) => {
    const found = boxes(body).find((candidate) => candidate.type === type);
    if (found === undefined) throw new FileFormatError(`mp4: no ${type} box`);
    return found.body;
  }, bytes);
}

export interface Mp4Place {
  readonly offset: number;
  readonly size: number;
  readonly keyframe: boolean;
}

/** From a moov box: contents of the avcC box of its only track, and where its samples lie in the file, in order. */
export function readIndex(moov: Uint8Array): { avcC: Uint8Array; places: Mp4Place[] } {
  const stbl = inside(moov, 'trak', 'mdia', 'minf', 'stbl');
  const avc1 = inside(inside(stbl, 'stsd').subarray(8), 'avc1');
  const kinds = boxes(stbl).map(({ type }) => type);
  const table = (type: string): number[] => {
    const body = inside(stbl, type);
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
    return Array.from({ length: body.length >> 2 }, (_, i) => view.getUint32(i * 4)).slice(1);
  };
  const [fixed, count, ...listed] = table('stsz');
  const sizes = fixed === 0 ? listed : new Array<number>(count!).fill(fixed!);
  const [runs, ...perChunk] = table('stsc');
  const offsets = kinds.includes('co64') ? longOffsets(table('co64').slice(1)) : table('stco').slice(1);
  const sync = kinds.includes('stss') ? new Set(table('stss').slice(1)) : undefined;
  const places: Mp4Place[] = [];
  let run = 0;
  for (const [chunk, start] of offsets.entries()) {
    if (run + 1 < runs! && chunk + 1 >= perChunk[(run + 1) * 3]!) run++;
    let offset = start;
    for (let i = 0; i < perChunk[run * 3 + 1]! && places.length < sizes.length; i++) {
      const size = sizes[places.length]!;
      places.push({ offset, size, keyframe: sync?.has(places.length + 1) ?? true });
      offset += size;
    }
  }
  return { avcC: inside(avc1.subarray(78), 'avcC').slice(), places };
}

const longOffsets = (words: readonly number[]): number[] =>
  Array.from({ length: words.length >> 1 }, (_, i) => words[2 * i]! * 2 ** 32 + words[2 * i + 1]!);

/** The only track of a plain mp4: contents of its avcC box and its samples, in order. */
export function readMp4(file: Uint8Array): { avcC: Uint8Array; samples: Mp4Sample[] } {
  const { avcC, places } = readIndex(inside(file, 'moov'));
  return {
    avcC,
    samples: places.map(({ offset, size, keyframe }) => ({ data: file.slice(offset, offset + size), keyframe })),
  };
}

/** Samples that a moof box declares. */
export function fragmentSamples(moof: Uint8Array): number {
  const run = inside(moof, 'traf', 'trun');
  return new DataView(run.buffer, run.byteOffset, run.byteLength).getUint32(4);
}
