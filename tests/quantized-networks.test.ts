// Networks loaded as q8 and q4: every module gives what it gives with the weights that the codec decodes to, on every device.
import {
  CheckedWeights,
  Params,
  T5Encoder,
  VideoDiT,
  ViTVae,
  keepView,
  observe,
  parseT5Config,
  parseVaeConfig,
  seededNoise,
} from '@magi1/core/model';
import type { Linear, LowRankUpdate } from '@magi1/core/model';
import { POCKET_MODEL, parseConfig } from '@magi1/core';
import { elementCount, fromFloat32, isBlocks, scope, toFloat32 } from '@magi1/tensor';
import type { Device, DType, HostTensor, Tensor } from '@magi1/tensor';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testDevices } from './support/devices.ts';
import { relativeL2 } from './support/distance.ts';

interface Network {
  readonly params: Params;
  dispose(): void;
}
interface Trial<N extends Network> {
  readonly name: string;
  readonly build: (p: Params) => N;
  readonly run: (network: N, device: Device) => Promise<Tensor[]>;
  /** Weights that stay in 16 bit. */
  readonly kept: RegExp;
}

const json = (path: string) => JSON.parse(readFileSync(`${POCKET_MODEL}/${path}`, 'utf8')) as Record<string, object>;
const config = (() => {
  const { model_config: model, ...rest } = json('config.json');
  const small = { num_layers: 2, hidden_size: 128, ffn_hidden_size: 192, num_attention_heads: 4, kv_channels: 32 };
  return parseConfig({ ...rest, model_config: { ...model, ...small, cond_hidden_ratio: 0.5 } }, 'test');
})();
const t5Config = parseT5Config({ ...json('t5/t5-v1_1-xxl/config.json'), d_ff: 192 }, 'test');
const vaeConfig = (() => {
  const { ddconfig, ...rest } = json('vae/config.json');
  const wide = { embed_dim: 128, num_heads: 4, mlp_ratio: 1.5, depth: 2 };
  return parseVaeConfig({ ...rest, ddconfig: { ...ddconfig, ...wide } }, 'test');
})();

const noise = (device: Device, shape: number[], seed: number) =>
  device.tensor(seededNoise(seed, elementCount(shape), 0), shape, 'f32');

const transformer: Trial<VideoDiT> = {
  name: 'transformer',
  build: (p) => new VideoDiT(p, config),
  async run(dit, device) {
    const text = scope(() => dit.readText(noise(device, [7, 64], 3)));
    const latent = noise(device, [1, 16, 2, 4, 6], 4);
    const input = { chunks: [{ latent, t: 0.3, firstFrame: 0, keys: [0, 12], text }], dt: null } as const;
    const velocities = await dit.forward({ ...input, condition: 'caption' });
    for (const tensor of [text, latent] as Tensor[]) tensor.dispose();
    return velocities;
  },
  kept: /^(x_embedder|t_embedder|y_embedder|final_linear)/,
};
const t5: Trial<T5Encoder> = {
  name: 'text encoder',
  build: (p) => new T5Encoder(p, t5Config),
  run: async (encoder) => [await encoder.encode(Int32Array.of(5, 9, 300, 1), Int32Array.of(1, 1, 1, 1))],
  kept: /^shared/,
};
const vae: Trial<ViTVae> = {
  name: 'VAE',
  build: (p) => new ViTVae(p, vaeConfig),
  async run(network, device) {
    using video = noise(device, [1, 3, 8, 16, 24], 5);
    using latents = noise(device, [1, 16, 2, 2, 3], 6);
    return [await network.encodeMoments(video), await network.decode(latents)];
  },
  kept: /patch_embed|last_layer|proj_in|final_proj/,
};

/** A file in f32, with matrices as of a trained layer and norms about 1. */
function fileOf<N extends Network>({ build }: Trial<N>) {
  const tensors = new Map<string, HostTensor>();
  let seed = 100;
  for (const [name, { shape, role }] of Params.record(build)) {
    const count = elementCount(shape);
    const scale = role === 'vector' ? 0.1 : 1 / Math.sqrt(Math.max(count / shape[0]!, 1));
    const offset = role === 'vector' && name.endsWith('weight') ? 1 : 0;
    const data = Float32Array.from(seededNoise(seed++, count, 0), (value) => offset + scale * value);
    tensors.set(name, { dtype: 'f32', shape, data });
  }
  return {
    name: 'weights',
    tensors,
    names: () => tensors.keys(),
    entry: (name: string) => tensors.get(name)!,
    async *stream(names: Iterable<string>) {
      await Promise.resolve();
      for (const name of names) yield { name, tensor: tensors.get(name)! };
    },
  };
}

/** What every module gives, by path and turn. */
async function outputs<N extends Network>({ run }: Trial<N>, network: N, device: Device) {
  const seen: { path: string; tensor: Tensor }[] = [];
  const results = await observe(
    network.params,
    (path, tensor) => {
      if (tensor.dtype === 'f32') seen.push({ path, tensor: keepView(tensor) });
    },
    () => run(network, device),
  );
  const values: [string, Float32Array][] = [];
  for (const { path, tensor } of seen) {
    values.push([path, await tensor.toFloat32()]);
    tensor.dispose();
  }
  for (const tensor of results) tensor.dispose();
  return values;
}

const rounded = (dtype: DType, data: Float32Array) => toFloat32(dtype, fromFloat32(dtype, data));

for (const { name, open } of testDevices()) {
  describe(name, () => {
    let device: Device;
    beforeAll(async () => {
      device = await open();
    });
    afterAll(async () => {
      expect(device.memory().tensors).toBe(0);
      await device.dispose();
    });

    async function compare<N extends Network>(trial: Trial<N>, dtype: 'q8' | 'q4', prepare?: (network: N) => void) {
      const file = fileOf(trial);
      const checked = new CheckedWeights(file, { build: trial.build }, dtype);
      const kinds = new Set<DType>();
      for (const [weight, spec] of checked.specs) {
        const kind = checked.dtypeOf(weight);
        kinds.add(kind);
        const wanted = spec.role === 'vector' ? 'f32' : trial.kept.test(weight) ? 'bf16' : dtype;
        expect([weight, kind]).toEqual([weight, wanted]);
      }
      expect(kinds).toEqual(new Set<DType>(['f32', 'bf16', dtype]));
      const quantized = await checked.load(device);
      const exact = trial.build(
        Params.create(device, (weight, { shape }) => {
          const data = rounded(checked.dtypeOf(weight), file.tensors.get(weight)!.data as Float32Array);
          return device.tensor(data, shape, 'f32');
        }),
      );
      for (const [weight] of checked.specs) {
        const held = quantized.params.get(weight);
        expect(await held.toFloat32()).toEqual(await exact.params.get(weight).toFloat32());
        expect(isBlocks(held.dtype)).toBe(checked.dtypeOf(weight) === dtype);
      }
      for (const network of [quantized, exact]) prepare?.(network);
      const got = await outputs(trial, quantized, device);
      const want = await outputs(trial, exact, device);
      expect(got.map(([path]) => path)).toEqual(want.map(([path]) => path));
      for (const [i, [path, values]] of got.entries())
        expect([path, relativeL2(values, want[i]![1])]).toEqual([path, expect.toSatisfy((e: number) => e < 3e-6)]);
      for (const network of [quantized, exact]) network.dispose();
    }

    for (const dtype of ['q8', 'q4'] as const) {
      test(`${dtype}: the transformer`, () => compare(transformer, dtype));
      test(`${dtype}: the text encoder`, () => compare(t5, dtype));
      test(`${dtype}: the VAE`, () => compare(vae, dtype));
      test(`${dtype}: low-rank updates act on quantised weights`, async () => {
        await compare(transformer, dtype, (network) => {
          const layer = network.params.modules.get('videodit_blocks.layers.1.mlp.linear_fc1') as Linear;
          const [outs, ins] = layer.weight.shape as [number, number];
          const update: LowRankUpdate = { a: noise(device, [3, ins], 1), b: noise(device, [outs, 3], 2), scale: 0.2 };
          layer.setUpdates([update]);
        });
      });
    }
  });
}
