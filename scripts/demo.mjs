// npm run demo [-- arguments for generate]: a video from a prompt with the model that comes with the repository. It is
// `magi1 generate` with a prompt and an output for those who name none.
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CLI, prepare, runCli } from './magi1.mjs';
import { ROOT } from './processes.mjs';

const PROMPT = 'A red circle moves to the right on a black background';
const OUTPUT = join(ROOT, 'out', 'demo.mp4');

/** @param {readonly string[]} args */
export async function main(args) {
  await prepare();
  const given = await givenOptions(args);
  if (given === undefined || Object.hasOwn(given, 'help')) return runCli(['generate', ...args]);
  const own = Object.hasOwn(given, 'prompt') ? [] : ['--prompt', PROMPT];
  if (!Object.hasOwn(given, 'output')) {
    mkdirSync(dirname(OUTPUT), { recursive: true });
    own.push('--output', OUTPUT);
  }
  return runCli(['generate', ...own, ...args]);
}

/**
 * What the user gave, by option name, as the command line program reads it; undefined where it cannot be read, which the
 * program says better.
 * @param {readonly string[]} args
 * @returns {Promise<Readonly<Record<string, unknown>> | undefined>}
 */
async function givenOptions(args) {
  /** @param {string} name */
  const compiled = (name) => import(pathToFileURL(join(dirname(CLI), name)).href);
  const [{ parseCommand }, { generate }] = await Promise.all([compiled('command.js'), compiled('generate.js')]);
  try {
    return parseCommand(generate, args).values;
  } catch {
    return undefined;
  }
}
