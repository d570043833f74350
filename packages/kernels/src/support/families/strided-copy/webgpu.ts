// WGSL of strided copies: an invocation copies several positions of the innermost loop.
import { OpError } from '@magi1/tensor';
import type { Tensor, TensorWindow, WebGpuCapabilities, WebGpuDispatch, WgslProgram } from '@magi1/tensor';
import { MOST_LOOPS } from './loops.ts';
import type { CopyLoop, StridedCopy } from './loops.ts';
import { WORKGROUP_INDEX, foldWorkgroups } from '../../wgsl/dispatch.ts';

/** `wide`: the innermost loop moves quads. */
type CopyVariant = { readonly loops: number; readonly wide: boolean };

/** Most positions that an invocation copies. On software adapters finding the first takes longer than copying some. */
const RUN = { software: 16, hardware: 4 };
const LANES = 64;

/** Loops by number, the innermost is 0. */
const numbers = Array.from({ length: MOST_LOOPS }, (_, i) => i);

const outerLoop = (i: number): string => /* wgsl */ `
  next = rest / params.length${i};
  at = rest - next * params.length${i};
  source_at += at * params.source${i};
  target_at += at * params.target${i};
  rest = next;`;

const program: WgslProgram<CopyVariant> = {
  name: 'stridedCopy',
  bindings: ({ wide }) => [
    { name: 'source_', type: wide ? 'array<vec4u>' : 'array<u32>', access: 'read' },
    { name: 'target_', type: wide ? 'array<vec4u>' : 'array<u32>', access: 'read_write' },
  ],
  params: {
    invocations: 'u32',
    runs: 'u32',
    source_offset: 'u32',
    target_offset: 'u32',
    ...Object.fromEntries(
      numbers.flatMap((i) => [`length${i}`, `source${i}`, `target${i}`].map((name) => [name, 'u32' as const])),
    ),
  },
  source({ loops }) {
    const outerLoops = numbers.slice(1, loops).map(outerLoop).join('');
    return /* wgsl */ `
${WORKGROUP_INDEX}
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(id, count) * ${LANES}u + lane;
  if (i >= params.invocations) { return; }
  var rest = i / params.runs;
  let first = i - rest * params.runs;
  var source_at = params.source_offset;
  var target_at = params.target_offset;
  var next = 0u;
  var at = 0u;${outerLoops}
  // Neighbours in a subgroup copy neighbours in memory.
  for (var k = first; k < params.length0; k += params.runs) {
    target_[target_at + k * params.target0] = source_[source_at + k * params.source0];
  }
}
`;
  },
};

export function webGpuCopy(op: string, copy: StridedCopy, capabilities: WebGpuCapabilities): WebGpuDispatch[] {
  return pieces(op, copy, capabilities).map((piece) => dispatch(op, piece, capabilities));
}

function dispatch(
  op: string,
  { source, target, loops: given }: Piece,
  capabilities: WebGpuCapabilities,
): WebGpuDispatch {
  const inner = given.at(-1)!;
  const strides = given.slice(0, -1).flatMap((loop) => [loop.source, loop.target]);
  const wide =
    inner.source === 1 &&
    inner.target === 1 &&
    [inner.length, source.offset, target.offset, ...strides].every((n) => n % 4 === 0);
  const unit = wide ? 4 : 1;
  // Innermost first; in quads the inner loop is shorter and still moves on by one, all others move on by fewer.
  const outer = given.slice(0, -1).map(({ length, ...loop }) => ({
    length,
    source: loop.source / unit,
    target: loop.target / unit,
  }));
  const loops = [...outer, { ...inner, length: inner.length / unit }].reverse();
  const runs = Math.ceil(loops[0]!.length / RUN[capabilities.software ? 'software' : 'hardware']);
  const invocations = loops.slice(1).reduce((n, { length }) => n * length, runs);
  return {
    program,
    variant: { loops: loops.length, wide },
    bindings: { source_: source.binding, target_: target.binding },
    params: {
      invocations,
      runs,
      source_offset: source.offset / unit,
      target_offset: target.offset / unit,
      ...Object.fromEntries(
        numbers.flatMap((i) => {
          const loop = loops[i];
          return [
            [`length${i}`, loop?.length ?? 0],
            [`source${i}`, loop?.source ?? 0],
            [`target${i}`, loop?.target ?? 0],
          ];
        }),
      ),
    },
    workgroups: foldWorkgroups(op, Math.ceil(invocations / LANES), capabilities),
  };
}

interface Side {
  readonly binding: Tensor | TensorWindow;
  /** Elements from the binding's start to the first one. */
  readonly offset: number;
}

interface Piece {
  readonly source: Side;
  readonly target: Side;
  readonly loops: readonly CopyLoop[];
}

const ALIGNMENT = 256;

/** The copy, cut along its outermost loop when a tensor is larger than one binding. */
function pieces(op: string, copy: StridedCopy, { maxBindingBytes }: WebGpuCapabilities): Piece[] {
  const { source, target, loops } = copy;
  if (Math.max(source.byteLength, target.byteLength) <= maxBindingBytes) {
    return [
      {
        source: { binding: source, offset: copy.sourceOffset },
        target: { binding: target, offset: copy.targetOffset },
        loops,
      },
    ];
  }
  const [outermost, ...inner] = loops as [CopyLoop, ...CopyLoop[]];
  /** Bytes that one step of the outermost loop touches. */
  const extent = (side: 'source' | 'target') => 4 * inner.reduce((n, loop) => n + (loop.length - 1) * loop[side], 1);
  const fitting = (side: 'source' | 'target') =>
    Math.floor((maxBindingBytes - ALIGNMENT - extent(side)) / (4 * outermost[side])) + 1;
  const step = Math.min(fitting('source'), fitting('target'));
  if (step < 1) {
    throw new OpError(op, `one step of its outermost loop exceeds a binding of ${maxBindingBytes} bytes`);
  }
  const found: Piece[] = [];
  for (let start = 0; start < outermost.length; start += step) {
    const length = Math.min(step, outermost.length - start);
    const side = (tensor: Tensor, key: 'source' | 'target', offset: number): Side => {
      const first = 4 * (offset + start * outermost[key]);
      const byteStart = first - (first % ALIGNMENT);
      const byteEnd = first + 4 * (length - 1) * outermost[key] + extent(key);
      return { binding: { tensor, byteStart, byteLength: byteEnd - byteStart }, offset: (first - byteStart) / 4 };
    };
    found.push({
      source: side(source, 'source', copy.sourceOffset),
      target: side(target, 'target', copy.targetOffset),
      loops: [{ ...outermost, length }, ...inner],
    });
  }
  return found;
}
