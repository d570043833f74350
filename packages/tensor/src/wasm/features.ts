// What the engine's wasm can do, found by validating tiny modules.
import { isNode } from '../is-node.ts';
import { section, sized, vector } from './encode.ts';
import type { WasmFeatures } from './kernel.ts';

const V128 = 0x7b;
const constant = [0xfd, 12, ...new Array<number>(16).fill(0)];

/** A module with one function of the given code that returns a v128. */
function probe(code: readonly number[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, vector([[0x60, 0, 1, V128]])),
    ...section(3, vector([[0]])),
    ...section(10, vector([sized([0, ...code, 0x0b])])),
  ]);
}

export function hasSimd(): boolean {
  return typeof WebAssembly === 'object' && WebAssembly.validate(probe(constant));
}

function hasRelaxedSimd(): boolean {
  return WebAssembly.validate(probe([...constant, ...constant, ...constant, 0xfd, 0x85, 0x02]));
}

/** Turns relaxed SIMD on where the engine hides it behind a flag (Node 20), and says whether it is there. */
export function enableRelaxedSimd(): boolean {
  if (hasRelaxedSimd()) return true;
  if (!isNode()) return false;
  process.getBuiltinModule('node:v8').setFlagsFromString('--experimental-wasm-relaxed-simd');
  return hasRelaxedSimd();
}

/** Threads need memory that can be shared: in browsers only pages that are cross-origin isolated have it. */
export function hasSharedMemory(): boolean {
  if (typeof SharedArrayBuffer !== 'function') return false;
  return isNode() || (globalThis as { crossOriginIsolated?: boolean }).crossOriginIsolated === true;
}

export function describeFeatures(features: WasmFeatures): string[] {
  return [
    'simd',
    ...(features.relaxedSimd ? ['relaxed-simd'] : []),
    ...(features.sharedMemory ? ['shared-memory'] : []),
  ];
}
