// wasm of strided copies; an item is one innermost loop.
import { I32, wasmKernel } from '@magi1/tensor';
import type { WasmStep } from '@magi1/tensor';
import type { StridedCopy } from './loops.ts';

/** Elements from which a contiguous run is copied as a block. */
const SHORTEST_BLOCK = 16;

/** Bytes of a loop in the table: its length, then what a step and what a whole turn move on in source and target. */
const ENTRY = 20;

const kernel = wasmKernel({
  name: 'stridedCopy',
  args: {
    source: 'ptr',
    target: 'ptr',
    sourceOffset: 'i32',
    targetOffset: 'i32',
    outer: 'ptr',
    outerCount: 'i32',
    length: 'i32',
    sourceStep: 'i32',
    targetStep: 'i32',
  },
  body(
    k,
    {
      begin,
      end,
      scratch,
      source,
      target,
      sourceOffset,
      targetOffset,
      outer,
      outerCount,
      length,
      sourceStep,
      targetStep,
    },
    { blocks }: { readonly blocks: boolean },
  ) {
    const [from, to] = [k.var(source.add(sourceOffset)), k.var(target.add(targetOffset))];
    // Counters of the outer loops, innermost first, are kept in scratch.
    const rest = k.var(begin);
    k.forRange(0, outerCount, 1, (i) => {
      const entry = k.let(outer.add(i.mul(ENTRY)));
      const at = k.let(rest.remU(entry.loadI32()));
      rest.set(rest.divU(entry.loadI32()));
      k.store(scratch.add(i.shl(2)), at);
      from.set(from.add(at.mul(entry.loadI32(4))));
      to.set(to.add(at.mul(entry.loadI32(8))));
    });
    const runBytes = k.let(length.shl(2));
    k.forRange(begin, end, 1, () => {
      if (blocks) {
        k.copy(to, from, runBytes);
      } else {
        const [read, write] = [k.var(from), k.var(to)];
        k.forRange(0, length, 1, () => {
          k.store(write, read.loadI32());
          read.set(read.add(sourceStep));
          write.set(write.add(targetStep));
        });
      }
      const [counter, entry] = [k.var(scratch), k.var(outer)];
      const last = k.let(scratch.add(outerCount.shl(2)));
      k.loop((control) => {
        control.breakIf(counter.eq(last));
        const next = k.let(counter.loadI32().add(1));
        from.set(from.add(entry.loadI32(4)));
        to.set(to.add(entry.loadI32(8)));
        k.store(counter, next);
        control.breakIf(next.ltU(entry.loadI32()));
        k.store(counter, I32.of(0));
        from.set(from.sub(entry.loadI32(12)));
        to.set(to.sub(entry.loadI32(16)));
        counter.set(counter.add(4));
        entry.set(entry.add(ENTRY));
      });
    });
  },
});

export function wasmCopy({ source, target, sourceOffset, targetOffset, loops }: StridedCopy): WasmStep {
  const inner = loops.at(-1)!;
  const outer = loops.slice(0, -1).reverse();
  const entries = outer.map((loop) => [
    loop.length,
    4 * loop.source,
    4 * loop.target,
    4 * loop.length * loop.source,
    4 * loop.length * loop.target,
  ]);
  return {
    kernel,
    variant: { blocks: inner.source === 1 && inner.target === 1 && inner.length >= SHORTEST_BLOCK },
    args: {
      source,
      target,
      sourceOffset: 4 * sourceOffset,
      targetOffset: 4 * targetOffset,
      outer: Uint32Array.from(entries.flat()),
      outerCount: outer.length,
      length: inner.length,
      sourceStep: 4 * inner.source,
      targetStep: 4 * inner.target,
    },
    items: outer.reduce((n, { length }) => n * length, 1),
    itemCost: 8 + inner.length,
    scratchBytes: 4 * Math.max(outer.length, 1),
  };
}
