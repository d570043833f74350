// WGSL and wasm of guidance: one variant per set of predictions that count.
import { elementwise } from '../support/families/elementwise.ts';
import { guidanceWeights } from './weights.ts';
import type { GuidanceParams } from './weights.ts';

type Prediction = 'nullText' | 'alone' | 'caption';
/** Which predictions have a weight other than 0. */
type GuidanceVariant = { readonly alone: boolean; readonly caption: boolean };

const reads = (variant: GuidanceVariant, input: Prediction) => input === 'nullText' || variant[input];

export const kernels = elementwise<'nullText', 'alone' | 'caption', GuidanceParams, GuidanceVariant>({
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
  reads,
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
