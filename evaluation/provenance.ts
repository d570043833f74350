// What the figures of a run belong to: the commit, and the machine as it was.
import { execFileSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';
import type { Device } from '@magi1/core';
import { ROOT } from './root.ts';

/** The commit, with `-dirty` where tracked files differ from it. */
export function revision(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty', '--exclude=*'], {
      cwd: ROOT,
      encoding: 'utf8',
    }).trim();
  } catch {
    return 'unknown'; // no git, or no clone
  }
}

/** One line; `load`: the load average when the run began. */
export function conditions(device: Device, load: number): string {
  const machine = `${cpus()[0]?.model.trim() ?? 'unknown CPU'}, ${cpus().length} cores, ${(totalmem() / 2 ** 30).toFixed(0)} GiB`;
  const software = `Node ${process.versions.node}, ${process.platform} ${process.arch}`;
  return `${new Date().toISOString().slice(0, 10)}, commit ${revision()}; ${machine}; ${software}; ${device.info.name}; load average at the start ${load.toFixed(1)}.`;
}
