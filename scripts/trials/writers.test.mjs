// A few of the trials of what writes videos; `npm run trials` does all of them.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { generate, judge } from './judge.mjs';
import { deathTrials, killTrials, meetingTrials, resumeTrials } from './writers.mjs';

/** @type {string[]} */
const faults = [];
const log = (/** @type {string} */ line) => void faults.push(line);
const folder = mkdtempSync(join(tmpdir(), 'magi1-trials-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** @param {readonly { tries: number, kept: number }[]} rows */
function expectAllRight(rows) {
  expect(rows.length).toBeGreaterThan(0);
  for (const { tries, kept } of rows) expect(kept, faults.join('\n')).toBe(tries);
}

test.each(
  /** @type {const} */ ([
    ['mp4 by ffmpeg', 'SIGKILL'],
    ['built-in mp4', 'SIGINT'],
    ['PNG folder', 'SIGKILL'],
  ]),
)(
  'kills: %s, %s',
  async (writer, signal) => expectAllRight(await killTrials(log, 2, 7, { writers: [writer], signals: [signal] })),
  300_000,
);

test('kills, and the same command with --resume', async () => {
  expectAllRight(await resumeTrials(log, 3, 3, ['PNG folder']));
}, 300_000);

test('an ffmpeg that dies', async () => {
  const names = ['takes 30,000 bytes and ends with 1', 'takes everything and gives nothing', 'closes its input'];
  expectAllRight(await deathTrials(log, [...names, 'encodes and is killed after three seconds']));
}, 300_000);

test('runs that meet', async () => expectAllRight(await meetingTrials(log)), 300_000);

// As a full disk does, for users who may not mount one: a limit on the size of files, between the first chunk and all.
test.each([
  ['mp4 by ffmpeg', {}, 60],
  ['built-in mp4', { MAGI1_FFMPEG: '/nonexistent/ffmpeg' }, 20],
])(
  'no room for the whole %s',
  async (name, env, limitKb) => {
    const output = join(folder, `${name.length}.mp4`);
    const ended = await generate(folder, ['--output', output, '--num-frames', '96'], { env, limitKb });
    const { left, faults: wrong } = judge(output, ended, { frames: 96 });
    expect(wrong).toEqual([]);
    expect({ left, status: ended.status }).toEqual({ left: 'part', status: 1 });
    expect(readdirSync(folder)).not.toContain(`${name.length}.mp4`);
  },
  120_000,
);
