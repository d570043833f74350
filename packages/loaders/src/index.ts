// @magi1/loaders: named tensors from files. What a file says is checked before it is believed.

// Where files are: a Folder, of which a model is read, and the bytes of one file.
export { locate, nodeFolder, withFile, readBytes, readJson, ifFound } from './folder.ts';
export type { Folder, FolderOptions, Located } from './folder.ts';
export { NotFoundError, blobSource, bytesSource, openFile } from './bytes.ts';
export type { ByteSink, ByteSource, OpenFileOptions } from './bytes.ts';

// Checkpoints: the tensors of one or several files, streamed in bounded memory.
export { Checkpoint, openCheckpoint } from './checkpoint.ts';
export type { CheckpointOptions, NamedTensor, StreamOptions, StreamProgress } from './checkpoint.ts';

// Single files.
export type { TensorEntry, TensorFile } from './tensor-file.ts';
export { hostDType } from './file-dtype.ts';
export type { FileDType, ReadOptions } from './file-dtype.ts';
export {
  encodeSafetensors,
  openSafetensors,
  parseSafetensorsHeader,
  readSafetensors,
  writeSafetensors,
} from './safetensors.ts';
export type { SafetensorsEntry, SafetensorsHeader } from './safetensors.ts';
export { ZstdSource } from './zstd.ts';
export { openTorch } from './torch.ts';
export type { TorchOptions } from './torch.ts';
export { readNpz } from './npz.ts';
export type { NpzOptions } from './npz.ts';

// Tokenizers and JSON that keeps its order and its numbers' digits.
export { loadTokenizer } from './tokenizer/tokenizer.ts';
export type { PaddedIds, Tokenizer, TokenizerFiles } from './tokenizer/tokenizer.ts';
export { readTokenizer } from './tokenizer/read-tokenizer.ts';
export type { TokenizerFile } from './tokenizer/read-tokenizer.ts';
export { JsonNumber, parseJsonBytes, showJson } from './json.ts';
export type { JsonObject, JsonValue } from './json.ts';
