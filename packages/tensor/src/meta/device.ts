// The meta device: tensors have a shape and a dtype but no bytes, and ops are checked and counted but not computed. What
// `memory()` says is what the imitated device would say, so a dry run of a model is its memory plan:
//
//   const device = new MetaDevice({ as: 'wasm' });          // or 'webgpu', 'reference'; or MetaDevice.like(realDevice)
//   const w = device.empty([4096, 4096], 'bf16', { weight: true });  // a weight without any data
//   const y = linear({ x: device.empty([256, 4096], 'f32'), weight: w });  // infers, checks, counts
//   device.memory().peak   // bytes of tensors, as the imitated device counts them
//   device.counts          // ops, flops, bytes, uploaded
//
// Uploads count their bytes and drop the data; reading a tensor is an error; sync and tick resolve at once. It has no
// memory limit: the plan compares what came out with the machine. `like` also takes over the largest buffer and binding
// of an adapter, so that a tensor that could never fit fails here with the same error as there.
import { Device } from '../device.ts';
import type { AllocationOptions, Backend, DeviceBuffer, DeviceInfo } from '../device.ts';
import { DeviceLostError, Magi1Error, OpError } from '../errors.ts';
import type { AnyOp, OpCall } from '../op.ts';
import { Profiler } from '../profile.ts';
import type { WebGpuCapabilities } from '../webgpu/kernel.ts';
import { ReferenceRules, WasmRules, WebGpuRules } from './rules.ts';
import type { Rules } from './rules.ts';

export interface MetaDeviceOptions {
  /** The device whose ways of allocating are imitated. */
  readonly as: Backend;
  /** Of an imitated wasm device; 1 when left out. */
  readonly threads?: number;
  /** Of an imitated WebGPU device; a GPU without limits when left out. */
  readonly capabilities?: WebGpuCapabilities;
  /** Of an imitated WebGPU device: bytes of its largest buffer. */
  readonly maxBufferSize?: number;
}

/** What was recorded since the device was made or `resetCounts` was called. */
export interface MetaCounts {
  readonly ops: number;
  /** Sums of the ops' `cost`. */
  readonly flops: number;
  readonly bytes: number;
  /** Bytes that came from the host. */
  readonly uploaded: number;
}

const NOTHING: MetaCounts = { ops: 0, flops: 0, bytes: 0, uploaded: 0 };

export class MetaDevice extends Device {
  /** The imitated one. */
  readonly backend: Backend;
  readonly info: DeviceInfo;
  /** Of an imitated WebGPU device. */
  readonly capabilities: WebGpuCapabilities | undefined;
  readonly #rules: Rules;
  #counts = NOTHING;
  #times = 1;
  #turns = 1;
  #disposed = false;
  /** Buffers that stand for more than one. */
  readonly #repeated = new Map<DeviceBuffer, number>();

  constructor({ as, threads = 1, capabilities, maxBufferSize }: MetaDeviceOptions) {
    super();
    this.backend = as;
    this.capabilities = capabilities;
    const limits = { ...(as === 'wasm' && { threads }), ...(maxBufferSize !== undefined && { maxBufferSize }) };
    this.info = { name: `meta, counting as ${as}`, reason: 'a dry run', features: [], limits, memory: 'host' };
    this.#rules =
      as === 'wasm'
        ? new WasmRules(threads)
        : as === 'webgpu'
          ? new WebGpuRules(capabilities, maxBufferSize)
          : new ReferenceRules();
  }

  /** Imitates a device with its threads, or its capabilities and limits. */
  static like<T extends MetaDevice>(this: new (options: MetaDeviceOptions) => T, device: Device): T {
    const { threads, maxBufferSize } = device.info.limits;
    const { capabilities } = device as { capabilities?: WebGpuCapabilities };
    return new this({
      as: device.backend,
      ...(threads !== undefined && { threads }),
      ...(capabilities !== undefined && { capabilities }),
      ...(maxBufferSize !== undefined && { maxBufferSize }),
    });
  }

  /** What `body` records counts as if it were done `count` times and all that it makes were held: in use, peak, counts. */
  times<T>(count: number, body: () => T): T {
    const before = this.#times;
    this.#times *= count;
    try {
      return body();
    } finally {
      this.#times = before;
    }
  }

  /**
   * What `body` records counts as if it were done `count` times, each freed before the next: counts, but not the peak. A
   * promise is waited for.
   */
  inTurn<T>(count: number, body: () => T): T {
    const before = this.#turns;
    const restore = () => {
      this.#turns = before;
    };
    this.#turns *= count;
    let result: T;
    try {
      result = body();
    } catch (error) {
      restore();
      throw error;
    }
    if (result instanceof Promise) return result.finally(restore) as T;
    restore();
    return result;
  }

  /** How often what is recorded now counts. */
  protected get multiplicity(): number {
    return this.#times * this.#turns;
  }

  get counts(): MetaCounts {
    return this.#counts;
  }
  resetCounts(): void {
    this.#counts = NOTHING;
  }

  protected override allocate(byteLength: number, options: AllocationOptions): DeviceBuffer {
    if (this.#disposed) throw disposedError();
    const buffer = this.#rules.allocate(byteLength, options.weight ?? false);
    if (this.#times > 1) this.#repeated.set(buffer, this.#times);
    return buffer;
  }
  protected override release(buffer: DeviceBuffer): void {
    this.#repeated.delete(buffer);
    this.#rules.release(buffer);
  }
  protected override bytesHeld(buffer: DeviceBuffer): number {
    return buffer.byteLength * (this.#repeated.get(buffer) ?? 1);
  }
  protected override reservedBytes(): number {
    return this.#rules.reserved;
  }
  protected override hostBytes(): number {
    return this.#rules.host;
  }

  override execute(op: AnyOp, call: OpCall): void {
    if (this.#disposed) throw disposedError();
    if (this.backend !== 'reference' && op[this.backend] === undefined) {
      throw new OpError(op.name, `has no ${this.backend} version`);
    }
    const { flops, bytes } = op.cost(call.inputs, call.params);
    this.profiler?.call(op, call);
    this.#rules.execute(op, call, flops);
    const { ops, uploaded, ...before } = this.#counts;
    const times = this.multiplicity;
    this.#counts = {
      ops: ops + times,
      flops: before.flops + times * flops,
      bytes: before.bytes + times * bytes,
      uploaded,
    };
  }

  protected override startProfile(): Profiler {
    return (this.profiler = new Profiler('not computed'));
  }

  override writeBuffer(_buffer: DeviceBuffer, _byteOffset: number, bytes: Uint8Array): void {
    this.#counts = { ...this.#counts, uploaded: this.#counts.uploaded + bytes.byteLength };
  }
  override readBuffer(): Promise<Uint8Array> {
    return Promise.reject(new Magi1Error('meta: a tensor was read on the meta device, which has no values'));
  }
  override copyBuffer(): void {
    // There is nothing to copy.
  }

  override sync(signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason as Error);
    if (this.#disposed) return Promise.reject(disposedError());
    this.#rules.submit();
    return Promise.resolve();
  }
  override tick(signal?: AbortSignal): Promise<void> {
    return this.sync(signal);
  }
  override trim(): void {
    this.#rules.trim();
  }
  override dispose(): Promise<void> {
    this.#disposed = true;
    return Promise.resolve();
  }
}

const disposedError = () => new DeviceLostError('meta: the device was disposed');
