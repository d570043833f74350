// WGSL of strided copies: an invocation copies several positions of the innermost loop.
import type { Tensor, TensorWindow, WebGpuCapabilities, WebGpuDispatch, WgslProgram } from '@magi1/tensor';
import { MOST_LOOPS } from './loops.ts';
import type { CopyLoop, StridedCopy } from './loops.ts';
import { MAIN, WORKGROUP_INDEX, gridOf } from '../../wgsl/dispatch.ts';
import { bytesBefore, rowRanges } from '../../wgsl/row-ranges.ts';
import type { Operand } from '../../wgsl/row-ranges.ts';

/** `wide`: the innermost loop moves quads. */
type CopyVariant = { readonly loops: number; readonly wide: boolean };

/** Most positions that an invocation copies. On software adapters finding the first takes longer than copying some. */
const RUN = { software: 16, hardware: 4 };
/** Loops by number, the innermost is 0. */
const numbers = Array.from({ length: MOST_LOOPS }, (_, i) => i);
const parameters = numbers.map((i) => ({ length: `length${i}`, source: `source${i}`, target: `target${i}` }));

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
${MAIN}
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

interface Side {
  readonly binding: Tensor | TensorWindow;
  /** Elements from the binding's start to the first one. */
  readonly offset: number;
}

/** One dispatch, or several, cut along the outermost loop, when a tensor is larger than one binding. */
export function webGpuCopy(op: string, copy: StridedCopy, capabilities: WebGpuCapabilities): WebGpuDispatch[] {
  const [outermost, ...inner] = copy.loops as [CopyLoop, ...CopyLoop[]];
  const startOf = (side: 'source' | 'target', row: number) => 4 * (copy[`${side}Offset`] + row * outermost[side]);
  const operand = (side: 'source' | 'target'): Operand => {
    const span = 4 * inner.reduce((n, loop) => n + (loop.length - 1) * loop[side], 1);
    return [copy[side], (start, end) => [startOf(side, start), startOf(side, end - 1) + span]];
  };
  const operands = { source: operand('source'), target: operand('target') };
  return rowRanges(op, outermost.length, operands, capabilities).map((range) => {
    const bound = (side: 'source' | 'target'): Side => {
      const binding = range.bindings[side];
      return { binding, offset: (startOf(side, range.start) - bytesBefore(binding)) / 4 };
    };
    const loops = [{ ...outermost, length: range.count }, ...inner];
    return dispatch(op, bound('source'), bound('target'), loops, capabilities);
  });
}

function dispatch(
  op: string,
  source: Side,
  target: Side,
  given: readonly CopyLoop[],
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
  const params: Record<string, number> = {
    invocations,
    runs,
    source_offset: source.offset / unit,
    target_offset: target.offset / unit,
  };
  parameters.forEach((names, i) => {
    const loop = loops[i];
    params[names.length] = loop?.length ?? 0;
    params[names.source] = loop?.source ?? 0;
    params[names.target] = loop?.target ?? 0;
  });
  return {
    program,
    variant: { loops: loops.length, wide },
    bindings: { source_: source.binding, target_: target.binding },
    params,
    workgroups: gridOf(op, invocations, capabilities),
  };
}
