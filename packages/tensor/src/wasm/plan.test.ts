// What a step of a wasm op may be.
import { expect, it } from 'vitest';
import { planStep } from './plan.ts';

it.each([2 ** 30, 1.5, -1])('%d items are refused with the most that there may be', (items) => {
  const kernel = { name: 'none', args: {}, bytes: () => new Uint8Array() };
  expect(() => planStep('add', { kernel, items, args: {} } as never, 1)).toThrow(
    `add: ${items} work items on wasm, a whole number up to 1073741823 expected`,
  );
});
