// Arithmetic of two f32 tensors with numpy broadcasting.
import { defineOp, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { broadcastPlan } from './broadcast.ts';
import { cases, randomCase } from './cases.ts';
import { contract } from './contract.ts';
import type { Binary, BinaryKind } from './contract.ts';
import { wasm, webgpu } from './kernels.ts';

const functions: Record<BinaryKind, (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
};

export const binaryOp = defineOp<Binary>({
  ...contract,
  reference({ inputs: { a, b }, y, params: { kind } }) {
    const f = functions[kind];
    const { dims, aStrides, bStrides } = broadcastPlan(a.shape, b.shape);
    for (let i = 0; i < y.data.length; i++) {
      let [rest, ai, bi] = [i, 0, 0];
      for (let axis = dims.length - 1; axis >= 0; axis--) {
        const at = rest % dims[axis]!;
        rest = (rest - at) / dims[axis]!;
        ai += at * aStrides[axis]!;
        bi += at * bStrides[axis]!;
      }
      y.data[i] = f(a.data[ai]!, b.data[bi]!);
    }
  },
  webgpu,
  wasm,
  cases,
  randomCase,
});

/** a + b, f32, shapes broadcast as numpy's. */
export const add = (a: Tensor, b: Tensor): Tensor => runOp(binaryOp, { a, b }, { kind: 'add' });
/** a - b, f32, shapes broadcast as numpy's. */
export const sub = (a: Tensor, b: Tensor): Tensor => runOp(binaryOp, { a, b }, { kind: 'sub' });
/** a * b, f32, shapes broadcast as numpy's. */
export const mul = (a: Tensor, b: Tensor): Tensor => runOp(binaryOp, { a, b }, { kind: 'mul' });
/** a / b, f32, shapes broadcast as numpy's. */
export const div = (a: Tensor, b: Tensor): Tensor => runOp(binaryOp, { a, b }, { kind: 'div' });
