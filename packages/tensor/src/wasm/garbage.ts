// Shared buffers go back to the system when every thread's engine has collected them. Threads that compute wasm or sleep
// make no garbage that would lead to a collection, so it is asked for; browsers offer no way to ask.
import { isNode } from '../is-node.ts';

/** In Node: collects this thread's garbage, and lets workers do so (`gc` of a fresh context). */
export function collectGarbage(): void {
  if (!isNode()) return;
  process.getBuiltinModule('node:v8').setFlagsFromString('--expose-gc');
  const gc = process.getBuiltinModule('node:vm').runInNewContext('gc') as () => void;
  gc();
}
