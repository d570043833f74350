// Linear cross-fade of a tile's leading edge with the tile before it, along one axis.
import { I32x4, defineOp, describeSpec, elementCount, runOp, wasmKernel } from '@magi1/tensor';
import type { CaseOf, OpTypes, Tensor, TensorSpec, WasmOf, WebGpuOf } from '@magi1/tensor';
import { randomShape } from '../support/random-shapes.ts';
import { forVectors } from '../support/wasm/vectors.ts';
import { WORKGROUP_INDEX } from '../support/wgsl/dispatch.ts';
import { cutDispatches, elementsOf, wholeAndPart } from '../support/wgsl/parts.ts';

export interface BlendParams {
  readonly axis: number;
  readonly extent: number;
}

/** Positions that are mixed: never more than either tile has. */
function blendExtent(previous: TensorSpec, current: TensorSpec, { axis, extent }: BlendParams): number {
  return Math.min(previous.shape[axis]!, current.shape[axis]!, extent);
}

export type BlendEdges = OpTypes<{ previous: Tensor; current: Tensor }, BlendParams>;

// WGSL of blendEdges: one element of the output per invocation.
const programs = wholeAndPart({ operands: ['previous', 'current', 'y'] }, ({ main, at }) => ({
  name: 'blendEdges',
  bindings: () => [
    { name: 'previous', type: 'array<f32>', access: 'read' },
    { name: 'current', type: 'array<f32>', access: 'read' },
    { name: 'y', type: 'array<f32>', access: 'read_write' },
  ],
  params: { size: 'u32', inner: 'u32', length: 'u32', length_before: 'u32', extent: 'u32' },
  source: () => /* wgsl */ `
${WORKGROUP_INDEX}
${main}
  if (i >= params.size) { return; }
  let run = i / params.inner;
  let outer = run / params.length;
  let k = run - outer * params.length;
  var value = current[${at('current', 'i')}];
  if (k < params.extent) {
    let weight = f32(k) / f32(params.extent);
    let other = outer * params.length_before + params.length_before - params.extent + k;
    value = previous[${at('previous', 'other * params.inner + i % params.inner')}] * (1.0 - weight) + value * weight;
  }
  y[${at('y', 'i')}] = value;
}
`,
}));

const webgpu: WebGpuOf<BlendEdges> = ({ inputs: { previous, current }, y, params }, capabilities) => {
  const [length, before] = [current.shape[params.axis]!, previous.shape[params.axis]!];
  const inner = elementCount(current.shape.slice(params.axis + 1));
  const extent = blendExtent(previous, current, params);
  // The first element of `previous` from which those from `at` on are mixed, or behind the one for `at`.
  const mixed = (at: number, behind: 0 | 1) => {
    const within = at % (length * inner);
    const edge = ((at - within) / length) * before + (before - extent) * inner;
    return edge + (within < extent * inner ? within + behind : extent * inner);
  };
  const bytes = (start: number, end: number) => [4 * mixed(start, 0), 4 * mixed(end - 1, 1)] as const;
  const operands = { previous: [previous, bytes, 4] as const, current: elementsOf(current), y: elementsOf(y) };
  const sizes = { inner, length, length_before: before, extent };
  return cutDispatches('blendEdges', programs, { size: y.size, operands, variant: {}, params: sizes }, capabilities);
};

// wasm blendEdges; an item is everything along the axis at one position of the axes before it.
const kernel = wasmKernel({
  name: 'blendEdges',
  args: { previous: 'ptr', current: 'ptr', y: 'ptr', inner: 'i32', length: 'i32', lengthBefore: 'i32', extent: 'i32' },
  body(
    k,
    { begin, end, previous, current, y, inner, length, lengthBefore, extent },
    { last }: { readonly last: boolean },
  ) {
    const innerBytes = k.let(inner.shl(2));
    k.forRange(begin, end, 1, (outer) => {
      const start = k.let(outer.mul(length).mul(innerBytes));
      const [from, to] = [k.let(current.add(start)), k.let(y.add(start))];
      const edge = outer.add(1).mul(lengthBefore).sub(extent).mul(innerBytes);
      const before = k.let(previous.add(edge));
      if (last) {
        forVectors(k, extent, (at, put) => {
          const positions = I32x4.lanes(0, 1, 2, 3).add(at.shrU(2).splat()).toF32x4S();
          const weight = k.let(positions.div(extent.toF32S().splat()));
          const old = before.add(at).loadF32x4().mul(weight.neg().add(1));
          put(to.add(at), old.add(from.add(at).loadF32x4().mul(weight)));
        });
      } else {
        k.forRange(0, extent, 1, (position) => {
          const weight = k.let(position.toF32S().div(extent.toF32S()).splat());
          const rest = k.let(weight.neg().add(1));
          const row = k.let(position.mul(innerBytes));
          forVectors(k, inner, (at, put) => {
            const old = before.add(row).add(at).loadF32x4().mul(rest);
            put(to.add(row).add(at), old.add(from.add(row).add(at).loadF32x4().mul(weight)));
          });
        });
      }
      const mixed = k.let(extent.mul(innerBytes));
      k.copy(to.add(mixed), from.add(mixed), length.sub(extent).mul(innerBytes));
    });
  },
});

const wasm: WasmOf<BlendEdges> = ({ inputs: { previous, current }, y, params }) => {
  const [length, inner] = [current.shape[params.axis]!, elementCount(current.shape.slice(params.axis + 1))];
  return [
    {
      kernel,
      variant: { last: inner === 1 },
      args: {
        previous,
        current,
        y,
        inner,
        length,
        lengthBefore: previous.shape[params.axis]!,
        extent: blendExtent(previous, current, params),
      },
      items: current.size / (length * inner),
      itemCost: length * inner,
    },
  ];
};

const blend = (
  name: string,
  previous: number[],
  current: number[],
  params: BlendParams,
  benchmarkOnly = false,
): CaseOf<BlendEdges> => ({
  name,
  inputs: { previous: { shape: previous, dtype: 'f32' }, current: { shape: current, dtype: 'f32' } },
  params,
  ...(benchmarkOnly ? { benchmarkOnly } : {}),
});

const cases: readonly CaseOf<BlendEdges>[] = [
  blend('last', [2, 3, 9], [2, 3, 7], { axis: 2, extent: 4 }),
  blend('middle', [2, 5, 3], [2, 6, 3], { axis: 1, extent: 2 }),
  blend('clipped', [3, 2, 4], [5, 2, 4], { axis: 0, extent: 9 }),
  blend('pieces', [2, 90, 5], [2, 80, 5], { axis: 1, extent: 70 }),
  blend('first.pieces', [400], [300], { axis: 0, extent: 200 }),
  blend('none', [3, 4], [3, 4], { axis: 1, extent: 0 }),
  blend('vae.decode.tile', [1, 3, 12, 256, 256], [1, 3, 12, 256, 256], { axis: 4, extent: 64 }, true),
];

function randomCase(random: (below: number) => number): CaseOf<BlendEdges> {
  const current = randomShape(random, 1 + random(4), 2000);
  const axis = random(current.length);
  const previous = current.map((dim, a) => (a === axis ? 1 + random(2 * dim) : dim));
  return blend('random', previous, current, { axis, extent: random(2 * current[axis]!) });
}

export const blendOp = defineOp<BlendEdges>({
  name: 'blendEdges',
  infer({ previous, current }, { axis, extent }, check) {
    check.dtype('previous', 'f32');
    check.dtype('current', 'f32');
    const fits =
      axis < current.shape.length &&
      previous.shape.length === current.shape.length &&
      current.shape.every((dim, a) => a === axis || dim === previous.shape[a]);
    if (!fits || !(extent >= 0)) {
      throw check.error(
        `${describeSpec(previous)} and ${describeSpec(current)} must match but for axis ${axis}; extent ${extent}`,
      );
    }
    return { shape: current.shape, dtype: 'f32' };
  },
  cost: ({ current }) => ({ flops: 3 * elementCount(current.shape), bytes: 8 * elementCount(current.shape) }),
  reference({ inputs: { previous, current }, y, params }) {
    const { axis } = params;
    const e = blendExtent(previous, current, params);
    const inner = elementCount(current.shape.slice(axis + 1));
    const [before, length] = [previous.shape[axis]!, current.shape[axis]!];
    for (let i = 0; i < y.data.length; i++) {
      const k = Math.floor(i / inner) % length;
      const row = Math.floor(i / (inner * length));
      const mixed = () =>
        previous.data[(row * before + before - e + k) * inner + (i % inner)]! * (1 - k / e) +
        current.data[i]! * (k / e);
      y.data[i] = k < e ? mixed() : current.data[i]!;
    }
  },
  webgpu,
  wasm,
  cases,
  randomCase,
});

/**
 * `current` with its first e positions along `axis` mixed: previous[-e+k] (1 - k/e) + current[k] k/e, where e is the
 * smallest of both lengths and `extent`. f32, shapes equal but for `axis`.
 */
export const blendEdges = (previous: Tensor, current: Tensor, params: BlendParams): Tensor =>
  runOp(blendOp, { previous, current }, params);
