// Arithmetic of two f32 tensors with numpy broadcasting.
import { OpError, defineOp, describeSpec, elementCount, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { checkDType } from '../support/checks.ts';
import { broadcastPlan, broadcastShape } from './broadcast.ts';
import { cases, randomCase } from './cases.ts';
import { wasm, webgpu } from './kernels.ts';

export type BinaryKind = 'add' | 'sub' | 'mul' | 'div';

export interface BinaryParams {
  readonly kind: BinaryKind;
}

const functions: Record<BinaryKind, (a: number, b: number) => number> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
};

export const binaryOp = defineOp<'a' | 'b', never, BinaryParams>({
  name: 'binary',
  infer({ a, b }, { kind }) {
    checkDType(kind, 'a', a, ['f32']);
    checkDType(kind, 'b', b, ['f32']);
    const shape = broadcastShape(a.shape, b.shape);
    if (shape === undefined) {
      throw new OpError(kind, `a ${describeSpec(a)} and b ${describeSpec(b)} cannot be broadcast together`);
    }
    return [{ shape, dtype: 'f32' }];
  },
  cost({ a, b }) {
    const size = elementCount(broadcastShape(a.shape, b.shape) ?? []);
    return { flops: size, bytes: 4 * (size + elementCount(a.shape) + elementCount(b.shape)) };
  },
  reference({ a, b }, [y], { kind }) {
    const f = functions[kind];
    const { dims, aStrides, bStrides } = broadcastPlan(a.shape, b.shape);
    for (let i = 0; i < y!.data.length; i++) {
      let [rest, ai, bi] = [i, 0, 0];
      for (let axis = dims.length - 1; axis >= 0; axis--) {
        const at = rest % dims[axis]!;
        rest = (rest - at) / dims[axis]!;
        ai += at * aStrides[axis]!;
        bi += at * bStrides[axis]!;
      }
      y!.data[i] = f(a.data[ai]!, b.data[bi]!);
    }
  },
  webgpu,
  wasm,
  cases,
  randomCase,
});

/** a + b, f32, shapes broadcast as numpy's. */
export const add = (a: Tensor, b: Tensor): Tensor => runOp(binaryOp, { a, b }, { kind: 'add' })[0]!;
/** a - b, f32, shapes broadcast as numpy's. */
export const sub = (a: Tensor, b: Tensor): Tensor => runOp(binaryOp, { a, b }, { kind: 'sub' })[0]!;
/** a * b, f32, shapes broadcast as numpy's. */
export const mul = (a: Tensor, b: Tensor): Tensor => runOp(binaryOp, { a, b }, { kind: 'mul' })[0]!;
/** a / b, f32, shapes broadcast as numpy's. */
export const div = (a: Tensor, b: Tensor): Tensor => runOp(binaryOp, { a, b }, { kind: 'div' })[0]!;
