import type { CaseFill, CaseOf } from '@magi1/tensor';
import type { Quantize } from './contract.ts';

type QuantizeCase = CaseOf<Quantize>;

interface Fills {
  readonly x?: CaseFill;
  readonly scale?: CaseFill;
}

const SCALES: CaseFill = { kind: 'normal', mean: 0.7, scale: 0.1 };

function quantizeCase(name: string, shape: readonly number[], scales: number, fills: Fills = {}): QuantizeCase {
  return {
    name,
    inputs: {
      x: { shape, dtype: 'f32', fill: fills.x ?? { kind: 'normal', scale: 40 } },
      scale: { shape: [scales], dtype: 'f32', fill: fills.scale ?? SCALES },
    },
    params: {},
    tolerance: 0,
  };
}

// Ties of one and of both roundings, subnormals of both formats, what lies beyond 448, signed zero.
const edges = [
  0, -0, 1, -1, 1.0625, 1.06640625, 1.06640637, -1.06640625, 1.0585937, 0.0009765625, 0.00097656256, 0.0029296875,
  0.001953125, 1e-40, -1e-45, 447, 448, 449, 464, -464, 1e6, 3.4e38, -3.4e38,
];

/** Numerators whose quotients lie at, just above and just below where the bytes change. */
function nearTies(scales: readonly number[]): number[] {
  const ties = [0.0009765625, 0.01318359375, 1.0625, 1.1875, 1.8125, 3.125, 27, 432];
  const corners = ties.flatMap((tie) => [-1, 0, 1].map((side) => tie * (1 + (side * 2 ** -8) / leading(tie))));
  return corners.flatMap((corner) =>
    [-2, -1, 0, 1, 2].flatMap((ulps) =>
      scales.map((scale) => Math.fround(corner * Math.fround(scale) * (1 + ulps * 2 ** -23))),
    ),
  );
}

/** The significand of a number, in 1..2. */
function leading(value: number): number {
  return value / 2 ** Math.floor(Math.log2(value));
}

const scales = [3, 0.1, -0.7, 1 / 3, 1e-3, 123.456, 7.7e-5, 5e-20, 3e30, 1e-39, 1];
const numerators = nearTies(scales);

export const cases: readonly QuantizeCase[] = [
  quantizeCase('perFeature.odd', [3, 5, 7], 7),
  quantizeCase('perFeature.wide', [9, 68], 68),
  quantizeCase('single.odd', [5, 3, 9], 1),
  quantizeCase('single.oneFeature', [6, 1], 1),
  quantizeCase('small', [6, 64], 64, { x: { kind: 'normal', scale: 0.01 } }),
  quantizeCase('edges', [1, edges.length], 1, {
    x: { kind: 'values', values: edges },
    scale: { kind: 'values', values: [1] },
  }),
  quantizeCase('nearTies', [numerators.length / scales.length, scales.length], scales.length, {
    x: { kind: 'values', values: numerators },
    scale: { kind: 'values', values: scales },
  }),
  // Limits and NaN: 1/0, -1/0, 0/0, 1/inf, inf/1, NaN/1, 1/NaN, inf/inf
  quantizeCase('notFinite', [8], 8, {
    x: { kind: 'values', values: [1, -1, 0, 1, Infinity, NaN, 1, Infinity] },
    scale: { kind: 'values', values: [0, 0, 0, Infinity, 1, 1, NaN, Infinity] },
  }),
  { ...quantizeCase('dit4.5b.fc1', [1024, 3072], 3072), benchmarkOnly: true },
];

export function randomCase(random: (below: number) => number): QuantizeCase {
  const features = 1 + random(70);
  const x: CaseFill = { kind: 'normal', scale: 10 ** (random(7) - 3) };
  return quantizeCase('random', [1 + random(9), features], random(2) === 0 ? features : 1, { x });
}
