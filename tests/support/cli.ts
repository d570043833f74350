// Runs the built command line program in a process of its own.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const REPOSITORY = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
export const TINY_MODEL = join(REPOSITORY, 'tests', 'fixtures', 'e2e', 'tiny');
export const PROGRAM = join(REPOSITORY, 'packages', 'magi1', 'bin', 'magi1.js');

export interface CliResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Called with what stderr has shown so far, whenever it grows. */
  readonly onStderr?: (text: string, child: ChildProcess) => void;
}

export function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  if (!existsSync(join(REPOSITORY, 'packages', 'magi1', 'dist', 'cli', 'main.js')))
    throw new Error('packages/magi1 is not built: npm run build');
  return runNode([PROGRAM, ...args], options);
}

export function runNode(args: readonly string[], { cwd, env, onStderr }: CliOptions = {}): Promise<CliResult> {
  const child = spawn(process.execPath, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    onStderr?.(stderr, child);
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve({ status, stdout, stderr }));
  });
}
