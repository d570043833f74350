// Child processes that do not outlive their use: in a group of their own, so that Ctrl-C in the terminal reaches them only
// through the signal, with a limit on their silence, and ended with this process.
import { spawn, type ChildProcess } from 'node:child_process';

export interface Exit {
  readonly code: number | null;
  /** The last of what it printed. */
  readonly output: string;
}

/** Children that have not closed. */
const running = new Set<ChildProcess>();

/** Ends its whole group: what a child has started itself holds its pipes open. */
export function endChild(child: ChildProcess): void {
  if (child.pid === undefined || !running.has(child)) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    child.kill('SIGKILL'); // Windows has no groups
  }
}

const endAll = (): void => running.forEach(endChild);

/** Starts a child that is ended with this process. */
export function startChild(
  command: string,
  args: readonly string[],
  stdio: ['ignore' | 'pipe', 'ignore' | 'pipe', 'pipe'],
): ChildProcess {
  const child = spawn(command, args, { stdio, detached: true });
  if (running.size === 0) process.on('exit', endAll);
  running.add(child);
  const forget = (): void => {
    if (running.delete(child) && running.size === 0) process.off('exit', endAll);
  };
  child.once('error', forget).once('close', forget);
  return child;
}

/** Resolves when the process has ended; keeps the last kilobytes it printed. Rejects when it cannot be started. */
export function ended(child: ChildProcess): Promise<Exit> {
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-100_000)));
  }
  return new Promise((done, fail) => {
    child.once('error', fail);
    child.once('close', (code) => done({ code, output }));
  });
}

/** Ends `child`, after `onLimit`, unless the function returned is called within so many seconds. */
export function limitChild(child: ChildProcess, seconds: number, onLimit: () => void): () => void {
  const timer = setTimeout(() => {
    onLimit();
    endChild(child);
  }, seconds * 1000);
  return () => clearTimeout(timer);
}

/**
 * Runs a command to its end.
 * @returns 'silent' when it had not ended after so many seconds and was ended
 * @throws the signal's reason, or why it cannot be started
 */
export async function execute(
  command: string,
  args: readonly string[],
  seconds: number,
  signal?: AbortSignal,
): Promise<Exit | 'silent'> {
  signal?.throwIfAborted();
  const child = startChild(command, args, ['ignore', 'pipe', 'pipe']);
  const end = (): void => endChild(child);
  signal?.addEventListener('abort', end, { once: true });
  let silent = false;
  const stop = limitChild(child, seconds, () => (silent = true));
  try {
    const exit = await ended(child);
    signal?.throwIfAborted();
    return silent ? 'silent' : exit;
  } finally {
    stop();
    signal?.removeEventListener('abort', end);
  }
}
