// A name for the output of those who give none.
import { existsSync } from 'node:fs';

/** The first of `stem.mp4`, `stem-2.mp4`, ... in the working directory that does not exist. */
export function unusedName(stem: string): string {
  for (let i = 1; ; i++) {
    const name = `${stem}${i === 1 ? '' : `-${i}`}.mp4`;
    if (!existsSync(name)) return name;
  }
}
