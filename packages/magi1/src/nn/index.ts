// Networks described once. A network is a class; its constructor takes `Params` and declares every weight, by checkpoint
// path and with its shape, where it is used; its `forward` calls kernels. The same constructor runs in several ways:
//
//   const build = (p: Params) => new Network(p, config);
//   Params.record(build)                                      names, shapes and roles of its weights
//   const checked = new CheckedWeights(checkpoint, { build }) compares a file's table of contents with them
//   await checked.load(device)                                the network, its weights streamed to a device
//   checked.onMeta(new MetaDevice({ as: 'wasm' }))            the same for a dry run: bytes and costs, no values
//   build(Params.meta(metaDevice, () => 'bf16'))              that without a file
//   build(Params.create(device, (name, spec) => tensor))      with weights of one's own
//
// `checkpoint` is what `openCheckpoint` of @magi1/loaders gives. `params.dispose()` frees a network, `observe` shows what
// its modules compute. Imports tensor and kernels only.
export type { BlockStream } from './block-stream.ts';
export { Conv3d } from './conv.ts';
export { Embedding } from './embedding.ts';
export { Fp8Linear, Linear } from './linear.ts';
export type { LinearOptions, LowRankUpdate, OutputRange } from './linear.ts';
export { CheckedWeights, deviceDType, isQuantizable, weightBytes } from './load.ts';
export type {
  BlockPlace,
  LoadOptions,
  NetworkDefinition,
  StreamingOptions,
  WeightEntry,
  WeightNames,
  WeightSource,
} from './load.ts';
export { HeadNorm, LayerNorm, RmsNorm } from './norm.ts';
export type { NormOptions } from './norm.ts';
export { observe } from './observe.ts';
export type { Observer } from './observe.ts';
export { HostValues, Module, Params } from './params.ts';
export type { ParamSpec, ParamSpecs } from './params.ts';
export { forTiles, lengthOf, overTiles, rowTiles } from './tiles.ts';
export type { RowRange } from './tiles.ts';
export { keepView, runBlocks, runStage } from './stage.ts';
export type { RunOptions } from './stage.ts';
export type { WeightPart } from './upload.ts';
export { StoredEmbedding } from './stored-embedding.ts';
