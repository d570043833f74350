// What the operating system counts for this process.
import { isNode } from './is-node.ts';

/**
 * Bytes: the most physical memory that this process has held since it started, host buffers, the wasm heap, a software
 * adapter and the engine included; `device.memory()` counts one device's tensors only. Undefined in browsers, which do
 * not tell.
 */
export function processPeakBytes(): number | undefined {
  return isNode() ? process.resourceUsage().maxRSS * 1024 : undefined;
}
