// --device, --adapter, --threads and --memory-budget.
import type { DeviceOptions } from '@magi1/tensor';
import { UsageError, byteCount, choice, text, wholeNumber } from './command.ts';
import type { Values } from './command.ts';

export function deviceOptions(values: Values): DeviceOptions {
  const backend = choice(values, 'device', ['auto', 'webgpu', 'wasm', 'reference']) ?? 'auto';
  const adapter = text(values, 'adapter');
  const threads = wholeNumber(values, 'threads');
  const memoryBudget = byteCount(values, 'memory-budget');
  if (adapter !== undefined && (backend === 'wasm' || backend === 'reference'))
    throw new UsageError(`--adapter chooses a WebGPU adapter, but --device is ${backend}`);
  if (threads !== undefined && (backend === 'webgpu' || backend === 'reference'))
    throw new UsageError(`--threads is for the wasm device, but --device is ${backend}`);
  if (threads !== undefined && threads < 1) throw new UsageError(`--threads: 1 or more expected, got ${threads}`);
  return {
    backend,
    ...(adapter === undefined ? {} : { adapter }),
    ...(threads === undefined ? {} : { threads }),
    ...(memoryBudget === undefined ? {} : { memoryBudget }),
  };
}
