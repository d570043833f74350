// Goldens of the e4m3fn codec and of the quantised linears of layer 1: activation bytes and outputs.
import { quantize } from '@magi1/kernels';
import { Magi1Error, f8e4m3fnBitsToNumber } from '@magi1/tensor';
import type { Device } from '@magi1/tensor';
import type { Fp8Linear } from '../nn/index.ts';
import type { VideoDiT } from '../transformer/video-dit.ts';
import { ditGates, folderOf, loadDit, readDitManifest } from './dit-model.ts';
import type { Goldens } from './dit-model.ts';
import { compareExact, compareFloats, compareTensor, golden, goldenFloats, toDevice } from './goldens.ts';
import type { Check, VerifyContext } from './types.ts';
import { readTensors } from './files.ts';

/** NaN codes are written so in the golden. */
const NAN_MARK = -9999;
const LAYER = 'videodit_blocks.layers.1.';

/** The quantised linears of a block: name in the goldens -> name in the checkpoint, golden of the input. */
const LINEARS: Readonly<Record<string, readonly [name: string, input: string]>> = {
  q: ['self_attention.linear_qkv.q', 'in.hidden'],
  qx: ['self_attention.linear_qkv.qx', 'in.hidden'],
  k: ['self_attention.linear_qkv.k', 'in.hidden'],
  v: ['self_attention.linear_qkv.v', 'in.hidden'],
  fc1: ['mlp.linear_fc1', 'in.hidden'],
  fc2: ['mlp.linear_fc2', 'in.fc2'],
  proj: ['self_attention.linear_proj', 'in.proj'],
};

interface QuantizedLinear {
  readonly golden: string;
  readonly name: string;
  readonly input: string;
}

export async function verifyFp8Ops(path: string, { device }: VerifyContext): Promise<Check[]> {
  const { config } = await readDitManifest(path);
  const goldens = await readTensors(path);
  const linears = linearsOf(path, goldens);
  const model = await loadDit(folderOf(path), config, device);
  try {
    return [
      ...(await codecChecks(goldens, device)),
      ...(await linearChecks(linears, goldens, model, ditGates(config).operator)),
    ];
  } finally {
    model.dispose();
  }
}

/** The linears whose outputs the file holds. */
function linearsOf(path: string, goldens: Goldens): QuantizedLinear[] {
  const linears = [...goldens.keys()].flatMap((key): QuantizedLinear[] => {
    const name = /^(\w+)\.out$/.exec(key)?.[1];
    if (name === undefined) return [];
    const known = LINEARS[name];
    if (known === undefined) throw new Magi1Error(`${path}: ${key} is the output of no quantised linear`);
    return [{ golden: name, name: `${LAYER}${known[0]}`, input: known[1] }];
  });
  if (linears.length === 0) throw new Magi1Error(`${path}: holds no output of a quantised linear`);
  return linears;
}

async function codecChecks(goldens: Goldens, device: Device): Promise<Check[]> {
  const codes = golden(goldens, 'codec.codes').data;
  const decoded = Float32Array.from(codes, (code) => {
    const value = f8e4m3fnBitsToNumber(code);
    return Number.isNaN(value) ? NAN_MARK : value;
  });
  const encoded = quantize(toDevice(device, golden(goldens, 'codec.in')), device.tensor([1], [1], 'f32'));
  return [
    compareFloats('codec.decoded', decoded, goldenFloats(goldens, 'codec.decoded'), { maxAbs: 0 }),
    compareExact('codec.encoded', await encoded.read(), golden(goldens, 'codec.encoded').data),
  ];
}

async function linearChecks(
  linears: readonly QuantizedLinear[],
  goldens: Goldens,
  { params }: VideoDiT,
  gate: number,
): Promise<Check[]> {
  const checks: Check[] = [];
  for (const linear of linears) {
    const layer = params.modules.get(linear.name) as Fp8Linear;
    const input = golden(goldens, linear.input); // [tokens, 1, features]
    const x = toDevice(params.device, input, [input.shape[0]!, input.shape.at(-1)!]);
    const [bytes, out] = [layer.quantizeInput(x), layer.forward(x)];
    const [wantedBytes, wantedOut] = [`${linear.golden}.act_fp8`, `${linear.golden}.out`];
    checks.push(compareExact(wantedBytes, await bytes.read(), golden(goldens, wantedBytes).data));
    checks.push(await compareTensor(wantedOut, out, golden(goldens, wantedOut), { relL2: gate }));
  }
  return checks;
}
