import { floatDTypes } from '@magi1/tensor';
import type { CaseOf, DType } from '@magi1/tensor';
import type { Cast } from './contract.ts';

type CastCase = CaseOf<Cast>;

// Ties, subnormals, overflow to infinity (f16, bf16) or NaN (f8e4m3fn), signed zero.
const edges = [
  0, -0, 1, -1, 1.00390625, 1.01171875, 2049, 2051, 6e-8, 3e-8, -6e-5, 0.0009765625, 0.001953125, 447, 448, 464, 465,
  -465, 65504, 65519, 65520, 1e-40, 3.4e38, -3.4e38,
];

const narrowing = (to: DType): CastCase[] => [
  {
    name: `f32-${to}.odd`,
    inputs: { x: { shape: [3, 7, 11], dtype: 'f32', fill: { kind: 'normal', scale: 20 } } },
    params: { to },
    tolerance: 0,
  },
  {
    name: `f32-${to}.edges`,
    inputs: { x: { shape: [edges.length], dtype: 'f32', fill: { kind: 'values', values: edges } } },
    params: { to },
    tolerance: 0,
  },
];

const widening = (from: DType): CastCase => ({
  name: `${from}-f32.odd`,
  inputs: {
    x: {
      shape: [5, 9, 3],
      dtype: from,
      ...(['i32', 'u32', 'u8'].includes(from)
        ? { fill: { kind: 'integers', below: 200 } as const }
        : from === 'bool'
          ? { fill: { kind: 'integers', below: 2 } as const }
          : {}),
    },
  },
  params: { to: 'f32' },
  tolerance: 0,
});

/** The largest of each block is halfway between two scales, too small for a normal one, too large for any, or zero. */
const q8Edges = [
  ...[127.5, 126.9, 1016.25, 2 ** -24 * 127.5, 2 ** -24 * 190.5, 2 ** -30, 1e-40, 8.3e6, 8.36e6, 3e38, 0, -127],
  ...[254, 0.0077, 381.5, 63.5],
].flatMap((most) => Array.from({ length: 32 }, (_, i) => (i === 5 ? most : (most * (i - 15.5)) / 16)));

const toQ8: CastCase[] = [
  ...(
    [
      [3, 64],
      [5, 2, 32],
      [7, 4, 3, 64],
    ] as const
  ).map((shape): CastCase => {
    const x = { shape, dtype: 'f32', fill: { kind: 'normal', scale: 20 } } as const;
    return { name: `f32-q8.${shape.join('x')}`, inputs: { x }, params: { to: 'q8' }, tolerance: 0 };
  }),
  {
    name: 'f32-q8.edges',
    inputs: { x: { shape: [8, 64], dtype: 'f32', fill: { kind: 'values', values: q8Edges } } },
    params: { to: 'q8' },
    tolerance: 0,
  },
];

export const cases: readonly CastCase[] = [
  ...toQ8,
  ...(['f16', 'bf16', 'f8e4m3fn'] as const).flatMap(narrowing),
  ...(['f16', 'bf16', 'f8e4m3fn', 'i32', 'u32', 'u8', 'bool'] as const).map(widening),
  ...(['bf16', 'q8'] as const).map((to): CastCase => {
    const x = { shape: [1024, 3072], dtype: 'f32' } as const;
    return { name: `f32-${to}.large`, inputs: { x }, params: { to }, tolerance: 0, benchmarkOnly: true };
  }),
];

export function randomCase(random: (below: number) => number): CastCase {
  const pairs: [DType, DType][] = [];
  for (const dtype of floatDTypes) pairs.push(['f32', dtype], [dtype, 'f32'], [dtype, dtype]);
  const [dtype, to] = pairs[random(pairs.length)]!;
  if (random(8) === 7) {
    const fill = { kind: 'normal', scale: 10 ** (random(19) - 12) } as const;
    const x = { shape: [1 + random(9), 64 * (1 + random(3))], dtype: 'f32', fill } as const;
    return { name: 'random.f32-q8', inputs: { x }, params: { to: 'q8' }, tolerance: 0 };
  }
  const fill = { kind: 'normal', scale: 10 ** (random(13) - 6) } as const;
  return {
    name: `random.${dtype}-${to}`,
    inputs: { x: { shape: [1 + random(300)], dtype, fill } },
    params: { to },
    tolerance: 0,
  };
}
