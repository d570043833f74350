// The WebGPU device: validates dispatches, records them at once and hands them to the hardware in batches.
import { Device } from '../device.ts';
import type { AllocationOptions, DeviceBuffer, DeviceInfo } from '../device.ts';
import { DeviceLostError, Magi1Error, OpError } from '../errors.ts';
import type { AnyOp, OpCall } from '../op.ts';
import { yieldToEventLoop } from '../queue.ts';
import { scope } from '../scope.ts';
import { describeSpec } from '../shape.ts';
import { Tensor } from '../tensor.ts';
import { capabilitiesOf, COPY_DST, limitEntries, memoryOf, openAdapter, STORAGE, UNIFORM } from './adapter.ts';
import type { FoundAdapter } from './adapter.ts';
import { Arena } from './arena.ts';
import { Binder } from './binder.ts';
import type { BoundRange } from './binder.ts';
import { copyBytesProgram, INVOCATIONS } from './copy-bytes.ts';
import { FailureLog } from './failures.ts';
import type { BindingDeclaration, TensorWindow, WebGpuCapabilities, WebGpuDispatch } from './kernel.ts';
import { GpuBuffer, Memory } from './memory.ts';
import { PipelineCache } from './pipelines.ts';
import type { WarmUpItem } from './pipelines.ts';
import { packParams, PARAMS_BYTES } from './prelude.ts';
import type { ExpandedProgram } from './prelude.ts';
import { Profiler } from './profile.ts';
import type { OpProfile } from './profile.ts';
import { checkAliasing, tableRange, windowAround } from './ranges.ts';
import type { DispatchRange } from './ranges.ts';
import { Readback } from './readback.ts';
import { MOST_DISPATCHES, Recorder, submitIsDue } from './recorder.ts';
import { waitFor } from './wait.ts';

const SUBMITS_UNDER_WAY = 2;
const PARAMS_CAPACITY = MOST_DISPATCHES * 4 * PARAMS_BYTES;
const TABLES_CAPACITY = 2 ** 18;
const WRITE_PIECE = 2 ** 26;
const GUARD_BYTE = 0xa5;
/** NaN in every float dtype. */
const POISON_BYTE = 0xff;

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
  readonly #options: WebGpuOptions;
  readonly #failures = new FailureLog();
  readonly #memory: Memory;
  readonly #params: Arena;
  readonly #tables: Arena;
  readonly #binder: Binder;
  readonly #pipelines: PipelineCache;
  readonly #recorder: Recorder;
  readonly #readback: Readback;
  readonly #lost: Promise<never>;
  readonly #offsetAlignment: number;
  readonly #end: End = { disposed: false };
  #flops = 0;
  #underWay: Promise<undefined>[] = [];
  /** Aligned copies of slices, of the op being recorded. */
  #copies = new Map<string, GpuBuffer>();

  static async open(found: FoundAdapter, options: WebGpuOptions): Promise<WebGpuDevice> {
    return new WebGpuDevice(await openAdapter(found), found, options);
  }

  private constructor(gpu: GPUDevice, found: FoundAdapter, options: WebGpuOptions) {
    super();
    this.gpu = gpu;
    this.#options = options;
    this.info = {
      name: found.name,
      reason: options.reason,
      features: [...gpu.features].sort(),
      limits: Object.fromEntries(limitEntries(gpu.limits)),
      ...memoryOf(found.adapter.info),
      memoryBudget: options.memoryBudget,
    };
    this.#offsetAlignment = gpu.limits.minStorageBufferOffsetAlignment;
    this.capabilities = capabilitiesOf(gpu, found.adapter.info, found.software);
    const submit = () => {
      this.#submit();
    };
    this.#memory = new Memory(gpu, { budget: options.memoryBudget, guardBytes: options.guardBytes }, submit);
    this.#params = new Arena(gpu, 'parameters', UNIFORM | COPY_DST, PARAMS_CAPACITY);
    this.#tables = new Arena(gpu, 'tables', STORAGE | COPY_DST, TABLES_CAPACITY);
    this.#binder = new Binder(gpu, this.#params, this.#tables);
    this.#pipelines = new PipelineCache(gpu, this.#failures);
    this.#readback = new Readback(gpu);
    this.#recorder = new Recorder(gpu, this.#failures, [this.#params, this.#tables], () => {
      this.#memory.submitted();
    });
    reportUncaptured(gpu, this.#failures);
    this.#lost = rejectWhenLost(gpu, found.name, this.#end);
  }

  protected override allocate(byteLength: number, options: AllocationOptions): DeviceBuffer {
    this.#checkUsable();
    const buffer = this.#memory.allocate(byteLength, options.weight ?? false);
    if (this.#options.guardBytes !== undefined) this.#poison(buffer);
    return buffer;
  }

  protected override release(buffer: DeviceBuffer): void {
    if (!this.#end.disposed) this.#memory.release(buffer as GpuBuffer);
  }

  protected override reservedBytes(): number {
    return this.#memory.reserved + this.#readback.reserved + this.#params.byteLength + this.#tables.byteLength;
  }

  protected override hostBytes(): number {
    return this.#params.byteLength + this.#tables.byteLength;
  }

  override execute(op: AnyOp, call: OpCall): void {
    this.#checkUsable();
    this.#failures.throwNew();
    if (op.webgpu === undefined) throw new OpError(op.name, 'has no WebGPU version');
    try {
      // Tensors that `webgpu` makes for itself live until its dispatches are recorded.
      scope(() => {
        for (const dispatch of op.webgpu!(call, this.capabilities)) this.#record(op.name, dispatch);
      });
    } finally {
      for (const copy of this.#copies.values()) this.#memory.release(copy);
      this.#copies.clear();
    }
    this.#flops += op.cost(call.inputs, call.params).flops;
    if (submitIsDue(this.#recorder.dispatches, this.#flops, this.capabilities.software)) this.#submit();
  }

  override writeBuffer(target: DeviceBuffer, byteOffset: number, bytes: Uint8Array): void {
    this.#checkUsable();
    const buffer = target as GpuBuffer;
    // A queue write runs before recorded work that is not submitted yet.
    if (this.#recorder.uses(buffer)) this.#submit();
    const end = byteOffset + bytes.byteLength;
    if (byteOffset % 4 === 0 && (end % 4 === 0 || end === buffer.contentBytes)) {
      this.#write(buffer, byteOffset, bytes);
      return;
    }
    const staged = this.#memory.allocate(bytes.byteLength, false);
    if (this.#recorder.uses(staged)) this.#submit();
    this.#write(staged, 0, bytes);
    this.#copyBytes(staged, 0, buffer, byteOffset, bytes.byteLength);
    this.#memory.release(staged);
  }

  override async readBuffer(from: DeviceBuffer, byteOffset: number, byteLength: number): Promise<Uint8Array> {
    this.#checkUsable();
    const mark = this.#failures.mark();
    const buffer = from as GpuBuffer;
    const first = Math.floor(byteOffset / 4) * 4;
    const padded = Math.ceil((byteOffset + byteLength - first) / 4) * 4;
    const pieces = this.#readback.take(padded);
    for (const piece of pieces) {
      this.#recorder.copy(buffer.gpu, first + piece.byteStart, piece.staging, 0, piece.byteLength);
    }
    this.#submit();
    const bytes = await this.#readback.collect(pieces, (mapping) => waitFor(mapping, this.#lost));
    await this.#failures.settle();
    this.#failures.throwSince(mark);
    return bytes.subarray(byteOffset - first, byteOffset - first + byteLength);
  }

  override copyBuffer(
    from: DeviceBuffer,
    fromByte: number,
    to: DeviceBuffer,
    toByte: number,
    byteLength: number,
  ): void {
    this.#checkUsable();
    const [source, target] = [from as GpuBuffer, to as GpuBuffer];
    if (source === target) throw new Magi1Error('copyBuffer: source and target are the same buffer');
    if (byteLength > 0) this.#copy(source, fromByte, target, toByte, byteLength);
  }

  override async sync(signal?: AbortSignal): Promise<void> {
    this.#checkUsable();
    this.#checkAborted(signal);
    const mark = this.#failures.mark();
    this.#submit();
    await waitFor(this.gpu.queue.onSubmittedWorkDone(), this.#lost, signal);
    this.#underWay = [];
    await this.#failures.settle();
    this.#failures.throwSince(mark);
  }

  override async tick(signal?: AbortSignal): Promise<void> {
    this.#checkUsable();
    this.#checkAborted(signal);
    this.#submit();
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
    this.#readback.trim();
    this.#memory.trim();
  }

  override dispose(): Promise<void> {
    if (this.#end.disposed) return Promise.resolve();
    this.#end.disposed = true;
    this.#recorder.drop();
    this.#binder.clear();
    this.#readback.trim();
    this.gpu.destroy();
    return Promise.resolve();
  }

  /** Compiles programs in the background before they are needed. Throws Magi1Error with the source when one is wrong. */
  warmUp(items: readonly WarmUpItem[]): Promise<void> {
    return this.#pipelines.warmUp(items);
  }

  /** GPU time per op of the work that `body` records. Throws Magi1Error when the adapter has no timestamps. */
  async profile(body: () => void | Promise<void>): Promise<OpProfile[]> {
    if (!this.gpu.features.has('timestamp-query')) {
      throw new Magi1Error(`profile: adapter ${this.info.name} has no timestamp-query`);
    }
    await this.sync();
    const profiler = new Profiler(this.gpu);
    this.#recorder.profiler = profiler;
    try {
      await body();
      await this.sync();
    } finally {
      this.#recorder.profiler = undefined;
    }
    return waitFor(profiler.finish(), this.#lost);
  }

  /** For tests: every program used so far, as complete WGSL. */
  expandedPrograms(): readonly ExpandedProgram[] {
    return this.#pipelines.expandedPrograms();
  }

  /** For tests, with `guardBytes`: what was written behind the tensor's buffer, or undefined when nothing was. */
  async guardDamage(tensor: Tensor): Promise<string | undefined> {
    const buffer = tensor.buffer as GpuBuffer;
    const guard = await this.readBuffer(buffer, buffer.byteLength, buffer.guardedLength - buffer.byteLength);
    const damaged = guard.findIndex((byte) => byte !== GUARD_BYTE);
    return damaged < 0 ? undefined : `${describeSpec(tensor)} was overrun ${damaged} bytes behind its padded end`;
  }

  #submit(): void {
    this.#flops = 0;
    this.#recorder.submit();
  }

  #checkUsable(): void {
    if (this.#end.error !== undefined) throw new DeviceLostError(this.#end.error.message);
    if (this.#end.disposed) throw new DeviceLostError(`WebGPU: ${this.info.name} was disposed`);
  }

  #checkAborted(signal: AbortSignal | undefined): void {
    if (!signal?.aborted) return;
    // Another run's work may be in the same recording, so it is not dropped: a recording is short anyway.
    this.#submit();
    signal.throwIfAborted();
  }

  #record(op: string, dispatch: WebGpuDispatch): void {
    const expanded = this.#pipelines.expand(dispatch.program, dispatch.variant);
    const { bindings, name } = expanded;
    const given = dispatch.bindings;
    const extra = Object.keys(given).filter((key) => !bindings.some((binding) => binding.name === key));
    if (extra.length > 0) throw new OpError(op, `program ${name} has no binding ${extra.join(', ')}`);
    const ranges = bindings.map((binding) => {
      const value = given[binding.name];
      if (value === undefined) throw new OpError(op, `binding ${binding.name} of program ${name} is missing`);
      return ArrayBuffer.isView(value)
        ? tableRange(op, name, binding, value)
        : this.#tensorRange(op, name, binding, value);
    });
    this.#dispatch(op, expanded, ranges, dispatch.params, dispatch.workgroups);
  }

  #dispatch(
    op: string,
    expanded: ExpandedProgram,
    ranges: readonly DispatchRange[],
    params: Readonly<Record<string, number>>,
    workgroups: readonly [number, number, number],
  ): void {
    const most = this.capabilities.maxWorkgroupsPerDimension;
    if (workgroups.some((count) => !Number.isInteger(count) || count < 0 || count > most)) {
      throw new OpError(
        op,
        `program ${expanded.name}: workgroups ${workgroups.join(' x ')} must be integers of at most ${most}`,
      );
    }
    checkAliasing(op, expanded, ranges);
    if (workgroups.includes(0)) return;
    const tables = ranges.map(({ table }) => table !== undefined);
    const program = this.#pipelines.get(op, expanded, tables);
    const submit = () => {
      this.#submit();
    };
    if (this.#recorder.profiler?.full) submit();
    this.#params.reserve(PARAMS_BYTES, submit);
    this.#tables.reserve(sum(ranges.map(({ table, byteLength }) => (table ? byteLength : 0))), submit);
    const offsets: number[] = [];
    const slot = this.#params.take(PARAMS_BYTES);
    packParams(op, expanded, params, this.#params.view, slot);
    if (expanded.params.length > 0) offsets.push(slot);
    for (const { table, byteLength, buffer } of ranges) {
      if (table !== undefined) {
        const slot = this.#tables.take(byteLength);
        this.#tables.bytes.set(new Uint8Array(table.buffer, table.byteOffset, table.byteLength), slot);
        offsets.push(slot);
      } else if (buffer !== 'tables') {
        this.#recorder.touch(buffer as GpuBuffer);
      }
    }
    this.#recorder.dispatch(op, program, this.#binder.group(program, ranges), offsets, workgroups);
  }

  #tensorRange(op: string, program: string, binding: BindingDeclaration, value: Tensor | TensorWindow): BoundRange {
    const { tensor, byteStart, byteLength } =
      value instanceof Tensor ? { tensor: value, byteStart: 0, byteLength: value.byteLength } : value;
    const what = () => `binding ${binding.name} of program ${program} (${describeSpec(tensor)})`;
    if (tensor.device !== this) throw new OpError(op, `${what()} is on another device`);
    const buffer = tensor.buffer as GpuBuffer;
    const most = this.capabilities.maxBindingBytes;
    const wanted = Math.max(16, Math.ceil(byteLength / 16) * 16);
    if (wanted > most) {
      throw new OpError(op, `${what()} of ${byteLength} bytes exceeds the adapter's largest binding of ${most} bytes`);
    }
    const start = tensor.byteOffset + byteStart;
    if (start % this.#offsetAlignment !== 0) {
      if (binding.access !== 'read')
        throw new OpError(op, `${what()} is written at byte ${start}: outputs must be whole tensors`);
      return { buffer: this.#alignedCopy(buffer, start, byteLength), byteStart: 0, byteLength: wanted };
    }
    // The guard of tests belongs to the binding: otherwise WebGPU itself would keep stray writes away from it.
    const end = Math.min(start + wanted, buffer.byteLength);
    const length = end === buffer.byteLength ? Math.min(buffer.guardedLength - start, most) : end - start;
    return length > 0 ? { buffer, byteStart: start, byteLength: length } : { buffer, byteStart: 0, byteLength: 16 };
  }

  #alignedCopy(buffer: GpuBuffer, byteStart: number, byteLength: number): GpuBuffer {
    const key = `${buffer.id}:${byteStart}:${byteLength}`;
    const known = this.#copies.get(key);
    if (known !== undefined) return known;
    const copy = this.#memory.allocate(byteLength, false);
    this.#copies.set(key, copy);
    if (byteLength > 0) this.#copy(buffer, byteStart, copy, 0, byteLength);
    return copy;
  }

  #copy(from: GpuBuffer, fromByte: number, to: GpuBuffer, toByte: number, byteLength: number): void {
    const whole = toByte + byteLength === to.contentBytes ? Math.ceil(byteLength / 4) * 4 : byteLength;
    if (fromByte % 4 === 0 && toByte % 4 === 0 && whole % 4 === 0) {
      this.#recorder.copy(from.gpu, fromByte, to.gpu, toByte, whole);
      this.#recorder.touch(from);
      this.#recorder.touch(to);
    } else {
      this.#copyBytes(from, fromByte, to, toByte, byteLength);
    }
  }

  #copyBytes(from: GpuBuffer, fromByte: number, to: GpuBuffer, toByte: number, byteLength: number): void {
    const expanded = this.#pipelines.expand(copyBytesProgram, {});
    const piece = Math.min(WRITE_PIECE, this.capabilities.maxBindingBytes - 512);
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
      const x = Math.min(groups, this.capabilities.maxWorkgroupsPerDimension);
      this.#dispatch('copyBytes', expanded, [source, target], params, [x, Math.ceil(groups / x), 1]);
    }
  }

  /** `byteOffset` is a multiple of four; up to three bytes of padding are overwritten. */
  #write(buffer: GpuBuffer, byteOffset: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.byteLength; done += WRITE_PIECE) {
      const piece = bytes.subarray(done, done + WRITE_PIECE);
      const ragged = piece.byteLength % 4 !== 0;
      if (ragged || !(piece.buffer instanceof ArrayBuffer)) {
        // Dawn refuses shared memory.
        const copy = new Uint8Array(Math.ceil(piece.byteLength / 4) * 4);
        copy.set(piece);
        this.gpu.queue.writeBuffer(buffer.gpu, byteOffset + done, copy);
      } else {
        this.gpu.queue.writeBuffer(buffer.gpu, byteOffset + done, piece.buffer, piece.byteOffset, piece.byteLength);
      }
      // Lets the queue begin, so that staging memory of large uploads comes back.
      if (piece.byteLength === WRITE_PIECE) this.gpu.queue.submit([]);
    }
  }

  #poison(buffer: GpuBuffer): void {
    if (this.#recorder.uses(buffer)) this.#submit();
    const bytes = new Uint8Array(buffer.guardedLength).fill(POISON_BYTE);
    bytes.fill(GUARD_BYTE, buffer.byteLength);
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

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
