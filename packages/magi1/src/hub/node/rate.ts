// How far a download or a conversion is, and how fast it is.
interface File {
  readonly path: string;
  /** In bytes. */
  readonly size: number;
}

export interface DownloadProgress {
  /** The file that is fetched or made, or looked through for its checksum. */
  readonly path: string;
  readonly activity: 'fetching' | 'checking' | 'quantizing';
  /** Of all files: bytes that are there, and that there will be. */
  readonly bytes: number;
  readonly total: number;
  /** Of the last seconds; undefined while nothing is known. */
  readonly bytesPerSecond: number | undefined;
  readonly secondsLeft: number | undefined;
}

export type DownloadListener = (progress: DownloadProgress) => void;

/** The pace is that of so many seconds. */
const WINDOW = 10;
const SAMPLE_EVERY = 0.25;

export class DownloadRate {
  /** Bytes that came over the network, or were read to be converted. */
  fetched = 0;
  readonly #total: number;
  readonly #listener: DownloadListener | undefined;
  /** Of files that are done. */
  #before = 0;
  /** Of the file at work. */
  #bytes = 0;
  #samples: { readonly time: number; readonly fetched: number }[] = [];

  constructor(total: number, listener: DownloadListener | undefined) {
    this.#total = total;
    this.#listener = listener;
  }

  /** A file, from its first byte on. */
  begin({ path }: File, activity: DownloadProgress['activity'] = 'fetching'): void {
    this.#bytes = 0;
    this.#tell(path, activity);
  }

  /** Bytes that are there already are looked through. */
  check({ path }: File): (count: number) => void {
    return (count) => this.#advance(path, count, 'checking');
  }

  advance({ path }: File, count: number, activity: DownloadProgress['activity'] = 'fetching'): void {
    this.fetched += count;
    this.#advance(path, count, activity);
  }

  /** It has its name now. */
  finished({ path, size }: File, activity: DownloadProgress['activity'] = 'fetching'): void {
    this.#before += size;
    this.#bytes = 0;
    this.#tell(path, activity);
  }

  #advance(path: string, count: number, activity: DownloadProgress['activity']): void {
    this.#bytes += count;
    // The end is told when the last file has its name.
    if (this.#before + this.#bytes < this.#total) this.#tell(path, activity);
  }

  #tell(path: string, activity: DownloadProgress['activity']): void {
    if (this.#listener === undefined) return;
    const time = performance.now() / 1000;
    const last = this.#samples.at(-1);
    if (last === undefined || time - last.time >= SAMPLE_EVERY) this.#samples.push({ time, fetched: this.fetched });
    while (this.#samples.length > 2 && time - this.#samples[0]!.time > WINDOW) this.#samples.shift();
    const { time: from, fetched } = this.#samples[0]!;
    const bytesPerSecond = time - from < SAMPLE_EVERY ? undefined : (this.fetched - fetched) / (time - from);
    const bytes = this.#before + this.#bytes;
    const secondsLeft = bytesPerSecond ? (this.#total - bytes) / bytesPerSecond : undefined;
    this.#listener({ path, activity, bytes, total: this.#total, bytesPerSecond, secondsLeft });
  }
}
