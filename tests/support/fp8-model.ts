// The tiny model as a quantised checkpoint in the original's format, and the same weights widened again.
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { writeSafetensors } from '@magi1/loaders';
import { toFloat32 } from '@magi1/tensor';
import type { HostTensor } from '@magi1/tensor';
import { TINY_MODEL } from './cli.ts';
import { readSafetensors } from './safetensors-lite.ts';
import { TRANSFORMER_FILE, copyTinyModel, editConfig } from './tiny-model.ts';

/** Layers of all blocks but the first and the last (tiny has three blocks). */
const PER_TENSOR = /^videodit_blocks\.layers\.1\.(self_attention\.linear_qkv\.(q|qx|k|v)|mlp\.linear_fc1)\.weight$/;
const PER_CHANNEL = /^videodit_blocks\.layers\.1\.(self_attention\.linear_proj|mlp\.linear_fc2)\.weight$/;
const MOST = 448;

/** The 127 finite e4m3fn values that are not negative, by code: 3 bits of fraction, exponent bias 7. */
const VALUES = Array.from({ length: 127 }, (_, code) => {
  const [exponent, fraction] = [code >> 3, code & 7];
  return exponent === 0 ? (fraction / 8) * 2 ** -6 : (1 + fraction / 8) * 2 ** (exponent - 7);
});

export function decodeF8(code: number): number {
  return (code & 128 ? -1 : 1) * VALUES[code & 127]!;
}

/** The nearest code, the even one of two. */
export function encodeF8(value: number): number {
  const size = Math.min(Math.abs(value), MOST);
  let code = 0;
  while (code < 126 && VALUES[code + 1]! <= size) code++;
  if (code < 126) {
    const [below, above] = [size - VALUES[code]!, VALUES[code + 1]! - size];
    if (above < below || (above === below && code % 2 === 1)) code++;
  }
  return code | (value < 0 || Object.is(value, -0) ? 128 : 0);
}

type Tensors = Map<string, HostTensor>;

/** The transformer's weights quantised, and what they stand for as float32. */
export function quantizedWeights(): { quantized: Tensors; widened: Tensors } {
  const original = readSafetensors(join(TINY_MODEL, TRANSFORMER_FILE));
  const quantized: Tensors = new Map(original);
  const widened: Tensors = new Map(original);
  const f32 = (values: Iterable<number>, ...shape: number[]): HostTensor => {
    return { dtype: 'f32', shape, data: Float32Array.from(values) };
  };
  for (const [name, { dtype, shape, data }] of original) {
    const perChannel = PER_CHANNEL.test(name);
    if (!perChannel && !PER_TENSOR.test(name)) continue;
    const layer = name.replace(/\.weight$/, '');
    const [outputs, inputs] = shape as [number, number];
    const weight = toFloat32(dtype, data);
    // Chosen, not calibrated: activations of this model stay below 448 times these.
    const inputScale = Math.fround(perChannel ? 1 : 0.015);
    const smooth = Float32Array.from({ length: inputs }, (_, i) => (perChannel ? 0.01 + 0.002 * (i % 5) : inputScale));
    // x / smooth are the bytes: a weight stands for input_scale x weight_scale x its own bytes / smooth.
    const scaled = weight.map((value, i) => (value * smooth[i % inputs]!) / inputScale);
    const weightScale = Math.fround(scaled.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / MOST);
    const codes = Uint8Array.from(scaled, (value) => encodeF8(value / weightScale));
    quantized.set(name, { dtype: 'f8e4m3fn', shape: [1, outputs, inputs], data: codes });
    quantized.set(`${layer}.weight_scale`, f32([weightScale], 1));
    if (perChannel) {
      quantized.set(`${layer}.input_scale`, f32([inputScale], 1));
      quantized.set(`${layer}.smooth_scale`, f32(smooth, 1, inputs));
    } else {
      quantized.set(`${layer}.input_scale`, f32(smooth, inputs));
    }
    const values = Array.from(codes, (code, i) => (decodeF8(code) * weightScale * inputScale) / smooth[i % inputs]!);
    widened.set(name, f32(values, outputs, inputs));
  }
  return { quantized, widened };
}

/** A copy of the tiny model with another transformer; one-pass guidance, as fp8 and distilled checkpoints have it. */
export async function onePassModel(
  weights: ReadonlyMap<string, HostTensor>,
  { fp8, distill }: { readonly fp8: boolean; readonly distill: boolean },
): Promise<string> {
  const folder = copyTinyModel();
  const kind = `inference_weight${fp8 ? '.fp8' : ''}${distill ? '.distill' : ''}`;
  const file = join(folder, 'magi', kind, 'model.safetensors');
  mkdirSync(dirname(file), { recursive: true });
  await writeSafetensors(file, weights);
  editConfig(folder, (config) => {
    Object.assign(config.engine_config!, { fp8_quant: fp8, distill });
    config.runtime_config!.cfg_number = 1;
  });
  return folder;
}
