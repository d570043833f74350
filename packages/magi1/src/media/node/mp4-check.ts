// A look at an mp4 that our writers have made, on the disk: what is really there, whatever was reported.
import { closeSync, fstatSync, ftruncateSync, openSync, readSync } from 'node:fs';
import { Magi1Error } from '@magi1/tensor';
import { fragmentSamples, readIndex } from '../mp4.ts';

interface DiskBox {
  readonly type: string;
  readonly at: number;
  readonly header: number;
  readonly size: number;
}

function read(file: number, at: number, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let got = 0; got < size;) {
    const more = readSync(file, bytes, got, size - got, at + got);
    if (more === 0) throw new Magi1Error(`it ends after ${at + got} bytes`);
    got += more;
  }
  return bytes;
}

/** The boxes of the file, up to the first one that is not whole. */
function boxesOf(file: number): { boxes: DiskBox[]; end: number; size: number } {
  const { size } = fstatSync(file);
  const boxes: DiskBox[] = [];
  let at = 0;
  while (at + 8 <= size) {
    const head = Buffer.from(read(file, at, Math.min(16, size - at)));
    const short = head.readUInt32BE(0);
    const header = short === 1 ? 16 : 8;
    if (head.length < header) break;
    const length = short === 1 ? Number(head.readBigUInt64BE(8)) : short;
    if (length < header || at + length > size) break;
    boxes.push({ type: head.toString('latin1', 4, 8), at, header, size: length });
    at += length;
  }
  return { boxes, end: at, size };
}

const body = (file: number, { at, header, size }: DiskBox): Uint8Array => read(file, at + header, size - header);

/** @throws unless the file is a plain mp4 whose index lists `frames` samples that are all there */
export function checkMp4(path: string, frames: number): void {
  const file = openSync(path, 'r');
  try {
    const { boxes, end, size } = boxesOf(file);
    const [data, moov] = ['mdat', 'moov'].map((type) => boxes.find((box) => box.type === type));
    if (end !== size || data === undefined || moov === undefined)
      throw new Magi1Error(`of the ${size} bytes that are on the disk, ${end} make sense`);
    const { places } = readIndex(body(file, moov));
    const there = places.filter(
      ({ offset, size: bytes }) => offset >= data.at && offset + bytes <= data.at + data.size,
    );
    if (there.length !== frames || places.length !== frames)
      throw new Magi1Error(`${frames} frames were written, ${there.length} are on the disk`);
  } finally {
    closeSync(file);
  }
}

/** Frames in the whole fragments of a file that was cut off anywhere; what follows them is cut off. */
export function mendFragments(path: string): number {
  const file = openSync(path, 'r+');
  try {
    const { boxes } = boxesOf(file);
    const plain = boxes.findIndex(({ type }) => type === 'mdat');
    const isPlain = plain >= 0 && boxes[plain - 1]?.type !== 'moof';
    if (isPlain)
      return readIndex(
        body(
          file,
          boxes.find(({ type }) => type === 'moov')!,
        ),
      ).places.length;
    let frames = 0;
    let end = 0;
    for (const [i, box] of boxes.entries()) {
      if (box.type !== 'mdat') continue;
      frames += fragmentSamples(body(file, boxes[i - 1]!));
      end = box.at + box.size;
    }
    ftruncateSync(file, end);
    return frames;
  } finally {
    closeSync(file);
  }
}
