// Elementwise functions of one f32 tensor: SiLU, GELU (erf and tanh forms), tanh.
import { defineOp, elementCount, runOp } from '@magi1/tensor';
import type { CaseOf, F32x4, KernelBuilder, OpTypes, Tensor } from '@magi1/tensor';
import { elementwise } from '../support/families/elementwise.ts';
import { ERF, SILU, TANH } from '../support/wgsl/functions.ts';
import * as lanes from '../support/wasm/functions.ts';

export type UnaryKind = 'silu' | 'geluErf' | 'geluTanh' | 'tanh';

/** erf to double precision: its Taylor series for small arguments, a continued fraction of erfc beyond. */
export function erf(x: number): number {
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  if (a < 2.5) {
    let term = a;
    let sum = a;
    for (let n = 1; Math.abs(term) > 1e-18 * sum; n++) {
      term *= (-a * a) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = a;
  for (let n = 60; n >= 1; n--) fraction = a + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-a * a) / (Math.sqrt(Math.PI) * fraction));
}

export const unaryFunctions: Record<UnaryKind, (x: number) => number> = {
  silu: (x) => x / (1 + Math.exp(-x)),
  geluErf: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  geluTanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x))),
  tanh: Math.tanh,
};

export type Unary = OpTypes<{ x: Tensor }, { readonly kind: UnaryKind }>;

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

const kernels = elementwise<Unary, { readonly kind: UnaryKind }>({
  name: 'unary',
  inputs: ['x'],
  variant: ({ kind }) => ({ kind }),
  functions: ({ kind }) => CODE[kind].functions,
  wgsl: ({ kind }) => CODE[kind].wgsl,
  wasm: (k, { x }, { kind }) => CODE[kind].wasm(k, x!),
  cost: 24,
});

const kinds: readonly UnaryKind[] = ['silu', 'geluErf', 'geluTanh', 'tanh'];

// Values where a naive formula overflows or loses the sign of zero.
const edges = [0, -0, 1e-30, -1e-30, 0.5, -0.5, 3, -3, 9, -9, 20, -20, 88, -88, 100, -100, 1e4, -1e4];

const cases: readonly CaseOf<Unary>[] = kinds.flatMap((kind) => [
  {
    name: `${kind}.odd`,
    inputs: { x: { shape: [3, 5, 7], dtype: 'f32', fill: { kind: 'normal', scale: 3 } } },
    params: { kind },
  },
  {
    name: `${kind}.edges`,
    inputs: { x: { shape: [edges.length], dtype: 'f32', fill: { kind: 'values', values: edges } } },
    params: { kind },
  },
  {
    name: `${kind}.large`,
    inputs: { x: { shape: [1024, 3072], dtype: 'f32' } },
    params: { kind },
    benchmarkOnly: true,
  },
]);

export const unaryOp = defineOp<Unary>({
  name: 'unary',
  infer({ x }, { kind }, check) {
    check.as(kind).dtype('x', 'f32');
    return { shape: x.shape, dtype: 'f32' };
  },
  cost: ({ x }) => ({ flops: 8 * elementCount(x.shape), bytes: 8 * elementCount(x.shape) }),
  reference({ inputs: { x }, y, params: { kind } }) {
    const f = unaryFunctions[kind];
    for (let i = 0; i < x.data.length; i++) y.data[i] = f(x.data[i]!);
  },
  ...kernels,
  cases,
  randomCase: (random) => ({
    name: 'random',
    inputs: {
      x: { shape: [1 + random(9), 1 + random(70)], dtype: 'f32', fill: { kind: 'normal', scale: 1 + random(8) } },
    },
    params: { kind: kinds[random(4)]! },
  }),
});

/** x * sigmoid(x), any shape, f32. */
export const silu = (x: Tensor): Tensor => runOp(unaryOp, { x }, { kind: 'silu' });
/** 0.5 x (1 + erf(x / sqrt 2)), any shape, f32. */
export const geluErf = (x: Tensor): Tensor => runOp(unaryOp, { x }, { kind: 'geluErf' });
/** 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), any shape, f32. */
export const geluTanh = (x: Tensor): Tensor => runOp(unaryOp, { x }, { kind: 'geluTanh' });
/** tanh(x), any shape, f32. */
export const tanh = (x: Tensor): Tensor => runOp(unaryOp, { x }, { kind: 'tanh' });
