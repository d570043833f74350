import { weightDTypes } from '@magi1/tensor';
import type { CaseOf, DType } from '@magi1/tensor';
import type { Embedding } from './contract.ts';

const lookup = (name: string, dtype: DType, n: number, rows: number, width: number, benchmarkOnly = false) =>
  ({
    name,
    inputs: {
      ids: { shape: [n], dtype: 'i32', fill: { kind: 'integers', below: rows } },
      table: { shape: [rows, width], dtype },
    },
    params: {},
    tolerance: 0,
    ...(benchmarkOnly ? { benchmarkOnly } : {}),
  }) satisfies CaseOf<Embedding>;

export const cases: readonly CaseOf<Embedding>[] = [
  lookup('f32.odd', 'f32', 7, 13, 33),
  lookup('bf16.odd', 'bf16', 5, 11, 27),
  lookup('f16.odd', 'f16', 5, 11, 27),
  lookup('f8e4m3fn.odd', 'f8e4m3fn', 6, 9, 31),
  lookup('bf16.even', 'bf16', 20, 40, 64),
  lookup('t5.shared', 'bf16', 800, 32128, 512, true),
];

export function randomCase(random: (below: number) => number): CaseOf<Embedding> {
  const dtype = weightDTypes[random(weightDTypes.length)]!;
  return lookup('random', dtype, 1 + random(20), 1 + random(30), 1 + random(50));
}
