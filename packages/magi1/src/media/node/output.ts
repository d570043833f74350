// An output, from the choice of its name to its end. It is reserved, grows in a folder of our own beside the name, and
// takes the name when it is whole; what was there before is replaced at once or stays. What a run that ended early has
// finished is kept. Everything here is synchronous, because the last of it happens while the process exits.
import { rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Magi1Error } from '@magi1/tensor';
import { EARLIER_FACTS, FACTS, keepBeside, LAST_FACTS, NEXT_FACTS, takeOver, writeFacts } from './early-end.ts';
import { RequestError, option, worded } from '../../wording.ts';
import { exists, moveOver, moveToFree, reasonOf } from './move.ts';
import { checkTarget, framesIn, overlap } from './output-target.ts';
import type { OutputOptions, Target } from './output-target.ts';
import { replaceFrames } from './replace-frames.ts';
import { reserve, SPARE } from './reservation.ts';

/** Why a run ends early. One that was cancelled leaves its finished part under the final name if that is free. */
export type EndedEarly = 'cancelled' | 'failed';

const open = new Set<Output>();
const keepAll = (): void => open.forEach((output) => output.keep('failed'));

export class Output implements Disposable {
  /** For messages: `output clip.mp4`. */
  readonly what: string;
  readonly kind: Target['kind'];
  /** The final name, absolute. */
  readonly path: string;
  /** What was found of earlier runs that had been killed, for the user. */
  readonly notes: readonly string[];
  /** Where the output grows: a file, or a folder of PNGs. What is there can be played at any time. */
  readonly growing: string;
  readonly #target: Target;
  #facts: object | undefined;
  #frames = 0;
  #kept: string | undefined;

  /** @throws OutputTakenError when something is there that may not be replaced, or another run is writing it */
  constructor(path: string, options: OutputOptions = {}) {
    const found = checkTarget(path, options);
    const left = reserve(found.work, found.what);
    try {
      this.notes = left.map((folder) => takeOver(folder, found)).filter((note) => note !== undefined);
      // Once more: another run may have ended in between, and a folder that was made has its own place for work.
      this.#target = checkTarget(path, options);
      if (this.#target.work !== found.work) throw new Magi1Error(`${found.what}: it has come up in the meantime`);
    } catch (error) {
      rmSync(found.work, { recursive: true, force: true });
      throw error;
    }
    ({ what: this.what, kind: this.kind, path: this.path } = this.#target);
    this.growing = join(this.#target.work, basename(this.#target.real));
    if (open.size === 0) process.on('exit', keepAll);
    open.add(this);
  }

  /** @throws RequestError where another output of the same run would be mixed with this one */
  checkApart(other: Target): void {
    if (!overlap(this.#target, other)) return;
    throw new RequestError(
      worded`${option(other.option)} and ${option(this.#target.option)}: two names apart expected, got ${other.path} beside ${this.path}: both would be written to the same place`,
    );
  }

  /** Facts of the run for the sidecar, which says `complete: false` until the output is. */
  describe(facts: object): void {
    this.#facts = facts;
    try {
      this.written(this.#frames);
    } catch (error) {
      throw new Magi1Error(`${this.what}: ${reasonOf(error)}`, { cause: error });
    }
  }

  /** To be called before the last bytes are written: gives the disk back what was set aside for them. */
  giveSpareBack(): void {
    rmSync(join(this.#target.work, SPARE), { force: true });
  }

  /** So many frames can be played by now. */
  written(frames: number): void {
    this.#frames = frames;
    if (this.#facts === undefined) return;
    const { work } = this.#target;
    const next = join(work, NEXT_FACTS);
    writeFacts(next, { output: this.path, complete: false, framesWritten: frames, ...this.#facts });
    moveOver(next, join(work, FACTS));
  }

  /**
   * Gives the output its name, and its sidecar beside it.
   * @throws when that is not possible; what was there before is there as before
   */
  publish(facts = this.#facts): void {
    this.#publish(facts, true);
    this.release();
  }

  #publish(facts: object | undefined, complete: boolean): void {
    const { work, sidecar, kind } = this.#target;
    const [now, last, earlier] = [FACTS, LAST_FACTS, EARLIER_FACTS].map((name) => join(work, name));
    // A folder of PNGs always gets one: by it a later run knows which frames it may replace.
    const described = facts ?? (kind === 'png' ? {} : undefined);
    this.giveSpareBack();
    if (described !== undefined) {
      // Whatever needs room is written before anything is replaced.
      const common = { output: this.path, framesWritten: this.#frames };
      writeFacts(now!, { ...common, complete: false, ...described });
      if (complete) writeFacts(last!, { ...common, complete, ...described });
    }
    if (kind !== 'single' && exists(sidecar)) moveOver(sidecar, earlier!);
    try {
      if (described !== undefined) moveOver(now!, sidecar);
      this.#place();
    } catch (error) {
      if (exists(earlier!)) moveOver(earlier!, sidecar);
      else if (described !== undefined) rmSync(sidecar, { force: true });
      throw error;
    }
    if (described !== undefined && complete) moveOver(last!, sidecar);
  }

  #place(): void {
    const { kind, real, overwrite, work, earlier } = this.#target;
    if (kind === 'png' && exists(real)) replaceFrames(work, this.growing, real, earlier);
    else if (kind !== 'png' && overwrite) moveOver(this.growing, real);
    else if (!moveToFree(this.growing, real))
      throw new Magi1Error('it has come up in the meantime and is not replaced');
  }

  /** Keeps the frames that are finished and ends the reservation. Returns where they are; undefined if nowhere. */
  keep(why: EndedEarly, frames = this.#frames): string | undefined {
    if (!open.has(this)) return this.#kept;
    this.#frames = frames;
    if (frames > 0 && exists(this.growing)) this.#kept = this.#keepGrowing(why);
    if (this.#kept === this.growing) this.#forget();
    else this.release();
    return this.#kept;
  }

  #keepGrowing(why: EndedEarly): string {
    const { kind, real, work } = this.#target;
    const free = kind === 'png' ? framesIn(real).length === 0 : !exists(real);
    try {
      this.giveSpareBack();
      if (why === 'cancelled' && free) {
        this.#publish(this.#facts, false);
        return this.path;
      }
      return keepBeside(work, this.#target, { ...this.#facts, framesWritten: this.#frames });
    } catch {
      return this.growing; // no name can be given on this disk any more: it stays where it is, and the caller says so
    }
  }

  /** Ends the reservation; what has not been published or kept is gone. */
  release(): void {
    if (!open.has(this)) return;
    this.#forget();
    rmSync(this.#target.work, { recursive: true, force: true });
  }

  #forget(): void {
    open.delete(this);
    if (open.size === 0) process.off('exit', keepAll);
  }

  /** For an end that nobody has handled. */
  [Symbol.dispose](): void {
    this.keep('failed');
  }
}
