// A copy of the repository as it is after installing and building, to run commands in that write files.
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, delimiter, dirname, join } from 'node:path';
import { REPOSITORY } from './cli.ts';
import type { CliResult } from './cli.ts';

const LEFT_OUT = ['node_modules', '.git', '.cache', '.venv', 'out', 'results', 'runs', '__pycache__'];
const copy = (from: string, to: string, filter = (_: string) => true) =>
  cpSync(from, to, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true, filter });

/** Dependencies are those of the repository, by links; packages, builds and everything written are the copy's own. */
export function scratchClone(folder: string): void {
  copy(REPOSITORY, folder, (path) => path === REPOSITORY || !LEFT_OUT.includes(basename(path)));
  const modules = join(REPOSITORY, 'node_modules');
  mkdirSync(join(folder, 'node_modules'));
  for (const name of readdirSync(modules).filter((entry) => entry !== '.cache' && entry !== '@magi1'))
    symlinkSync(join(modules, name), join(folder, 'node_modules', name));
  copy(join(modules, '@magi1'), join(folder, 'node_modules', '@magi1'));
  for (const name of readdirSync(join(REPOSITORY, 'packages'))) {
    const dependencies = join('packages', name, 'node_modules');
    if (existsSync(join(REPOSITORY, dependencies))) copy(join(REPOSITORY, dependencies), join(folder, dependencies));
  }
  const compiled = join('node_modules', '.cache', 'tsc');
  if (existsSync(join(REPOSITORY, compiled))) copy(join(REPOSITORY, compiled), join(folder, compiled));
  // Says that what the lockfile names is installed.
  const print = "import('./scripts/bootstrap.mjs').then(({ installPrint }) => process.stdout.write(installPrint()))";
  mkdirSync(join(folder, '.cache'));
  writeFileSync(
    join(folder, '.cache', 'install.stamp'),
    execFileSync(process.execPath, ['-e', print], { cwd: folder, encoding: 'utf8' }),
  );
  mkdirSync(join(folder, '.cache', 'bin'));
  symlinkSync(join(folder, 'packages', 'magi1', 'bin', 'magi1.js'), join(folder, '.cache', 'bin', 'magi1'));
}

/** Runs a line of shell in the clone as a user would: no trace of the npm and the vitest around it. */
export function runShell(clone: string, text: string, cwd = clone): Promise<CliResult> {
  const kept = Object.entries(process.env).filter(([name]) => !/^(npm_|INIT_CWD|VITEST|NODE_ENV|MAGI1_)/.test(name));
  const path = [dirname(process.execPath), join(clone, '.cache', 'bin'), process.env['PATH'] ?? ''].join(delimiter);
  const child = spawn('bash', ['-euo', 'pipefail', '-c', text], {
    cwd,
    env: { ...Object.fromEntries(kept), PATH: path },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => (stdout += part));
  child.stderr.setEncoding('utf8').on('data', (part: string) => (stderr += part));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve({ status, stdout, stderr }));
  });
}
