// A name for the output of those who give none.
import { OutputTakenError, reserveOutput } from '../media/index.ts';
import type { Output } from '../media/index.ts';
import { ResumeFile } from './resume-file.ts';

/** The first of `stem.mp4`, `stem-2.mp4`, ... in the working directory that is free, also of unfinished runs, reserved. */
export async function reserveUnusedName(stem: string, inputs: readonly string[]): Promise<Output> {
  for (let i = 1; ; i++) {
    const name = `${stem}${i === 1 ? '' : `-${i}`}.mp4`;
    if (new ResumeFile(name).exists) continue;
    try {
      return await reserveOutput(name, { overwrite: false, inputs });
    } catch (error) {
      if (!(error instanceof OutputTakenError)) throw error;
    }
  }
}
