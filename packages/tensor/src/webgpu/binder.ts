// Bind groups, cached by the identity of buffers and the windows bound.
import type { Arena } from './arena.ts';
import { PARAMS_BYTES } from './prelude.ts';
import type { CompiledProgram } from './pipelines.ts';

/** Groups that are surely kept: those used last. As many of those before them may be. */
const SURELY_CACHED = 2048;

/** What one binding shows of one buffer. `buffer` 'tables' is the table arena, whose slot is a dynamic offset. */
export interface BoundRange {
  readonly buffer: { readonly id: number; readonly gpu: GPUBuffer } | 'tables';
  readonly byteStart: number;
  readonly byteLength: number;
}

export class Binder {
  readonly #gpu: GPUDevice;
  readonly #params: Arena;
  readonly #tables: Arena;
  /** Those used since the map was last full, and those used before. */
  #groups = new Map<string, GPUBindGroup>();
  #older = new Map<string, GPUBindGroup>();

  constructor(gpu: GPUDevice, params: Arena, tables: Arena) {
    this.#gpu = gpu;
    this.#params = params;
    this.#tables = tables;
  }

  group(program: CompiledProgram, ranges: readonly BoundRange[]): GPUBindGroup {
    let key = `${program.layoutId}`;
    for (const { buffer, byteStart, byteLength } of ranges) {
      key +=
        buffer === 'tables' ? `|t${this.#tables.generation}:${byteLength}` : `|${buffer.id}:${byteStart}:${byteLength}`;
    }
    let group = this.#groups.get(key);
    if (group !== undefined) return group;
    if (this.#groups.size >= SURELY_CACHED)
      [this.#older, this.#groups] = [this.#groups, new Map<string, GPUBindGroup>()];
    group = this.#older.get(key) ?? this.#create(program, ranges);
    this.#groups.set(key, group);
    return group;
  }

  clear(): void {
    this.#groups.clear();
    this.#older.clear();
  }

  #create(program: CompiledProgram, ranges: readonly BoundRange[]): GPUBindGroup {
    const entries: GPUBindGroupEntry[] = ranges.map(({ buffer, byteStart, byteLength }, i) => ({
      binding: i + 1,
      resource: { buffer: buffer === 'tables' ? this.#tables.buffer : buffer.gpu, offset: byteStart, size: byteLength },
    }));
    if (program.expanded.params.length > 0) {
      entries.unshift({ binding: 0, resource: { buffer: this.#params.buffer, offset: 0, size: PARAMS_BYTES } });
    }
    return this.#gpu.createBindGroup({ label: program.expanded.key, layout: program.bindGroupLayout, entries });
  }
}
