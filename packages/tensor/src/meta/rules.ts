// How each device takes and gives back memory: the devices' own allocators, with no memory behind them.
import type { DeviceBuffer } from '../device.ts';
import type { AnyOp, OpCall } from '../op.ts';
import { scope } from '../scope.ts';
import { HEAP_ALIGNMENT, HeapAllocator, alignUp } from '../wasm/heap.ts';
import { ExternalBuffer, HEAP_BASE, HEAP_WEIGHT_LIMIT, HeapBuffer, PAGE } from '../wasm/memory.ts';
import { SMALLEST_EXTERNAL, heapGrowth } from '../wasm/memory.ts';
import { planStep } from '../wasm/plan.ts';
import { boundBytes } from '../webgpu/bound-bytes.ts';
import type { WebGpuCapabilities } from '../webgpu/kernel.ts';
import { Memory } from '../webgpu/memory.ts';
import type { GpuBuffer } from '../webgpu/memory.ts';
import { submitIsDue } from '../webgpu/recorder.ts';

export interface Rules {
  readonly reserved: number;
  readonly host: number;
  allocate(byteLength: number, weight: boolean): DeviceBuffer;
  release(buffer: DeviceBuffer): void;
  execute(op: AnyOp, call: OpCall, flops: number): void;
  submit(): void;
  trim(): void;
}

export class ReferenceRules implements Rules {
  reserved = 0;
  get host(): number {
    return this.reserved;
  }
  allocate(byteLength: number): DeviceBuffer {
    this.reserved += byteLength;
    return { byteLength };
  }
  release(buffer: DeviceBuffer): void {
    this.reserved -= buffer.byteLength;
  }
  execute(): void {
    // The host takes no device memory to compute.
  }
  submit(): void {
    // It runs at once.
  }
  trim(): void {
    // Nothing is pooled.
  }
}

/** The heap may grow beyond 4 GiB here: whoever plans compares. */
export class WasmRules implements Rules {
  readonly #threads: number;
  #heapBytes = 16 * PAGE;
  readonly #heap = new HeapAllocator(HEAP_BASE, Number.MAX_SAFE_INTEGER, (end) => {
    if (end + PAGE > this.#heapBytes) this.#heapBytes += heapGrowth(this.#heapBytes, end + PAGE);
    return true;
  });
  host = 0;

  constructor(threads: number) {
    this.#threads = threads;
  }
  get reserved(): number {
    return this.#heapBytes + this.host;
  }
  allocate(byteLength: number, weight: boolean): DeviceBuffer {
    const bytes = Math.max(alignUp(byteLength), HEAP_ALIGNMENT);
    if (weight && bytes >= SMALLEST_EXTERNAL && this.#heap.used + bytes > HEAP_WEIGHT_LIMIT) {
      this.host += bytes;
      return new ExternalBuffer(0, bytes, []);
    }
    return new HeapBuffer(this.#heap.allocate(bytes)!, bytes);
  }
  release(buffer: DeviceBuffer): void {
    if (buffer instanceof HeapBuffer) this.#heap.free(buffer.address);
    else this.host -= buffer.byteLength;
  }
  execute(op: AnyOp, call: OpCall): void {
    for (const step of op.wasm!(call)) {
      const { heapBytes } = planStep(op.name, step, this.#threads);
      if (heapBytes > 0) this.#heap.free(this.#heap.allocate(heapBytes)!);
    }
  }
  submit(): void {
    // A queue frees in order: memory is given back while recording.
  }
  trim(): void {
    // A wasm memory cannot shrink.
  }
}

const LIMITLESS: WebGpuCapabilities = {
  shaderF16: true,
  subgroups: true,
  subgroupMinSize: 32,
  subgroupMaxSize: 32,
  maxWorkgroupsPerDimension: 65535,
  maxBindingBytes: Infinity,
  maxInvocations: 1024,
  maxWorkgroupBytes: 32768,
  software: false,
};

export class WebGpuRules implements Rules {
  readonly host = 0;
  readonly #capabilities: WebGpuCapabilities;
  readonly #memory: Memory;
  #dispatches = 0;
  #flops = 0;

  constructor(capabilities = LIMITLESS, maxBufferSize = Infinity) {
    this.#capabilities = capabilities;
    const createBuffer = () => ({ destroy: () => undefined }) as unknown as GPUBuffer;
    this.#memory = new Memory({ limits: { maxBufferSize }, createBuffer }, {}, () => {
      this.submit();
    });
  }
  get reserved(): number {
    return this.#memory.reserved;
  }
  allocate(byteLength: number, weight: boolean): DeviceBuffer {
    return this.#memory.allocate(byteLength, weight);
  }
  release(buffer: DeviceBuffer): void {
    this.#memory.release(buffer as GpuBuffer);
  }
  execute(op: AnyOp, call: OpCall, flops: number): void {
    scope(() => {
      for (const { program, bindings } of op.webgpu!(call, this.#capabilities)) {
        this.#dispatches++;
        for (const name in bindings) {
          const value = bindings[name]!;
          if (!ArrayBuffer.isView(value))
            boundBytes(op.name, program.name, name, value, this.#capabilities.maxBindingBytes);
        }
      }
    });
    this.#flops += flops;
    if (submitIsDue(this.#dispatches, this.#flops, this.#capabilities.software)) this.submit();
  }
  submit(): void {
    this.#dispatches = 0;
    this.#flops = 0;
    this.#memory.submitted();
  }
  trim(): void {
    this.#memory.trim();
  }
}
