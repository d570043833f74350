// npm run -s magi1 -- ARGS: the command line program, from anywhere in the clone. It runs in this very process, so that
// exit status, Ctrl-C and pipes are its own; relative paths resolve from where the user stands.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureBuilt, ensureInstalled } from './bootstrap.mjs';
import { ROOT } from './processes.mjs';

export const CLI = join(ROOT, 'packages', 'magi1', 'bin', 'magi1.js');

export async function prepare() {
  await ensureInstalled();
  await ensureBuilt('packages/magi1');
}

/** @param {readonly string[]} args */
export async function main(args) {
  await prepare();
  return runCli(args);
}

/** Runs the program, which sets the exit status itself. @param {readonly string[]} args @param {string} program */
export async function runCli(args, program = CLI) {
  process.chdir(process.env.INIT_CWD ?? process.cwd()); // npm starts scripts in the root and keeps this
  process.argv = [process.execPath, program, ...args];
  await import(pathToFileURL(program).href);
}
