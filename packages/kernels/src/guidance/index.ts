// Classifier-free guidance over caption and previous chunks.
import { defineOp, elementCount, runOp } from '@magi1/tensor';
import type { CaseOf, OpTypes, Tensor } from '@magi1/tensor';
import { elementwise } from '../support/families/elementwise.ts';

export interface GuidanceParams {
  readonly prevScale: number;
  readonly textScale: number;
}

/** What each prediction is multiplied by. One with weight 0 is not read. */
function guidanceWeights({ prevScale, textScale }: GuidanceParams): {
  readonly alone: number;
  readonly nullText: number;
  readonly caption: number;
} {
  return { alone: 1 - prevScale, nullText: prevScale - textScale, caption: textScale };
}

export type Guidance = OpTypes<{ nullText: Tensor; alone?: Tensor; caption?: Tensor }, GuidanceParams>;

/** Which predictions have a weight other than 0. */
type GuidanceVariant = { readonly alone: boolean; readonly caption: boolean };

const kernels = elementwise<Guidance, GuidanceVariant>({
  name: 'guidance',
  inputs: ['nullText', 'alone', 'caption'],
  scalars: ['nullTextWeight', 'aloneWeight', 'captionWeight'],
  scalarValues(params) {
    const { nullText, alone, caption } = guidanceWeights(params);
    return { nullTextWeight: nullText, aloneWeight: alone, captionWeight: caption };
  },
  variant(params) {
    const { alone, caption } = guidanceWeights(params);
    return { alone: alone !== 0, caption: caption !== 0 };
  },
  reads: (variant, input) => input === 'nullText' || variant[input],
  wgsl({ alone, caption }) {
    const others = [alone && ' + alone * params.aloneWeight', caption && ' + caption * params.captionWeight'];
    return `nullText * params.nullTextWeight${others.filter(Boolean).join('')}`;
  },
  wasm(k, values, { alone, caption }) {
    let sum = values['nullText']!.mul(values['nullTextWeight']!);
    if (alone) sum = k.madd(values['alone']!, values['aloneWeight']!, sum);
    if (caption) sum = k.madd(values['caption']!, values['captionWeight']!, sum);
    return sum;
  },
  cost: 5,
});

const input = { shape: [1, 16, 1, 5, 7], dtype: 'f32' } as const;
const big = { shape: [1, 16, 6, 90, 90], dtype: 'f32' } as const;

const cases: readonly CaseOf<Guidance>[] = [
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

function randomCase(random: (below: number) => number): CaseOf<Guidance> {
  const input = { shape: [1 + random(9), 1 + random(70)], dtype: 'f32' } as const;
  const [prevScale, textScale] = [1 + random(3) / 2, random(4) * 2.5];
  const inputs = {
    nullText: input,
    ...(prevScale === 1 ? {} : { alone: input }),
    ...(textScale === 0 ? {} : { caption: input }),
  };
  return { name: 'random', inputs, params: { prevScale, textScale } };
}

export const guidanceOp = defineOp<Guidance>({
  name: 'guidance',
  infer({ nullText, alone, caption }, params, check) {
    check.finite('prevScale', params.prevScale);
    check.finite('textScale', params.textScale);
    check.is('nullText', 'f32', nullText.shape);
    check.is('alone', 'f32', nullText.shape);
    check.is('caption', 'f32', nullText.shape);
    const weights = guidanceWeights(params);
    if (weights.alone !== 0 && alone === undefined) {
      throw check.error(`prevScale ${params.prevScale} needs the prediction without previous chunks (alone)`);
    }
    if (weights.caption !== 0 && caption === undefined) {
      throw check.error(`textScale ${params.textScale} needs the prediction with caption (caption)`);
    }
    return { shape: nullText.shape, dtype: 'f32' };
  },
  cost: ({ nullText }) => ({ flops: 5 * elementCount(nullText.shape), bytes: 16 * elementCount(nullText.shape) }),
  reference({ inputs: { nullText, alone, caption }, y, params }) {
    const weights = guidanceWeights(params);
    for (let i = 0; i < nullText.data.length; i++) {
      let sum = weights.nullText * nullText.data[i]!;
      if (weights.alone !== 0) sum += weights.alone * alone!.data[i]!;
      if (weights.caption !== 0) sum += weights.caption * caption!.data[i]!;
      y.data[i] = sum;
    }
  },
  ...kernels,
  cases,
  randomCase,
});

/**
 * (1 - p) alone + (p - s) nullText + s caption with p = prevScale and s = textScale; same shapes, f32.
 * `alone` may be left out when p = 1, `caption` when s = 0.
 */
export const guidance = (
  predictions: {
    readonly alone?: Tensor | undefined;
    readonly nullText: Tensor;
    readonly caption?: Tensor | undefined;
  },
  { prevScale, textScale }: GuidanceParams,
): Tensor => {
  const { alone, nullText, caption } = predictions;
  return runOp(guidanceOp, { alone, nullText, caption }, { prevScale, textScale });
};
