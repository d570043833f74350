// numpy broadcasting of two shapes.
import { elementCount, rowMajorStrides } from '@magi1/tensor';
import type { Shape } from '@magi1/tensor';

/** The common shape, or undefined when an axis has two lengths that differ and are not 1. */
export function broadcastShape(a: Shape, b: Shape): number[] | undefined {
  const rank = Math.max(a.length, b.length);
  const shape: number[] = [];
  for (let axis = 0; axis < rank; axis++) {
    const [x, y] = [a[axis - rank + a.length] ?? 1, b[axis - rank + b.length] ?? 1];
    if (x !== y && x !== 1 && y !== 1) return undefined;
    shape.push(x === 1 ? y : x);
  }
  return shape;
}

export interface BroadcastPlan {
  /** Lengths of the loops, outermost first: the common shape with neighbouring axes joined where both inputs allow. */
  readonly dims: readonly number[];
  /** Elements from one position of a loop to the next, 0 where the input is repeated. */
  readonly aStrides: readonly number[];
  readonly bStrides: readonly number[];
}

/** The fewest nested loops that walk both inputs; the shapes must fit together. */
export function broadcastPlan(a: Shape, b: Shape): BroadcastPlan {
  const shape = broadcastShape(a, b)!;
  const [aAll, bAll] = [spread(a, shape), spread(b, shape)];
  const dims: number[] = [];
  const aStrides: number[] = [];
  const bStrides: number[] = [];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const dim = shape[axis]!;
    if (dim === 1) continue;
    const [outer, length] = [dims[0], dims[0] ?? 0];
    if (outer !== undefined && aAll[axis] === aStrides[0]! * length && bAll[axis] === bStrides[0]! * length) {
      dims[0] = outer * dim;
    } else {
      dims.unshift(dim);
      aStrides.unshift(aAll[axis]!);
      bStrides.unshift(bAll[axis]!);
    }
  }
  return { dims, aStrides, bStrides };
}

/** The lowest and the highest element of an input at places `first` to `last` of the loops. */
export function elementsBetween(
  dims: readonly number[],
  strides: readonly number[],
  first: number,
  last: number,
): readonly [lowest: number, highest: number] {
  if (dims.length === 0) return [0, 0];
  const [inner, steps] = [dims.slice(1), strides.slice(1)];
  const [places, step] = [elementCount(inner), strides[0]!];
  const [from, to] = [Math.floor(first / places), Math.floor(last / places)];
  const between = (low: number, high: number) => elementsBetween(inner, steps, low, high);
  if (from === to) {
    const [lowest, highest] = between(first % places, last % places);
    return [from * step + lowest, from * step + highest];
  }
  // The outermost loop's first round lacks its beginning, its last one the end; those between are whole.
  const [head, tail] = [between(first % places, places - 1), between(0, last % places)];
  const whole = to - from > 1 ? between(0, places - 1)[1] + (to - 1) * step : 0;
  return [
    Math.min(from * step + head[0], (from + 1) * step),
    Math.max(from * step + head[1], to * step + tail[1], whole),
  ];
}

function spread(input: Shape, shape: Shape): number[] {
  const strides = rowMajorStrides(input);
  const missing = shape.length - input.length;
  return shape.map((_, axis) => (axis < missing || input[axis - missing] === 1 ? 0 : strides[axis - missing]!));
}
