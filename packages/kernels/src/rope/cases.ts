import type { CaseOf } from '@magi1/tensor';
import type { Rope } from './contract.ts';

type Case = CaseOf<Rope>;

// cos and sin need not lie on the unit circle for the op's arithmetic to be checked.
const turn = (name: string, [tokens, heads, features]: [number, number, number], columns: number): Case => ({
  name,
  inputs: {
    x: { shape: [tokens, heads, features], dtype: 'f32' },
    cos: { shape: [tokens, columns], dtype: 'f32' },
    sin: { shape: [tokens, columns], dtype: 'f32' },
  },
  params: {},
});

export const cases: readonly Case[] = [
  turn('partial', [5, 3, 24], 9),
  turn('whole', [4, 2, 16], 8),
  turn('odd', [7, 3, 13], 5),
  turn('one', [1, 1, 2], 1),
  turn('none', [2, 2, 3], 0),
  turn('head128', [9, 5, 128], 48),
  { ...turn('dit4.5b.q', [1024, 24, 128], 48), benchmarkOnly: true },
];

export function randomCase(random: (below: number) => number): Case {
  const columns = random(50);
  return turn('random', [1 + random(9), 1 + random(5), Math.max(1, 2 * columns + random(20))], columns);
}
