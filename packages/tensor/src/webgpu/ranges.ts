// What one dispatch binds: ranges of tensors' buffers and slots of the table arena.
import { OpError } from '../errors.ts';
import type { BoundRange } from './binder.ts';
import type { BindingDeclaration, HostTable } from './kernel.ts';
import type { GpuBuffer } from './memory.ts';
import type { ExpandedProgram } from './prelude.ts';

/** With `table`, the data that goes into a slot of the table arena. */
export type DispatchRange = BoundRange & { readonly table?: HostTable };

/** Slots of tables come in powers of two, so that tables of many lengths share bind groups. */
export function tableRange(op: string, program: string, binding: BindingDeclaration, table: HostTable): DispatchRange {
  if (binding.access !== 'read') {
    throw new OpError(op, `binding ${binding.name} of program ${program} writes to a host table`);
  }
  const byteLength = 2 ** Math.max(8, Math.ceil(Math.log2(table.byteLength)));
  return { buffer: 'tables', byteStart: 0, byteLength, table };
}

/** A window that holds the range and starts at an aligned offset. */
export function windowAround(buffer: GpuBuffer, byteStart: number, byteLength: number): BoundRange {
  const start = Math.floor(byteStart / 256) * 256;
  return { buffer, byteStart: start, byteLength: Math.ceil((byteStart + byteLength - start) / 4) * 4 };
}

/** WebGPU refuses a buffer that one dispatch both reads and writes, even in disjoint ranges. */
export function checkAliasing(op: string, program: ExpandedProgram, ranges: readonly BoundRange[]): void {
  ranges.forEach(({ buffer }, i) => {
    const written = program.bindings[i]!;
    if (written.access !== 'read_write') return;
    const other = ranges.findIndex((range, j) => j !== i && range.buffer === buffer);
    if (other < 0) return;
    throw new OpError(
      op,
      `program ${program.name} writes ${written.name} and binds the same buffer as ${program.bindings[other]!.name}; ` +
        'an output must have a buffer of its own',
    );
  });
}
