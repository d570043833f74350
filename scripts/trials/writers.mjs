// Trials of what writes videos: kills at random moments, disks of many sizes, encoders that die, runs that meet.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { add, count, fingerprint, generate, judge, noCounts } from './judge.mjs';

/** @typedef {import('./judge.mjs').Counts & { name: string, tries: number }} Row */
/** @typedef {(line: string) => void} Log */

const NO_FFMPEG = { MAGI1_FFMPEG: '/nonexistent/ffmpeg' };
const WRITERS = {
  'mp4 by ffmpeg': { output: 'o.mp4', env: {} },
  'built-in mp4': { output: 'o.mp4', env: NO_FFMPEG },
  'PNG folder': { output: 'frames', env: {} },
};
const FRAMES = 96;
const LENGTH = ['--num-frames', String(FRAMES)];
/** The older video is longer, so that a mixture shows. */
const OLDER_LENGTH = ['--num-frames', '120', '--seed', '5'];

/** Numbers from 0 to 1, the same ones for a seed. @param {number} seed */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** @template T @param {(folder: string) => Promise<T>} use */
async function inFolder(use) {
  const folder = mkdtempSync(join(tmpdir(), 'magi1-trial-'));
  try {
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** One run that is left alone: a template for the older video, and how long a run takes. @param {string} folder @param {keyof typeof WRITERS} writer @param {readonly string[]} length */
async function alone(folder, writer, length) {
  const { output, env } = WRITERS[writer];
  const ended = await generate(folder, ['--output', output, ...length], { env });
  if (ended.status !== 0) throw new Error(`${writer}: a run that is left alone fails: ${ended.stderr}`);
  return ended.seconds;
}

/** @param {string} from @param {string} folder @param {string} output */
function putOlder(from, folder, output) {
  for (const name of [output, `${output}.json`]) cpSync(join(from, name), join(folder, name), { recursive: true });
  return fingerprint(join(folder, output));
}

/**
 * @param {Log} log @param {number} tries @param {number} seed
 * @param {{ writers?: readonly string[], signals?: readonly NodeJS.Signals[] }} some
 * @returns {Promise<Row[]>}
 */
export async function killTrials(log, tries, seed, some = {}) {
  const draw = random(seed);
  const rows = [];
  for (const writer of /** @type {(keyof typeof WRITERS)[]} */ (some.writers ?? Object.keys(WRITERS))) {
    const { output, env } = WRITERS[writer];
    await inFolder(async (template) => {
      await alone(template, writer, OLDER_LENGTH);
      const seconds = await inFolder((folder) => alone(folder, writer, LENGTH));
      for (const signal of some.signals ?? /** @type {const} */ (['SIGKILL', 'SIGTERM', 'SIGINT'])) {
        const row = { name: `${signal}, ${writer}`, tries, ...noCounts() };
        for (let i = 0; i < tries; i++) {
          await inFolder(async (folder) => {
            // Every other time over an older video.
            const older = i % 2 === 0 ? undefined : putOlder(template, folder, output);
            const at = ((i + draw()) / tries) * seconds * 1.05;
            const args = ['--output', output, ...LENGTH, ...(older === undefined ? [] : ['--overwrite'])];
            const ended = await generate(folder, args, {
              env,
              onStart: (child) => void setTimeout(() => child.kill(signal), at * 1000).unref(),
            });
            const judged = judge(join(folder, output), ended, { frames: FRAMES, older });
            await takenOver(folder, output, judged);
            add(row, judged);
            for (const fault of judged.faults) log(`${row.name}, try ${i + 1}, after ${at.toFixed(2)} s: ${fault}`);
          });
        }
        log(`${row.name}: ${row.kept} of ${tries} right`);
        rows.push(row);
      }
    });
  }
  return rows;
}

/**
 * Kills at random moments, then the same command with --resume: frames that differ from a run that is left alone are wrong.
 * @param {Log} log @param {number} tries @param {number} seed @param {readonly string[]} [writers]
 * @returns {Promise<Row[]>}
 */
export async function resumeTrials(log, tries, seed, writers = Object.keys(WRITERS)) {
  const draw = random(seed);
  const rows = [];
  for (const writer of /** @type {(keyof typeof WRITERS)[]} */ (writers)) {
    const { output, env } = WRITERS[writer];
    await inFolder(async (template) => {
      const seconds = await alone(template, writer, LENGTH);
      const wanted = pictures(join(template, output));
      const row = { name: `SIGKILL and --resume, ${writer}`, tries, ...noCounts() };
      for (let i = 0; i < tries; i++) {
        await inFolder(async (folder) => {
          const at = ((i + draw()) / tries) * seconds;
          const args = ['--output', output, ...LENGTH];
          const killed = await generate(folder, args, {
            env,
            onStart: (child) => void setTimeout(() => child.kill('SIGKILL'), at * 1000).unref(),
          });
          const path = join(folder, output);
          const had = existsSync(`${path}.resume`);
          const ended = killed.status === 0 ? killed : await generate(folder, [...args, '--resume'], { env });
          const whole = existsSync(path) && pictures(path) === wanted;
          const faults = [];
          // Killed when all was done but for tidying up: the output is whole already.
          const late = ended.status === 1 && /is finished, and there is no/.test(ended.stderr);
          if (ended.status !== 0 && !late)
            faults.push(`lost: status ${ended.status}, ${ended.stderr.trim().split('\n').at(-1)}`);
          if (!whole) faults.push('wrong: other frames than without a kill');
          if (existsSync(`${path}.resume`)) faults.push('wrong: the state stays when the output is there');
          add(row, { left: whole ? (had ? 'part' : 'nothing') : 'nothing', faults });
          for (const fault of faults) log(`${row.name}, try ${i + 1}, after ${at.toFixed(2)} s: ${fault}`);
        });
      }
      log(`${row.name}: ${row.kept} of ${tries} right`);
      rows.push(row);
    });
  }
  return rows;
}

/** Every picture of a video or folder, in short. @param {string} path */
function pictures(path) {
  if (statSync(path).isDirectory()) return fingerprint(path);
  return execFileSync('ffmpeg', ['-v', 'error', '-i', path, '-f', 'framemd5', '-'], { encoding: 'utf8' });
}

/** The next run takes over what a killed one has left, and keeps its part. @param {string} folder @param {string} output @param {{ left: string, faults: string[] }} judged */
async function takenOver(folder, output, judged) {
  const { faults } = judged;
  const { reserveOutput } = await import('@magi1/core');
  const path = join(folder, output);
  const growing = [join(`${path}.unfinished`, output), join(path, `${output}.unfinished`, output)].find(
    (name) => existsSync(name) && (judged.left !== 'whole' || count(name) > 0),
  );
  const before = fingerprint(path);
  try {
    const reserved = await reserveOutput(path);
    reserved.release();
    const left = readdirSync(folder).filter((name) => name.includes('unfinished') || name.startsWith('.magi1'));
    if (left.length > 0) faults.push(`wrong: ${left.join(', ')} is left behind`);
    if (growing !== undefined && !reserved.notes.some((note) => note.includes('partial')))
      faults.push('lost: the next run does not keep what was finished');
    if (fingerprint(path) !== before) faults.push('lost: the next run changes what is there before it has begun');
  } catch (error) {
    faults.push(`wrong: the name cannot be taken over: ${String(error)}`);
  }
}

/** @param {string} path */
function bytesOf(path) {
  if (statSync(path).isFile()) return statSync(path).size;
  return readdirSync(path).reduce((sum, name) => sum + Math.ceil(statSync(join(path, name)).size / 4096) * 4096, 0);
}

/**
 * Disks from a third of what a run needs to twice that, empty or with an older video on them. Disks are tmpfs mounts.
 * @param {Log} log @param {number} tries @returns {Promise<Row[]>}
 */
export async function diskTrials(log, tries) {
  if (process.getuid?.() !== 0) {
    log('full disks: not tried, mounting a tmpfs needs root');
    return [];
  }
  const rows = [];
  for (const writer of /** @type {(keyof typeof WRITERS)[]} */ (Object.keys(WRITERS))) {
    const { output, env } = WRITERS[writer];
    await inFolder(async (template) => {
      await alone(template, writer, OLDER_LENGTH);
      const olderBytes = bytesOf(join(template, output)) + 16384;
      const bytes = await inFolder(async (folder) => {
        await alone(folder, writer, LENGTH);
        return bytesOf(join(folder, output));
      });
      for (const withOlder of [false, true]) {
        const row = { name: `full disk${withOlder ? ' with an older video' : ''}, ${writer}`, tries, ...noCounts() };
        for (let i = 0; i < tries; i++) {
          await inFolder(async (parent) => {
            const folder = join(parent, 'disk');
            mkdirSync(folder);
            const room = bytes * (0.3 + (1.7 * i) / Math.max(1, tries - 1)) + (withOlder ? olderBytes : 0);
            execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${Math.ceil(room / 4096) * 4}k`, 'tmpfs', folder]);
            try {
              const older = withOlder ? putOlder(template, folder, output) : undefined;
              const args = ['--output', output, ...LENGTH, ...(withOlder ? ['--overwrite'] : [])];
              const ended = await generate(folder, args, { env });
              const judged = judge(join(folder, output), ended, { frames: FRAMES, older });
              if (ended.status !== 0 && ended.status !== 1) judged.faults.push(`wrong: status ${ended.status}`);
              add(row, judged);
              for (const fault of judged.faults) log(`${row.name}, ${Math.round(room / 1024)} kB: ${fault}`);
            } finally {
              execFileSync('umount', [folder]);
            }
          });
        }
        log(`${row.name}: ${row.kept} of ${tries} right`);
        rows.push(row);
      }
    });
  }
  return rows;
}

/** What stands in for ffmpeg while it encodes; other calls go to the real one. */
const DEATHS = {
  'takes 30,000 bytes and ends with 1': 'head -c 30000 > /dev/null; echo out of memory >&2; exit 1',
  'takes 30,000 bytes and ends with 0': 'head -c 30000 > /dev/null; exit 0',
  'takes 30,000 bytes and is killed': 'head -c 30000 > /dev/null; kill -KILL $$',
  'takes everything and gives nothing': 'cat > /dev/null',
  'gives nonsense': 'cat > /dev/null & head -c 100000 /dev/urandom; wait',
  'ends at once': 'exit 3',
  'closes its input': 'exec 0< /dev/null; sleep 20',
  'encodes, gives half of it and ends with 0': 'ffmpeg "$@" | head -c 20000',
  'encodes and is told to end after three seconds': 'ffmpeg "$@" <&0 & sleep 3; kill -TERM $!; wait $!; exit $?',
  'encodes and is killed after three seconds': 'ffmpeg "$@" <&0 & sleep 3; kill -KILL $!; wait $!; exit $?',
};

/** @param {Log} log @param {readonly string[]} names @returns {Promise<Row[]>} */
export async function deathTrials(log, names = Object.keys(DEATHS)) {
  const row = { name: 'ffmpeg dies', tries: names.length, ...noCounts() };
  for (const name of names) {
    await inFolder(async (folder) => {
      const script = join(folder, 'ffmpeg-stand-in');
      const body = DEATHS[/** @type {keyof typeof DEATHS} */ (name)];
      writeFileSync(script, `#!/bin/bash\ncase "$*" in *pipe:1*) ;; *) exec ffmpeg "$@" ;; esac\n${body}\n`);
      chmodSync(script, 0o755);
      const ended = await generate(folder, ['--output', 'o.mp4', '--num-frames', '240'], {
        env: { MAGI1_FFMPEG: script },
      });
      const judged = judge(join(folder, 'o.mp4'), ended, { frames: 240 });
      if (existsSync(join(folder, 'o.mp4'))) judged.faults.push('wrong: a video under the final name');
      if (ended.status !== 1 || !/magi1: output o\.mp4: .*(ffmpeg|FLV)/.test(ended.stderr))
        judged.faults.push(`wrong: status ${ended.status}, ${ended.stderr.trim().split('\n').at(-1)}`);
      add(row, judged);
      for (const fault of judged.faults) log(`${row.name}: ${name}: ${fault}`);
    });
  }
  log(`${row.name}: ${row.kept} of ${row.tries} right`);
  return [row];
}

/** @param {Log} log @returns {Promise<Row[]>} */
export async function meetingTrials(log) {
  const rows = [];
  for (const [writer, { output, env }] of Object.entries(WRITERS)) {
    const row = { name: `two runs to one name, ${writer}`, tries: 1, ...noCounts() };
    await inFolder(async (folder) => {
      const run = () => generate(folder, ['--output', output, ...LENGTH], { env });
      const both = await Promise.all([run(), run()]);
      const [good, bad] = both.sort((a, b) => (a.status ?? 9) - (b.status ?? 9));
      const judged = judge(join(folder, output), good, { frames: FRAMES });
      if (good.status !== 0 || bad.status !== 1 || !/process \d+ is writing it/.test(bad.stderr))
        judged.faults.push(`wrong: status ${good.status} and ${bad.status}, ${bad.stderr.trim().split('\n').at(-1)}`);
      add(row, judged);
      for (const fault of judged.faults) log(`${row.name}: ${fault}`);
    });
    rows.push(row);
  }
  const row = { name: 'two runs without a name', tries: 2, ...noCounts() };
  await inFolder(async (folder) => {
    const both = await Promise.all([generate(folder, LENGTH), generate(folder, LENGTH)]);
    for (const [i, name] of ['magi1.mp4', 'magi1-2.mp4'].entries()) {
      const judged = judge(join(folder, name), both[i], { frames: FRAMES });
      add(row, judged);
      for (const fault of judged.faults) log(`${row.name}: ${name}: ${fault}`);
    }
  });
  rows.push(row);
  for (const { name, kept, tries } of rows) log(`${name}: ${kept} of ${tries} right`);
  return rows;
}
