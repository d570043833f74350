// What an output path means, and the checks on it before any work.
import { lstatSync, mkdirSync, readFileSync, realpathSync, rmdirSync } from 'node:fs';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { Magi1Error } from '@magi1/tensor';
import { outputKind, OutputTakenError } from '../output-kind.ts';
import type { OutputKind } from '../output-kind.ts';
import { codeOf, exists, namesIn, reasonOf, statOf } from './move.ts';

export interface Target {
  readonly kind: OutputKind | 'single';
  /** What users call it: `output`, or the kind of single file. */
  readonly option: 'output' | SingleFile;
  /** For messages: `output clip.mp4`. */
  readonly what: string;
  /** Absolute, as it was named. */
  readonly path: string;
  /** Behind links: what is replaced. */
  readonly real: string;
  /** Facts of the run. */
  readonly sidecar: string;
  /** The folder that holds the output while it grows. */
  readonly work: string;
  readonly overwrite: boolean;
  /** Names of the frames of an earlier run in an existing folder. */
  readonly earlier: readonly string[];
}

export interface OutputOptions {
  /** Whether something that is there may be replaced, once the new one is whole. Default true. */
  readonly overwrite?: boolean | undefined;
  /** Files that are read: an output that would replace one is refused. */
  readonly inputs?: readonly string[] | undefined;
  /** A single file that goes with a video. */
  readonly single?: SingleFile;
  /** What the same run writes elsewhere: an output that would be mixed with one of them is refused. */
  readonly others?: readonly { checkApart(target: Target): void }[] | undefined;
}

/** A picture, a name ending in .png; or a trace of where the time went. */
export type SingleFile = 'contactSheet' | 'profile';

/** What the names beside an output add to it at most: `.partial-999.json`. */
const LONGEST_ENDING = 16;
const FRAME = /^frame_\d{5,}\.png$/;

export const framesIn = (folder: string): string[] => namesIn(folder).filter((name) => FRAME.test(name));

/** @throws Magi1Error naming the path, unless it can be written. Leaves nothing behind. */
export function checkTarget(path: string, options: OutputOptions = {}): Target {
  const { single, others = [] } = options;
  const what = `${single === undefined ? 'output' : single === 'profile' ? single : 'contact sheet'} ${path}`;
  if (path.includes('\0')) throw new Magi1Error(`${what}: a name without NUL characters expected`);
  if (single === 'contactSheet' && !/\.png$/i.test(path))
    throw new Magi1Error(`${what}: a name ending in .png expected`);
  const kind = single === undefined ? outputKind(path) : 'single';
  try {
    const target = { ...locate(path, kind, what, options.overwrite ?? true), option: single ?? ('output' as const) };
    for (const other of others) other.checkApart(target);
    checkInputs(target, options.inputs ?? []);
    checkExisting(target);
    return target;
  } catch (error) {
    if (error instanceof Magi1Error) throw error;
    throw new Magi1Error(`${what}: it cannot be looked at: ${reasonOf(error)}`);
  }
}

/** Whether two outputs of one run would be mixed: one file, or one in the place of the other's sidecar or work. */
export function overlap(a: Target, b: Target): boolean {
  const places = ({ real, work, sidecar, kind }: Target) => [real, work, ...(kind === 'single' ? [] : [sidecar])];
  const within = (path: string, { work, real, kind }: Target): boolean =>
    path.startsWith(work + sep) || (kind === 'png' && dirname(path) === real && FRAME.test(basename(path)));
  return (
    places(a).some((path) => places(b).includes(path)) ||
    places(a).some((path) => within(path, b)) ||
    places(b).some((path) => within(path, a))
  );
}

function locate(path: string, kind: Target['kind'], what: string, overwrite: boolean): Omit<Target, 'option'> {
  const absolute = resolve(path);
  const name = basename(absolute);
  const parent = dirname(absolute);
  if (name === '') throw new Magi1Error(`${what}: name a folder inside it`);
  const folder = statOf(parent);
  if (folder === undefined) throw new Magi1Error(`${what}: the folder ${parent} does not exist; create it first`);
  if (!folder.isDirectory()) throw new Magi1Error(`${what}: ${parent} is not a folder`);
  if (Buffer.byteLength(name) + LONGEST_ENDING > 255)
    throw new Magi1Error(
      `${what}: a name of up to ${255 - LONGEST_ENDING} bytes expected, got ${Buffer.byteLength(name)}`,
    );
  const real = realPath(absolute, what);
  // A folder that exists may be a disk of its own, or lie in one that may not be written.
  const inside = kind === 'png' && statOf(real)?.isDirectory() === true;
  const sidecarFolder = inside && /(^|[\\/])\.{1,2}[\\/]*$/.test(path) ? absolute : parent;
  const sidecar = join(sidecarFolder, `${name}.json`);
  for (const used of new Set([...(inside ? [real] : []), ...(kind === 'single' ? [] : [sidecarFolder])]))
    requireWritable(used, what);
  return {
    ...{ kind, what, overwrite, real, sidecar },
    path: absolute,
    work: join(inside ? real : dirname(real), `${basename(real)}.unfinished`),
    earlier: inside ? earlierFrames(real, sidecar, what) : [],
  };
}

function realPath(absolute: string, what: string): string {
  const real = join(realpathSync(dirname(absolute)), basename(absolute));
  if (lstatSync(real, { throwIfNoEntry: false })?.isSymbolicLink() !== true) return real;
  if (statOf(real) === undefined) throw new Magi1Error(`${what}: it is a link to nothing; name a file or folder`);
  return realpathSync(real);
}

/** Makes a folder there and removes it: permission bits alone say little to root or on a read-only disk. */
function requireWritable(folder: string, what: string): void {
  const probe = join(folder, `.magi1-${crypto.randomUUID()}`);
  try {
    mkdirSync(probe);
    rmdirSync(probe);
  } catch (error) {
    throw new Magi1Error(`${what}: ${folder} is not writable (${codeOf(error)}); choose another place`);
  }
}

/** @throws Magi1Error for frames that no earlier run has left there: they would pass for frames of this video */
function earlierFrames(folder: string, sidecar: string, what: string): string[] {
  const facts = readSidecar(sidecar);
  const count = facts?.framesWritten ?? facts?.settings?.frames ?? 0;
  const [own, strange]: [string[], string[]] = [[], []];
  for (const name of framesIn(folder)) (Number(/\d+/.exec(name)![0]) < count ? own : strange).push(name);
  if (strange.length > 0)
    throw new OutputTakenError(
      `${what}: it holds ${strange[0]!}, which by ${sidecar} is of no earlier run; move such files away, or name another folder`,
    );
  return own;
}

interface Sidecar {
  readonly complete: boolean;
  readonly framesWritten?: number;
  readonly settings?: { readonly frames?: number };
}

/** Undefined for what no run has written. */
export function readSidecar(path: string): Sidecar | undefined {
  try {
    const facts = JSON.parse(readFileSync(path, 'utf8')) as Partial<Sidecar> | null;
    return typeof facts?.complete === 'boolean' ? (facts as Sidecar) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || ['ENOENT', 'EISDIR'].includes(codeOf(error))) return undefined;
    throw error;
  }
}

function checkExisting({ kind, what, real, sidecar, overwrite, earlier }: Target): void {
  const there = statOf(real);
  if (there !== undefined && kind !== 'png' && !there.isFile())
    throw new Magi1Error(`${what}: it exists and is not a regular file; name another file`);
  if (there !== undefined && kind === 'png' && !there.isDirectory())
    throw new Magi1Error(`${what}: a file of that name exists; name a folder, or a file ending in .mp4`);
  const facts = kind !== 'single' && exists(sidecar);
  if (facts && readSidecar(sidecar) === undefined)
    throw new OutputTakenError(
      `${what}: facts of the run are written to ${sidecar}, which exists and is of no earlier run; move it away, or choose another name`,
    );
  const taken = kind === 'png' ? earlier.length > 0 : there !== undefined;
  if (!overwrite && (taken || facts))
    throw new OutputTakenError(
      `${what}: ${taken ? (kind === 'png' ? `it holds ${earlier.length} frames of an earlier run` : 'it exists') : `${sidecar} exists`}; choose another name, or overwrite it (--overwrite)`,
    );
}

function checkInputs({ kind, what, real, sidecar }: Target, inputs: readonly string[]): void {
  for (const input of inputs) {
    const facts = statOf(input);
    if (facts === undefined) continue; // its reader says so
    const same = [real, sidecar].some((path) => {
      const other = statOf(path);
      return other !== undefined && other.ino === facts.ino && other.dev === facts.dev;
    });
    const path = realpathSync(input);
    if (same || (kind === 'png' && dirname(path) === real && FRAME.test(basename(path))))
      throw new Magi1Error(`${what}: ${input} is read by this run and would be replaced; choose another output`);
  }
}
