// What an output leaves when its run ends early: the finished part under a name of its own, with its facts.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import { exists, moveOver, moveToFree, namesIn } from './move.ts';
import { mendFragments } from './mp4-check.ts';
import type { Target } from './output-target.ts';
import { returnFrames } from './replace-frames.ts';

/** The sidecar of an output that grows, inside the folder that holds it. */
export const FACTS = 'facts.json';
export const NEXT_FACTS = 'next-facts.json';
export const LAST_FACTS = 'last-facts.json';
export const EARLIER_FACTS = 'earlier-facts.json';

export function writeFacts(path: string, facts: object): void {
  writeFileSync(path, `${JSON.stringify(facts, null, 2)}\n`);
}

/**
 * Moves what grows in `work` to the first free name of `clip.partial.mp4`, `clip.partial-2.mp4`, ..., its facts beside
 * it. Returns that name.
 */
export function keepBeside(work: string, { real, kind }: Target, facts: object): string {
  const extension = kind === 'png' ? '' : extname(real);
  const stem = join(dirname(work), `${basename(real, extension)}.partial`);
  for (let i = 1; ; i++) {
    const to = `${stem}${i === 1 ? '' : `-${i}`}${extension}`;
    const sidecar = `${to}.json`;
    if (exists(sidecar) || exists(to)) continue;
    writeFacts(join(work, FACTS), { ...facts, output: to, complete: false });
    if (!moveToFree(join(work, FACTS), sidecar)) continue;
    let moved = false;
    try {
      moved = moveToFree(join(work, basename(real)), to);
    } finally {
      if (!moved) rmSync(sidecar, { force: true });
    }
    if (moved) return to;
  }
}

/** Tidies up the folder of a run that was killed; what it had finished is kept, and said. */
export function takeOver(work: string, target: Target): string | undefined {
  const { real, sidecar, kind } = target;
  const growing = join(work, basename(real));
  const [earlier, last] = [join(work, EARLIER_FACTS), join(work, LAST_FACTS)];
  if (kind === 'png') returnFrames(work, growing, real);
  let note: string | undefined;
  if (kind === 'png' ? namesIn(growing).length > 0 : exists(growing)) {
    if (exists(earlier)) moveOver(earlier, sidecar); // killed before the old one was replaced
    const frames = kind === 'mp4' ? mendFragments(growing) : namesIn(growing).length;
    if (frames > 0) {
      const kept = keepBeside(work, target, { ...readFacts(join(work, FACTS)), framesWritten: frames });
      note = `an earlier run to ${target.path} was killed: the ${frames} frames that it had finished are kept as ${kept}`;
    }
  } else if (exists(last)) moveOver(last, sidecar); // killed after the new one had taken its name
  rmSync(work, { recursive: true, force: true });
  return note;
}

function readFacts(path: string): object {
  return exists(path) ? (JSON.parse(readFileSync(path, 'utf8')) as object) : {};
}
