// What an output path asks for, by its name alone.
import { Magi1Error } from '@magi1/tensor';

export type OutputKind = 'mp4' | 'png';

/** The name is taken: something is there that may not be replaced, or another run is writing it. */
export class OutputTakenError extends Magi1Error {
  override name = 'OutputTakenError';
}

const OTHER_MEDIA = /\.(avi|gif|jpe?g|m4v|mkv|mov|png|webm|webp)$/i;

/** A name ending in .mp4 is a video, any other a folder of PNGs; names of formats that nothing here writes are refused. */
export function outputKind(path: string): OutputKind {
  if (path.trim() === '') throw new Magi1Error('output: a file ending in .mp4 or a folder expected, got an empty name');
  if (/\.mp4$/i.test(path)) return 'mp4';
  const other = OTHER_MEDIA.exec(path);
  if (other !== null) {
    throw new Magi1Error(`output ${path}: ${other[0]} is not written; end the name in .mp4, or name a folder for PNGs`);
  }
  return 'png';
}
