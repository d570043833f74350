// Runs of the command line program in a folder of their own, and what they leave there.
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { ROOT } from '../processes.mjs';

const PROGRAM = join(ROOT, 'packages', 'magi1', 'bin', 'magi1.js');

/** @typedef {{ status: number | null, signal: NodeJS.Signals | null, stderr: string, seconds: number }} Ended */
/** @typedef {{ whole: number, part: number, nothing: number, lost: number, wrong: number, kept: number }} Counts */

/**
 * @param {string} cwd @param {readonly string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, limitKb?: number, onStart?: (child: import('node:child_process').ChildProcess) => void }} options
 * @returns {Promise<Ended>}
 */
export function generate(cwd, args, { env = {}, limitKb, onStart } = {}) {
  const all = [PROGRAM, 'generate', '--device', 'wasm', '--threads', '1', '--prompt', 'a red circle moves', ...args];
  const [command, given] =
    limitKb === undefined
      ? [process.execPath, all]
      : ['bash', ['-c', `ulimit -f ${limitKb}; exec "$0" "$@"`, process.execPath, ...all]];
  const start = performance.now();
  const child = spawn(command, given, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (/** @type {string} */ text) => (stderr += text));
  onStart?.(child);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status, signal) =>
      resolve({ status, signal, stderr, seconds: (performance.now() - start) / 1000 }),
    );
  });
}

/** Frames that a player finds; 0 for a file that it does not take, or that has errors. @param {string} path */
export function playable(path) {
  try {
    const args = ['-v', 'error', '-count_frames', '-show_entries', 'stream=nb_read_frames', '-of', 'csv=p=0', path];
    const child = execFileSync('ffprobe', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    execFileSync('ffmpeg', ['-v', 'error', '-xerror', '-i', path, '-f', 'null', '-'], { stdio: 'pipe' });
    return parseInt(child, 10) || 0;
  } catch {
    return 0;
  }
}

/** Frames of a folder of PNGs; -1 when one is not whole or missing in between. @param {string} folder */
export function framesOf(folder) {
  const names = readdirSync(folder)
    .filter((name) => name.startsWith('frame_'))
    .sort();
  const whole = names.every((name, i) => {
    const png = readFileSync(join(folder, name));
    return name === `frame_${String(i).padStart(5, '0')}.png` && png.subarray(-8, -4).toString() === 'IEND';
  });
  return whole ? names.length : -1;
}

/** Everything in a video or a folder of PNGs, as one short text. @param {string} path */
export function fingerprint(path) {
  const hash = createHash('sha256');
  if (!existsSync(path)) return '';
  if (statSync(path).isFile()) hash.update(readFileSync(path));
  else
    for (const name of readdirSync(path).sort())
      if (name.endsWith('.png')) hash.update(name).update(readFileSync(join(path, name)));
  return hash.digest('hex');
}

export const count = (/** @type {string} */ path) => (statSync(path).isFile() ? playable(path) : framesOf(path));

/**
 * What a run to `output` has left: one of whole, part, nothing; `faults` says what is lost or wrong.
 * @param {string} output @param {Ended} ended @param {{ frames: number, older?: string | undefined }} expected `older`: the fingerprint of what was there before
 */
export function judge(output, ended, { frames, older }) {
  const faults = [];
  const folder = join(output, '..');
  const name = basename(output);
  /** @param {string} path */
  const sidecar = (path) => (existsSync(`${path}.json`) ? JSON.parse(readFileSync(`${path}.json`, 'utf8')) : undefined);
  const kind = name.endsWith('.mp4') ? 'mp4' : 'png';
  const there = existsSync(output);
  const stands = older !== undefined && fingerprint(output) === older;
  const facts = sidecar(output);
  let left = 'nothing';
  if (there && !stands) {
    const found = count(output);
    if (found === frames && facts?.complete === true) left = 'whole';
    else if (older !== undefined) faults.push(`lost: the older video is gone, ${found} frames are in its place`);
    else if (found > 0 && facts?.complete === false && facts.framesWritten === found) left = 'part';
    else faults.push(`wrong: ${found} frames under the final name, sidecar ${JSON.stringify(facts?.complete)}`);
  }
  if (older !== undefined && !there) faults.push('lost: the older video is gone');
  if (stands && facts?.complete !== true) faults.push('wrong: the older video counts as incomplete');
  // The finished part: beside the name, or where it grew when nothing could be done any more.
  const stem = kind === 'mp4' ? name.slice(0, -4) : name;
  const parts = [
    ...readdirSync(folder).filter((other) => other.startsWith(`${stem}.partial`) && !other.endsWith('.json')),
    ...[join(`${name}.unfinished`, name), join(name, `${name}.unfinished`, name)],
  ];
  for (const part of parts.map((path) => join(folder, path)).filter((path) => existsSync(path))) {
    const found = count(part);
    // Its frames have all gone to their place: the run was killed between that and tidying up.
    if (found === 0 && left === 'whole' && part.includes('.unfinished')) continue;
    if (found <= 0) faults.push(`wrong: ${part} cannot be played`);
    else if (left === 'nothing') left = 'part';
    if (sidecar(part)?.complete === true) faults.push(`wrong: ${part} is called complete`);
    const said = part.includes('.unfinished') || (ended.stderr.includes(part) && ended.stderr.includes(`${found} of `));
    if (!said) faults.push(`wrong: ${part} with ${found} frames was not said`);
  }
  if (ended.status === 0 && left !== 'whole') faults.push('wrong: status 0 without a whole video');
  if (ended.status !== null && ended.status !== 0 && left === 'whole')
    faults.push(`wrong: status ${ended.status} with a whole video`);
  if (/unexpected/.test(ended.stderr)) faults.push(`wrong: ${ended.stderr.trim().split('\n').at(-1)}`);
  return { left, faults };
}

/** @returns {Counts} */
export const noCounts = () => ({ whole: 0, part: 0, nothing: 0, lost: 0, wrong: 0, kept: 0 });

/** @param {Counts} counts @param {{ left: string, faults: readonly string[] }} judged */
export function add(counts, { left, faults }) {
  counts[/** @type {'whole' | 'part' | 'nothing'} */ (left)]++;
  if (faults.some((fault) => fault.startsWith('lost'))) counts.lost++;
  else if (faults.length > 0) counts.wrong++;
  else counts.kept++;
}
