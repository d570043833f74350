// Elementwise functions of one f32 tensor: SiLU, GELU (erf and tanh forms), tanh.
import { defineOp, elementCount, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { checkDType } from '../support/checks.ts';
import { cases } from './cases.ts';
import { kernels } from './kernels.ts';
import { unaryFunctions } from './reference.ts';
import type { UnaryKind } from './reference.ts';

export interface UnaryParams {
  readonly kind: UnaryKind;
}

export const unaryOp = defineOp<'x', never, UnaryParams>({
  name: 'unary',
  infer({ x }) {
    checkDType('unary', 'x', x, ['f32']);
    return [{ shape: x.shape, dtype: 'f32' }];
  },
  cost: ({ x }) => ({ flops: 8 * elementCount(x.shape), bytes: 8 * elementCount(x.shape) }),
  reference({ x }, [y], { kind }) {
    const f = unaryFunctions[kind];
    for (let i = 0; i < x.data.length; i++) y!.data[i] = f(x.data[i]!);
  },
  ...kernels,
  cases,
  randomCase: (random) => ({
    name: 'random',
    inputs: {
      x: { shape: [1 + random(9), 1 + random(70)], dtype: 'f32', fill: { kind: 'normal', scale: 1 + random(8) } },
    },
    params: { kind: (['silu', 'geluErf', 'geluTanh', 'tanh'] as const)[random(4)]! },
  }),
});

/** x * sigmoid(x), any shape, f32. */
export const silu = (x: Tensor): Tensor => runOp(unaryOp, { x }, { kind: 'silu' })[0]!;
/** 0.5 x (1 + erf(x / sqrt 2)), any shape, f32. */
export const geluErf = (x: Tensor): Tensor => runOp(unaryOp, { x }, { kind: 'geluErf' })[0]!;
/** 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), any shape, f32. */
export const geluTanh = (x: Tensor): Tensor => runOp(unaryOp, { x }, { kind: 'geluTanh' })[0]!;
/** tanh(x), any shape, f32. */
export const tanh = (x: Tensor): Tensor => runOp(unaryOp, { x }, { kind: 'tanh' })[0]!;
