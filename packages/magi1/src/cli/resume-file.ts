// The file beside an output that holds how far its run has come.
import { existsSync, statSync } from 'node:fs';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { Magi1Error } from '@magi1/tensor';
import { reasonOf } from '../media/node/move.ts';
import type { RunState } from '../pipelines/kept.ts';

/** Loaded when it is needed. */
const format = () => import('../pipelines/run-state-file.ts');

export class ResumeFile {
  readonly path: string;
  readonly #output: string;
  readonly #say: (line: string) => void;
  #failed = false;

  /** @param output the output's path */
  constructor(output: string, say: (line: string) => void = () => undefined) {
    this.#output = output;
    this.path = `${output}.resume`;
    this.#say = say;
  }

  get exists(): boolean {
    return existsSync(this.path);
  }

  /**
   * undefined where there is none yet: a run that was killed before its first step.
   * @param overwrite whether an output that is whole may be replaced
   * @throws Magi1Error where the output is whole or nobody's, and for a file that is not whole
   */
  async read({ overwrite = false } = {}): Promise<RunState | undefined> {
    if (!this.exists) {
      if (!overwrite) await this.#refuseOthers();
      this.#say('nothing was kept of this run yet: it begins anew');
      return undefined;
    }
    const bytes = await readFile(this.path).catch((error: unknown) => {
      throw new Magi1Error(`--resume: ${this.path}: ${reasonOf(error)}`, { cause: error });
    });
    const { decodeRunState } = await format();
    return decodeRunState(bytes, this.path);
  }

  /** With nothing to go on with, an output that is there is replaced if it is the finished part of a run, and only then. */
  async #refuseOthers(): Promise<void> {
    const { readSidecar } = await import('../media/node/output-target.ts');
    const facts = readSidecar(`${this.#output}.json`);
    if (facts?.complete === true)
      throw new Magi1Error(`--resume: ${this.#output} is finished, and there is no ${this.path} to go on with`);
    if (facts === undefined && statSync(this.#output, { throwIfNoEntry: false })?.isFile() === true)
      throw new Magi1Error(
        `--resume: ${this.#output} exists, and there is no ${this.path} to go on with; --overwrite replaces it`,
      );
  }

  /** Replaces it at once. Where that fails the run goes on, and the user is told once. */
  readonly write = async (state: RunState): Promise<void> => {
    const next = `${this.path}.next`;
    try {
      const { encodeRunState } = await format();
      const file = await open(next, 'w');
      try {
        await file.writeFile(await encodeRunState(state));
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(next, this.path);
    } catch (error) {
      await rm(next, { force: true }).catch(() => undefined); // what is said next is why
      if (!this.#failed)
        this.#say(`${this.path}: the state of this run cannot be kept: ${reasonOf(error)}; the run goes on`);
      this.#failed = true;
    }
  };

  async remove(): Promise<void> {
    for (const path of [this.path, `${this.path}.next`]) await rm(path, { force: true });
  }
}
