// The allocator against a plain model: blocks never overlap, freed space merges, the best fit is taken.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { HeapAllocator, alignUp } from './heap.ts';

const LIMIT = 1 << 16;

function heap(limit = LIMIT): { allocator: HeapAllocator; committed: () => number } {
  let committed = 0;
  const allocator = new HeapAllocator(64, limit, (end) => {
    committed = Math.max(committed, end);
    return true;
  });
  return { allocator, committed: () => committed };
}

test('any sequence of allocations and releases', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('allocate' as const), bytes: fc.integer({ min: 0, max: 5000 }) }),
    fc.record({ kind: fc.constant('free' as const), pick: fc.nat() }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const { allocator, committed } = heap();
      const live: { address: number; size: number }[] = [];
      for (const action of steps) {
        if (action.kind === 'free') {
          if (live.length === 0) continue;
          allocator.free(live.splice(action.pick % live.length, 1)[0]!.address);
        } else {
          const size = Math.max(64, alignUp(action.bytes));
          const roomy = allocator.largestFree >= size;
          const address = allocator.allocate(action.bytes);
          expect(address !== undefined).toBe(roomy);
          if (address === undefined) continue;
          expect(address % 64).toBe(0);
          expect(address).toBeGreaterThanOrEqual(64);
          expect(address + size).toBeLessThanOrEqual(Math.min(LIMIT, committed()));
          for (const block of live) {
            expect(address + size <= block.address || block.address + block.size <= address).toBe(true);
          }
          live.push({ address, size });
        }
        expect(allocator.used).toBe(live.reduce((sum, block) => sum + block.size, 0));
      }
      for (const block of live) allocator.free(block.address);
      expect(allocator.largestFree).toBe(allocator.capacity);
      expect(allocator.allocate(allocator.capacity)).toBe(64);
    }),
    { numRuns: 300 },
  );
});

test('takes the block that fits best, and the same one again', () => {
  const { allocator } = heap();
  const blocks = [1000, 64, 300, 64, 500, 64].map((bytes) => allocator.allocate(bytes)!);
  allocator.free(blocks[0]!);
  allocator.free(blocks[2]!);
  allocator.free(blocks[4]!);
  expect(allocator.allocate(300)).toBe(blocks[2]);
  expect(allocator.allocate(400)).toBe(blocks[4]);
  expect(allocator.allocate(1000)).toBe(blocks[0]);
});

test('refuses what does not fit, a failed commit and a second free', () => {
  const { allocator } = heap(1024);
  expect(allocator.allocate(2000)).toBeUndefined();
  const stuck = new HeapAllocator(0, LIMIT, () => false);
  expect(stuck.allocate(64)).toBeUndefined();
  expect(stuck.used).toBe(0);
  const address = allocator.allocate(64)!;
  allocator.free(address);
  expect(() => allocator.free(address)).toThrow(/no block/);
});
