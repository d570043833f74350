// wasm matmul.
import type { OpDefinition } from '@magi1/tensor';
import { gemmStep } from '../support/families/gemm/wasm.ts';
import { matmulGemm } from './gemm.ts';
import type { MatmulParams } from './index.ts';

export const wasm: NonNullable<OpDefinition<'a' | 'b', never, MatmulParams>['wasm']> = (call) => [
  gemmStep(matmulGemm(call)),
];
