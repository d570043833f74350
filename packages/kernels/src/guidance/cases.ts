import type { OpCase } from '@magi1/tensor';
import type { GuidanceParams } from './index.ts';

type Case = OpCase<'nullText', 'alone' | 'caption', GuidanceParams>;

const input = { shape: [1, 16, 1, 5, 7], dtype: 'f32' } as const;
const big = { shape: [1, 16, 6, 90, 90], dtype: 'f32' } as const;

export const cases: readonly Case[] = [
  {
    name: 'threePasses',
    inputs: { alone: input, nullText: input, caption: input },
    params: { prevScale: 1.5, textScale: 7.5 },
  },
  { name: 'noPrevious', inputs: { nullText: input, caption: input }, params: { prevScale: 1, textScale: 7.5 } },
  { name: 'noText', inputs: { alone: input, nullText: input }, params: { prevScale: 1.5, textScale: 0 } },
  { name: 'nullTextOnly', inputs: { nullText: input }, params: { prevScale: 1, textScale: 0 } },
  {
    name: 'equalScales',
    inputs: { alone: input, nullText: input, caption: input },
    params: { prevScale: 3, textScale: 3 },
  },
  {
    name: 'window',
    inputs: { alone: big, nullText: big, caption: big },
    params: { prevScale: 1.5, textScale: 7.5 },
    benchmarkOnly: true,
  },
];

export function randomCase(random: (below: number) => number): Case {
  const input = { shape: [1 + random(9), 1 + random(70)], dtype: 'f32' } as const;
  const [prevScale, textScale] = [1 + random(3) / 2, random(4) * 2.5];
  const inputs = {
    nullText: input,
    ...(prevScale === 1 ? {} : { alone: input }),
    ...(textScale === 0 ? {} : { caption: input }),
  };
  return { name: 'random', inputs, params: { prevScale, textScale } };
}
