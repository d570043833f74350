// The door `@magi1/tensor/checks`: what every op is held to, here and in projects of their own.
//
//   await checkOp(preluOp, [{ backend: 'wasm' }, { backend: 'webgpu' }]);                 // throws what is wrong
//   for (const { name, run } of opChecks(preluOp, 'wasm')) test(name, () => run(device));  // one test for each check
import { Device } from '../device.ts';
import type { Backend, DeviceOptions } from '../device.ts';
import { isWeight, toFloat32 } from '../dtype.ts';
import { Magi1Error, OpError, describeValue, isOptions } from '../errors.ts';
import { isOp } from '../op.ts';
import type { AnyCase, AnyOp, CaseInput, NumberArray, OpCall } from '../op.ts';
import { elementCount } from '../shape.ts';
import { checkCase, materialise, randomBits } from './case.ts';
import { compareByNorm, compareFiniteness } from './compare.ts';
import { shown, smallestPieces } from './pieces.ts';

export { checkCase, materialise, referenceOutput } from './case.ts';
export { smallestPieces } from './pieces.ts';
export { asStored, compareByElement, compareByNorm, compareFiniteness } from './compare.ts';
export type { CaseError } from './compare.ts';

export interface OpCheck {
  /** `softmax odd`. */
  readonly name: string;
  /** On a device of the backend, best one opened with `GUARD_BYTES`. Rejects with what is wrong. */
  readonly run: (device: Device) => Promise<unknown>;
}

export interface OpCheckOptions {
  /** Of the random cases: a whole number; 1 when left out. */
  readonly seed?: number;
  /** How many, beside the smallest; 6 when left out. */
  readonly randomCases?: number;
  /** Inputs that must fit one WebGPU binding, or 'output'; what exceeds one is cut otherwise, as `rowRanges` does. */
  readonly whole?: readonly string[] | undefined;
}

/** Cases with larger inputs are not tried with NaN. */
const MOST_ELEMENTS = 4096;
const MOST_CASES = 4;

/** Behind every allocation of a device that `checkOp` opens. */
export const GUARD_BYTES = 64;

/**
 * What an op is held to on a backend: a version for it; its cases and random ones, compared with its reference, without
 * overruns, leaks, changed inputs or unwritten elements; NaN and infinities in every float input, which must spoil the
 * same elements as in the reference; and, on WebGPU, the same bits when cut to the smallest bindings. Of `infer` it is
 * known whether it gives a shape and dtype, but only for cases that state their `y` whether they are the right ones: the
 * reference is given its output in the shape that `infer` says.
 * @throws Magi1Error for what is no op, for options that are unknown or of another kind, and for an op without cases
 */
export function opChecks(op: AnyOp, backend: Exclude<Backend, 'reference'>, options: OpCheckOptions = {}): OpCheck[] {
  checkArguments(op, options);
  const { seed = 1, randomCases = 6, whole = [] } = options;
  const cases = casesOf(op);
  if (cases.length === 0)
    throw new OpError(op.name, 'has no cases, or only benchmarkOnly ones: nothing would be checked');
  const check = (name: string, run: OpCheck['run']): OpCheck => ({ name: `${op.name} ${name}`, run });
  if (op[backend] === undefined) {
    return [check(`has a ${backend} version`, () => Promise.reject(new OpError(op.name, `has no ${backend} version`)))];
  }
  return [
    ...cases.map((opCase) => check(opCase.name, (device) => checkCase(op, opCase, device))),
    ...(op.randomCase === undefined
      ? []
      : [check('random cases', (device) => checkRandom(op, device, seed, randomCases))]),
    check('NaN and infinities', (device) => checkNotFinite(op, device)),
    ...(backend === 'webgpu' ? [check('in pieces', (device) => checkPieces(op, device, whole))] : []),
  ];
}

/**
 * All checks of an op, on each device: opened for them, with guard bytes behind every allocation. Gives how many checks
 * there were. Throws Magi1Error with a line for each that failed, and for arguments that `opChecks` refuses.
 */
export async function checkOp(
  op: AnyOp,
  devices: readonly (DeviceOptions & { readonly backend: Exclude<Backend, 'reference'> })[],
  options: OpCheckOptions = {},
): Promise<number> {
  checkArguments(op, options);
  checkDevices(devices);
  const faults: string[] = [];
  let count = 0;
  for (const wanted of devices) {
    await using device = await Device.open({ guardBytes: GUARD_BYTES, ...wanted });
    for (const { name, run } of opChecks(op, wanted.backend, options)) {
      count++;
      await run(device).catch((error: unknown) => {
        faults.push(`${device.info.name}: ${name}: ${error instanceof Error ? error.message : String(error)}`);
      });
    }
  }
  if (faults.length > 0) throw new Magi1Error(`${faults.length} of ${count} checks failed:\n${faults.join('\n')}`);
  return count;
}

const BACKENDS: readonly unknown[] = ['wasm', 'webgpu'];

const OPTIONS: { readonly [K in keyof OpCheckOptions]-?: readonly [string, (value: unknown) => boolean] } = {
  seed: ['a whole number', (value) => Number.isSafeInteger(value)],
  randomCases: ['a whole number from 0', (value) => Number.isSafeInteger(value) && (value as number) >= 0],
  whole: ['a list of names', (value) => Array.isArray(value) && value.every((name) => typeof name === 'string')],
};

function checkArguments(op: unknown, options: unknown): void {
  if (!isOp(op)) throw new Magi1Error(`checks: an op, as defineOp gives it, expected, got ${describeValue(op)}`);
  for (const part of ['infer', 'cost', 'reference']) {
    const given = (op as unknown as Record<string, unknown>)[part];
    if (typeof given !== 'function')
      throw new OpError(op.name, `${part}: a function expected, got ${describeValue(given)}`);
  }
  if (!Array.isArray(op.cases) || !op.cases.every(isOptions))
    throw new OpError(op.name, 'cases: a list of { name, inputs, params } expected');
  if (!isOptions(options))
    throw new OpError(op.name, `checks: an object of options expected, got ${describeValue(options)}`);
  for (const [name, value] of Object.entries<unknown>(options as Record<string, unknown>)) {
    const known = Object.hasOwn(OPTIONS, name) ? OPTIONS[name as keyof OpCheckOptions] : undefined;
    if (known === undefined)
      throw new OpError(op.name, `checks: unknown option ${name}: there are ${Object.keys(OPTIONS).join(', ')}`);
    if (value !== undefined && !known[1](value))
      throw new OpError(op.name, `checks: ${name}: ${known[0]} expected, got ${describeValue(value)}`);
  }
}

function checkDevices(devices: unknown): void {
  const right = (wanted: unknown) => isOptions(wanted) && BACKENDS.includes((wanted as DeviceOptions).backend);
  if (!Array.isArray(devices) || devices.length === 0 || !devices.every(right))
    throw new Magi1Error("checkOp: devices: a list of { backend: 'wasm' } or { backend: 'webgpu' } expected");
}

function casesOf(op: AnyOp): AnyCase[] {
  return (op.cases as readonly AnyCase[]).filter(({ benchmarkOnly }) => benchmarkOnly !== true);
}

async function checkRandom(op: AnyOp, device: Device, seed: number, count: number): Promise<void> {
  const bits = randomBits(seed);
  for (let i = 0; i <= count; i++) {
    // The smallest case is always among them.
    const opCase = op.randomCase!((below) => (i === 0 ? 0 : bits() % below)) as AnyCase;
    try {
      await checkCase(op, opCase, device);
    } catch (error) {
      const { inputs, params } = (opCase ?? {}) as { inputs?: unknown; params?: unknown };
      throw new Error(`${String(error)}; seed ${seed}, case ${i}: ${JSON.stringify({ inputs, params })}`, {
        cause: error,
      });
    }
  }
}

/** NaN and infinities at one place of each float input in turn; the other values are the case's own. */
async function checkNotFinite(op: AnyOp, device: Device): Promise<void> {
  const bits = randomBits(1);
  const entries = ({ inputs }: AnyCase) =>
    Object.entries(inputs as Record<string, CaseInput | undefined>).filter(
      (entry): entry is [string, CaseInput] => entry[1] !== undefined,
    );
  const cases = op.randomCase === undefined ? casesOf(op) : [...casesOf(op), op.randomCase(() => 0) as AnyCase];
  const small = cases.filter((opCase) =>
    entries(opCase).every(([, { shape }]) => elementCount(shape) > 0 && elementCount(shape) <= MOST_ELEMENTS),
  );
  if (small.length === 0)
    throw new Error(`no case has inputs of 1 to ${MOST_ELEMENTS} elements, to be tried with NaN and infinities`);
  for (const opCase of small.slice(0, MOST_CASES)) {
    for (const [name, input] of entries(opCase)) {
      if (!isWeight(input.dtype)) continue;
      for (const value of input.dtype === 'f8e4m3fn' ? [NaN] : [NaN, Infinity, -Infinity]) {
        const values: number[] = [...toFloat32(input.dtype, materialise(input, `${op.name} ${opCase.name} ${name}`))];
        const at = bits() % values.length;
        values[at] = value;
        const inputs = {
          ...opCase.inputs,
          [name]: { ...input, fill: { kind: 'values', values } },
        } as AnyCase['inputs'];
        try {
          await checkCase(op, { ...opCase, inputs }, device, compareFiniteness);
        } catch (error) {
          throw new Error(`${opCase.name}, ${value} at ${name}[${at}]: ${String(error)}`, { cause: error });
        }
      }
    }
  }
}

/**
 * The op gives the same bits with the smallest bindings that it can do with. Some case must be large enough (a binding of
 * 256 bytes is the smallest) to cut each input and the output, or the input is named in `whole`.
 */
async function checkPieces(op: AnyOp, device: Device, whole: readonly string[]): Promise<void> {
  const [operands, cut] = [new Set<string>(), new Set<string>()];
  const webgpu: AnyOp['webgpu'] = (call: OpCall, capabilities) => {
    const dispatches = smallestPieces(op, call, capabilities);
    const values = dispatches.flatMap(({ bindings }) => Object.values(bindings)).map(shown);
    for (const [name, tensor] of Object.entries({ ...call.inputs, output: call.y })) {
      if (tensor === undefined) continue;
      operands.add(name);
      if (values.some((part) => part?.tensor === tensor && part.byteLength < tensor.byteLength)) cut.add(name);
    }
    return dispatches;
  };
  for (const opCase of casesOf(op)) {
    const [wanted, got] = [await outputOf(op, opCase, device), await outputOf({ ...op, webgpu }, opCase, device)];
    const other = wanted.findIndex((value, i) => !Object.is(value, got[i]));
    if (other >= 0)
      throw new Error(
        `${opCase.name}: element ${other} is ${got[other]!} in pieces, must be exactly ${wanted[other]!}`,
      );
  }
  const uncut = [...operands].filter((name) => !cut.has(name)).sort();
  const unsaid = uncut.filter((name) => !whole.includes(name));
  if (unsaid.length > 0) {
    const names = [...new Set([...whole, ...unsaid])].map((name) => `'${name}'`).join(', ');
    throw new Error(
      `${unsaid.join(', ')}: bound whole in every case; add a case that is large enough to be cut, cut it as rowRanges does, or, where it must be whole, pass { whole: [${names}] }`,
    );
  }
  const wrong = whole.filter((name) => !uncut.includes(name));
  if (wrong.length > 0)
    throw new Error(
      `whole: ${wrong.map((name) => `${name} ${operands.has(name) ? 'is cut' : 'is no operand'}`).join(', ')}; leave it out`,
    );
}

/** What a case, which must pass, gives. */
async function outputOf(op: AnyOp, opCase: AnyCase, device: Device): Promise<NumberArray> {
  let output: NumberArray | undefined;
  await checkCase(op, opCase, device, (name, got, ...wanted) => {
    output = got;
    return compareByNorm(name, got, ...wanted);
  });
  return output!;
}
