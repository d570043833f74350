// Classifier-free guidance over caption and previous chunks.
import { OpError, defineOp, elementCount, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { checkFinite, checkOptional } from '../support/checks.ts';
import { cases, randomCase } from './cases.ts';
import { kernels } from './kernels.ts';
import { guidanceWeights } from './weights.ts';
import type { GuidanceParams } from './weights.ts';

export type { GuidanceParams };

export const guidanceOp = defineOp<'nullText', 'alone' | 'caption', GuidanceParams>({
  name: 'guidance',
  infer({ nullText, alone, caption }, params) {
    checkFinite('guidance', 'prevScale', params.prevScale);
    checkFinite('guidance', 'textScale', params.textScale);
    checkOptional('guidance', 'nullText', nullText, nullText.shape);
    checkOptional('guidance', 'alone', alone, nullText.shape);
    checkOptional('guidance', 'caption', caption, nullText.shape);
    const weights = guidanceWeights(params);
    if (weights.alone !== 0 && alone === undefined) {
      throw new OpError(
        'guidance',
        `prevScale ${params.prevScale} needs the prediction without previous chunks (alone)`,
      );
    }
    if (weights.caption !== 0 && caption === undefined) {
      throw new OpError('guidance', `textScale ${params.textScale} needs the prediction with caption (caption)`);
    }
    return [{ shape: nullText.shape, dtype: 'f32' }];
  },
  cost: ({ nullText }) => ({ flops: 5 * elementCount(nullText.shape), bytes: 16 * elementCount(nullText.shape) }),
  reference({ nullText, alone, caption }, [y], params) {
    const weights = guidanceWeights(params);
    for (let i = 0; i < nullText.data.length; i++) {
      let sum = weights.nullText * nullText.data[i]!;
      if (weights.alone !== 0) sum += weights.alone * alone!.data[i]!;
      if (weights.caption !== 0) sum += weights.caption * caption!.data[i]!;
      y!.data[i] = sum;
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
  return runOp(guidanceOp, { alone, nullText, caption }, { prevScale, textScale })[0]!;
};
