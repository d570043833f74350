// What this process takes: time by the clock and of the processor, bytes read, and the most memory it holds. Linux tells
// all of it stretch by stretch; elsewhere bytes are not counted, and the peak is that since the start.
import { readFileSync, writeFileSync } from 'node:fs';

/**
 * @typedef {object} Taken
 * @property {number} seconds by the clock
 * @property {number} cpuSeconds of all threads
 * @property {number} readBytes by calls of the system; NaN where nobody counts
 * @property {number} peakBytes most memory resident
 */

/** @returns {Taken} nothing yet */
export const nothing = () => ({ seconds: 0, cpuSeconds: 0, readBytes: 0, peakBytes: 0 });

/** @param {Taken} a @param {Taken} b @returns {Taken} one after the other */
export const together = (a, b) => ({
  seconds: a.seconds + b.seconds,
  cpuSeconds: a.cpuSeconds + b.cpuSeconds,
  readBytes: a.readBytes + b.readBytes,
  peakBytes: Math.max(a.peakBytes, b.peakBytes),
});

export class ProcessMeter {
  #last = this.#now();

  #now() {
    const { user, system } = process.cpuUsage();
    return { time: performance.now(), cpu: user + system, read: readBytes() };
  }

  /** Since the last time. @returns {Taken} */
  take() {
    const [before, now] = [this.#last, this.#now()];
    this.#last = now;
    return {
      seconds: (now.time - before.time) / 1000,
      cpuSeconds: (now.cpu - before.cpu) / 1e6,
      readBytes: now.read - before.read,
      peakBytes: takePeak(),
    };
  }
}

function readBytes() {
  try {
    return Number(/^rchar: (\d+)$/m.exec(readFileSync('/proc/self/io', 'latin1'))?.[1]);
  } catch {
    return NaN;
  }
}

/** The peak of resident memory, which begins anew. */
function takePeak() {
  try {
    const kib = Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]);
    writeFileSync('/proc/self/clear_refs', '5');
    return kib * 1024;
  } catch {
    return process.resourceUsage().maxRSS * 1024;
  }
}
