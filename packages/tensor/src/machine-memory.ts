// How much memory this machine has left, as the system and a container's limits say it.
import { isNode } from './is-node.ts';

export interface MachineMemory {
  /** Bytes that can be taken now. */
  readonly available: number;
  /** What sets them: this machine, or a limit on this process's group (a container's, mostly). */
  readonly limitedBy: 'machine' | 'cgroup';
}

/** The text of a file, or undefined where there is none. */
type Reader = (path: string) => string | undefined;

/**
 * Memory that can be taken now without anything being swapped out or killed. Caches of files count as free, since the
 * system gives them up. Undefined where nobody tells: browsers say at most that there is little.
 */
export function machineMemory(): MachineMemory | undefined {
  if (!isNode()) return browserMemory();
  const { readFileSync } = process.getBuiltinModule('node:fs');
  const { freemem, totalmem } = process.getBuiltinModule('node:os');
  const read: Reader = (path) => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return undefined; // not Linux, or a controller that is not mounted
    }
  };
  // What macOS calls free leaves out everything that it would give up at once: its total is nearer to the truth.
  return (
    linuxMemory(read) ?? { available: process.platform === 'darwin' ? totalmem() : freemem(), limitedBy: 'machine' }
  );
}

/** From /proc and /sys; undefined on other systems. */
export function linuxMemory(read: Reader): MachineMemory | undefined {
  const available = kibibytes(read('/proc/meminfo'), 'MemAvailable');
  if (available === undefined) return undefined;
  const left = cgroupMemory(read);
  return left < available ? { available: left, limitedBy: 'cgroup' } : { available, limitedBy: 'machine' };
}

function kibibytes(meminfo: string | undefined, field: string): number | undefined {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(meminfo ?? '');
  return match ? Number(match[1]) * 1024 : undefined;
}

interface Controller {
  readonly root: string;
  readonly limit: string;
  readonly usage: string;
  /** Fields of memory.stat that the system gives up before it kills. */
  readonly reclaimable: readonly string[];
}

const V1: Controller = {
  root: '/sys/fs/cgroup/memory',
  limit: 'memory.limit_in_bytes',
  usage: 'memory.usage_in_bytes',
  reclaimable: ['total_inactive_file', 'total_active_file'],
};
const V2: Controller = {
  root: '/sys/fs/cgroup',
  limit: 'memory.max',
  usage: 'memory.current',
  reclaimable: ['inactive_file', 'active_file', 'slab_reclaimable'],
};

/** What the limits of this process's cgroup and of those around it leave; Infinity without limits. */
function cgroupMemory(read: Reader): number {
  let left = Infinity;
  for (const line of (read('/proc/self/cgroup') ?? '').split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (path === undefined || controllers === undefined) continue;
    const controller = controllers === '' ? V2 : controllers.split(',').includes('memory') ? V1 : undefined;
    if (controller === undefined) continue;
    // In a container the path may be one of the host's: then only the root is there, which is the container's own.
    for (let group = path.replace(/\/$/, ''); ; group = group.slice(0, group.lastIndexOf('/'))) {
      left = Math.min(left, leftInGroup(read, controller, `${controller.root}${group}`));
      if (group === '') break;
    }
  }
  return left;
}

function leftInGroup(read: Reader, { limit, usage, reclaimable }: Controller, folder: string): number {
  const most = Number(read(`${folder}/${limit}`) ?? NaN); // `max` stands for none
  const used = Number(read(`${folder}/${usage}`) ?? NaN);
  if (Number.isNaN(most) || Number.isNaN(used)) return Infinity;
  const stat = read(`${folder}/memory.stat`) ?? '';
  const caches = reclaimable.map((field) => Number(new RegExp(`^${field} (\\d+)$`, 'm').exec(stat)?.[1] ?? 0));
  return Math.max(0, most - Math.max(0, used - caches.reduce((sum, bytes) => sum + bytes, 0)));
}

/** Chrome rounds to a power of two and says 8 for everything above: only less than that is known, within a factor of 1.5. */
function browserMemory(): MachineMemory | undefined {
  const { deviceMemory } = (globalThis.navigator ?? {}) as { deviceMemory?: number };
  if (deviceMemory === undefined || deviceMemory >= 8) return undefined;
  return { available: deviceMemory * 1.5 * 2 ** 30, limitedBy: 'machine' };
}
