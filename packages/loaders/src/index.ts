// @magi1/loaders: named tensors from files. What a file says is checked before it is believed. Readers of formats that few
// models have are imported when they are called.
import type { HostTensor } from '@magi1/tensor';
import type { ByteSource } from './bytes.ts';
import type { NpzOptions } from './npz.ts';
import type { TensorFile } from './tensor-file.ts';
import type { TorchOptions } from './torch.ts';

// Where files are: a Folder, of which a model is read, and the bytes of one file.
export { isFolder, listNames, locate, nodeFolder, openFile, withFile, readBytes, readJson, ifFound } from './folder.ts';
export type { Folder, FolderOptions, Located } from './folder.ts';
export { NotFoundError, blobSource, bytesSource } from './bytes.ts';
export type { ByteSink, ByteSource } from './bytes.ts';
export { httpFolder, httpSource, readHttpRange } from './http.ts';
export type { HttpFile, HttpFolderOptions, HttpRangeOptions } from './http.ts';
export { HttpError, fetchDocument } from './http-request.ts';
export type { HttpDocument, HttpOptions, HttpRetry } from './http-request.ts';

// Checkpoints: the tensors of one or several files, streamed in bounded memory.
export { Checkpoint, checkpointFiles, openCheckpoint, openTensorFile } from './checkpoint.ts';
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
  safetensorsHead,
  writeSafetensors,
} from './safetensors.ts';
export type { SafetensorsEntry, SafetensorsHeader } from './safetensors.ts';
export { ZstdSource } from './zstd.ts';
export type { NpzOptions, TorchOptions };

/**
 * Opens a torch checkpoint. Names of nested containers are joined with dots; values other than tensors are ignored.
 * @throws FileFormatError when the file is neither format, is corrupt, or its pickle asks for anything but tensors.
 */
export async function openTorch(source: ByteSource, options?: TorchOptions): Promise<TensorFile> {
  return (await import('./torch.ts')).openTorch(source, options);
}

/**
 * The arrays of an .npz file by name (without .npy), C-contiguous.
 * @throws FileFormatError for corrupt archives, object or structured arrays, wrong sizes, and more than 64 MiB, before any
 * array is unpacked.
 */
export async function readNpz(source: ByteSource, options?: NpzOptions): Promise<Map<string, HostTensor>> {
  return (await import('./npz.ts')).readNpz(source, options);
}

// Tokenizers and JSON that keeps its order and its numbers' digits.
export { loadTokenizer } from './tokenizer/tokenizer.ts';
export type { PaddedIds, Tokenizer, TokenizerFiles } from './tokenizer/tokenizer.ts';
export { readTokenizer } from './tokenizer/read-tokenizer.ts';
export type { TokenizerFile } from './tokenizer/read-tokenizer.ts';
export { JsonNumber, parseJsonBytes, showJson } from './json.ts';
export type { JsonObject, JsonValue } from './json.ts';
