// A file that is written at once: under the name where it grows first, so that the final name has all of it or nothing.
import { stat, writeFile } from 'node:fs/promises';
import { Magi1Error } from '@magi1/tensor';
import { reasonOf } from './move.ts';
import type { Output } from './output.ts';

/** @throws Magi1Error naming the output; its reservation ends either way */
export async function publishFile(output: Output, bytes: Uint8Array): Promise<void> {
  try {
    await writeFile(output.growing, bytes);
    if ((await stat(output.growing)).size !== bytes.length) throw new Magi1Error('not all of it is on the disk');
    output.publish();
  } catch (error) {
    throw new Magi1Error(`${output.what}: ${reasonOf(error)}; it is not written`, { cause: error });
  } finally {
    output.release();
  }
}
