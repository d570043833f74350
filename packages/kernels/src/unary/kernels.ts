// WGSL and wasm of the elementwise functions.
import type { F32x4, KernelBuilder } from '@magi1/tensor';
import { elementwise } from '../support/families/elementwise.ts';
import * as lanes from '../support/wasm/functions.ts';
import { ERF, SILU, TANH } from '../support/wgsl/functions.ts';
import type { UnaryParams } from './index.ts';
import type { UnaryKind } from './reference.ts';

interface UnaryCode {
  readonly functions: string;
  readonly wgsl: string;
  readonly wasm: (k: KernelBuilder, x: F32x4) => F32x4;
}

// What is multiplied by x itself need not let NaN pass.
const CODE: Record<UnaryKind, UnaryCode> = {
  silu: { functions: SILU, wgsl: 'silu(x)', wasm: lanes.silu },
  geluErf: {
    functions: ERF,
    wgsl: `0.5 * x * (1.0 + erf_number(x * ${Math.SQRT1_2}))`,
    wasm: (k, x) => x.mul(0.5).mul(lanes.erf(k, k.let(x.mul(Math.SQRT1_2))).add(1)),
  },
  geluTanh: {
    functions: TANH,
    wgsl: `0.5 * x * (1.0 + tanh_number(${Math.sqrt(2 / Math.PI)} * (x + 0.044715 * x * x * x)))`,
    wasm(k, x) {
      const inner = k.madd(x.mul(x).mul(x), 0.044715, x).mul(Math.sqrt(2 / Math.PI));
      return x.mul(0.5).mul(lanes.tanh(k, k.let(inner)).add(1));
    },
  },
  tanh: { functions: TANH, wgsl: 'tanh_(x)', wasm: lanes.tanh },
};

export const kernels = elementwise<'x', never, UnaryParams, { readonly kind: UnaryKind }>({
  name: 'unary',
  inputs: ['x'],
  variant: ({ kind }) => ({ kind }),
  functions: ({ kind }) => CODE[kind].functions,
  wgsl: ({ kind }) => CODE[kind].wgsl,
  wasm: (k, { x }, { kind }) => CODE[kind].wasm(k, x!),
  cost: 24,
});
