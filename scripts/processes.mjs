// Starting programs, and telling the user about it on stderr: stdout belongs to the program that was asked for.
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('..', import.meta.url)).replace(/[/\\]$/, '');

/** A message for the user; ends the command with status 1 and no stack. */
export class Stop extends Error {}

/** @param {string} text */
export function say(text) {
  process.stderr.write(`${text}\n`);
}

/** Exit status of a child as a shell would show it. @param {number | null} code @param {NodeJS.Signals | null} signal */
function status(code, signal) {
  return code ?? 128 + (signal === null ? 0 : constants.signals[signal]);
}

/**
 * Runs a program in the foreground and resolves to its exit status. The terminal sends Ctrl-C to the whole group, so here
 * it is only waited out; other signals are passed on.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, toStderr?: boolean, shell?: boolean }} [options]
 * @returns {Promise<number>}
 */
export function foreground(command, args, { cwd = ROOT, env = process.env, toStderr = false, shell = false } = {}) {
  const child = spawn(command, args, { cwd, env, shell, stdio: ['inherit', toStderr ? 2 : 'inherit', 'inherit'] });
  const wait = () => undefined;
  /** @param {NodeJS.Signals} signal */
  const pass = (signal) => child.kill(signal);
  process.on('SIGINT', wait).on('SIGTERM', pass).on('SIGHUP', pass);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(status(code, signal)));
  }).finally(() => process.off('SIGINT', wait).off('SIGTERM', pass).off('SIGHUP', pass));
}

/**
 * Runs a program and collects what it prints. Status -1 and a reason in `stderr` when it does not start.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, timeout?: number, showErrors?: boolean, shell?: boolean }} [options]
 * @returns {Promise<{ status: number, stdout: string, stderr: string }>}
 */
export function capture(
  command,
  args,
  { cwd = ROOT, env = process.env, timeout, showErrors = false, shell = false } = {},
) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env, shell, stdio: ['ignore', 'pipe', showErrors ? 'inherit' : 'pipe'] });
    const timer = timeout === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), timeout);
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (/** @type {string} */ text) => (stdout += text));
    child.stderr?.setEncoding('utf8').on('data', (/** @type {string} */ text) => (stderr += text));
    child.once('error', (error) => {
      clearTimeout(timer);
      resolve({ status: -1, stdout, stderr: error.message });
    });
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ status: status(code, signal), stdout, stderr });
    });
  });
}

/** Whether a program can be started at all. @param {string} command @param {readonly string[]} args */
export async function starts(command, ...args) {
  return (await capture(command, args)).status === 0;
}
