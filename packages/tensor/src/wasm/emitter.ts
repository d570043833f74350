// Emitter of wasm kernels. Chosen over AssemblyScript because both were measured equally fast, while the emitter needs no
// build step and no 100 MB tool chain, and one kernel text serves every variant (dtype, switches) and engine.
//
// How to write a kernel:
//
//   const kernel = wasmKernel({
//     name: 'scale',                                      // unique
//     args: { x: 'ptr', y: 'ptr', factor: 'f32' },        // what the step passes, in this order
//     body(k, { begin, end, x, y, factor }, variant: { twice: boolean }) {
//       const f = k.let(factor.splat());                  // computed here, once
//       k.forRange(begin, end, 1, (i) => {                // items begin..end, one item = 4 floats here
//         const at = k.let(i.shl(4));                     // byte offset: 16 bytes per item
//         const v = k.let(x.add(at).loadF32x4());         // used twice below, so pinned by `let`
//         k.store(y.add(at), variant.twice ? v.add(v).mul(f) : v.mul(f));
//       });
//     },
//   });
//   op.wasm = ({ inputs: { x }, y, params }) => [
//     { kernel, variant: { twice: false }, args: { x, y, factor: params.factor }, items: x.size / 4, itemCost: 4 },
//   ];
//
// - Values (I32, F32, F32x4, I32x4, I16x8, I8x16, F64 in values.ts) are immutable pieces of code, not results: `let` pins a
//   result, `var` makes a variable (`v.set(...)`; itself a value). Plain numbers are constants wherever a value may stand.
// - TypeScript loops unroll, `forRange`, `loop`, `while` and `if` exist at run time. JavaScript conditions on the variant
//   choose code, `k.if` and `k.select` choose at run time.
// - `k.madd(a, b, c)` is a * b + c, fused where the engine has relaxed SIMD. Use it for sums, never where two kernels or
//   two paths of one kernel must agree bit by bit.
// - Addresses are unsigned 32-bit: compare with `ltU`. Any alignment works. Buffers are padded to multiples of 64 bytes, so
//   an op's output may be written up to there (whole vectors, no scalar tail); loads of up to 64 bytes past the end of any
//   tensor are harmless, their values undefined.
// - Same bits for every split of the items: an item must not care where `begin` and `end` are.
// - `scratch` is the address of the thread's private `scratchBytes`; its contents are undefined at the start of a call.
// - A streamed argument may be an address that wrapped around 2^32: add the item's byte offset to it before anything else.
// - Engines compile twice, and the fast code (ten times faster) is taken at the next call of a function: when one item takes
//   more than a few ms, put its inner tile into `k.function` and `k.call` it. Measured cost of the call: none.
// - V8 holds 16 vector registers on x86: keep live vectors below that in inner loops, constants included.
import { name, section, sized, unsigned, vector } from './encode.ts';
import type { WasmFeatures, WasmKernel } from './kernel.ts';
import {
  I32,
  relaxedMaddCode,
  sameKind,
  select,
  storeBitsCode,
  storeCode,
  storeLaneCode,
  valueOfKind,
  wasmType,
} from './values.ts';
import type { AnyValue, AnyVector, Code, F32, F32x4, ValueKind, ValueOf } from './values.ts';
import type { Variant } from '../kernel.ts';

export { F32, F32x4, F64, I16x8, I32, I32x4, I8x16 } from './values.ts';
export type { AnyValue, AnyVector, ValueKind, ValueOf } from './values.ts';

/** A variable: a value that reads it, and `set`. */
export type Var<T extends AnyValue> = T & {
  set(value: T): void;
};

/** Ways out of a `loop`. */
export interface LoopControl {
  break(): void;
  breakIf(condition: I32): void;
  continue(): void;
  continueIf(condition: I32): void;
}

/** What a function's body gives, and a call of it. */
type Result<R extends ValueKind | null> = R extends ValueKind ? ValueOf<R> : unknown;
type CallResult<R extends ValueKind | null> = R extends ValueKind ? ValueOf<R> : undefined;
type Params = Readonly<Record<string, ValueKind>>;
type ParamValues<P extends Params> = { readonly [K in keyof P]: ValueOf<P[K]> };

/** A function of the module, made by `k.function`. */
export interface WasmFunction<P extends Params, R extends ValueKind | null> {
  readonly index: number;
  readonly params: P;
  readonly result: R;
}

const EMPTY_BLOCK = 0x40;

class ModuleBuilder {
  readonly features: WasmFeatures;
  readonly types: number[][] = [];
  readonly functions: { type: number; body: number[] }[] = [];

  constructor(features: WasmFeatures) {
    this.features = features;
  }

  add<P extends Params, R extends ValueKind | null>(
    params: P,
    result: R,
    body: (k: KernelBuilder, values: ParamValues<P>) => Result<R>,
  ): WasmFunction<P, R> {
    const kinds = Object.values(params);
    const k = new KernelBuilder(this, kinds.length);
    const values = Object.fromEntries(
      Object.entries(params).map(([key, kind], i) => [key, valueOfKind(kind, [0x20, ...unsigned(i)])]),
    );
    const value = body(k, values as ParamValues<P>) as AnyValue | undefined;
    if (result !== null && value?.kind !== result) throw new TypeError(`function must give ${result}`);
    const signature = [0x60, ...vector(kinds.map((kind) => [wasmType(kind)]))];
    signature.push(...vector(result === null ? [] : [[wasmType(result)]]));
    const code = result === null ? [] : (value as AnyValue).code;
    this.functions.push({ type: this.#type(signature), body: k.finish(code) });
    return { index: this.functions.length - 1, params, result };
  }

  /** The module: imports env.memory, exports the function as `run`. */
  bytes(exported: number): Uint8Array<ArrayBuffer> {
    // Any memory of at least one and at most 65536 pages fits the import.
    const limits = [this.features.sharedMemory ? 3 : 1, ...unsigned(1), ...unsigned(65536)];
    return Uint8Array.from([
      ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      ...section(1, vector(this.types)),
      ...section(2, vector([[...name('env'), ...name('memory'), 2, ...limits]])),
      ...section(3, vector(this.functions.map((f) => unsigned(f.type)))),
      ...section(7, vector([[...name('run'), 0, ...unsigned(exported)]])),
      ...section(10, vector(this.functions.map((f) => sized(f.body)))),
    ]);
  }

  #type(signature: number[]): number {
    const known = this.types.findIndex((type) => type.join() === signature.join());
    return known >= 0 ? known : this.types.push(signature) - 1;
  }
}

/** Builds one function: statements are appended in the order of the calls. */
export class KernelBuilder {
  readonly features: WasmFeatures;
  readonly #module: ModuleBuilder;
  readonly #paramCount: number;
  readonly #locals: number[] = [];
  readonly #code: number[] = [];
  #depth = 0;

  constructor(module: ModuleBuilder, paramCount: number) {
    this.#module = module;
    this.features = module.features;
    this.#paramCount = paramCount;
  }

  /** Computes `value` here and now; the result can be used any number of times. */
  let<T extends AnyValue>(value: T): T {
    const index = this.#newLocal(value.kind);
    this.#emit(value.code, 0x21, ...unsigned(index));
    return sameKind(value, [0x20, ...unsigned(index)]);
  }

  /** A variable with a first value. */
  var<T extends AnyValue>(value: T): Var<T> {
    const index = this.#newLocal(value.kind);
    this.#emit(value.code, 0x21, ...unsigned(index));
    const set = (next: T): void => this.#emit(next.code, 0x21, ...unsigned(index));
    return Object.assign(sameKind(value, [0x20, ...unsigned(index)]), { set });
  }

  /** Writes a value of any kind; `offset` is a constant number of bytes. */
  store(address: I32, value: AnyValue, offset = 0): void {
    this.#emit(storeCode(address, value, offset));
  }
  /** Writes the low 8 bits. */
  store8(address: I32, value: I32, offset = 0): void {
    this.#emit(storeBitsCode(address, value, 8, offset));
  }
  /** Writes the low 16 bits. */
  store16(address: I32, value: I32, offset = 0): void {
    this.#emit(storeBitsCode(address, value, 16, offset));
  }
  /** Writes one 32-bit lane of a vector. */
  store32Lane(address: I32, value: AnyVector, lane: number, offset = 0): void {
    this.#emit(storeLaneCode(address, value, 32, lane, offset));
  }
  /** Writes one 64-bit half (0 or 1) of a vector. */
  store64Lane(address: I32, value: AnyVector, lane: number, offset = 0): void {
    this.#emit(storeLaneCode(address, value, 64, lane, offset));
  }
  /** Copies bytes; ranges may overlap. */
  copy(to: I32, from: I32, bytes: I32 | number): void {
    this.#emit([...to.code, ...from.code, ...I32.of(bytes).code], 0xfc, 10, 0, 0);
  }
  /** Fills bytes with the low 8 bits of `value`. */
  fill(to: I32, value: I32 | number, bytes: I32 | number): void {
    this.#emit([...to.code, ...I32.of(value).code, ...I32.of(bytes).code], 0xfc, 11, 0);
  }

  /** a * b + c, in one rounding where the engine has relaxed SIMD. */
  madd(a: F32x4, b: F32x4 | number, c: F32x4 | number): F32x4 {
    const [factor, addend] = [vectorOf(a, b), vectorOf(a, c)];
    if (!this.features.relaxedSimd) return a.mul(factor).add(addend);
    return sameKind(a, relaxedMaddCode(a, factor, addend, false));
  }
  /** c - a * b, in one rounding where the engine has relaxed SIMD. */
  nmadd(a: F32x4, b: F32x4 | number, c: F32x4 | number): F32x4 {
    const [factor, addend] = [vectorOf(a, b), vectorOf(a, c)];
    if (!this.features.relaxedSimd) return addend.sub(a.mul(factor));
    return sameKind(a, relaxedMaddCode(a, factor, addend, true));
  }
  /** `yes` if the condition is not 0; both are computed. Lane by lane: `mask.select(yes, no)`. */
  select<T extends AnyValue>(condition: I32, yes: T, no: T): T {
    return select(condition, yes, no);
  }

  if(condition: I32, then: () => void, otherwise?: () => void): void {
    this.#emit(condition.code, 0x04, EMPTY_BLOCK);
    this.#nested(then);
    if (otherwise !== undefined) {
      this.#emit([], 0x05);
      this.#nested(otherwise);
    }
    this.#emit([], 0x0b);
  }

  /** Repeats until left through `control.break` or `breakIf`. */
  loop(body: (control: LoopControl) => void): void {
    this.#emit([], 0x02, EMPTY_BLOCK, 0x03, EMPTY_BLOCK);
    this.#depth += 2;
    const [out, again] = [this.#depth - 1, this.#depth];
    const branch = (target: number): void => this.#emit([], 0x0c, ...unsigned(this.#depth - target));
    const branchIf = (target: number, condition: I32): void =>
      this.#emit(condition.code, 0x0d, ...unsigned(this.#depth - target));
    body({
      break: () => branch(out),
      breakIf: (condition) => branchIf(out, condition),
      continue: () => branch(again),
      continueIf: (condition) => branchIf(again, condition),
    });
    branch(again);
    this.#depth -= 2;
    this.#emit([], 0x0b, 0x0b);
  }

  while(condition: () => I32, body: () => void): void {
    this.loop((control) => {
      control.breakIf(condition().eqz());
      body();
    });
  }

  /** i = begin, begin + step, ... below `end` (unsigned). `end` is computed once. */
  forRange(begin: I32 | number, end: I32 | number, step: I32 | number, body: (i: I32) => void): void {
    const limit = typeof end === 'number' ? I32.of(end) : this.let(end);
    const increment = typeof step === 'number' ? I32.of(step) : this.let(step);
    const i = this.var(I32.of(begin));
    this.if(i.ltU(limit), () => {
      this.#emit([], 0x03, EMPTY_BLOCK);
      this.#nested(() => {
        body(i);
        i.set(i.add(increment));
        this.#emit(i.ltU(limit).code, 0x0d, 0);
      });
      this.#emit([], 0x0b);
    });
  }

  /** Leaves a function without result. */
  return(): void {
    this.#emit([], 0x0f);
  }
  /** Ends the run with an error: for what must not happen. */
  trap(): void {
    this.#emit([], 0x00);
  }

  /** A function of the same module. `body` gives the result, if there is one. */
  function<P extends Params, R extends ValueKind | null>(
    params: P,
    result: R,
    body: (k: KernelBuilder, values: ParamValues<P>) => Result<R>,
  ): WasmFunction<P, R> {
    return this.#module.add(params, result, body);
  }
  /** Calls a function; one with a result is called here and its result pinned. */
  call<P extends Params, R extends ValueKind | null>(target: WasmFunction<P, R>, args: ParamValues<P>): CallResult<R> {
    const code = Object.keys(target.params).flatMap((key) => [...(args[key] as AnyValue).code]);
    const call = [...code, 0x10, ...unsigned(target.index)];
    if (target.result === null) {
      this.#emit(call);
      return undefined as CallResult<R>;
    }
    return this.let(valueOfKind(target.result, call)) as CallResult<R>;
  }

  /** For ModuleBuilder: locals and code, `result` on the stack at the end. */
  finish(result: Code): number[] {
    return vector(this.#locals.map((type) => [1, type])).concat(this.#code, result, 0x0b);
  }

  #newLocal(kind: ValueKind): number {
    return this.#paramCount + this.#locals.push(wasmType(kind)) - 1;
  }
  #emit(code: Code, ...rest: number[]): void {
    for (const byte of code) this.#code.push(byte);
    this.#code.push(...rest);
  }
  #nested(body: () => void): void {
    this.#depth++;
    body();
    this.#depth--;
  }
}

function vectorOf(like: F32x4, value: F32x4 | number): F32x4 {
  return typeof value === 'number' ? (like.constructor as typeof F32x4).of(value) : value;
}

type ArgKinds = Readonly<Record<string, 'ptr' | 'i32' | 'f32'>>;
export type KernelArgs<A extends ArgKinds> = { readonly [K in keyof A]: A[K] extends 'f32' ? F32 : I32 } & {
  /** First item and the one after the last. */
  readonly begin: I32;
  readonly end: I32;
  /** Address of this thread's private memory. */
  readonly scratch: I32;
};

/** A kernel from its body; see the head of this file. */
export function wasmKernel<A extends ArgKinds, V extends Variant>(definition: {
  readonly name: string;
  readonly args: A;
  body(k: KernelBuilder, args: KernelArgs<A>, variant: V): void;
}): WasmKernel<V> {
  return {
    name: definition.name,
    args: definition.args,
    build(variant, features) {
      const module = new ModuleBuilder(features);
      const params: Record<string, ValueKind> = { begin: 'i32', end: 'i32', scratch: 'i32' };
      for (const [key, kind] of Object.entries(definition.args)) params[key] = kind === 'f32' ? 'f32' : 'i32';
      const run = module.add(params, null, (k, values) => {
        definition.body(k, values as unknown as KernelArgs<A>, variant);
      });
      return module.bytes(run.index);
    },
  };
}
