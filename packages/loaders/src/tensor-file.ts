// What every file of named tensors looks like from outside, whatever its format.
import { FileFormatError } from '@magi1/tensor';
import type { HostTensor } from '@magi1/tensor';
import type { FileDType, ReadOptions } from './file-dtype.ts';
import { shorten } from './json.ts';

export interface TensorEntry {
  /** Element type as stored; `hostDType` tells what `readTensor` makes of it. */
  readonly dtype: FileDType;
  readonly shape: readonly number[];
  /** Bytes of the contiguous tensor in its stored type. */
  readonly byteLength: number;
  /** The file's own name of its quantised type, where `dtype` is what it is decoded to. */
  readonly packed?: string | undefined;
}

/** One open file of named tensors. Only its table of contents is in memory. */
export interface TensorFile {
  readonly name: string;
  /** In the order in which the data lies in the file. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: ReadonlyMap<string, string>;
  /**
   * One tensor, contiguous, as host data.
   * @throws FileFormatError for an unknown name, a dtype without host form, or corrupt data.
   */
  readTensor(name: string, options?: ReadOptions): Promise<HostTensor>;
  /** Raw stored bytes `byteStart .. byteStart + byteLength` of one (contiguous) tensor: uploads in pieces. */
  readRange(name: string, byteStart: number, byteLength: number, into?: Uint8Array): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** The entry of a name, or an error that names the file. */
export function entryOf<E extends TensorEntry>(
  file: { name: string; tensors: ReadonlyMap<string, E> },
  name: string,
): E {
  const entry = file.tensors.get(name);
  if (!entry) throw new FileFormatError(`${file.name}: no tensor named ${quote(name)} among its ${file.tensors.size}`);
  return entry;
}

export function checkTensorRange(file: string, name: string, entry: TensorEntry, start: number, length: number): void {
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(length) || start < 0 || length < 0) {
    throw new RangeError(`${file}: ${quote(name)}: invalid range, start ${start}, length ${length}`);
  }
  if (start + length > entry.byteLength) {
    throw new RangeError(
      `${file}: ${quote(name)} has ${entry.byteLength} bytes, asked for ${start} to ${start + length}`,
    );
  }
}

/** A tensor name as error messages show it. */
export function quote(name: string): string {
  return shorten(JSON.stringify(name), 200);
}
