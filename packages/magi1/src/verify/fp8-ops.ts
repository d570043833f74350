// Goldens of the e4m3fn codec and of the quantised linears of layer 1: activation bytes and outputs.
import { quantize } from '@magi1/kernels';
import { f8e4m3fnBitsToNumber } from '@magi1/tensor';
import type { Device } from '@magi1/tensor';
import { loadWeights, readTensors } from '../checkpoint.ts';
import { project, quantizeInput } from '../transformer/projection.ts';
import { ditWeightSpecs } from '../transformer/weights.ts';
import type { Weights } from '../weights.ts';
import { ditGates, folderOf, readDitManifest } from './dit-model.ts';
import type { DitManifest, Goldens } from './dit-model.ts';
import { compareExact, compareFloats, compareTensor, golden, goldenFloats, toDevice } from './goldens.ts';
import type { Check, VerifyContext } from './types.ts';

/** NaN codes are written so in the golden. */
const NAN_MARK = -9999;
const LAYER = 'videodit_blocks.layers.1.';

/** The linears of the layer that have goldens, and their inputs. */
const LINEARS = [
  ['q', 'self_attention.linear_qkv.q', 'in.hidden'],
  ['k', 'self_attention.linear_qkv.k', 'in.hidden'],
  ['fc1', 'mlp.linear_fc1', 'in.hidden'],
  ['fc2', 'mlp.linear_fc2', 'in.fc2'],
  ['proj', 'self_attention.linear_proj', 'in.proj'],
] as const;

export async function verifyFp8Ops(path: string, { device }: VerifyContext): Promise<Check[]> {
  const { config } = await readDitManifest(path);
  const goldens = await readTensors(path);
  const weights = await loadQuantized(folderOf(path), config, device);
  try {
    return [
      ...(await codecChecks(goldens, device)),
      ...(await linearChecks(goldens, weights, ditGates(config).operator, device)),
    ];
  } finally {
    weights.dispose();
  }
}

/** The quantised layers that are checked, and nothing else of the checkpoint. */
function loadQuantized(folder: string, { model_config, engine_config }: DitManifest['config'], device: Device) {
  const wanted = (name: string) => LINEARS.some(([, linear]) => name.startsWith(`${LAYER}${linear}.`));
  const specs = new Map([...ditWeightSpecs(model_config, engine_config)].filter(([name]) => wanted(name)));
  return loadWeights(folder, specs, device, { rename: (name) => (wanted(name) ? name : undefined) });
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

async function linearChecks(goldens: Goldens, weights: Weights, gate: number, device: Device): Promise<Check[]> {
  const checks: Check[] = [];
  for (const [name, linear, input] of LINEARS) {
    const layer = weights.at(`${LAYER}${linear}`);
    const stored = golden(goldens, input); // [tokens, 1, features]
    const x = toDevice(device, stored, [stored.shape[0]!, stored.shape.at(-1)!]);
    const bytes = await quantizeInput(x, layer).read();
    checks.push(compareExact(`${name}.act_fp8`, bytes, golden(goldens, `${name}.act_fp8`).data));
    checks.push(await compareTensor(`${name}.out`, project(x, layer), golden(goldens, `${name}.out`), { relL2: gate }));
  }
  return checks;
}
