// A rehearsal that cannot be, or that is interrupted: said before any work, and nothing is left.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { capture } from './processes.mjs';

const RUN = join(import.meta.dirname, 'run.mjs');

let folder;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'magi1-test-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

it.each([
  [[], /--model is missing/],
  [['--model', '7B'], /--model: one of 4\.5B_base, .* expected, got "7B"/],
  [['--model', '4.5B', '--bits', '2'], /--bits: 16, 8 or 4 expected, got "2"/],
  [['--model', '4.5B', '--layers', '0'], /--layers: a whole number from 1 expected, got "0"/],
  [['--modle', '4.5B'], /Unknown option '--modle'/],
])('%j is refused', async (args, message) => {
  const { status, stderr } = await capture(process.execPath, [RUN, 'rehearse', '--folder', folder, ...args]);
  expect(stderr).toMatch(message);
  expect(status).toBe(1);
  expect(readdirSync(folder)).toEqual([]);
});

it.each(/** @type {const} */ (['SIGINT', 'SIGTERM']))('%s removes what was made, and nothing else', async (signal) => {
  mkdirSync(join(folder, 'other'));
  const args = [RUN, 'rehearse', '--model', '4.5B', '--layers', '1', '--folder', folder];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  let [said, killed] = ['', false];
  child.stderr.setEncoding('utf8').on('data', (text) => {
    said += text;
    if (!killed && said.includes('checksums')) killed = child.kill(signal);
  });
  const status = await new Promise((done) => child.once('close', done));
  expect([status, readdirSync(folder)]).toEqual([signal === 'SIGINT' ? 130 : 143, ['other']]);
});
