// Bytes to, from and between buffers, in order with recorded work.
import { Magi1Error } from '../errors.ts';
import { copyBytesProgram, INVOCATIONS } from './copy-bytes.ts';
import type { BoundRange } from './binder.ts';
import type { WebGpuCapabilities } from './kernel.ts';
import type { GpuBuffer, Memory } from './memory.ts';
import type { PipelineCache } from './pipelines.ts';
import { Readback } from './readback.ts';
import type { Recorder } from './recorder.ts';
import type { Resolver } from './resolve.ts';

const WRITE_PIECE = 2 ** 26;

export interface TransferParts {
  readonly gpu: GPUDevice;
  readonly capabilities: WebGpuCapabilities;
  readonly memory: Memory;
  readonly recorder: Recorder;
  readonly pipelines: PipelineCache;
  readonly resolver: Resolver;
}

export class Transfers {
  readonly #parts: TransferParts;
  readonly #readback: Readback;
  /** Aligned copies of slices, of the op being recorded. */
  readonly #copies = new Map<string, GpuBuffer>();

  constructor(parts: TransferParts) {
    this.#parts = parts;
    this.#readback = new Readback(parts.gpu);
  }

  /** Bytes of staging buffers. */
  get reserved(): number {
    return this.#readback.reserved;
  }

  write(buffer: GpuBuffer, byteOffset: number, bytes: Uint8Array): void {
    const { memory, recorder } = this.#parts;
    // A queue write runs before recorded work that is not submitted yet.
    if (recorder.uses(buffer)) recorder.submit();
    const end = byteOffset + bytes.byteLength;
    if (byteOffset % 4 === 0 && (end % 4 === 0 || end === buffer.contentBytes)) {
      this.#write(buffer, byteOffset, bytes);
      return;
    }
    const staged = memory.allocate(bytes.byteLength, false);
    if (recorder.uses(staged)) recorder.submit();
    this.#write(staged, 0, bytes);
    this.#copyBytes(staged, 0, buffer, byteOffset, bytes.byteLength);
    memory.release(staged);
  }

  /** Submits. `wait` waits for the mapping of staging memory. */
  async read(
    buffer: GpuBuffer,
    byteOffset: number,
    byteLength: number,
    wait: (mapping: Promise<undefined>) => Promise<unknown>,
  ): Promise<Uint8Array> {
    const { recorder } = this.#parts;
    const first = Math.floor(byteOffset / 4) * 4;
    const padded = Math.ceil((byteOffset + byteLength - first) / 4) * 4;
    const pieces = this.#readback.take(padded);
    for (const piece of pieces) {
      recorder.copy(buffer.gpu, first + piece.byteStart, piece.staging, 0, piece.byteLength);
    }
    recorder.submit();
    const bytes = await this.#readback.collect(pieces, wait);
    return bytes.subarray(byteOffset - first, byteOffset - first + byteLength);
  }

  copy(from: GpuBuffer, fromByte: number, to: GpuBuffer, toByte: number, byteLength: number): void {
    if (from === to) throw new Magi1Error('copyBuffer: source and target are the same buffer');
    if (byteLength === 0) return;
    const whole = toByte + byteLength === to.contentBytes ? Math.ceil(byteLength / 4) * 4 : byteLength;
    if (fromByte % 4 === 0 && toByte % 4 === 0 && whole % 4 === 0) {
      const { recorder } = this.#parts;
      recorder.copy(from.gpu, fromByte, to.gpu, toByte, whole);
      recorder.touch(from);
      recorder.touch(to);
    } else {
      this.#copyBytes(from, fromByte, to, toByte, byteLength);
    }
  }

  /** A copy that starts at byte 0, for bindings; kept until `freeCopies`. */
  alignedCopy(buffer: GpuBuffer, byteStart: number, byteLength: number): GpuBuffer {
    const key = `${buffer.id}:${byteStart}:${byteLength}`;
    const known = this.#copies.get(key);
    if (known !== undefined) return known;
    const copy = this.#parts.memory.allocate(byteLength, false);
    this.#copies.set(key, copy);
    this.copy(buffer, byteStart, copy, 0, byteLength);
    return copy;
  }
  /** To be called when an op is recorded. */
  freeCopies(): void {
    if (this.#copies.size === 0) return;
    for (const copy of this.#copies.values()) this.#parts.memory.release(copy);
    this.#copies.clear();
  }

  trim(): void {
    this.#readback.trim();
  }

  #copyBytes(from: GpuBuffer, fromByte: number, to: GpuBuffer, toByte: number, byteLength: number): void {
    const { capabilities, pipelines, recorder, resolver } = this.#parts;
    const expanded = pipelines.expand(copyBytesProgram, {});
    const piece = Math.min(WRITE_PIECE, capabilities.maxBindingBytes - 512);
    for (let done = 0; done < byteLength; done += piece) {
      const length = Math.min(piece, byteLength - done);
      const source = windowAround(from, fromByte + done, length);
      const target = windowAround(to, toByte + done, length);
      const params = {
        sourceByte: fromByte + done - source.byteStart,
        targetByte: toByte + done - target.byteStart,
        byteLength: length,
      };
      const groups = Math.ceil((length / 4 + 1) / INVOCATIONS);
      const x = Math.min(groups, capabilities.maxWorkgroupsPerDimension);
      const workgroups = [x, Math.ceil(groups / x), 1] as const;
      const resolved = resolver.resolveRanges('copyBytes', expanded, [source, target], { params, workgroups });
      if (resolved !== undefined) recorder.encode(resolved);
    }
  }

  /** `byteOffset` is a multiple of four; up to three bytes of padding are overwritten. */
  #write(buffer: GpuBuffer, byteOffset: number, bytes: Uint8Array): void {
    const { queue } = this.#parts.gpu;
    for (let done = 0; done < bytes.byteLength; done += WRITE_PIECE) {
      const piece = bytes.subarray(done, done + WRITE_PIECE);
      const ragged = piece.byteLength % 4 !== 0;
      if (ragged || !(piece.buffer instanceof ArrayBuffer)) {
        // Dawn refuses shared memory.
        const copy = new Uint8Array(Math.ceil(piece.byteLength / 4) * 4);
        copy.set(piece);
        queue.writeBuffer(buffer.gpu, byteOffset + done, copy);
      } else {
        queue.writeBuffer(buffer.gpu, byteOffset + done, piece.buffer, piece.byteOffset, piece.byteLength);
      }
      // Lets the queue begin, so that staging memory of large uploads comes back.
      if (piece.byteLength === WRITE_PIECE) queue.submit([]);
    }
  }
}

/** A window that holds the range and starts at an aligned offset. */
function windowAround(buffer: GpuBuffer, byteStart: number, byteLength: number): BoundRange {
  const start = Math.floor(byteStart / 256) * 256;
  return { buffer, byteStart: start, byteLength: Math.ceil((byteStart + byteLength - start) / 4) * 4 };
}
