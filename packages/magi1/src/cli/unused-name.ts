// A name for the output of those who give none.
import { OutputTakenError, reserveOutput } from '../media/index.ts';
import type { Output } from '../media/index.ts';

/** The first of `stem.mp4`, `stem-2.mp4`, ... in the working directory that is free, reserved. */
export async function reserveUnusedName(stem: string, inputs: readonly string[]): Promise<Output> {
  for (let i = 1; ; i++) {
    try {
      return await reserveOutput(`${stem}${i === 1 ? '' : `-${i}`}.mp4`, { overwrite: false, inputs });
    } catch (error) {
      if (!(error instanceof OutputTakenError)) throw error;
    }
  }
}
