// What `magi1 generate` takes from cold files to the mp4, in this build and in another clone's, one after the other.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Stop } from '../processes.mjs';

const MEASURE = join(import.meta.dirname, 'measure.mjs');

/** The program of another built clone. @param {string} clone */
export function programOf(clone) {
  const program = join(clone, 'packages', 'magi1', 'bin', 'magi1.js');
  if (!existsSync(program) || !existsSync(join(clone, 'packages', 'magi1', 'dist')))
    throw new Stop(`--against ${clone}: no built clone of this repository is there`);
  return program;
}

/**
 * @param {(what: string, args: string[], env: NodeJS.ProcessEnv) => Promise<string>} run a program of Node
 * @param {string} facts a file
 * @param {readonly { build: string, program: string, checkpoint: string, args: readonly string[] }[]} builds
 * @returns {Promise<{ build: string, taken: import('./meter.mjs').Taken }[]>}
 */
export async function compareGenerate(run, facts, builds) {
  const rows = [];
  for (const { build, program, checkpoint, args } of builds) {
    forgetFiles(checkpoint);
    const generate = ['--import', MEASURE, program, 'generate', '--model', checkpoint, '--overwrite', ...args];
    await run(`generate of ${build}`, generate, { MAGI1_REHEARSAL_FACTS: facts });
    rows.push({ build, taken: JSON.parse(readFileSync(facts, 'utf8')) });
  }
  return rows;
}

/** The system drops what it holds of the files below a folder, so that they are read from the disk. @param {string} folder */
export function forgetFiles(folder) {
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const path = join(folder, name);
    if (!statSync(path).isFile() || statSync(path).size < 2 ** 20) continue;
    const { status, error } = spawnSync('dd', [`if=${path}`, 'iflag=nocache', 'count=0', 'status=none']);
    if (status !== 0) throw new Stop(`dd, which drops files from memory: ${error?.message ?? `status ${status}`}`);
  }
}
