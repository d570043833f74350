// Every op: the function that calls it, and the op itself as data (`siluOp`) for tests, benchmarks and tools. What ops are
// made of is in support/index.ts, the door `@magi1/kernels/support`.

// Elementwise.
export { affine, affineOp } from './affine/index.ts';
export type { AffineParams } from './affine/index.ts';
export { add, binaryOp, div, mul, sub } from './binary/index.ts';
export { geluErf, geluTanh, silu, tanh, unaryOp } from './unary/index.ts';
export { swiglu, swigluOp } from './swiglu/index.ts';

// Products.
export { linear, linearOp } from './linear/index.ts';
export { matmul, matmulOp } from './matmul/index.ts';
export { attention, attentionOp } from './attention/index.ts';
export { CACHE_DTYPES, cacheCanBe } from './attention/contract.ts';
export type { AttentionOptions } from './attention/index.ts';
export type { AttentionBlock, CacheDType, Range, RingRange } from './attention/contract.ts';
export { conv3d, conv3dOp } from './conv3d/index.ts';

// Rows.
export { layerNorm, layerNormOp } from './layerNorm/index.ts';
export type { LayerNormOptions } from './layerNorm/index.ts';
export { rmsNorm, rmsNormOp } from './rmsNorm/index.ts';
export type { RmsNormParams } from './rmsNorm/index.ts';
export { qkNorm, qkNormOp } from './qkNorm/index.ts';
export type { QkNormOptions } from './qkNorm/index.ts';
export { gatedResidual, gatedResidualOp } from './gatedResidual/index.ts';
export type { GatedResidualOptions } from './gatedResidual/index.ts';
export { softmax, softmaxOp } from './softmax/index.ts';
export { rope, ropeOp } from './rope/index.ts';
export { embedding, embeddingOp } from './embedding/index.ts';

// Layout and dtype.
export { cast, castOp } from './cast/index.ts';
export { quantize, quantizeOp } from './quantize/index.ts';
export { concat, concatOp } from './concat/index.ts';
export { narrow, narrowOp } from './narrow/index.ts';
export { permute, permuteOp } from './permute/index.ts';
export { patchify, patchifyOp, unpatchify, unpatchifyOp } from './patchify/index.ts';
export type { Patch, PatchifyParams, UnpatchifyParams } from './patchify/contract.ts';
export { copyRows } from './copyRows/index.ts';

// Video and sampler.
export { framesToUint8, framesToUint8Op, uint8ToVideo, uint8ToVideoOp } from './frames/index.ts';
export { resizeOp, resizeTrilinear } from './resizeTrilinear/index.ts';
export type { ResizeParams } from './resizeTrilinear/contract.ts';
export { blendEdges, blendOp } from './blendEdges/index.ts';
export type { BlendParams } from './blendEdges/index.ts';
export { eulerStep, eulerStepOp } from './eulerStep/index.ts';
export type { EulerStepParams } from './eulerStep/index.ts';
export { guidance, guidanceOp } from './guidance/index.ts';
export type { GuidanceParams } from './guidance/index.ts';
export { magnitudeOf, maxMagnitude, maxMagnitudeOp } from './maxMagnitude/index.ts';
