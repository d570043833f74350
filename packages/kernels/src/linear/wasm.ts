// wasm linear.
import type { OpDefinition } from '@magi1/tensor';
import { gemmStep } from '../support/families/gemm/wasm.ts';
import { linearGemm } from './gemm.ts';
import type { LinearParams } from './index.ts';

export const wasm: NonNullable<OpDefinition<'x' | 'weight', 'bias', LinearParams>['wasm']> = (call) => [
  gemmStep(linearGemm(call)),
];
