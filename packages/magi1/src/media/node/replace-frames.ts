// Frames of one run in the place of those of an earlier one, in a folder that holds other files as well. Between the first
// and the last move the folder is mixed; `returnFrames` undoes that from what is on the disk alone, so that a later run can
// do it for one that was killed.
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { Magi1Error } from '@magi1/tensor';
import { moveToFree, namesIn } from './move.ts';

const EARLIER = 'earlier-frames';

/** Moves the frames in `from` to `folder`, and those named in `earlier` out of it into `work`. All of it or nothing. */
export function replaceFrames(work: string, from: string, folder: string, earlier: readonly string[]): void {
  const aside = join(work, EARLIER);
  mkdirSync(aside);
  try {
    for (const name of earlier) if (existsSync(join(folder, name))) renameSync(join(folder, name), join(aside, name));
    for (const name of namesIn(from)) {
      if (!moveToFree(join(from, name), join(folder, name)))
        throw new Magi1Error(`${join(folder, name)} has come up in the meantime and is not replaced`);
    }
  } catch (error) {
    returnFrames(work, from, folder);
    throw error;
  }
}

/** Undoes a `replaceFrames` that did not come to its end; one that did is left as it is. */
export function returnFrames(work: string, from: string, folder: string): void {
  const aside = join(work, EARLIER);
  const left = namesIn(from);
  if (left.length === 0) return;
  // Frames go in order and start at 0, once all earlier ones are aside.
  const moved = namesIn(folder).filter((name) => /^frame_\d{5,}\.png$/.test(name) && !left.includes(name));
  if (!left.includes('frame_00000.png'))
    for (const name of moved) if (name < left[0]!) renameSync(join(folder, name), join(from, name));
  for (const name of namesIn(aside)) renameSync(join(aside, name), join(folder, name));
}
