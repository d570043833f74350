// A reserved name: a folder of our own beside the output, which holds its owner and, while it grows, the output. Whoever
// makes the folder first has the name. That of a process that has ended is taken over.
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { Magi1Error } from '@magi1/tensor';
import { OutputTakenError } from '../output-kind.ts';
import { codeOf, reasonOf } from './move.ts';

interface Owner {
  readonly pid: number;
  readonly host: string;
  /** Tells two processes of one number apart, where the system says when they began. */
  readonly began: string | null;
  readonly token: string;
}

/** State and start of a process, as Linux tells them. */
function processFacts(pid: number): { ended: boolean; began: string } | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ');
    return { ended: /^[ZX]/.test(fields[0]!), began: fields[19]! };
  } catch {
    return undefined; // another system, or it has ended: the caller asks in another way
  }
}

/** Processes of another machine count as running: nothing here can tell. */
function isRunning({ pid, host, began }: Owner): boolean {
  if (host !== hostname()) return true;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (codeOf(error) === 'ESRCH') return false;
  }
  const facts = processFacts(pid);
  return facts === undefined || (!facts.ended && (began === null || began === facts.began));
}

function readOwner(folder: string): Owner | undefined {
  try {
    const owner = JSON.parse(readFileSync(join(folder, 'owner.json'), 'utf8')) as Partial<Owner>;
    return Number.isSafeInteger(owner.pid) && typeof owner.token === 'string' ? (owner as Owner) : undefined;
  } catch {
    return undefined; // not one of ours, or gone in this moment: both are handled by the caller
  }
}

/** Room that is given back before the last small files are written: a full disk must not take those. */
export const SPARE = 'spare';
const SPARE_BYTES = 2 ** 14;

/**
 * Makes the folder `work`, which must be nobody's. Returns folders that ended processes have left under that name, moved
 * aside.
 * @throws OutputTakenError when a running process has it
 */
export function reserve(work: string, what: string): string[] {
  const { began = null } = processFacts(process.pid) ?? {};
  const owner: Owner = { pid: process.pid, host: hostname(), began, token: crypto.randomUUID() };
  const fresh = join(dirname(work), `.magi1-${owner.token}`);
  const left: string[] = [];
  try {
    mkdirSync(fresh);
    writeFileSync(join(fresh, 'owner.json'), JSON.stringify(owner));
    writeFileSync(join(fresh, SPARE), new Uint8Array(SPARE_BYTES));
    while (!take(fresh, work)) {
      const other = readOwner(work);
      if (other === undefined) {
        if (take(fresh, work)) break; // it went in between
        if (readOwner(work) !== undefined) continue;
        throw new OutputTakenError(`${what}: ${work} is in the way; move it, or choose another name`);
      }
      if (isRunning(other))
        throw new OutputTakenError(
          `${what}: process ${other.pid}${other.host === hostname() ? '' : ` on ${other.host}`} is writing it; choose another name, or wait for its end (if it has ended, remove ${work})`,
        );
      const aside = `${fresh}-${left.length}`;
      try {
        renameSync(work, aside);
      } catch (error) {
        if (codeOf(error) === 'ENOENT') continue; // taken over by another one
        throw error;
      }
      // Between the look and the move somebody else may have taken it over.
      if (readOwner(aside)?.token === other.token) left.push(aside);
      else renameSync(aside, work);
    }
    return left;
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    if (error instanceof Magi1Error) throw error;
    throw new Magi1Error(`${what}: nothing can be written to ${dirname(work)}: ${reasonOf(error)}`);
  }
}

/** A folder with something in it is renamed to a name that is free or not at all. */
function take(fresh: string, work: string): boolean {
  try {
    renameSync(fresh, work);
    return true;
  } catch (error) {
    if (['ENOTEMPTY', 'EEXIST', 'ENOTDIR', 'EPERM'].includes(codeOf(error))) return false;
    throw error;
  }
}
