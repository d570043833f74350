// @magi1/loaders: named tensors from files. What a file says is checked before it is believed.
export * from './bytes.ts';
export * from './checkpoint.ts';
export * from './file-dtype.ts';
export { JsonNumber, parseJsonBytes, showJson } from './json.ts';
export type { JsonValue } from './json.ts';
export * from './npz.ts';
export * from './safetensors.ts';
export * from './tensor-file.ts';
export * from './tokenizer/tokenizer.ts';
export * from './torch.ts';
export * from './zstd.ts';
