// npm run demo [-- more arguments for generate]: a video from a prompt with the model that comes with the repository.
import { existsSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CLI, prepare } from './magi1.mjs';
import { foreground, ROOT, Stop } from './processes.mjs';

const OUTPUT = join('out', 'demo.mp4');

/** What the demo asks the command line program for; the only place to change it. Paths count from the root. */
const DEMO = [
  'generate',
  ...['--prompt', 'A red circle moves to the right on a black background'],
  ...['--output', OUTPUT],
];

/** @param {readonly string[]} args */
export async function main(args) {
  await prepare();
  const output = join(ROOT, OUTPUT);
  mkdirSync(dirname(output), { recursive: true });
  rmSync(output, { force: true }); // what is there at the end is this run's
  const status = await foreground(process.execPath, [CLI, ...DEMO, ...args]);
  if (status !== 0) return status;
  if (!args.some((arg) => arg.startsWith('--output'))) {
    if (!existsSync(output)) throw new Stop(`${output} is missing although generate reported success.`);
    process.stdout.write(`\nThe video is ${output} (${statSync(output).size} bytes).\n`);
  }
  return 0;
}
