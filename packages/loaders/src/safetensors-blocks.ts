// q8 and q4 in safetensors, which has no such types: the bytes are a U8 tensor [rows, bytes per row], and `__metadata__`
// says under one key what they mean. docs/quantization.md describes the layout.
import { FileFormatError, bytesOf, elementCount, hasWholeGroups, isBlocks, isDType } from '@magi1/tensor';
import type { TensorSpec } from '@magi1/tensor';
import { jsonSize, parseJsonBytes, showJson } from './json.ts';
import { quote } from './tensor-file.ts';
import type { TensorEntry } from './tensor-file.ts';

/** Of `__metadata__`: JSON that maps the name of each quantised tensor to its dtype and shape. */
export const BLOCKS_KEY = 'magi1.quantized';

/** A quantised tensor as the format stores it. */
export function storedShape({ dtype, shape }: TensorSpec): readonly number[] {
  return isBlocks(dtype) ? [shape[0]!, bytesOf(dtype, elementCount(shape.slice(1)))] : shape;
}

/** The entry of `__metadata__` for those tensors that are quantised; undefined for none. */
export function describeBlocks(tensors: Iterable<readonly [string, TensorSpec]>): string | undefined {
  const fields: string[] = [];
  for (const [name, { dtype, shape }] of tensors)
    if (isBlocks(dtype)) fields.push(`${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape.join(',')}]}`);
  return fields.length === 0 ? undefined : `{${fields.join(',')}}`;
}

/**
 * Gives entries the dtype and shape that `__metadata__` says, in place.
 * @throws FileFormatError where it speaks of tensors that are not there or whose bytes do not fit
 */
export function applyBlocks<E extends TensorEntry>(file: string, text: string, entries: Map<string, E>): void {
  const what = `${file}: __metadata__ ${quote(BLOCKS_KEY)}`;
  const root = parseJsonBytes(new TextEncoder().encode(text), what);
  if (!(root instanceof Map)) throw new FileFormatError(`${what} must be a JSON object, found ${showJson(root)}`);
  for (const [name, value] of root) {
    const fail = (problem: string): never => {
      throw new FileFormatError(`${what}: tensor ${quote(name)}: ${problem}`);
    };
    if (!(value instanceof Map)) return fail(`expected an object, found ${showJson(value)}`);
    const dtype = value.get('dtype');
    if (typeof dtype !== 'string' || !isDType(dtype) || !isBlocks(dtype))
      return fail(`dtype must be q8 or q4, found ${showJson(dtype)}`);
    const dims = value.get('shape');
    const shape = Array.isArray(dims) ? dims.map(jsonSize) : [undefined];
    if (!shape.every((dim) => dim !== undefined) || !Number.isSafeInteger(elementCount(shape)))
      return fail(`shape must be a list of non-negative integers, found ${showJson(dims)}`);
    if (!hasWholeGroups(shape)) fail(`rows of [${shape.join(',')}] are no multiple of 64 elements`);
    const entry = entries.get(name) ?? fail('there is no such tensor in the file');
    const stored = storedShape({ dtype, shape });
    if (entry.dtype !== 'u8' || entry.shape.join() !== stored.join())
      fail(
        `${dtype} of [${shape.join(',')}] is stored as u8 [${stored.join(',')}], found ${entry.dtype} [${entry.shape.join(',')}]`,
      );
    entries.set(name, { ...entry, dtype, shape });
  }
}
