import type { CaseFill, OpCase, Shape } from '@magi1/tensor';
import type { QkNormParams } from './index.ts';

type Case = OpCase<'x', 'weight' | 'bias', QkNormParams>;

function heads(
  name: string,
  shape: Shape,
  kind: QkNormParams['kind'],
  more: Partial<Case> & { fill?: CaseFill } = {},
): Case {
  const { fill = { kind: 'normal' }, ...rest } = more;
  const features = { shape: [shape[2]!], dtype: 'f32' as const };
  const x = { shape, dtype: 'f32' as const, fill };
  return {
    name,
    inputs: kind === 'std' ? { x } : { x, weight: features, bias: features },
    params: { kind, eps: kind === 'std' ? 1e-5 : 1e-6 },
    ...rest,
  };
}

export const cases: readonly Case[] = [
  heads('weight', [5, 3, 24], 'weight'),
  heads('onePlusWeight', [7, 3, 128], 'onePlusWeight'),
  heads('std', [5, 3, 64], 'std'),
  heads('std.odd', [1, 1, 17], 'std'),
  heads('std.lowVariance', [9, 4, 64], 'std', { fill: { kind: 'normal', scale: 1e-5, mean: 1 } }),
  heads('std.constant', [3, 2, 16], 'std', { fill: { kind: 'normal', scale: 0, mean: 1000.1 } }),
  heads('onePlusWeight.large', [3, 2, 128], 'onePlusWeight', { fill: { kind: 'normal', scale: 1e4, mean: 1e5 } }),
  {
    name: 'noBias',
    inputs: { x: { shape: [2, 2, 8], dtype: 'f32' }, weight: { shape: [8], dtype: 'f32' } },
    params: { kind: 'weight', eps: 1e-6 },
  },
  heads('dit4.5b.q_layernorm', [1024, 24, 128], 'onePlusWeight', { benchmarkOnly: true }),
  heads('vae.attn', [1025, 16, 64], 'std', { benchmarkOnly: true }),
];

export function randomCase(random: (below: number) => number): Case {
  const kind = (['weight', 'onePlusWeight', 'std'] as const)[random(3)]!;
  return heads('random', [1 + random(9), 1 + random(5), 2 + random(140)], kind);
}
