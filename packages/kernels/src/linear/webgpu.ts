// WGSL of linear.
import type { OpDefinition } from '@magi1/tensor';
import { gemmDispatches } from '../support/families/gemm/webgpu.ts';
import { linearGemm } from './gemm.ts';
import type { LinearParams } from './index.ts';

export const webgpu: NonNullable<OpDefinition<'x' | 'weight', 'bias', LinearParams>['webgpu']> = (call, capabilities) =>
  gemmDispatches(linearGemm(call), capabilities);
