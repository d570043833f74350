import type { CaseFill, OpCase } from '@magi1/tensor';
import type { GatedResidualParams } from './index.ts';

type Case = OpCase<'h' | 'branch' | 'gate' | 'weight' | 'bias', never, GatedResidualParams>;

function branchEnd(
  name: string,
  tokens: number,
  features: number,
  tokensPerRow: number,
  more: { onePlusWeight?: boolean; benchmarkOnly?: boolean; fill?: CaseFill } = {},
): Case {
  const { onePlusWeight = true, benchmarkOnly = false, fill = { kind: 'normal' } } = more;
  const feature = { shape: [features], dtype: 'f32' as const };
  return {
    name,
    inputs: {
      h: { shape: [tokens, features], dtype: 'f32' },
      branch: { shape: [tokens, features], dtype: 'f32', fill },
      gate: {
        shape: [Math.ceil(tokens / tokensPerRow), features],
        dtype: 'f32',
        fill: { kind: 'normal', scale: 0.5 },
      },
      weight: feature,
      bias: feature,
    },
    params: { eps: 1e-6, onePlusWeight, tokensPerRow },
    benchmarkOnly,
  };
}

export const cases: readonly Case[] = [
  branchEnd('odd', 15, 77, 5),
  branchEnd('lastRowShort', 7, 64, 3, { onePlusWeight: false }),
  branchEnd('oneRow', 4, 130, 4),
  branchEnd('manyTokens', 70, 64, 16),
  branchEnd('one', 1, 1, 1),
  branchEnd('rowPerToken', 5, 24, 1),
  branchEnd('large', 3, 300, 2, { fill: { kind: 'normal', scale: 1e6, mean: 1e6 } }),
  branchEnd('small', 3, 300, 2, { fill: { kind: 'normal', scale: 1e-4 } }),
  branchEnd('longRow', 2, 12288, 1),
  branchEnd('dit4.5b.self_attn_post_norm', 1024, 3072, 256, { benchmarkOnly: true }),
];

export function randomCase(random: (below: number) => number): Case {
  return branchEnd('random', 1 + random(20), 1 + random(200), 1 + random(9), { onePlusWeight: random(2) === 0 });
}
