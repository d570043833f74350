// Reads what ffmpeg writes as FLV to a pipe: the one container of H.264 that says how long each frame is before the frame
// and hands it out at once. Only what our own ffmpeg command line produces is understood.
import { FileFormatError } from '@magi1/tensor';
import { concatBytes } from './mp4.ts';
import type { Mp4Sample } from './mp4.ts';

const FILE_HEADER = 9 + 4; // with the size of the tag before the first one
const TAG_HEADER = 11;
const VIDEO = 9;
const KEYFRAME = 0x17; // H.264
const DIFFERENCE = 0x27;

export class FlvReader {
  /** Contents of the avcC box; there before the first sample. */
  avcC: Uint8Array | undefined;
  #rest: Uint8Array = new Uint8Array(0);
  #begun = false;

  /** Takes the next bytes; gives the samples that are whole with them. */
  push(bytes: Uint8Array): Mp4Sample[] {
    let data = this.#rest.length === 0 ? bytes : concatBytes([this.#rest, bytes]);
    if (!this.#begun && data.length >= FILE_HEADER) {
      if (String.fromCharCode(...data.subarray(0, 3)) !== 'FLV') throw new FileFormatError('no FLV stream');
      this.#begun = true;
      data = data.subarray(FILE_HEADER);
    }
    const samples: Mp4Sample[] = [];
    while (this.#begun && data.length >= TAG_HEADER) {
      const size = (data[1]! << 16) | (data[2]! << 8) | data[3]!;
      const end = TAG_HEADER + size + 4;
      if (data.length < end) break;
      if (data[0] === VIDEO) this.#take(data.subarray(TAG_HEADER, TAG_HEADER + size), samples);
      data = data.subarray(end);
    }
    this.#rest = data.slice();
    return samples;
  }

  #take(tag: Uint8Array, samples: Mp4Sample[]): void {
    const [kind, packet] = tag;
    if (kind !== KEYFRAME && kind !== DIFFERENCE) throw new FileFormatError('FLV: a video tag that is not H.264');
    const data = tag.slice(5); // after the packet's kind come three bytes of composition time, 0 without B-frames
    if (packet === 0) this.avcC = data;
    else if (packet === 1) samples.push({ data, keyframe: kind === KEYFRAME });
  }
}
