// WGSL of matmul.
import type { OpDefinition } from '@magi1/tensor';
import { gemmDispatches } from '../support/families/gemm/webgpu.ts';
import { matmulGemm } from './gemm.ts';
import type { MatmulParams } from './index.ts';

export const webgpu: NonNullable<OpDefinition<'a' | 'b', never, MatmulParams>['webgpu']> = (call, capabilities) =>
  gemmDispatches(matmulGemm(call), capabilities);
