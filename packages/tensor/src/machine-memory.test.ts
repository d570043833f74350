import { expect, test } from 'vitest';
import { linuxMemory, machineMemory } from './machine-memory.ts';

const GIB = 2 ** 30;
const MEMINFO = 'MemTotal:       25165824 kB\nMemFree:         1048576 kB\nMemAvailable:   20971520 kB\n';

const memory = (files: Record<string, string>) => linuxMemory((path) => ({ '/proc/meminfo': MEMINFO, ...files })[path]);

test('without a limit it is what the kernel calls available', () => {
  const machine = { available: 20 * GIB, limitedBy: 'machine' };
  expect(memory({})).toEqual(machine);
  expect(memory({ '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/memory.max': 'max\n' })).toEqual(machine);
  const unlimited = { '/proc/self/cgroup': '4:memory:/\n', '/sys/fs/cgroup/memory/memory.usage_in_bytes': '1000\n' };
  expect(memory({ ...unlimited, '/sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n' })).toEqual(
    machine,
  );
});

test('the tightest limit of a cgroup and those around it counts, less what it uses, caches of files aside', () => {
  const v2 = {
    '/proc/self/cgroup': '0::/user/run\n',
    '/sys/fs/cgroup/user/memory.max': `${8 * GIB}\n`,
    '/sys/fs/cgroup/user/memory.current': `${5 * GIB}\n`,
    '/sys/fs/cgroup/user/memory.stat': `anon ${GIB}\ninactive_file ${2 * GIB}\nactive_file ${GIB}\n`,
    '/sys/fs/cgroup/user/run/memory.max': 'max\n',
    '/sys/fs/cgroup/user/run/memory.current': '0\n',
  };
  expect(memory(v2)).toEqual({ available: 6 * GIB, limitedBy: 'cgroup' });
  const v1 = {
    '/proc/self/cgroup': '7:cpu,cpuacct:/x\n4:memory:/not/mounted/here\n',
    '/sys/fs/cgroup/memory/memory.limit_in_bytes': `${4 * GIB}\n`,
    '/sys/fs/cgroup/memory/memory.usage_in_bytes': `${2 * GIB}\n`,
    '/sys/fs/cgroup/memory/memory.stat': `inactive_file 1\ntotal_inactive_file ${GIB}\n`,
  };
  expect(memory(v1)).toEqual({ available: 3 * GIB, limitedBy: 'cgroup' });
});

test('this machine has some', () => {
  expect(machineMemory()!.available).toBeGreaterThan(2 ** 20);
});
