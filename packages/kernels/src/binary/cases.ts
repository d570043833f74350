import type { CaseFill, CaseOf, Shape } from '@magi1/tensor';
import type { Binary, BinaryKind } from './contract.ts';

type Case = CaseOf<Binary>;

function pair(name: string, kind: BinaryKind, a: Shape, b: Shape, fill: CaseFill = { kind: 'normal' }): Case {
  return {
    name: `${kind}.${name}`,
    inputs: { a: { shape: a, dtype: 'f32', fill }, b: { shape: b, dtype: 'f32', fill } },
    params: { kind },
  };
}

export const cases: readonly Case[] = [
  pair('same', 'add', [3, 5, 7], [3, 5, 7]),
  pair('same', 'sub', [3, 5, 7], [3, 5, 7]),
  pair('same', 'mul', [3, 5, 7], [3, 5, 7]),
  pair('same', 'div', [3, 5, 7], [3, 5, 7], { kind: 'normal', scale: 0.2, mean: 2 }),
  pair('bias', 'add', [6, 33], [33]),
  pair('columns', 'mul', [6, 33], [6, 1]),
  pair('outer', 'sub', [5, 1], [1, 9]),
  pair('middle', 'add', [2, 1, 5], [2, 3, 5]),
  pair('five', 'mul', [2, 1, 3, 1, 5], [1, 4, 1, 2, 1]),
  pair('scalar', 'div', [17], [1], { kind: 'normal', scale: 0.2, mean: 2 }),
  pair('rankZero', 'sub', [], [4, 3]),
  pair('bias.pieces', 'sub', [6, 133], [133]),
  pair('repeated.pieces', 'add', [301], [5, 1, 301]),
  pair('middle.pieces', 'mul', [90, 1, 7], [90, 3, 1]),
  pair('large', 'add', [65], [65], { kind: 'normal', scale: 1e30 }),
  { ...pair('dit4.5b.residual', 'add', [1024, 3072], [1024, 3072]), benchmarkOnly: true },
];

/** A shape of up to four axes, of which each input keeps some, has some as 1 and may lack leading ones. */
export function randomCase(random: (below: number) => number): Case {
  const shape = Array.from({ length: random(5) }, () => 1 + random(9));
  const input = (): number[] => shape.map((dim) => (random(3) === 2 ? 1 : dim)).slice(random(shape.length + 1));
  const kind = (['add', 'sub', 'mul', 'div'] as const)[random(4)]!;
  return pair('random', kind, input(), input(), { kind: 'normal', scale: 0.2, mean: 2 });
}
