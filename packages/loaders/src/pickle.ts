// A pickle machine that executes nothing. It builds plain values; every global, call and state goes to hooks that
// know an exact list of names and refuse the rest.
// Written here instead of using pickleparser, which calls whatever its resolver returns, assigns state and keys onto
// plain objects (so a key called __proto__ changes their prototype), reads LONG1 as unsigned, and does not notice a
// stack that runs empty. Binary opcodes of protocols 2 to 5; the text opcodes of 0 and 1 are refused.
import { FileFormatError } from '@magi1/tensor';
import { shorten } from './json.ts';

export class PickleTuple {
  readonly items: readonly PickleValue[];
  constructor(items: readonly PickleValue[]) {
    this.items = items;
  }
}
export class PickleGlobal {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}
/** Base of the values that hooks make. */
export abstract class PickleObject {
  abstract readonly kind: string;
}
export class PickleDict {
  readonly map = new Map<PickleValue, PickleValue>();
}
export type PickleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PickleTuple
  | PickleValue[]
  | PickleDict
  | Set<PickleValue>
  | PickleGlobal
  | PickleObject;

export interface PickleHooks {
  /** Names a global that is allowed; must throw for any other. */
  global(name: string): PickleGlobal;
  persistent(id: PickleValue): PickleValue;
  call(callable: PickleGlobal, args: readonly PickleValue[]): PickleValue;
  build(object: PickleValue, state: PickleValue): void;
}

export interface PickleResult {
  readonly value: PickleValue;
  /** Bytes consumed, the STOP opcode included. */
  readonly length: number;
}

/** The bytes ended before the pickle did. */
export class PickleTruncatedError extends FileFormatError {}

/**
 * Runs one pickle.
 * @throws PickleTruncatedError when the bytes end early, FileFormatError for anything malformed or not allowed.
 */
export function readPickle(bytes: Uint8Array, hooks: PickleHooks, what: string): PickleResult {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const memo = new Map<number, PickleValue>();
  const marks: number[] = [];
  const stack: PickleValue[] = [];
  let at = 0;

  function fail(problem: string): never {
    throw new FileFormatError(`${what}: invalid pickle, ${problem} at byte ${at}`);
  }
  function advance(length: number): number {
    if (length > bytes.length - at)
      throw new PickleTruncatedError(`${what}: truncated pickle, it ends at byte ${bytes.length}`);
    const start = at;
    at += length;
    return start;
  }
  const u8 = () => bytes[advance(1)]!;
  const u16 = () => view.getUint16(advance(2), true);
  const u32 = () => view.getUint32(advance(4), true);
  const u64 = () => {
    const value = Number(view.getBigUint64(advance(8), true));
    return Number.isSafeInteger(value) ? value : fail('length beyond 2^53');
  };
  const blob = (length: number) => {
    const start = advance(length);
    return bytes.subarray(start, start + length);
  };
  const text = (length: number) => {
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(blob(length));
    } catch (cause) {
      if (cause instanceof FileFormatError) throw cause;
      return fail('string is not valid UTF-8');
    }
  };
  const line = () => {
    const end = bytes.indexOf(0x0a, at);
    if (end < 0) advance(bytes.length - at + 1);
    const value = text(end - at);
    at++;
    return value;
  };
  const floor = () => marks.at(-1) ?? 0;
  function pop(): PickleValue {
    if (stack.length <= floor()) fail('stack is empty');
    return stack.pop()!;
  }
  function top(): PickleValue {
    if (stack.length <= floor()) fail('stack is empty');
    return stack.at(-1)!;
  }
  function popMark(): PickleValue[] {
    const mark = marks.pop() ?? fail('no mark');
    return stack.splice(mark);
  }
  function setItems(items: PickleValue[]): void {
    const dict = top();
    if (!(dict instanceof PickleDict)) return fail(`items set on ${show(dict)}`);
    if (items.length % 2) fail('key without value');
    for (let i = 0; i < items.length; i += 2) dict.map.set(items[i]!, items[i + 1]!);
  }
  function append(items: PickleValue[]): void {
    const list = top();
    if (!Array.isArray(list)) return fail(`items appended to ${show(list)}`);
    for (const item of items) list.push(item);
  }
  function recall(index: number): PickleValue {
    const value = memo.get(index);
    return value === undefined ? fail(`memo ${index} is not set`) : value;
  }
  function tuple(count: number): PickleTuple {
    const items: PickleValue[] = [];
    for (let i = 0; i < count; i++) items.unshift(pop());
    return new PickleTuple(items);
  }
  function call(): PickleValue {
    const args = pop();
    const callable = pop();
    if (!(args instanceof PickleTuple)) return fail(`call with ${show(args)} for arguments`);
    if (!(callable instanceof PickleGlobal)) return fail(`call of ${show(callable)}`);
    return hooks.call(callable, args.items);
  }

  for (;;) {
    const opcode = u8();
    switch (opcode) {
      case 0x80: {
        // PROTO
        const protocol = u8();
        if (protocol < 2 || protocol > 5) fail(`unsupported protocol ${protocol}`);
        break;
      }
      case 0x95: // FRAME
        advance(8);
        break;
      case 0x2e: {
        // STOP
        const value = pop();
        if (stack.length > 0 || marks.length > 0) fail('values left over');
        return { value, length: at };
      }
      case 0x28: // MARK
        marks.push(stack.length);
        break;
      case 0x30: // POP
        pop();
        break;
      case 0x31: // POP_MARK
        popMark();
        break;
      case 0x32: // DUP
        stack.push(top());
        break;
      case 0x71: // BINPUT
        memo.set(u8(), top());
        break;
      case 0x72: // LONG_BINPUT
        memo.set(u32(), top());
        break;
      case 0x94: // MEMOIZE
        memo.set(memo.size, top());
        break;
      case 0x68: // BINGET
        stack.push(recall(u8()));
        break;
      case 0x6a: // LONG_BINGET
        stack.push(recall(u32()));
        break;
      case 0x4e: // NONE
        stack.push(null);
        break;
      case 0x88: // NEWTRUE
        stack.push(true);
        break;
      case 0x89: // NEWFALSE
        stack.push(false);
        break;
      case 0x4a: // BININT
        stack.push(view.getInt32(advance(4), true));
        break;
      case 0x4b: // BININT1
        stack.push(u8());
        break;
      case 0x4d: // BININT2
        stack.push(u16());
        break;
      case 0x8a: // LONG1
        stack.push(signed(blob(u8())));
        break;
      case 0x8b: {
        // LONG4
        const length = u32();
        if (length > 256) fail(`integer of ${length} bytes`);
        stack.push(signed(blob(length)));
        break;
      }
      case 0x47: // BINFLOAT
        stack.push(view.getFloat64(advance(8), false));
        break;
      case 0x8c: // SHORT_BINUNICODE
        stack.push(text(u8()));
        break;
      case 0x58: // BINUNICODE
        stack.push(text(u32()));
        break;
      case 0x8d: // BINUNICODE8
        stack.push(text(u64()));
        break;
      case 0x55: // SHORT_BINSTRING
        stack.push(text(u8()));
        break;
      case 0x54: // BINSTRING
        stack.push(text(u32()));
        break;
      case 0x43: // SHORT_BINBYTES
        stack.push(blob(u8()));
        break;
      case 0x42: // BINBYTES
        stack.push(blob(u32()));
        break;
      case 0x8e: // BINBYTES8
        stack.push(blob(u64()));
        break;
      case 0x29: // EMPTY_TUPLE
        stack.push(new PickleTuple([]));
        break;
      case 0x85: // TUPLE1
      case 0x86: // TUPLE2
      case 0x87: // TUPLE3
        stack.push(tuple(opcode - 0x84));
        break;
      case 0x74: // TUPLE
        stack.push(new PickleTuple(popMark()));
        break;
      case 0x5d: // EMPTY_LIST
        stack.push([]);
        break;
      case 0x61: // APPEND
        append([pop()]);
        break;
      case 0x65: // APPENDS
        append(popMark());
        break;
      case 0x7d: // EMPTY_DICT
        stack.push(new PickleDict());
        break;
      case 0x73: {
        // SETITEM
        const value = pop();
        setItems([pop(), value]);
        break;
      }
      case 0x75: // SETITEMS
        setItems(popMark());
        break;
      case 0x8f: // EMPTY_SET
        stack.push(new Set());
        break;
      case 0x90: {
        // ADDITEMS
        const items = popMark();
        const set = top();
        if (!(set instanceof Set)) return fail(`items added to ${show(set)}`);
        for (const item of items) set.add(item);
        break;
      }
      case 0x63: // GLOBAL
        stack.push(hooks.global(`${line()}.${line()}`));
        break;
      case 0x93: {
        // STACK_GLOBAL
        const name = pop();
        const module = pop();
        if (typeof name !== 'string' || typeof module !== 'string') return fail('global whose name is not a string');
        stack.push(hooks.global(`${module}.${name}`));
        break;
      }
      case 0x51: // BINPERSID
        stack.push(hooks.persistent(pop()));
        break;
      case 0x52: // REDUCE
      case 0x81: // NEWOBJ
        stack.push(call());
        break;
      case 0x62: {
        // BUILD
        const state = pop();
        hooks.build(top(), state);
        break;
      }
      default:
        at--;
        fail(`opcode 0x${opcode.toString(16)} is not supported`);
    }
  }
}

/** Two's complement, little-endian; a number where a double holds it exactly. */
function signed(bytes: Uint8Array): number | bigint {
  let value = 0n;
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i]!);
  const exact = BigInt.asIntN(8 * bytes.length, value);
  const number = Number(exact);
  return Number.isSafeInteger(number) ? number : exact;
}

/** What a value is, for messages. */
export function show(value: PickleValue): string {
  if (value === null) return 'None';
  if (value instanceof PickleTuple) return `a tuple of ${value.items.length}`;
  if (value instanceof PickleGlobal) return value.name;
  if (value instanceof PickleDict) return 'a dict';
  if (value instanceof PickleObject) return `a ${value.kind}`;
  if (value instanceof Set) return 'a set';
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (Array.isArray(value)) return 'a list';
  return shorten(typeof value === 'string' ? JSON.stringify(value) : String(value));
}
