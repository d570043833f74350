// What ffmpeg says while it reads: the shape of the source, and which of its complaints are damage.
import type { Size } from '../scale.ts';

/** Complaints that are kept: a broken file can bring one per frame. */
const MOST_LINES = 50;

/** A line of `-v level+verbose`: `[h264 @ 0x55d] [error] no frame!`; who is missing where ffmpeg itself speaks. */
const LINE = /^((?:\[[^\]]* @ \w+\] )*)\[(\w+)\] (.*)$/;
/** The scale filter, when the first picture has come: `w:720 h:576 fmt:yuv420p sar:16/11 -> w:64 ...`. */
const SCALES = /^w:(\d+) h:(\d+) .*?\bsar:(\d+)\/(\d+) -> /;
/** The decoder in use: `Stream #0:0 -> #0:0 (h264 (native) -> rawvideo (native))`. */
const DECODES = /^\s*Stream #\S+ -> #\S+ \((\S+) \(([^)]+)\) -> /;

interface Complaint {
  readonly who: string;
  readonly message: string;
  /** Before the first picture came out. */
  readonly early: boolean;
}

export class FfmpegLog {
  #rest = '';
  #shape: Size | undefined;
  #decoder: RegExp | undefined;
  readonly #complaints: Complaint[] = [];

  add(text: string): void {
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = lines.pop()!.slice(0, 10_000);
    for (const line of lines) this.#read(line);
  }

  #read(line: string): void {
    const [, who = '', level, message = ''] = LINE.exec(line) ?? [];
    if (level === 'verbose' && this.#shape === undefined) {
      const [, width, height, num, den] = (SCALES.exec(message) ?? []).map(Number);
      if (width !== undefined && height !== undefined) this.#shape = squarePixels(width, height, num! / den!);
    } else if (level === 'info') {
      const names = DECODES.exec(message)?.slice(1);
      if (names !== undefined) this.#decoder ??= new RegExp(`[[:/](${names.map(escape).join('|')}) @ `);
    } else if (['error', 'fatal', 'panic'].includes(level ?? '') && this.#complaints.length < MOST_LINES) {
      this.#complaints.push({ who, message: message.trim(), early: this.#shape === undefined });
    }
  }

  /** Of the pictures as they are meant to be seen; undefined until there is one. */
  get shape(): Size | undefined {
    return this.#shape;
  }

  /** Why it gave up, where it says so. */
  get reason(): string | undefined {
    return telling(this.#complaints);
  }

  /** What it says of damage although it did not give up; undefined where there is none. */
  get damage(): string | undefined {
    return telling(this.#complaints.filter((complaint) => !this.#ofCutStart(complaint)));
  }

  get startNotes(): string[] {
    const why = telling(this.#complaints.filter((complaint) => this.#ofCutStart(complaint)));
    return why === undefined
      ? []
      : [
          `its first pictures lean on others that were cut off: it is read from its first whole picture on (ffmpeg: ${why})`,
        ];
  }

  /**
   * A decoder's complaint before the first picture: pictures that lean on others which were cut off. It gives none of
   * them; where it gives a damaged picture, -xerror makes ffmpeg give up.
   */
  #ofCutStart({ who, early }: Complaint): boolean {
    return early && this.#shape !== undefined && this.#decoder?.test(who) === true;
  }
}

/** The line that says most. */
function telling(complaints: readonly Complaint[]): string | undefined {
  const lines = complaints.map(({ message }) => message);
  return lines.find((line) => !/^(Error while|Conversion failed|Last message)/.test(line)) ?? lines[0];
}

const escape = (text: string): string => text.replace(/\W/g, '\\$&');

function squarePixels(width: number, height: number, aspect: number): Size {
  return { width: aspect > 0 && aspect < Infinity ? Math.max(1, Math.round(width * aspect)) : width, height };
}
