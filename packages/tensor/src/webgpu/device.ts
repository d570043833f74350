// The WebGPU device: opens, records ops at once (resolve, then encode), hands them over in batches, waits, and ends.
import { Device } from '../device.ts';
import type { AllocationOptions, DeviceBuffer, DeviceInfo } from '../device.ts';
import { DeviceLostError, Magi1Error, OpError } from '../errors.ts';
import { poison } from '../guard.ts';
import type { AnyOp, OpCall } from '../op.ts';
import type { Profiler } from '../profile.ts';
import { yieldToEventLoop } from '../queue.ts';
import { scope } from '../scope.ts';
import { capabilitiesOf, COPY_DST, limitEntries, memoryOf, openAdapter, STORAGE, UNIFORM } from './adapter.ts';
import type { FoundAdapter } from './adapter.ts';
import { Arena } from './arena.ts';
import { Binder } from './binder.ts';
import { FailureLog } from './failures.ts';
import type { WebGpuCapabilities } from './kernel.ts';
import { Memory } from './memory.ts';
import type { GpuBuffer } from './memory.ts';
import { PipelineCache } from './pipelines.ts';
import { PARAMS_BYTES } from './prelude.ts';
import { TimestampProfiler, WaitProfiler } from './profile.ts';
import { MOST_DISPATCHES, Recorder } from './recorder.ts';
import { Resolver } from './resolve.ts';
import { Transfers } from './transfers.ts';
import { waitFor } from './wait.ts';

const SUBMITS_UNDER_WAY = 2;
const PARAMS_CAPACITY = MOST_DISPATCHES * 4 * PARAMS_BYTES;
const TABLES_CAPACITY = 2 ** 18;

export interface WebGpuOptions {
  readonly reason: string;
  readonly memoryBudget?: number | undefined;
  /** For tests: allocations are filled with NaN and followed by this many guard bytes (a multiple of 16). */
  readonly guardBytes?: number | undefined;
}

export class WebGpuDevice extends Device {
  readonly backend = 'webgpu';
  readonly info: DeviceInfo;
  readonly capabilities: WebGpuCapabilities;
  /** The device underneath, for code that goes around this runtime. */
  readonly gpu: GPUDevice;
  readonly #failures = new FailureLog();
  readonly #memory: Memory;
  readonly #params: Arena;
  readonly #tables: Arena;
  readonly #binder: Binder;
  readonly #recorder: Recorder;
  readonly #resolver: Resolver;
  readonly #transfers: Transfers;
  readonly #lost: Promise<never>;
  readonly #end: End = { disposed: false };
  #underWay: Promise<undefined>[] = [];

  static async create(found: FoundAdapter, options: WebGpuOptions): Promise<WebGpuDevice> {
    return new WebGpuDevice(await openAdapter(found), found, options);
  }

  private constructor(gpu: GPUDevice, found: FoundAdapter, { reason, memoryBudget, guardBytes }: WebGpuOptions) {
    super();
    this.gpu = gpu;
    this.info = {
      name: found.name,
      reason,
      features: [...gpu.features].sort(),
      limits: Object.fromEntries(limitEntries(gpu.limits)),
      ...memoryOf(found.adapter.info),
      memoryBudget,
    };
    const capabilities = capabilitiesOf(gpu, found.adapter.info, found.software);
    this.capabilities = capabilities;
    const params = new Arena(gpu, 'parameters', UNIFORM | COPY_DST, PARAMS_CAPACITY);
    const tables = new Arena(gpu, 'tables', STORAGE | COPY_DST, TABLES_CAPACITY);
    const memory = new Memory(gpu, { budget: memoryBudget, guardBytes }, () => {
      this.#recorder.submit();
    });
    const binder = new Binder(gpu, params, tables);
    const pipelines = new PipelineCache(gpu, this.#failures);
    const recorder = new Recorder(gpu, this.#failures, { params, tables }, () => {
      memory.submitted();
    });
    const resolver = new Resolver({
      device: this,
      capabilities,
      offsetAlignment: gpu.limits.minStorageBufferOffsetAlignment,
      pipelines,
      binder,
      params,
      tables,
      makeRoom: (tableBytes) => {
        recorder.makeRoom(tableBytes);
      },
      alignedCopy: (buffer, byteStart, byteLength) => this.#transfers.alignedCopy(buffer, byteStart, byteLength),
    });
    [this.#params, this.#tables, this.#memory, this.#binder] = [params, tables, memory, binder];
    [this.#recorder, this.#resolver] = [recorder, resolver];
    this.#transfers = new Transfers({ gpu, capabilities, memory, recorder, pipelines, resolver });
    reportUncaptured(gpu, this.#failures);
    this.#lost = rejectWhenLost(gpu, found.name, this.#end);
  }

  protected override allocate(byteLength: number, options: AllocationOptions): DeviceBuffer {
    this.#checkUsable();
    const buffer = this.#memory.allocate(byteLength, options.weight ?? false);
    if (buffer.guardBytes > 0) this.#poison(buffer);
    return buffer;
  }

  protected override release(buffer: DeviceBuffer): void {
    if (!this.#end.disposed) this.#memory.release(buffer as GpuBuffer);
  }

  protected override reservedBytes(): number {
    return this.#memory.reserved + this.#transfers.reserved + this.#params.byteLength + this.#tables.byteLength;
  }

  protected override hostBytes(): number {
    return this.#params.byteLength + this.#tables.byteLength;
  }

  override execute(op: AnyOp, call: OpCall): void {
    this.#checkUsable();
    this.#failures.throwNew();
    if (op.webgpu === undefined) throw new OpError(op.name, 'has no WebGPU version');
    const timing = this.profiler?.call(op, call);
    try {
      // Tensors that `webgpu` makes for itself live until its dispatches are recorded.
      scope(() => {
        for (const dispatch of op.webgpu!(call, this.capabilities)) {
          const resolved = this.#resolver.resolve(op.name, dispatch);
          if (resolved !== undefined) this.#recorder.encode(resolved);
        }
      });
    } finally {
      this.#transfers.freeCopies();
    }
    this.#recorder.worked(op.cost(call.inputs, call.params).flops, this.capabilities.software);
    if (timing !== undefined && this.profiler instanceof WaitProfiler) {
      this.#recorder.submit();
      this.profiler.submitted(timing, this.gpu.queue.onSubmittedWorkDone());
    }
  }

  override writeBuffer(target: DeviceBuffer, byteOffset: number, bytes: Uint8Array): void {
    this.#checkUsable();
    this.#transfers.write(target as GpuBuffer, byteOffset, bytes);
  }

  override async readBuffer(from: DeviceBuffer, byteOffset: number, byteLength: number): Promise<Uint8Array> {
    this.#checkUsable();
    const mark = this.#failures.mark();
    const wait = (mapping: Promise<undefined>) => waitFor(mapping, this.#lost);
    const bytes = await this.#transfers.read(from as GpuBuffer, byteOffset, byteLength, wait);
    await this.#failures.settle();
    this.#failures.throwSince(mark);
    return bytes;
  }

  override copyBuffer(from: DeviceBuffer, fromByte: number, to: DeviceBuffer, toByte: number, length: number): void {
    this.#checkUsable();
    this.#transfers.copy(from as GpuBuffer, fromByte, to as GpuBuffer, toByte, length);
  }

  override async sync(signal?: AbortSignal): Promise<void> {
    this.#checkUsable();
    this.#checkAborted(signal);
    const mark = this.#failures.mark();
    this.#recorder.submit();
    await waitFor(this.gpu.queue.onSubmittedWorkDone(), this.#lost, signal);
    this.#underWay = [];
    await this.#failures.settle();
    this.#failures.throwSince(mark);
  }

  override async tick(signal?: AbortSignal): Promise<void> {
    this.#checkUsable();
    this.#checkAborted(signal);
    this.#recorder.submit();
    const done = this.gpu.queue.onSubmittedWorkDone();
    done.catch(() => undefined);
    this.#underWay.push(done);
    await yieldToEventLoop();
    while (this.#underWay.length > SUBMITS_UNDER_WAY) await waitFor(this.#underWay.shift()!, this.#lost, signal);
    signal?.throwIfAborted();
    this.#failures.throwNew();
  }

  override trim(): void {
    this.#checkUsable();
    this.#binder.clear();
    this.#transfers.trim();
    this.#memory.trim();
  }

  override dispose(): Promise<void> {
    if (this.#end.disposed) return Promise.resolve();
    this.#end.disposed = true;
    this.#recorder.drop();
    this.#binder.clear();
    this.#transfers.trim();
    this.gpu.destroy();
    return Promise.resolve();
  }

  protected override startProfile(): Profiler {
    if (!this.gpu.features.has('timestamp-query')) return (this.profiler = new WaitProfiler());
    return (this.profiler = this.#recorder.profiler = new TimestampProfiler(this.gpu));
  }

  protected override stopProfile(): void {
    this.profiler = this.#recorder.profiler = undefined;
  }

  #checkUsable(): void {
    if (this.#end.error !== undefined) throw new DeviceLostError(this.#end.error.message);
    if (this.#end.disposed) throw new DeviceLostError(`WebGPU: ${this.info.name} was disposed`);
  }

  #checkAborted(signal: AbortSignal | undefined): void {
    if (!signal?.aborted) return;
    // Another run's work may be in the same recording, so it is not dropped: a recording is short anyway.
    this.#recorder.submit();
    signal.throwIfAborted();
  }

  #poison(buffer: GpuBuffer): void {
    if (this.#recorder.uses(buffer)) this.#recorder.submit();
    const bytes = new Uint8Array(buffer.byteLength + buffer.guardBytes);
    poison(bytes, buffer.guardBytes);
    this.gpu.queue.writeBuffer(buffer.gpu, 0, bytes);
  }
}

/** How a device ended. */
interface End {
  disposed: boolean;
  error?: DeviceLostError;
}

// The GPU's own objects, and with them their listeners, live as long as the process: these two must not hold the device.
function reportUncaptured(gpu: GPUDevice, failures: FailureLog): void {
  gpu.addEventListener('uncapturederror', (event) => {
    failures.report(new Magi1Error(`WebGPU: ${event.error.message}`));
  });
}

function rejectWhenLost(gpu: GPUDevice, name: string, end: End): Promise<never> {
  const lost = gpu.lost.then(({ reason, message }) => {
    end.error = new DeviceLostError(
      end.disposed ? `WebGPU: ${name} was disposed` : `WebGPU: ${name} is lost (${reason}): ${message}`,
    );
    throw end.error;
  });
  lost.catch(() => undefined);
  return lost;
}
