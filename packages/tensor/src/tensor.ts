// Tensor: shape, dtype and contiguous storage on one device. Reshapes and leading-axis slices share storage.
import { hostArray, toFloat32, viewBytes } from './dtype.ts';
import type { DType, HostArrays } from './dtype.ts';
import { Magi1Error } from './errors.ts';
import { byteLengthOf, checkGroups, describeSpec, elementCount } from './shape.ts';
import type { Shape, TensorSpec } from './shape.ts';
import type { AllocationOptions, Device, DeviceBuffer } from './device.ts';

/** A device buffer and the number of tensors (views included) that hold it. */
class Storage {
  /** Undefined while its bytes are given back. */
  buffer: DeviceBuffer | undefined;
  #holders = 1;

  constructor(buffer: DeviceBuffer | undefined) {
    this.buffer = buffer;
  }
  retain(): this {
    this.#holders++;
    return this;
  }
  /** True when the last holder let go. */
  release(): boolean {
    return --this.#holders === 0;
  }
}

const scopes: Set<Tensor>[] = [];

export class Tensor<D extends DType = DType> implements TensorSpec {
  readonly device: Device;
  readonly shape: Shape;
  readonly dtype: D;
  /** Number of elements. */
  readonly size: number;
  readonly byteLength: number;
  /** Where this tensor starts in its buffer, in bytes: not zero only for slices. */
  readonly byteOffset: number;
  readonly #storage: Storage;
  #disposed = false;

  private constructor(device: Device, storage: Storage, byteOffset: number, shape: Shape, dtype: D) {
    this.device = device;
    this.shape = Object.freeze([...shape]);
    this.dtype = dtype;
    this.size = elementCount(shape);
    this.byteLength = byteLengthOf(this);
    this.byteOffset = byteOffset;
    this.#storage = storage;
    scopes.at(-1)?.add(this);
    device.tensorCreated(this);
  }

  /** For devices: wraps a fresh buffer. Users call `device.empty` or `device.tensor`. */
  static fromBuffer<D extends DType>(
    device: Device,
    buffer: DeviceBuffer | undefined,
    shape: Shape,
    dtype: D,
  ): Tensor<D> {
    return new Tensor(device, new Storage(buffer), 0, shape, dtype);
  }

  get rank(): number {
    return this.shape.length;
  }
  get disposed(): boolean {
    return this.#disposed;
  }
  /** The device buffer behind the tensor; throws after dispose, and between `evict` and `restore`. */
  get buffer(): DeviceBuffer {
    this.#checkAlive();
    if (this.#storage.buffer === undefined)
      throw new Magi1Error(`${describeSpec(this)} was used while its bytes are not on the device`);
    return this.#storage.buffer;
  }

  /** False between `evict` and `restore`. */
  get resident(): boolean {
    return !this.#disposed && this.#storage.buffer !== undefined;
  }

  /**
   * Gives the bytes of a tensor and its views back to the device, in order with recorded work; the tensor stays, and cannot
   * be used until it has bytes again.
   */
  evict(): void {
    const { buffer } = this;
    this.#storage.buffer = undefined;
    this.device.bytesReleased(buffer);
  }

  /** New bytes for a tensor that was evicted, contents undefined. Throws as `device.empty` does. */
  restore(options: AllocationOptions = {}): void {
    this.#checkEvicted();
    this.#storage.buffer = this.device.bytesFor(this, options);
  }

  /**
   * The bytes of another tensor for one that was evicted and is as long; the other one is evicted. Nothing is copied, and
   * the contents are the other's.
   */
  takeBytes(other: Tensor): void {
    this.#checkEvicted();
    if (other.device !== this.device || other.byteOffset !== 0 || other.byteLength !== this.byteLength)
      throw new Magi1Error(`takeBytes: ${describeSpec(other)} has not the bytes of ${describeSpec(this)}`);
    const { buffer } = other;
    other.#storage.buffer = undefined;
    this.#storage.buffer = buffer;
  }

  /**
   * The bytes themselves, where they lie in memory of the host that may be written at any time; undefined elsewhere. The
   * caller sees to it that no recorded work uses them, and that the tensor lives while it writes.
   */
  hostBytes(): Uint8Array | undefined {
    return this.device.hostView(this.buffer, this.byteOffset, this.byteLength);
  }

  /** The same elements under another shape; at most one dimension may be -1. Shares storage. Rows of q8, q4: whole groups. */
  reshape(shape: Shape): Tensor<D> {
    this.#checkAlive();
    const wanted = inferDimension(this, shape);
    checkGroups('reshape', { shape: wanted, dtype: this.dtype });
    return new Tensor(this.device, this.#storage.retain(), this.byteOffset, wanted, this.dtype);
  }

  /** Rows `start` to `end` (exclusive) of the first axis. Shares storage. */
  slice(start: number, end: number): Tensor<D> {
    this.#checkAlive();
    const rows = this.shape[0];
    if (rows === undefined || !(start >= 0 && start <= end && end <= rows)) {
      throw new Magi1Error(`slice: range ${start}..${end} is outside the first axis of ${describeSpec(this)}`);
    }
    const rowBytes = rows === 0 ? 0 : this.byteLength / rows;
    const shape = [end - start, ...this.shape.slice(1)];
    return new Tensor(this.device, this.#storage.retain(), this.byteOffset + start * rowBytes, shape, this.dtype);
  }

  /** The elements in the dtype's host form (raw bits for f16, bf16, f8e4m3fn, bytes for q8 and q4), after all work recorded so far. */
  async read(): Promise<HostArrays[D]> {
    this.#checkAlive();
    if (this.byteLength === 0) return hostArray(this.dtype, 0);
    return viewBytes(this.dtype, await this.device.readBuffer(this.buffer, this.byteOffset, this.byteLength));
  }

  /** The elements widened to float32. */
  async toFloat32(): Promise<Float32Array> {
    return toFloat32(this.dtype, await this.read());
  }

  /** Overwrites `bytes.length` bytes from `byteStart` on, after all work recorded so far. `bytes` may be reused at once. */
  writeBytes(bytes: Uint8Array, byteStart = 0): void {
    this.#checkAlive();
    if (byteStart < 0 || byteStart + bytes.byteLength > this.byteLength) {
      throw new Magi1Error(
        `writeBytes: ${bytes.byteLength} bytes at ${byteStart} do not fit ${describeSpec(this)} of ${this.byteLength} bytes`,
      );
    }
    if (bytes.byteLength > 0) this.device.writeBuffer(this.buffer, this.byteOffset + byteStart, bytes);
  }

  /** Frees the tensor; its storage goes with the last view. Safe to call twice. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const open of scopes) open.delete(this);
    const last = this.#storage.release();
    this.device.tensorDisposed(this, last ? this.#storage.buffer : undefined);
  }
  [Symbol.dispose](): void {
    this.dispose();
  }

  #checkEvicted(): void {
    this.#checkAlive();
    if (this.#storage.buffer !== undefined)
      throw new Magi1Error(`${describeSpec(this)} has its bytes: only a tensor that was evicted gets others`);
    if (this.byteOffset !== 0) throw new Magi1Error(`${describeSpec(this)} is a part of a tensor`);
  }

  #checkAlive(): void {
    if (this.#disposed) throw new Magi1Error(`${describeSpec(this)} was used after it was disposed`);
  }

  /** For `scope` only. */
  static openScope(): Set<Tensor> {
    const created = new Set<Tensor>();
    scopes.push(created);
    return created;
  }
  /** For `scope` only: `kept` moves to the scope around, the rest is disposed. */
  static closeScope(created: Set<Tensor>, kept: ReadonlySet<Tensor>): void {
    scopes.splice(scopes.indexOf(created), 1);
    for (const tensor of [...created]) {
      if (kept.has(tensor)) scopes.at(-1)?.add(tensor);
      else tensor.dispose();
    }
  }
  /** For `keep` only. */
  static leaveScope(tensor: Tensor): void {
    for (const open of scopes) open.delete(tensor);
  }
}

function inferDimension(tensor: Tensor, shape: Shape): number[] {
  const open = shape.indexOf(-1);
  const wanted = [...shape];
  if (open >= 0) {
    const rest = elementCount(shape.filter((_, i) => i !== open));
    wanted[open] = rest === 0 ? 0 : tensor.size / rest;
  }
  if (wanted.some((dim) => !Number.isInteger(dim) || dim < 0) || elementCount(wanted) !== tensor.size) {
    throw new Magi1Error(
      `reshape: ${describeSpec(tensor)} has ${tensor.size} elements, [${shape.join(',')}] asked for`,
    );
  }
  return wanted;
}
