// The reference device: every op's plain TypeScript reference, run directly. Slow, and the oracle of all tests.
import { asBytes, fromFloat32, hostArray, isWeight, toFloat32, viewBytes } from '../dtype.ts';
import type { DType, HostArray } from '../dtype.ts';
import { Device } from '../device.ts';
import type { AllocationOptions, DeviceBuffer, DeviceInfo } from '../device.ts';
import { DeviceLostError, OutOfMemoryError, TensorTooLargeError } from '../errors.ts';
import { buffersOf } from '../op.ts';
import type { AnyOp, HostView, OpCall } from '../op.ts';
import { JobQueue } from '../queue.ts';
import { byteLengthOf, elementCount } from '../shape.ts';
import type { Shape, TensorSpec } from '../shape.ts';
import type { Tensor } from '../tensor.ts';

class HostBuffer implements DeviceBuffer {
  readonly byteLength: number;
  readonly bytes: Uint8Array;
  spoiled?: Error;
  constructor(byteLength: number) {
    this.byteLength = byteLength;
    this.bytes = new Uint8Array(byteLength);
  }
}

export class ReferenceDevice extends Device {
  readonly backend = 'reference';
  readonly info: DeviceInfo;
  readonly #queue = new JobQueue();
  readonly #budget: number;
  #reserved = 0;

  constructor(options: { reason: string; memoryBudget?: number }) {
    super();
    this.#budget = options.memoryBudget ?? Infinity;
    this.info = {
      name: 'TypeScript, float64 accumulation',
      reason: options.reason,
      features: [],
      limits: {},
      memory: 'host',
      memoryBudget: options.memoryBudget,
    };
  }

  protected override allocate(byteLength: number, _options: AllocationOptions): DeviceBuffer {
    if (byteLength > this.#budget) {
      throw new TensorTooLargeError(
        `reference: ${byteLength} bytes are more than the memory budget of ${this.#budget}`,
      );
    }
    if (this.#reserved + byteLength > this.#budget) {
      throw new OutOfMemoryError(
        `reference: ${byteLength} bytes asked for, ${this.#reserved} in use of a memory budget of ${this.#budget}`,
      );
    }
    this.#reserved += byteLength;
    return new HostBuffer(byteLength);
  }

  protected override release(buffer: DeviceBuffer): void {
    this.#reserved -= buffer.byteLength;
  }

  protected override reservedBytes(): number {
    return this.#reserved;
  }

  protected override hostBytes(): number {
    return this.#reserved;
  }

  override execute(op: AnyOp, call: OpCall): void {
    const bytesOf = (tensor: Tensor) =>
      (tensor.buffer as HostBuffer).bytes.subarray(tensor.byteOffset, tensor.byteOffset + tensor.byteLength);
    const inputs = Object.entries(call.inputs)
      .filter((entry): entry is [string, Tensor] => entry[1] !== undefined)
      .map(([name, tensor]) => ({ name, shape: tensor.shape, dtype: tensor.dtype, bytes: bytesOf(tensor) }));
    const { shape, dtype } = call.y;
    const bytes = bytesOf(call.y);
    const timing = this.profiler?.call(op, call);
    const run = (): void => {
      const from = performance.now();
      const views = Object.fromEntries(inputs.map((input) => [input.name, hostView(input)]));
      const y = hostOutput({ shape, dtype });
      op.reference({ inputs: views, y, params: call.params });
      bytes.set(asBytes(narrow(y)));
      timing?.add(from, performance.now());
    };
    this.#queue.push({ name: op.name, run, ...buffersOf(call) });
  }

  override hostView(buffer: DeviceBuffer, byteOffset: number, byteLength: number): Uint8Array {
    return (buffer as HostBuffer).bytes.subarray(byteOffset, byteOffset + byteLength);
  }

  override writeBuffer(buffer: DeviceBuffer, byteOffset: number, bytes: Uint8Array): void {
    const target = (buffer as HostBuffer).bytes;
    if (this.#queue.empty) {
      target.set(bytes, byteOffset);
      return;
    }
    const copy = bytes.slice();
    this.#queue.push({ name: 'writeBuffer', run: () => target.set(copy, byteOffset) });
  }

  override async readBuffer(buffer: DeviceBuffer, byteOffset: number, byteLength: number): Promise<Uint8Array> {
    let bytes = new Uint8Array();
    const run = (): void => {
      bytes = (buffer as HostBuffer).bytes.slice(byteOffset, byteOffset + byteLength);
    };
    this.#queue.push({ name: 'readBuffer', run, reads: [buffer] });
    await this.sync();
    return bytes;
  }

  override copyBuffer(from: DeviceBuffer, fromByte: number, to: DeviceBuffer, toByte: number, length: number): void {
    const run = (): void =>
      (to as HostBuffer).bytes.set((from as HostBuffer).bytes.subarray(fromByte, fromByte + length), toByte);
    this.#queue.push({ name: 'copyBuffer', run, reads: [from], writes: [to] });
  }

  override sync(signal?: AbortSignal): Promise<void> {
    return this.#queue.drain(signal);
  }
  override tick(signal?: AbortSignal): Promise<void> {
    return this.#queue.drain(signal);
  }
  override trim(): void {
    // Nothing is pooled.
  }
  override dispose(): Promise<void> {
    return this.#queue.close(new DeviceLostError('reference: the device was disposed'));
  }
}

function hostView(input: { shape: Shape; dtype: DType; bytes: Uint8Array }): HostView {
  const raw: HostArray = viewBytes(input.dtype, input.bytes);
  const data = isWeight(input.dtype) ? toFloat32(input.dtype, raw) : raw;
  return { shape: input.shape, dtype: input.dtype, data: data as Exclude<HostArray, Uint16Array> };
}

/** A zeroed output for a reference: float64 for floats, the dtype's own array otherwise. */
export function hostOutput(spec: TensorSpec): HostView {
  const count = elementCount(spec.shape);
  const data = isWeight(spec.dtype) ? new Float64Array(count) : hostArray(spec.dtype, count);
  return { shape: spec.shape, dtype: spec.dtype, data: data };
}

function narrow(output: HostView): HostArray {
  const host = isWeight(output.dtype) ? fromFloat32(output.dtype, output.data) : (output.data as HostArray);
  if (host.byteLength !== byteLengthOf(output)) {
    throw new RangeError('a reference replaced its output array');
  }
  return host;
}
