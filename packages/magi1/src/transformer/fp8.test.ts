// fp8 checkpoints through the whole pipeline on every device, alone and with LoRAs, distilled and not.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { Device, Magi1Pipeline } from '@magi1/core';
import { encodeSafetensors } from '@magi1/loaders';
import { bf16BitsToNumber, numberToBf16Bits } from '@magi1/tensor';
import type { HostTensor } from '@magi1/tensor';
import { parseConfig } from '../config/index.ts';
import { loadNetwork } from '../verify/files.ts';
import { transformerLayouts } from '../layouts/index.ts';
import { LoraSet } from '../lora/index.ts';
import { Params } from '../nn/index.ts';
import type { Fp8Linear } from '../nn/index.ts';
import { seededNoise } from '../sampler/index.ts';
import { VideoDiT, transformerNetwork } from './video-dit.ts';
import { testAdapters, testDevices } from '../../../../tests/support/devices.ts';
import { relativeL2 } from '../../../../tests/support/distance.ts';
import { decodeF8, encodeF8, onePassModel, quantizedWeights } from '../../../../tests/support/fp8-model.ts';

const REQUEST = {
  prompt: 'a cat',
  height: 32,
  width: 32,
  numFrames: 48,
  numInferenceSteps: 8,
  seed: 5,
  outputType: 'latents',
} as const;
/** Rounding decisions flip on the last bits of a float32: what that moves in a run, by the conformance kit. */
const FLIPS = 2e-2;
const LAYER = 'videodit_blocks.layers.1';

const { quantized, widened } = quantizedWeights();
const adapters = testAdapters();
const devices = [
  { name: 'reference', open: () => Device.open({ backend: 'reference' }) },
  ...testDevices().filter(({ name }) => name === 'wasm' || name === adapters[0]),
];

const noise = (seed: number, scale: number, ...shape: [number, number]): HostTensor => ({
  dtype: 'f32',
  shape,
  data: Float32Array.from(seededNoise(seed, shape[0] * shape[1], 0), (value) => value * scale),
});
/** Changes two quantised layers of block 1, and one of block 0 that is not. */
const factors: readonly (readonly [layer: string, a: HostTensor, b: HostTensor])[] = [
  [`${LAYER}.self_attention.linear_qkv.v`, noise(1, 0.2, 4, 256), noise(2, 0.2, 128, 4)],
  [`${LAYER}.mlp.linear_fc2`, noise(3, 0.2, 4, 192), noise(4, 0.2, 256, 4)],
  ['videodit_blocks.layers.0.self_attention.linear_qkv.v', noise(5, 0.2, 4, 256), noise(6, 0.2, 128, 4)],
];
const loraOf = (chosen: typeof factors) =>
  encodeSafetensors(
    new Map(
      chosen.flatMap(([layer, a, b]) => [
        [`${layer}.lora_A.weight`, a] as const,
        [`${layer}.lora_B.weight`, b] as const,
      ]),
    ),
  );

/** The widened weights with the LoRA added by hand. */
function merged(): Map<string, HostTensor> {
  const out = new Map(widened);
  for (const [layer, a, b] of factors) {
    const { dtype, shape, data } = out.get(`${layer}.weight`)!;
    const [outputs, inputs] = shape as [number, number];
    const values = Float32Array.from(data, (value) => (dtype === 'bf16' ? bf16BitsToNumber(value) : value));
    for (let i = 0; i < outputs; i++)
      for (let j = 0; j < inputs; j++)
        for (let r = 0; r < 4; r++) values[i * inputs + j]! += b.data[i * 4 + r]! * a.data[r * inputs + j]!;
    out.set(`${layer}.weight`, { dtype: 'f32', shape, data: values });
  }
  return out;
}

async function latentsOf(folder: string, device: Device, lora?: Uint8Array): Promise<Float32Array> {
  const loras = lora === undefined ? [] : [{ source: lora }];
  const pipe = await Magi1Pipeline.fromPretrained(folder, { device, loras });
  try {
    const { frames, facts } = await pipe(REQUEST);
    expect(facts.peakDeviceBytes).toBeLessThan((await pipe.planMemory(REQUEST)).peaks.none);
    return frames;
  } finally {
    await pipe.dispose();
    expect(device.memory().tensors).toBe(0);
  }
}

for (const distill of [false, true]) {
  describe(distill ? 'a distilled fp8 checkpoint' : 'an fp8 checkpoint', () => {
    const latents = new Map<string, { plain: Float32Array; styled: Float32Array }>();

    beforeAll(async () => {
      const folder = await onePassModel(quantized, { fp8: true, distill });
      const lora = await loraOf(factors);
      for (const { name, open } of devices) {
        await using device = await open();
        const plain = await latentsOf(folder, device);
        latents.set(name, { plain, styled: await latentsOf(folder, device, lora) });
      }
    }, 300_000);

    it('gives the same on every device', () => {
      const [first, ...others] = [...latents.values()];
      expect(first!.plain.every(Number.isFinite)).toBe(true);
      for (const { plain, styled } of others) {
        expect(relativeL2(plain, first!.plain)).toBeLessThan(FLIPS);
        expect(relativeL2(styled, first!.styled)).toBeLessThan(FLIPS);
      }
    });

    // A base checkpoint that is not quantised runs in three passes: there is nothing to compare with.
    if (!distill) return;
    it('is as near its widened weights as eight bits of activations let it, with a LoRA too', async () => {
      await using device = await Device.open({ backend: 'wasm' });
      const { plain, styled } = latents.get('wasm')!;
      const wide = await latentsOf(await onePassModel(widened, { fp8: false, distill }), device);
      const wideStyled = await latentsOf(await onePassModel(merged(), { fp8: false, distill }), device);
      for (const [eightBits, wider] of [
        [plain, wide],
        [styled, wideStyled],
      ] as const) {
        expect(relativeL2(eightBits, wider)).toBeLessThan(1e-2);
        expect(relativeL2(eightBits, wider)).toBeGreaterThan(1e-4); // they were quantised
      }
      expect(relativeL2(wideStyled, wide)).toBeGreaterThan(0.1); // the LoRA is no trifle
    });
  });
}

/** What a quantised layer makes of x in float64, with the bytes it reads x as: written down from the format. */
function expectedLayer(layer: string, x: Float32Array): { codes: Uint8Array; y: Float64Array } {
  const { shape, data } = quantized.get(`${layer}.weight`)!;
  const [, outputs, inputs] = shape as [number, number, number];
  const values = (name: string) => quantized.get(`${layer}.${name}`)?.data;
  const scales = values('smooth_scale') ?? values('input_scale')!;
  const codes = Uint8Array.from(x, (value, i) => {
    const clamped = Math.max(-448, Math.min(448, Math.fround(value / scales[i % inputs]!)));
    return encodeF8(bf16BitsToNumber(numberToBf16Bits(clamped)));
  });
  const scale = values('input_scale')![0]! * values('weight_scale')![0]!;
  const y = new Float64Array((x.length / inputs) * outputs);
  for (const i of y.keys()) {
    const [row, column] = [Math.floor(i / outputs) * inputs, (i % outputs) * inputs];
    for (let k = 0; k < inputs; k++) y[i]! += decodeF8(codes[row + k]!) * decodeF8(data[column + k]!);
    y[i]! *= scale;
  }
  return { codes, y };
}

describe('a quantised layer with a LoRA', () => {
  let [folder, file] = ['', ''];
  beforeAll(async () => {
    folder = await onePassModel(quantized, { fp8: true, distill: false });
    file = join(folder, 'magi', 'inference_weight.fp8');
  });

  it.each(devices)('reads exact bytes and adds to what they give: $name', async ({ open }) => {
    const config = parseConfig(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')), folder);
    await using device = await open();
    const transformer = await loadNetwork(file, transformerNetwork(config), device);
    const specs = Params.record((p) => new VideoDiT(p, config));
    const loras = new LoraSet(specs, transformerLayouts(config.model_config));
    await loras.load(await loraOf(factors), { weight: 0.5 });
    await loras.attach(transformer, () => Promise.reject(new Error('nothing is fused')));
    for (const [layer, a, b] of factors.slice(0, 2)) {
      const rows = 6;
      const inputs = a.shape[1]!;
      const x = Float32Array.from(seededNoise(77, rows * inputs, 0), (value) => 2 * value); // some are clamped
      const { codes, y } = expectedLayer(layer, x);
      for (let row = 0; row < rows; row++)
        for (let r = 0; r < 4; r++) {
          let inner = 0;
          for (let k = 0; k < inputs; k++) inner += a.data[r * inputs + k]! * x[row * inputs + k]!;
          const outputs = b.shape[0]!;
          for (let i = 0; i < outputs; i++) y[row * outputs + i]! += 0.5 * inner * b.data[i * 4 + r]!;
        }
      const given = device.tensor(x, [rows, inputs], 'f32');
      const linear = transformer.params.modules.get(layer) as Fp8Linear;
      const [bytes, out] = [linear.quantizeInput(given), linear.forward(given)];
      expect(await bytes.read()).toEqual(codes);
      expect(relativeL2(await out.toFloat32(), y)).toBeLessThan(1e-6);
      for (const tensor of [given, bytes, out]) tensor.dispose();
    }
    transformer.dispose();
  });

  it('is not fused, which would lose the change; other layers are', async () => {
    await using device = await Device.open({ backend: 'wasm' });
    const pipe = await Magi1Pipeline.fromPretrained(folder, { device });
    await pipe.loadLora(await loraOf(factors), { name: 'style' });
    expect(() => pipe.fuseLora()).toThrow(
      /layers\.1\.mlp\.linear_fc2 is quantised to f8e4m3fn .*use the LoRA without fusing it/,
    );
    pipe.unloadLora('style');
    await pipe.loadLora(await loraOf(factors.slice(2)), { name: 'first block' });
    const atRunTime = (await pipe(REQUEST)).frames;
    pipe.fuseLora();
    expect(pipe.loras).toMatchObject([{ name: 'first block', fused: true }]);
    expect(relativeL2((await pipe(REQUEST)).frames, atRunTime)).toBeLessThan(FLIPS);
    await pipe.dispose();
    expect(device.memory().tensors).toBe(0);
  });
});
