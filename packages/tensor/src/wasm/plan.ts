// The first of three: a step as an op gives it (WasmStep, kernel.ts) becomes a StepPlan while it is recorded: numbers, the
// grain, and what it needs of the heap. When its turn comes, it is a PreparedStep (prepared.ts); the executor runs that.
import { OpError } from '../errors.ts';
import { describeSpec } from '../shape.ts';
import { Tensor } from '../tensor.ts';
import type { HostTable } from '../kernel.ts';
import { alignUp } from './heap.ts';
import type { WasmStep } from './kernel.ts';
import { ExternalBuffer, HeapBuffer } from './memory.ts';
import type { StreamedArgument } from './prepared.ts';

/** A place in the step's own heap block. */
interface HeapPlace {
  readonly heapOffset: number;
}

export interface StepPlan {
  readonly op: string;
  /** Final numbers, except addresses in the step's own heap block. */
  readonly args: readonly (number | HeapPlace)[];
  readonly items: number;
  readonly grain: number;
  readonly heapBytes: number;
  readonly tables: readonly (HeapPlace & { readonly bytes: Uint8Array })[];
  /** Tensors outside the heap that the step needs whole. */
  readonly copies: readonly (HeapPlace & {
    readonly buffer: ExternalBuffer;
    readonly byteOffset: number;
    readonly byteLength: number;
  })[];
  readonly scratchOffset: number;
  readonly scratchStride: number;
  readonly streamed?: StreamedArgument;
}

/** Operations of one grain: enough to be worth handing out, few enough (a few ms) to stop soon after an abort. */
const SMALLEST_GRAIN = 50_000;
const LARGEST_GRAIN = 8_000_000;
/** Grains per thread that a step is cut into if it is large enough, so that all end at about the same time. */
const GRAINS_PER_THREAD = 8;
/** Of one step: kernels count items in 32 bits with a sign. */
const MOST_ITEMS = 2 ** 30 - 1;
/** Most bytes of a streamed argument in a thread's scratch, unless one item alone has more. */
const STREAM_BYTES = 2 * 2 ** 20;

export function planStep(op: string, step: WasmStep, threads: number): StepPlan {
  const { items } = step;
  if (!Number.isInteger(items) || items < 0 || items > MOST_ITEMS)
    throw new OpError(op, `${items} work items on wasm, a whole number up to ${MOST_ITEMS} expected`);
  let heapBytes = 0;
  const take = (bytes: number): number => {
    const at = heapBytes;
    heapBytes += alignUp(bytes);
    return at;
  };
  const tables: (HeapPlace & { bytes: Uint8Array })[] = [];
  const copies: (HeapPlace & { buffer: ExternalBuffer; byteOffset: number; byteLength: number })[] = [];
  let external: Omit<StreamedArgument, 'scratchOffset'> | undefined;

  const unknown = Object.keys(step.args).filter((key) => !(key in step.kernel.args));
  if (unknown.length > 0)
    throw new OpError(op, `wasm kernel ${step.kernel.name} has no argument ${unknown.join(', ')}`);
  const args = Object.keys(step.kernel.args).map((key, argIndex): number | HeapPlace => {
    const value = step.args[key];
    if (value === undefined) throw new OpError(op, `wasm kernel ${step.kernel.name}: argument ${key} is missing`);
    if (typeof value === 'number') return value;
    if (!(value instanceof Tensor)) {
      const heapOffset = take(value.byteLength);
      tables.push({ heapOffset, bytes: tableBytes(value) });
      return { heapOffset };
    }
    const { buffer } = value;
    const { byteOffset, byteLength } = value;
    if (buffer instanceof HeapBuffer) return (buffer.address + byteOffset) | 0;
    if (!(buffer instanceof ExternalBuffer)) throw new OpError(op, `argument ${key} is not on this device`);
    if (step.streamed?.arg === key) {
      const { bytesPerItem } = step.streamed;
      if (bytesPerItem * (items - 1) >= byteLength) {
        throw new OpError(op, `${items} items of ${bytesPerItem} bytes are more than ${key}, ${describeSpec(value)}`);
      }
      external = { argIndex, buffer, byteOffset, byteLength, bytesPerItem };
      return 0;
    }
    const heapOffset = take(byteLength);
    copies.push({ heapOffset, buffer, byteOffset, byteLength });
    return { heapOffset };
  });

  let grain = chooseGrain(items, step.itemCost, threads);
  let staging = 0;
  if (external !== undefined) {
    grain = Math.max(1, Math.min(grain, Math.floor(STREAM_BYTES / external.bytesPerItem)));
    staging = alignUp(grain * external.bytesPerItem) + 64;
  }
  const ownScratch = alignUp(step.scratchBytes ?? 0);
  const scratchStride = ownScratch + staging;
  const scratchOffset = scratchStride === 0 ? 0 : take(scratchStride * (items > grain ? threads : 1));
  return {
    op,
    args,
    items,
    grain,
    heapBytes,
    tables,
    copies,
    scratchOffset,
    scratchStride,
    ...(external === undefined ? {} : { streamed: { ...external, scratchOffset: ownScratch } }),
  };
}

function chooseGrain(items: number, itemCost: number, threads: number): number {
  const cost = Math.max(itemCost, 1);
  const balanced = Math.ceil(items / (threads * GRAINS_PER_THREAD));
  const grain = Math.min(Math.max(balanced, Math.ceil(SMALLEST_GRAIN / cost)), Math.ceil(LARGEST_GRAIN / cost));
  return Math.max(1, Math.min(grain, items));
}

/** A copy, so that the op may reuse its table at once. */
function tableBytes(table: HostTable): Uint8Array {
  return new Uint8Array(table.buffer, table.byteOffset, table.byteLength).slice();
}
