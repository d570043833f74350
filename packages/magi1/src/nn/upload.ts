// What weights are read into: tensors of a device, or host memory for blocks that wait there; and how a file's tensor goes
// there, converted where the types differ.
import {
  Magi1Error,
  asBytes,
  bytesOf,
  elementsIn,
  fromFloat32,
  isBlocks,
  isWeight,
  toFloat32,
  yieldToEventLoop,
} from '@magi1/tensor';
import type { DType, HostArray, HostTensor, Tensor } from '@magi1/tensor';
import type { Fetch } from './block-stream.ts';

/** A tensor of a file that is one of several parts of a weight: its rows are taken in turn, `rows` at a time. */
export interface WeightPart {
  readonly weight: string;
  /** Which of the `parts`, from 0. */
  readonly part: number;
  readonly parts: number;
  /** All of a part, then all of the next, when left out. */
  readonly rows?: number | undefined;
}

/** What a weight is read into. */
export interface WeightTarget {
  readonly dtype: DType;
  writeBytes(bytes: Uint8Array, byteStart?: number): void;
  hostBytes(): Uint8Array | undefined;
}

/** A weight of a block in host memory, in the type that it has on the device. */
export class HostWeight implements WeightTarget {
  readonly dtype: DType;
  readonly bytes: Uint8Array;

  constructor({ dtype, byteLength }: Tensor) {
    this.dtype = dtype;
    this.bytes = new Uint8Array(byteLength);
  }
  writeBytes(bytes: Uint8Array, byteStart = 0): void {
    this.bytes.set(bytes, byteStart);
  }
  hostBytes(): Uint8Array {
    return this.bytes;
  }
}

/** Copies as much at a time as does not keep the event loop waiting. */
const COPY_PIECE = 2 ** 26;

/** Brings weights of blocks from host memory. */
export function fromHost(tensorOf: (name: string) => Tensor, held: ReadonlyMap<string, HostWeight>): Fetch {
  return async (names, signal) => {
    for (const name of names) {
      const { bytes } = held.get(name)!;
      for (let at = 0; at < bytes.byteLength; at += COPY_PIECE) {
        tensorOf(name).writeBytes(bytes.subarray(at, at + COPY_PIECE), at);
        await yieldToEventLoop();
        signal.throwIfAborted();
      }
    }
  };
}

/** Memory for one tensor at a time, which grows to the largest. */
export class Staging {
  #bytes = new Uint8Array(0);

  take(byteLength: number): Uint8Array {
    if (this.#bytes.byteLength < byteLength) this.#bytes = new Uint8Array(byteLength);
    return this.#bytes.subarray(0, byteLength);
  }
}

/** The very bytes of a weight that one part of it is read into, where they can be written and lie in one piece. */
export function directly(
  target: WeightTarget,
  { part, parts, rows }: WeightPart,
  byteLength: number,
): Uint8Array | undefined {
  if (parts > 1 && rows !== undefined) return undefined;
  return target.hostBytes()?.subarray(part * byteLength, (part + 1) * byteLength);
}

const UPLOAD_PIECE = 1 << 22; // elements converted at a time, so that a conversion never doubles a large tensor

export const converted = (data: HostArray, from: DType, to: DType): HostArray =>
  from === to ? data : fromFloat32(to, toFloat32(from, data));

/** Writes a tensor, or one part of it, over the rows of `target` that it stands for, unless it was read to there. */
export async function upload(
  target: WeightTarget,
  { dtype, shape, data }: HostTensor,
  weightPart: WeightPart,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { part, parts, rows } = weightPart;
  if (dtype !== target.dtype && !isWeight(dtype))
    throw new Magi1Error(`a weight of type ${dtype} cannot become ${target.dtype}`);
  const there = dtype === target.dtype ? directly(target, weightPart, data.byteLength) : undefined;
  if (there !== undefined && there.buffer === data.buffer && there.byteOffset === data.byteOffset) return;
  const count = elementsIn(dtype, data);
  const place = (at: number) => (isBlocks(dtype) ? bytesOf(dtype, at) : at);
  const turn = parts === 1 || rows === undefined ? count : rows * (count / shape[0]!);
  const step = dtype === target.dtype ? turn : Math.min(turn, UPLOAD_PIECE);
  for (let at = 0, end = 0; at < count; at = end) {
    // A piece lies in one turn: what follows in the file lies elsewhere in the weight.
    const turns = Math.floor(at / turn);
    end = Math.min(at + step, (turns + 1) * turn);
    const bytes = asBytes(converted(data.subarray(place(at), place(end)), dtype, target.dtype));
    const first = bytesOf(target.dtype, at + (turns * (parts - 1) + part) * turn);
    const direct = target.hostBytes();
    if (direct === undefined) target.writeBytes(bytes, first);
    else direct.set(bytes, first);
    if (dtype === target.dtype) continue;
    // Converting takes long enough to be interrupted, and others may want to compute.
    await yieldToEventLoop();
    signal?.throwIfAborted();
  }
}
