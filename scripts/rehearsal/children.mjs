// Programs that a rehearsal starts.
import { spawn } from 'node:child_process';
import { Stop } from '../processes.mjs';

/** Child processes that end when this one does. */
export class Children {
  /** @type {Set<import('node:child_process').ChildProcess>} */
  #running = new Set();

  /** @template {import('node:child_process').ChildProcess} Child @param {Child} child */
  add(child) {
    this.#running.add(child);
    child.once('exit', () => this.#running.delete(child));
    return child;
  }

  end() {
    for (const child of this.#running) child.kill('SIGKILL');
  }

  /**
   * Runs a program of Node to its end.
   * @param {string} what for messages
   * @param {readonly string[]} args
   * @param {{ env?: NodeJS.ProcessEnv, statuses?: readonly unknown[] }} [options] `statuses`: with which it may end
   * @returns {Promise<string>} what it has printed
   */
  async run(what, args, { env = {}, statuses = [0] } = {}) {
    const options = { env: { ...process.env, ...env } };
    const child = this.add(spawn(process.execPath, [...args], { ...options, stdio: ['ignore', 'pipe', 'inherit'] }));
    let printed = '';
    child.stdout.setEncoding('utf8').on('data', (/** @type {string} */ piece) => (printed += piece));
    const status = await new Promise((done, fail) => {
      child.once('error', fail);
      child.once('close', (code, signal) => done(code ?? signal));
    });
    if (!statuses.includes(status)) throw new Stop(`${what} ended with status ${status}`);
    return printed;
  }
}
