// The door `@magi1/kernels/support`: what an op is made of, for rooms in this package and in other projects alike.

// Whole kernels, on WebGPU and wasm, from a short description.
export { elementwise } from './families/elementwise.ts';
export type { Elementwise } from './families/elementwise.ts';

// WGSL: reductions of rows, functions that treat NaN and large arguments as PyTorch does, dispatches.
export { rowHead, rowLayout, rowWorkgroups } from './wgsl/rows.ts';
export type { RowLayout, RowVariant } from './wgsl/rows.ts';
export { ERF, EXP, SILU, TANH, valueType } from './wgsl/functions.ts';
export { WORKGROUP_INDEX, foldWorkgroups } from './wgsl/dispatch.ts';
export { bytesBefore, rowRanges } from './wgsl/row-ranges.ts';
export type { BytesOfRows, Operand, RowRange } from './wgsl/row-ranges.ts';
export { cutDispatches, elementsOf, wholeAndPart } from './wgsl/parts.ts';
export type { Cut, CutOperand, Cuts, Text, WholeAndPart } from './wgsl/parts.ts';

// wasm: loops over rows, sums and maxima of them, functions on four lanes.
export { forVectors, maxVectors, sumVectors } from './wasm/vectors.ts';
export type { Put } from './wasm/vectors.ts';
export { erf, exp, silu, tanh } from './wasm/functions.ts';
export type { LaneFunction } from './wasm/functions.ts';

export { F32_MAX } from './f32.ts';
