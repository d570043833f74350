import type { CaseFill, OpCase, Shape } from '@magi1/tensor';
import type { LayerNormParams } from './index.ts';

type Case = OpCase<'x', 'weight' | 'bias', LayerNormParams>;

function layer(name: string, shape: Shape, fill: CaseFill, more: Partial<Case> & Partial<LayerNormParams> = {}): Case {
  const { eps = 1e-6, onePlusWeight = false, ...rest } = more;
  const features = [shape.at(-1)!];
  return {
    name,
    inputs: {
      x: { shape, dtype: 'f32', fill },
      weight: { shape: features, dtype: 'f32' },
      bias: { shape: features, dtype: 'f32' },
    },
    params: { eps, onePlusWeight },
    ...rest,
  };
}

const normal: CaseFill = { kind: 'normal' };

export const cases: readonly Case[] = [
  layer('odd', [3, 5, 77], normal),
  layer('onePlusWeight', [7, 64], normal, { onePlusWeight: true }),
  {
    name: 'plain',
    inputs: { x: { shape: [1, 1, 130], dtype: 'f32' } },
    params: { eps: 1e-5, onePlusWeight: false },
  },
  {
    name: 'weightOnly',
    inputs: { x: { shape: [2, 33], dtype: 'f32' }, weight: { shape: [33], dtype: 'f32' } },
    params: { eps: 1e-5, onePlusWeight: false },
  },
  layer('oneFeature', [3, 1], normal),
  layer('large', [5, 300], { kind: 'normal', scale: 3e5, mean: -1e6 }),
  // Deviations of about 170 ulps: the mean itself must be known better than f32 can say.
  layer('lowVariance', [4, 1001], { kind: 'normal', scale: 1e-5, mean: 1 }, { eps: 1e-12 }),
  layer('longRow', [2, 12288], { kind: 'normal', mean: 3 }),
  layer('manyRows', [301, 24], normal),
  layer('dit4.5b.norm', [1024, 3072], normal, { benchmarkOnly: true }),
  layer('dit24b.norm', [1024, 6144], normal, { benchmarkOnly: true }),
];

export function randomCase(random: (below: number) => number): Case {
  const shape = [1 + random(4), 1 + random(9), 1 + random(300)];
  const fill: CaseFill = { kind: 'normal', mean: random(20) - 10 };
  const { inputs, ...rest } = layer('random', shape, fill, { onePlusWeight: random(2) === 1 });
  const { x, weight, bias } = inputs;
  const given = random(4);
  return { ...rest, inputs: { x, ...(given & 1 ? { weight } : {}), ...(given & 2 ? { bias } : {}) } };
}
