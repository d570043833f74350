// NaN, infinities and numbers near the ends of f32 through every op: the reference against what PyTorch makes of them
// (tests/files/non-finite.py), and every device against the reference. MAGI1_OP works as for tests/ops.test.ts.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { attention, cast, framesToUint8, geluErf, geluTanh, layerNorm, qkNorm, quantize } from '@magi1/kernels';
import { rmsNorm, silu, softmax, tanh } from '@magi1/kernels';
import { isBlocks, isWeight, toFloat32 } from '@magi1/tensor';
import type { AnyCase, CaseInput, DType, Device, Tensor } from '@magi1/tensor';
import { asStored, checkCase, compareByElement, materialise, referenceOutput } from '@magi1/tensor/checks';
import { preluOp } from '../examples/custom-op/index.ts';
import { loadOps, rooms } from './support/all-ops.ts';
import { testDevices } from './support/devices.ts';

interface StoredTensor {
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** Numbers, or the names of what JSON has no number for. */
  readonly values: readonly (number | string)[];
}

interface StoredCase {
  readonly op: string;
  readonly name: string;
  readonly params: object;
  readonly inputs: Readonly<Record<string, StoredTensor>>;
  readonly output: StoredTensor;
}

const numbers = ({ values }: StoredTensor): number[] => values.map(Number);
const filled = (tensor: StoredTensor): CaseInput & { fill: { kind: 'values'; values: number[] } } => ({
  shape: tensor.shape,
  dtype: tensor.dtype,
  fill: { kind: 'values', values: numbers(tensor) },
});

/** The numbers with a NaN for the first one, whose sign bit is set. */
function withNegativeNaN(values: readonly number[]): Float32Array {
  const bits = new Uint32Array(Float32Array.from(values).buffer);
  bits[0] = 0xffc00000;
  return new Float32Array(bits.buffer);
}

const stored = JSON.parse(
  readFileSync(new URL('./files/non-finite.json', import.meta.url), 'utf8'),
) as readonly StoredCase[];

const ops = [...(await loadOps()), ...(rooms === undefined ? [preluOp] : [])];
const table = ops.map((op) => {
  const cases = stored
    .filter((entry) => entry.op === op.name)
    .map(({ name, params, inputs, output }) => {
      const given = Object.entries(inputs).map(([key, input]) => [key, filled(input)] as const);
      const opCase: AnyCase = { name, params, inputs: Object.fromEntries(given) };
      return { opCase, output: filled(output) };
    });
  return { name: op.name, op, cases };
});

describe.each(table)('$name', ({ op, cases }) => {
  // A new op, input or kind fails here until tests/files/non-finite.py says what becomes of it.
  test('has a case for NaN and either infinity in every float input, and for every kind', () => {
    expect(cases.length).toBeGreaterThan(0);
    const known = op.cases as readonly AnyCase[];
    const inputs = (list: readonly AnyCase[]) =>
      list.flatMap((opCase) => Object.entries(opCase.inputs as Record<string, CaseInput | undefined>));
    const given = inputs(cases.map(({ opCase }) => opCase));
    for (const [name, input] of inputs(known)) {
      // The inputs of concat are numbered and alike.
      if (input === undefined || !isWeight(input.dtype) || (op.name === 'concat' && name !== '0')) continue;
      const values = given.flatMap(([key, other]) => {
        const fits = key === name && other?.dtype === input.dtype && other.fill?.kind === 'values';
        return fits && other.fill?.kind === 'values' ? other.fill.values : [];
      });
      // f8e4m3fn has no infinity, and in a group of q8 one makes its block NaN.
      const wanted = input.dtype === 'f8e4m3fn' || isBlocks(input.dtype) ? [NaN] : [NaN, Infinity, -Infinity];
      expect([name, input.dtype, wanted.map((value) => values.includes(value))]).toEqual([
        name,
        input.dtype,
        wanted.map(() => true),
      ]);
    }
    const kinds = (list: readonly AnyCase[]) =>
      [...new Set(list.map(({ params }) => (params as { kind?: string; to?: string }).kind ?? ''))].sort();
    expect(kinds(cases.map(({ opCase }) => opCase))).toEqual(kinds(known));
  });

  for (const { opCase, output } of cases) {
    test(`${opCase.name} on the reference is as PyTorch`, () => {
      const got = referenceOutput(op, opCase);
      expect([got.shape, got.dtype]).toEqual([output.shape, output.dtype]);
      const want = materialise(output, opCase.name);
      const wanted = isWeight(output.dtype) ? toFloat32(output.dtype, want) : (want as Uint8Array | Int32Array);
      compareByElement('output', asStored(got, true), { ...output, data: wanted });
    });
  }
});

for (const { name: deviceName, open } of testDevices()) {
  describe(deviceName, () => {
    let device: Device;
    beforeAll(async () => {
      device = await open({ guardBytes: 64 });
    });
    afterAll(() => device.dispose());

    for (const { op, cases } of table) {
      for (const { opCase } of cases) {
        test(`${op.name} ${opCase.name}`, () => checkCase(op, opCase, device, compareByElement));
      }
    }

    // As processors make it of Infinity - Infinity; a list of numbers cannot hold it.
    test('a NaN with the sign bit is one', async () => {
      const made: Tensor[] = [];
      const keep = <T extends Tensor>(tensor: T): T => {
        made.push(tensor);
        return tensor;
      };
      const x = keep(device.tensor(withNegativeNaN([8, 1, 2, 3]), [1, 1, 4], 'f32'));
      const ones = keep(device.tensor(new Float32Array(4).fill(1), [1, 1, 4], 'f32'));
      const scale = keep(device.tensor(Float32Array.of(1), [1], 'f32'));
      const call = { blocks: [{ q: [0, 1], k: [0, 1] }], scale: 1 } as const;
      for (const y of [softmax(x), attention(x, ones, ones, call), attention(ones, x, ones, call)]) {
        expect([...(await keep(y).read())]).toEqual([NaN, NaN, NaN, NaN]);
      }
      const narrow = [cast(x, 'f16'), cast(x, 'bf16'), cast(x, 'f8e4m3fn'), quantize(x, scale)];
      for (const y of [silu(x), geluErf(x), geluTanh(x), tanh(x), ...narrow]) {
        const got = toFloat32(y.dtype, await keep(y).read());
        expect([...got].map(Number.isNaN)).toEqual([true, false, false, false]);
      }
      const video = keep(device.tensor(withNegativeNaN([0, 0, 0]), [1, 3, 1, 1, 1], 'f32'));
      expect([...(await keep(framesToUint8(video)).read())]).toEqual([0, 127, 127]);
      for (const tensor of made) tensor.dispose();
    });

    test('what -Infinity leaves in a softmax is 0, not a small number', async () => {
      using x = device.tensor([-Infinity, 1, 2, 3], [4], 'f32');
      using y = softmax(x);
      expect((await y.read())[0]).toBe(0);
    });

    // PyTorch gives NaN for the centred norms and 0 for the other; the reference, in float64, has room for the squares.
    test('squares that overflow are not taken for none', async () => {
      using x = device.tensor([1e30, 1, 2, 3], [1, 1, 4], 'f32');
      using ones = device.tensor([1, 1, 1, 1], [4], 'f32');
      using centred = layerNorm(x, { eps: 1e-6 });
      using std = qkNorm(x, { kind: 'std', eps: 1e-6 });
      using rms = rmsNorm(x, ones, { eps: 1e-6 });
      const exact = device.backend === 'reference';
      for (const y of [centred, std]) expect([...(await y.read())].some(Number.isNaN)).toBe(!exact);
      expect((await rms.read())[0]).toBe(exact ? 2 : 0);
    });
  });
}
