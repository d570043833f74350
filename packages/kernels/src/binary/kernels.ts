// WGSL and wasm of broadcast arithmetic: inputs of one size go element by element, others through nested loops.
import { wasmKernel } from '@magi1/tensor';
import type { F32x4, I32, Tensor, WasmOf, WebGpuOf } from '@magi1/tensor';
import { elementwise } from '../support/families/elementwise.ts';
import { forVectors } from '../support/wasm/vectors.ts';
import { WORKGROUP_INDEX } from '../support/wgsl/dispatch.ts';
import { cutDispatches, elementsOf, wholeAndPart } from '../support/wgsl/parts.ts';
import type { CutOperand } from '../support/wgsl/parts.ts';
import { broadcastPlan, elementsBetween } from './broadcast.ts';
import type { Binary, BinaryKind } from './contract.ts';

const OPERATORS: Record<BinaryKind, string> = { add: '+', sub: '-', mul: '*', div: '/' };

const sameSize = elementwise<Binary, { readonly kind: BinaryKind }>({
  name: 'binary.same',
  inputs: ['a', 'b'],
  variant: ({ kind }) => ({ kind }),
  wgsl: ({ kind }) => `a ${OPERATORS[kind]} b`,
  wasm: (_, { a, b }, { kind }) => a![kind](b!),
  cost: 1,
});

const programs = wholeAndPart<{ readonly kind: BinaryKind }>({ operands: ['a', 'b', 'y'] }, ({ main, at }) => ({
  name: 'binary.broadcast',
  bindings: () => [
    { name: 'a', type: 'array<f32>', access: 'read' },
    { name: 'b', type: 'array<f32>', access: 'read' },
    { name: 'loops', type: 'array<u32>', access: 'read' },
    { name: 'y', type: 'array<f32>', access: 'read_write' },
  ],
  params: { size: 'u32', rank: 'u32' },
  source: ({ kind }) => /* wgsl */ `
${WORKGROUP_INDEX}
${main}
  if (i >= params.size) { return; }
  var rest = i;
  var from_a = 0u;
  var from_b = 0u;
  // loops: length, stride of a, stride of b; innermost first
  for (var axis = 0u; axis < params.rank; axis++) {
    let length = loops[3u * axis];
    let next = rest / length;
    let at = rest - next * length;
    from_a += at * loops[3u * axis + 1u];
    from_b += at * loops[3u * axis + 2u];
    rest = next;
  }
  y[${at('y', 'i')}] = a[${at('a', 'from_a')}] ${OPERATORS[kind]} b[${at('b', 'from_b')}];
}
`,
}));

type KernelVariant = { readonly kind: BinaryKind; readonly aMoves: boolean; readonly bMoves: boolean };

/** An item is one innermost loop, in which an input moves on by one element or stays. */
const kernel = wasmKernel({
  name: 'binary.broadcast',
  args: { a: 'ptr', b: 'ptr', loops: 'ptr', y: 'ptr', rank: 'i32', length: 'i32' },
  body(k, { begin, end, a, b, loops, y, rank, length }, { kind, aMoves, bMoves }: KernelVariant) {
    k.forRange(begin, end, 1, (item) => {
      const rest = k.var(item);
      const [fromA, fromB] = [k.var(a), k.var(b)];
      k.forRange(0, rank, 1, (axis) => {
        const entry = k.let(loops.add(axis.mul(12)));
        const at = k.let(rest.remU(entry.loadI32()).shl(2));
        fromA.set(fromA.add(at.mul(entry.loadI32(4))));
        fromB.set(fromB.add(at.mul(entry.loadI32(8))));
        rest.set(rest.divU(entry.loadI32()));
      });
      const operand = (from: I32, moves: boolean): ((at: I32) => F32x4) => {
        if (moves) return (at) => from.add(at).loadF32x4();
        const value = k.let(from.loadF32x4Splat());
        return () => value;
      };
      const [left, right] = [operand(fromA, aMoves), operand(fromB, bMoves)];
      const out = k.let(y.add(item.mul(length).shl(2)));
      forVectors(k, length, (at, put) => {
        put(out.add(at), left(at)[kind](right(at)));
      });
    });
  },
});

/** Lengths and strides of the loops, innermost first. */
function loopTable(dims: readonly number[], aStrides: readonly number[], bStrides: readonly number[]): Uint32Array {
  const rows = dims.map((dim, axis) => [dim, aStrides[axis]!, bStrides[axis]!]);
  return Uint32Array.from(rows.reverse().flat());
}

export const webgpu: WebGpuOf<Binary> = (call, capabilities) => {
  const {
    inputs: { a, b },
    y,
    params: { kind },
  } = call;
  if (a.size === y.size && b.size === y.size) return sameSize.webgpu(call, capabilities);
  const { dims, aStrides, bStrides } = broadcastPlan(a.shape, b.shape);
  const walked = (tensor: Tensor, strides: readonly number[]): CutOperand => [
    tensor,
    (start, end) => {
      const [first, last] = elementsBetween(dims, strides, start, end - 1);
      return [4 * first, 4 * (last + 1)];
    },
    4,
  ];
  return cutDispatches(
    'binary',
    programs,
    {
      size: y.size,
      operands: { a: walked(a, aStrides), b: walked(b, bStrides), y: elementsOf(y) },
      others: { loops: loopTable(dims, aStrides, bStrides) },
      variant: { kind },
      params: { rank: dims.length },
    },
    capabilities,
  );
};

export const wasm: WasmOf<Binary> = (call) => {
  const {
    inputs: { a, b },
    y,
    params: { kind },
  } = call;
  if (a.size === y.size && b.size === y.size) return sameSize.wasm(call);
  const { dims, aStrides, bStrides } = broadcastPlan(a.shape, b.shape);
  const [length, outer] = [dims.at(-1)!, dims.slice(0, -1)];
  return [
    {
      kernel,
      variant: { kind, aMoves: aStrides.at(-1) === 1, bMoves: bStrides.at(-1) === 1 },
      args: { a, b, loops: loopTable(outer, aStrides, bStrides), y, rank: outer.length, length },
      items: y.size / length,
      itemCost: 20 * outer.length + 2 * length,
    },
  ];
};
