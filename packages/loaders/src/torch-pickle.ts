// What a torch checkpoint's pickle may say: an exact list of names, tensors as views of numbered storages, and
// containers around them. Nothing is called; a name outside the list is refused.
import { FileFormatError, elementCount } from '@magi1/tensor';
import { bitsPerElement } from './file-dtype.ts';
import type { FileDType } from './file-dtype.ts';
import { PickleDict, PickleGlobal, PickleObject, PickleTuple, readPickle, show } from './pickle.ts';
import type { PickleHooks, PickleValue } from './pickle.ts';
import { viewEnd } from './strided.ts';
import type { View } from './strided.ts';
import { quote } from './tensor-file.ts';

const STORAGE_TYPES = new Map<string, FileDType>([
  ['DoubleStorage', 'f64'],
  ['FloatStorage', 'f32'],
  ['HalfStorage', 'f16'],
  ['BFloat16Storage', 'bf16'],
  ['LongStorage', 'i64'],
  ['IntStorage', 'i32'],
  ['ShortStorage', 'i16'],
  ['CharStorage', 'i8'],
  ['ByteStorage', 'u8'],
  ['BoolStorage', 'bool'],
  ['ComplexFloatStorage', 'c64'],
  ['ComplexDoubleStorage', 'c128'],
]);

const SCALAR_TYPES = new Map<string, FileDType>([
  ['float64', 'f64'],
  ['double', 'f64'],
  ['float32', 'f32'],
  ['float', 'f32'],
  ['float16', 'f16'],
  ['half', 'f16'],
  ['bfloat16', 'bf16'],
  ['float8_e4m3fn', 'f8e4m3fn'],
  ['float8_e5m2', 'f8e5m2'],
  ['float8_e4m3fnuz', 'f8e4m3fnuz'],
  ['float8_e5m2fnuz', 'f8e5m2fnuz'],
  ['float8_e8m0fnu', 'f8e8m0'],
  ['int64', 'i64'],
  ['long', 'i64'],
  ['int32', 'i32'],
  ['int', 'i32'],
  ['int16', 'i16'],
  ['short', 'i16'],
  ['int8', 'i8'],
  ['uint8', 'u8'],
  ['uint16', 'u16'],
  ['uint32', 'u32'],
  ['uint64', 'u64'],
  ['bool', 'bool'],
  ['complex64', 'c64'],
  ['complex128', 'c128'],
]);

/** Real types whose sign is the highest bit of the last byte. */
const SIGN_BIT = new Set<FileDType>(['f64', 'f32', 'f16', 'bf16']);

const UNTYPED = new Set(['torch.UntypedStorage', 'torch.storage.UntypedStorage']);

/** Values beside the tensors that torch's own restricted reader takes: they are noted and not built. */
const OPAQUE = new Map([
  ['torch.device', 'device'],
  ['torch.serialization._get_layout', 'layout'],
  ['_codecs.encode', 'bytes object'],
  ...['__builtin__', 'builtins'].flatMap((module): [string, string][] => [
    [`${module}.set`, 'set'],
    [`${module}.bytes`, 'bytes object'],
    [`${module}.bytearray`, 'bytearray'],
    [`${module}.complex`, 'complex number'],
  ]),
]);

const CALLABLES = new Set([
  ...OPAQUE.keys(),
  'collections.Counter',
  'collections.OrderedDict',
  'torch.Size',
  'torch._utils._rebuild_tensor',
  'torch._utils._rebuild_tensor_v2',
  'torch._utils._rebuild_tensor_v3',
  'torch._utils._rebuild_parameter',
  'torch._utils._rebuild_parameter_with_state',
  'torch._tensor._rebuild_from_type_v2',
]);

/** Classes of tensors that have attributes of their own, which are ignored. */
const TENSOR_CLASSES = new Set(['torch.Tensor', 'torch.nn.parameter.Parameter']);

const ALLOWED = new Set([
  ...CALLABLES,
  ...TENSOR_CLASSES,
  ...UNTYPED,
  ...[...STORAGE_TYPES.keys()].flatMap((name) => [`torch.${name}`, `torch.storage.${name}`]),
  ...[...SCALAR_TYPES.keys()].map((name) => `torch.${name}`),
]);

/** A reference to a storage, as the pickle declares it. */
export class TorchStorage extends PickleObject {
  readonly kind = 'storage';
  readonly key: string;
  /** Undefined for untyped storages, whose `numel` counts bytes. */
  readonly dtype: FileDType | undefined;
  readonly numel: number;
  constructor(key: string, dtype: FileDType | undefined, numel: number) {
    super();
    this.key = key;
    this.dtype = dtype;
    this.numel = numel;
  }
}

/** Lazily negated or conjugated tensors: which components of an element have the other sign. */
export interface SignChange {
  /** Bytes of the real or the imaginary part; of the element, where both signs are the same. */
  readonly componentSize: number;
  readonly real: boolean;
  readonly imaginary: boolean;
}

export class TorchTensor extends PickleObject implements View {
  readonly kind = 'tensor';
  readonly storage: TorchStorage;
  readonly dtype: FileDType;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  /** What the values are of those in the storage, where they are not the same. */
  readonly sign: SignChange | undefined;
  constructor(storage: TorchStorage, dtype: FileDType, view: View, sign: SignChange | undefined) {
    super();
    this.sign = sign;
    this.storage = storage;
    this.dtype = dtype;
    this.offset = view.offset;
    this.shape = view.shape;
    this.strides = view.strides;
  }
}

class TorchOpaque extends PickleObject {
  readonly kind: string;
  constructor(kind: string) {
    super();
    this.kind = kind;
  }
}

export interface TorchPickle {
  /** Names of nested containers joined with dots, in the pickle's order. */
  readonly tensors: Map<string, TorchTensor>;
  /** Every storage declared, tensor or not, by key. */
  readonly storages: Map<string, TorchStorage>;
  readonly length: number;
}

/**
 * Reads the tensors that a checkpoint's pickle describes; other values beside them are ignored.
 * @throws FileFormatError for a name that is not on the list, or tensors whose view does not make sense.
 */
export function readTorchPickle(bytes: Uint8Array, what: string): TorchPickle {
  const storages = new Map<string, TorchStorage>();
  const { value, length } = readPickle(bytes, torchHooks(what, storages), what);
  if (!(value instanceof PickleDict)) {
    throw new FileFormatError(`${what}: expected a dict of tensors, found ${show(value)}`);
  }
  return { tensors: flatten(value, what), storages, length };
}

/** Hooks for readPickle; storages that the pickle names are collected in `storages`. */
export function torchHooks(what: string, storages: Map<string, TorchStorage>): PickleHooks {
  const fail = (problem: string): never => {
    throw new FileFormatError(`${what}: ${problem}`);
  };

  function persistent(id: PickleValue): TorchStorage {
    const [tag, type, key, , numel, view] = id instanceof PickleTuple ? id.items : [];
    const name = type instanceof PickleGlobal ? type.name : '';
    const dtype = STORAGE_TYPES.get(name.slice(name.lastIndexOf('.') + 1));
    if (tag !== 'storage' || (!dtype && !UNTYPED.has(name)) || typeof key !== 'string' || !isSize(numel)) {
      return fail('malformed reference to a storage');
    }
    if (view !== undefined && view !== null) fail(`storage ${quote(key)} is a view of another storage, not supported`);
    const known = storages.get(key);
    if (known) {
      if (known.dtype !== dtype || known.numel !== numel) fail(`storage ${quote(key)} is declared in two ways`);
      return known;
    }
    const storage = new TorchStorage(key, dtype, numel);
    storages.set(key, storage);
    return storage;
  }

  function tensor(args: readonly PickleValue[], dtypeArgument?: PickleValue, metadata?: PickleValue): TorchTensor {
    const [storage, offset, size, stride] = args;
    const shape = sizes(size);
    const strides = sizes(stride);
    if (
      !(storage instanceof TorchStorage) ||
      !isSize(offset) ||
      !shape ||
      !strides ||
      shape.length !== strides.length
    ) {
      return fail('malformed tensor');
    }
    const named = dtypeArgument instanceof PickleGlobal ? dtypeArgument.name.replace(/^torch\./, '') : '';
    const dtype = dtypeArgument === undefined ? storage.dtype : SCALAR_TYPES.get(named);
    if (!dtype) return fail('tensor without an element type');
    return new TorchTensor(storage, dtype, { offset, shape, strides }, signChange(dtype, metadata));
  }

  /** The attributes that PyTorch saves with a tensor: a negative or a conjugate bit, which only its reader applies. */
  function signChange(dtype: FileDType, metadata: PickleValue | undefined): SignChange | undefined {
    if (metadata === undefined || metadata === null) return undefined;
    if (!(metadata instanceof PickleDict)) return fail('malformed attributes of a tensor');
    for (const [key, value] of metadata.map) {
      if (key !== 'neg' && key !== 'conj') fail(`a tensor has the attribute ${show(key)}, which is not supported`);
      if (typeof value !== 'boolean') fail(`the attribute ${show(key)} of a tensor is ${show(value)}, expected a bool`);
    }
    const negative = metadata.map.get('neg') === true;
    const conjugate = metadata.map.get('conj') === true;
    if (!negative && !conjugate) return undefined;
    const complex = dtype === 'c64' || dtype === 'c128';
    if (!complex && (conjugate || !SIGN_BIT.has(dtype)))
      return fail(`a tensor of ${dtype} is marked as ${conjugate ? 'conjugate' : 'negative'}, which is not supported`);
    const componentSize = bitsPerElement(dtype) / (complex ? 16 : 8);
    return { componentSize, real: negative, imaginary: complex ? negative !== conjugate : negative };
  }

  return {
    global(name) {
      if (!ALLOWED.has(name))
        fail(`the pickle asks for ${quote(name)}, which is not allowed in a checkpoint; nothing was run`);
      return new PickleGlobal(name);
    },
    persistent,
    call: function call(callable, args): PickleValue {
      const opaque = OPAQUE.get(callable.name);
      if (opaque !== undefined) return new TorchOpaque(opaque);
      switch (callable.name) {
        case 'collections.OrderedDict': {
          const dict = new PickleDict();
          const [pairs] = args;
          if (pairs === undefined) return dict;
          if (!Array.isArray(pairs)) return fail('malformed OrderedDict');
          for (const pair of pairs) {
            const [key, value] = pair instanceof PickleTuple ? pair.items : Array.isArray(pair) ? pair : [];
            if (key === undefined || value === undefined) return fail('malformed OrderedDict');
            dict.map.set(key, value);
          }
          return dict;
        }
        case 'collections.Counter':
          return args[0] instanceof PickleDict ? args[0] : new PickleDict();
        case 'torch.Size':
          return args[0] instanceof PickleTuple ? args[0] : fail('malformed torch.Size');
        case 'torch._utils._rebuild_tensor':
        case 'torch._utils._rebuild_tensor_v2':
          return tensor(args, undefined, args[6]);
        case 'torch._utils._rebuild_tensor_v3':
          return tensor(args, args[6] ?? null, args[7]);
        case 'torch._utils._rebuild_parameter':
        case 'torch._utils._rebuild_parameter_with_state':
          return args[0] instanceof TorchTensor ? args[0] : fail('malformed parameter');
        case 'torch._tensor._rebuild_from_type_v2': {
          const [make, type, inner] = args;
          const plain = make instanceof PickleGlobal && make.name.startsWith('torch._utils._rebuild_');
          const known = type instanceof PickleGlobal && TENSOR_CLASSES.has(type.name);
          if (!plain || !known || !(inner instanceof PickleTuple)) return fail('malformed tensor with attributes');
          const made = call(make, inner.items);
          return made instanceof TorchTensor ? made : fail('malformed tensor with attributes');
        }
        default:
          return fail(
            `the pickle calls ${quote(callable.name)}, which is not allowed in a checkpoint; nothing was run`,
          );
      }
    },
    build(object) {
      // State dicts carry their version notes as an attribute; nothing else has state.
      if (!(object instanceof PickleDict)) fail(`the pickle sets the state of ${show(object)}, which is not allowed`);
    },
  };
}

/** Changes signs in place. @param bytes of a tensor from byte `at` on */
export function changeSigns(bytes: Uint8Array, { componentSize, real, imaginary }: SignChange, at: number): Uint8Array {
  const last = componentSize - 1;
  for (let i = (last - (at % componentSize) + componentSize) % componentSize; i < bytes.length; i += componentSize) {
    const second = imaginary !== real && Math.floor((at + i) / componentSize) % 2 === 1;
    if (second ? imaginary : real) bytes[i]! ^= 0x80;
  }
  return bytes;
}

function isSize(value: PickleValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function sizes(value: PickleValue | undefined): number[] | undefined {
  if (!(value instanceof PickleTuple)) return undefined;
  const items = value.items.filter(isSize);
  return items.length === value.items.length ? items : undefined;
}

const MAX_DEPTH = 32;
const MAX_VALUES = 1_000_000;
const MAX_TENSORS = 200_000;

function flatten(root: PickleDict, what: string): Map<string, TorchTensor> {
  const tensors = new Map<string, TorchTensor>();
  let visited = 0;
  function visit(value: PickleValue, path: string, depth: number): void {
    if (depth > MAX_DEPTH || ++visited > MAX_VALUES) {
      throw new FileFormatError(`${what}: containers nested too deep or too many values`);
    }
    if (value instanceof TorchTensor) {
      if (tensors.has(path)) throw new FileFormatError(`${what}: two tensors are called ${quote(path)}`);
      if (tensors.size === MAX_TENSORS) throw new FileFormatError(`${what}: more than ${MAX_TENSORS} tensors`);
      tensors.set(path, value);
    } else if (value instanceof PickleDict) {
      for (const [key, item] of value.map) {
        if (typeof key === 'string' || typeof key === 'number') visit(item, join(path, String(key)), depth + 1);
      }
    } else if (value instanceof PickleTuple || Array.isArray(value)) {
      const items = value instanceof PickleTuple ? value.items : value;
      for (const [index, item] of items.entries()) visit(item, join(path, String(index)), depth + 1);
    }
  }
  visit(root, '', 0);
  return tensors;
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}

/**
 * Checks that a tensor lies within its storage.
 * @param storageBytes bytes of the storage; @param itemSize bytes of one element
 */
export function checkView(
  what: string,
  name: string,
  tensor: TorchTensor,
  storageBytes: number,
  itemSize: number,
): void {
  const count = elementCount(tensor.shape);
  const end = viewEnd(tensor);
  const described = `shape [${tensor.shape}], strides [${tensor.strides}], offset ${tensor.offset}`;
  if (!Number.isSafeInteger(count) || !Number.isSafeInteger(end * itemSize)) {
    throw new FileFormatError(`${what}: tensor ${quote(name)} is too large: ${described}`);
  }
  if (end * itemSize > storageBytes || (count === 0 && tensor.offset * itemSize > storageBytes)) {
    throw new FileFormatError(
      `${what}: tensor ${quote(name)} reaches past the end of its storage: ${described}, storage of ${storageBytes / itemSize} elements`,
    );
  }
  // Expanded dimensions repeat data: a few bytes in the file could ask for any amount of memory.
  if (count * itemSize > Math.max(storageBytes, MAX_EXPANDED)) {
    throw new FileFormatError(
      `${what}: tensor ${quote(name)} expands ${storageBytes} stored bytes to ${count * itemSize}: ${described}`,
    );
  }
}
const MAX_EXPANDED = 256 << 20;
