// npm run demo [-- arguments for generate]: a video from a prompt with the model that comes with the repository. It is
// `magi1 generate` with a prompt and an output for those who name none.
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { prepare, runCli } from './magi1.mjs';
import { ROOT } from './processes.mjs';

const PROMPT = 'A red circle moves to the right on a black background';
const OUTPUT = join(ROOT, 'out', 'demo.mp4');

/** A compiled file of the command line program. All are used from here, so that no second copy is loaded. @param {string} name */
const cli = (name) => join(ROOT, 'packages', 'magi1', 'dist', 'cli', name);
/** @param {string} name */
const compiled = (name) => import(pathToFileURL(cli(name)).href);

/** @param {readonly string[]} args */
export async function main(args) {
  await prepare();
  const [{ parseCommand }, { generate }] = await Promise.all([compiled('command.js'), compiled('generate.js')]);
  /** What the user gave, by option name. @type {Readonly<Record<string, unknown>>} */
  let given;
  try {
    given = parseCommand(generate, args).values;
  } catch {
    return runCli(['generate', ...args], cli('main.js')); // which says what is wrong
  }
  const own = Object.hasOwn(given, 'prompt') ? [] : ['--prompt', PROMPT];
  if (!Object.hasOwn(given, 'output') && !Object.hasOwn(given, 'help')) {
    mkdirSync(dirname(OUTPUT), { recursive: true });
    own.push('--output', OUTPUT);
    if (!Object.hasOwn(given, 'overwrite')) own.push('--overwrite');
  }
  return runCli(['generate', ...own, ...args], cli('main.js'));
}
