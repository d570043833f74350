// Resolves dispatches: from tensors, tables and numbers to a pipeline, a bind group, offsets and workgroups. What comes
// out is all that the recorder encodes. Parameters and tables lie in the arenas at the offsets until the next submit.
import type { Device } from '../device.ts';
import { OpError } from '../errors.ts';
import type { HostTable } from '../kernel.ts';
import { describeSpec } from '../shape.ts';
import { Tensor } from '../tensor.ts';
import type { Arena } from './arena.ts';
import type { Binder, BoundRange } from './binder.ts';
import { boundBytes } from './bound-bytes.ts';
import type { BindingDeclaration, TensorWindow, WebGpuCapabilities, WebGpuDispatch } from './kernel.ts';
import type { GpuBuffer } from './memory.ts';
import type { PipelineCache } from './pipelines.ts';
import { packParams, PARAMS_BYTES } from './prelude.ts';
import type { ExpandedProgram } from './prelude.ts';

export interface ResolvedDispatch {
  readonly op: string;
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  /** Of the parameters, if there are any, and of each table: dynamic offsets of the group. */
  readonly offsets: readonly number[];
  readonly workgroups: readonly [x: number, y: number, z: number];
  /** Of tensors. */
  readonly buffers: readonly GpuBuffer[];
}

/** What one binding shows: a range of a tensor's buffer, or a slot of the table arena with the data that goes there. */
type DispatchRange = BoundRange & { readonly table?: HostTable };

export interface ResolverParts {
  readonly device: Device;
  readonly capabilities: WebGpuCapabilities;
  readonly offsetAlignment: number;
  readonly pipelines: PipelineCache;
  readonly binder: Binder;
  readonly params: Arena;
  readonly tables: Arena;
  /** Submits what is recorded if there is no room for one more dispatch with so many bytes of tables. */
  readonly makeRoom: (tableBytes: number) => void;
  /** A copy of bytes of a buffer, recorded before the dispatch and kept until the op is recorded. */
  readonly alignedCopy: (buffer: GpuBuffer, byteStart: number, byteLength: number) => GpuBuffer;
}

export class Resolver {
  readonly #parts: ResolverParts;

  constructor(parts: ResolverParts) {
    this.#parts = parts;
  }

  /** Encode the result before anything else is resolved; undefined when there is nothing to do. */
  resolve(op: string, dispatch: WebGpuDispatch): ResolvedDispatch | undefined {
    const expanded = this.#parts.pipelines.expand(dispatch.program, dispatch.variant);
    const { bindings, name } = expanded;
    const given = dispatch.bindings;
    const ranges = bindings.map((binding) => {
      const value = given[binding.name];
      if (value === undefined) throw new OpError(op, `binding ${binding.name} of program ${name} is missing`);
      return ArrayBuffer.isView(value)
        ? tableRange(op, name, binding, value)
        : this.#tensorRange(op, name, binding, value);
    });
    const names = Object.keys(given);
    if (names.length > bindings.length) {
      const extra = names.filter((key) => !bindings.some((binding) => binding.name === key));
      throw new OpError(op, `program ${name} has no binding ${extra.join(', ')}`);
    }
    return this.resolveRanges(op, expanded, ranges, dispatch);
  }

  resolveRanges(
    op: string,
    expanded: ExpandedProgram,
    ranges: readonly DispatchRange[],
    { params, workgroups }: Pick<WebGpuDispatch, 'params' | 'workgroups'>,
  ): ResolvedDispatch | undefined {
    const { capabilities, pipelines, binder, tables, makeRoom } = this.#parts;
    const most = capabilities.maxWorkgroupsPerDimension;
    if (workgroups.some((count) => !Number.isInteger(count) || count < 0 || count > most)) {
      throw new OpError(
        op,
        `program ${expanded.name}: workgroups ${workgroups.join(' x ')} must be integers of at most ${most}`,
      );
    }
    checkAliasing(op, expanded, ranges);
    if (workgroups.includes(0)) return undefined;
    const program = pipelines.get(
      op,
      expanded,
      ranges.map(({ table }) => table !== undefined),
    );
    let tableBytes = 0;
    for (const { table, byteLength } of ranges) if (table !== undefined) tableBytes += byteLength;
    makeRoom(tableBytes);
    const offsets: number[] = [];
    const buffers: GpuBuffer[] = [];
    const slot = this.#parts.params.take(PARAMS_BYTES);
    packParams(op, expanded, params, this.#parts.params.view, slot);
    if (expanded.params.length > 0) offsets.push(slot);
    for (const { table, byteLength, buffer } of ranges) {
      if (table !== undefined) {
        const slot = tables.take(byteLength);
        tables.bytes.set(new Uint8Array(table.buffer, table.byteOffset, table.byteLength), slot);
        offsets.push(slot);
      } else if (buffer !== 'tables') {
        buffers.push(buffer as GpuBuffer);
      }
    }
    return { op, pipeline: program.pipeline, group: binder.group(program, ranges), offsets, workgroups, buffers };
  }

  #tensorRange(op: string, program: string, binding: BindingDeclaration, value: Tensor | TensorWindow): BoundRange {
    const { tensor, byteStart, byteLength } =
      value instanceof Tensor ? { tensor: value, byteStart: 0, byteLength: value.byteLength } : value;
    if (tensor.device !== this.#parts.device)
      throw new OpError(op, `${described(binding, program, tensor)} is on another device`);
    const buffer = tensor.buffer as GpuBuffer;
    const most = this.#parts.capabilities.maxBindingBytes;
    const wanted = boundBytes(op, program, binding.name, value, most);
    const start = tensor.byteOffset + byteStart;
    if (start % this.#parts.offsetAlignment !== 0) {
      if (binding.access !== 'read')
        throw new OpError(
          op,
          `${described(binding, program, tensor)} is written at byte ${start}: outputs must be whole tensors`,
        );
      return { buffer: this.#parts.alignedCopy(buffer, start, byteLength), byteStart: 0, byteLength: wanted };
    }
    // The guard of tests belongs to the binding: otherwise WebGPU itself would keep stray writes away from it.
    const end = Math.min(start + wanted, buffer.byteLength);
    const length = end === buffer.byteLength ? Math.min(end + buffer.guardBytes - start, most) : end - start;
    return length > 0 ? { buffer, byteStart: start, byteLength: length } : { buffer, byteStart: 0, byteLength: 16 };
  }
}

const described = ({ name }: BindingDeclaration, program: string, tensor: Tensor): string =>
  `binding ${name} of program ${program} (${describeSpec(tensor)})`;

/** Slots of tables come in powers of two, so that tables of many lengths share bind groups. */
function tableRange(op: string, program: string, binding: BindingDeclaration, table: HostTable): DispatchRange {
  if (binding.access !== 'read') {
    throw new OpError(op, `binding ${binding.name} of program ${program} writes to a host table`);
  }
  const byteLength = 2 ** Math.max(8, Math.ceil(Math.log2(table.byteLength)));
  return { buffer: 'tables', byteStart: 0, byteLength, table };
}

/** WebGPU refuses a buffer that one dispatch both reads and writes, even in disjoint ranges. */
function checkAliasing(op: string, program: ExpandedProgram, ranges: readonly BoundRange[]): void {
  for (const [i, written] of program.bindings.entries()) {
    if (written.access !== 'read_write') continue;
    const { buffer } = ranges[i]!;
    for (let j = 0; j < ranges.length; j++) {
      if (j === i || ranges[j]!.buffer !== buffer) continue;
      throw new OpError(
        op,
        `program ${program.name} writes ${written.name} and binds the same buffer as ${program.bindings[j]!.name}; ` +
          'an output must have a buffer of its own',
      );
    }
  }
}
