// Goldens of the e4m3fn codec and the quantised linears.
import { f8e4m3fnBitsToNumber, fromFloat32, numberToF8e4m3fnBits, toFloat32 } from '@magi1/tensor';
import { readTensors } from '../checkpoint.ts';
import { compareExact, compareFloats, golden, goldenFloats } from './goldens.ts';
import { folderOf, loadDit, readDitManifest } from './dit-model.ts';
import type { Check, VerifyContext } from './types.ts';

/** NaN codes are written so in the golden. */
const NAN_MARK = -9999;

export async function verifyFp8Ops(path: string, { device }: VerifyContext): Promise<Check[]> {
  const { config } = await readDitManifest(path);
  const goldens = await readTensors(path);
  const codes = golden(goldens, 'codec.codes').data;
  const decoded = Float32Array.from(codes, (code) => {
    const value = f8e4m3fnBitsToNumber(code);
    return Number.isNaN(value) ? NAN_MARK : value;
  });
  const clamped = goldenFloats(goldens, 'codec.in').map((value) => Math.min(Math.max(value, -448), 448));
  const rounded = toFloat32('bf16', fromFloat32('bf16', clamped));
  const checks = [
    compareFloats('codec.decoded', decoded, goldenFloats(goldens, 'codec.decoded'), { maxAbs: 0 }),
    compareExact(
      'codec.encoded',
      Uint8Array.from(rounded, numberToF8e4m3fnBits),
      golden(goldens, 'codec.encoded').data,
    ),
  ];
  const model = await loadDit(folderOf(path), config, device);
  model.dispose();
  return checks;
}
