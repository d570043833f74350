import { expect, test } from 'vitest';
import { memoryOf } from './adapter.ts';

const info = (more: object) => ({ vendor: 'nvidia', architecture: 'hopper', device: '', description: '', ...more });

test('the memory of an adapter: its largest heap of its own, or the host memory that it shares', () => {
  const [deviceLocal, hostVisible] = [1, 2];
  const memoryHeaps = [
    { size: 6e10, properties: hostVisible },
    { size: 2.4e10, properties: deviceLocal },
    { size: 2e8, properties: deviceLocal | hostVisible },
  ];
  expect(memoryOf(info({ memoryHeaps }) as GPUAdapterInfo)).toEqual({ memory: 'adapter', adapterBytes: 2.4e10 });
  expect(memoryOf(info({}) as GPUAdapterInfo)).toEqual({ memory: 'adapter', adapterBytes: undefined });
  expect(memoryOf(info({ description: 'llvmpipe' }) as GPUAdapterInfo)).toEqual({ memory: 'host' });
  expect(memoryOf(info({ vendor: 'apple' }) as GPUAdapterInfo)).toEqual({ memory: 'host' });
});
