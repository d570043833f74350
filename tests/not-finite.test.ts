// Runs that meet NaN, infinities or absurd values end in one line that says where, and deliver nothing from there on.
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { Device, Magi1ImageToVideoPipeline, Magi1Pipeline, NotFiniteError, POCKET_MODEL } from '@magi1/core';
import type { NotFinitePlace, TextToVideoOptions, TextToVideoRequest } from '@magi1/core';
import { encodeSafetensors } from '@magi1/loaders';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TINY_MODEL } from './support/cli.ts';
import { TRANSFORMER_FILE, copyTinyModel, editConfig, setWeight, temporaryFolder } from './support/tiny-model.ts';

const SMALL = { prompt: 'a red circle', height: 32, width: 32, numFrames: 48 } satisfies TextToVideoRequest;
const VAE_FILE = join('vae', 'diffusion_pytorch_model.safetensors');

let device: Device;
beforeAll(async () => {
  device = await Device.open({ backend: 'wasm' });
});
afterAll(async () => {
  expect(device.memory().tensors).toBe(0);
  await device.dispose();
});

type Change = (folder: string) => void;
const unchanged: Change = () => undefined;
const weight =
  (file: string, name: string, value: number): Change =>
  (folder) =>
    setWeight(join(folder, file), name, value);
const transformer = (name: string, value: number) => weight(TRANSFORMER_FILE, name, value);
const vae = (name: string, value: number) => weight(VAE_FILE, name, value);

const hugeGuidance: Change = (folder) =>
  editConfig(folder, (c) => (c['runtime_config']!['text_scales'] = [1e30, 1e30, 1e30, 1e30, 1e30]));

interface Outcome {
  readonly error: unknown;
  readonly chunks: number;
}

/** Runs a changed copy of the tiny model: its error, and the chunks that came before. */
async function run(
  change: Change,
  request: Partial<TextToVideoRequest> = {},
  options: TextToVideoOptions = {},
  prepare: (pipe: Magi1Pipeline) => Promise<void> = () => Promise.resolve(),
): Promise<Outcome> {
  const folder = copyTinyModel();
  change(folder);
  await using pipe = await Magi1Pipeline.fromPretrained(folder, { device, ...options });
  await prepare(pipe);
  let chunks = 0;
  try {
    await pipe({
      ...SMALL,
      ...request,
      onChunk: () => {
        chunks++;
      },
    });
    return { error: undefined, chunks };
  } catch (error) {
    return { error, chunks };
  }
}

const placeOf = ({ error }: Outcome): Omit<NotFinitePlace, 'what'> => {
  expect(error).toBeInstanceOf(NotFiniteError);
  const { what, ...place } = (error as NotFiniteError).place;
  expect((error as Error).message).toContain(what);
  expect((error as Error).message).not.toContain('\n');
  return place;
};

const FIRST = { chunk: { index: 0, count: 2 }, step: { index: 0, count: 10 } };
const block = 'videodit_blocks.layers.1';

async function lora(factor: 'A' | 'B', value: number): Promise<Uint8Array> {
  const filled = (rows: number, columns: number, fill: number) =>
    ({ dtype: 'f32', shape: [rows, columns], data: new Float32Array(rows * columns).fill(fill) }) as const;
  const layer = `${block}.self_attention.linear_proj`;
  return encodeSafetensors(
    new Map([
      [`${layer}.lora_A.weight`, filled(2, 512, factor === 'A' ? value : 1)],
      [`${layer}.lora_B.weight`, filled(256, 2, factor === 'B' ? value : 1)],
    ]),
  );
}

describe('denoising', () => {
  it.each<[string, Change, Partial<TextToVideoRequest>?, TextToVideoOptions?]>([
    ['NaN in the patch embedding', transformer('x_embedder.weight', NaN)],
    ['NaN in a block', transformer(`${block}.mlp.linear_fc2.weight`, NaN)],
    ['an infinity in a block', transformer(`${block}.self_attention.linear_proj.weight`, Infinity)],
    ['NaN in the learned null caption', transformer('y_embedder.null_caption_embedding', NaN)],
    ['a huge last layer', transformer('final_linear.linear.weight', 1e30)],
    ['a weight beyond f16', transformer(`${block}.mlp.linear_fc1.weight`, 1e6), {}, { dtype: 'f16' }],
    [
      'x_rescale_factor beyond f32',
      (folder) => editConfig(folder, (c) => (c['model_config']!['x_rescale_factor'] = 1e308)),
    ],
    ['guidance beyond reason', hugeGuidance],
  ])('%s', async (_, change, request, options) => {
    const outcome = await run(change, request, options);
    expect(placeOf(outcome)).toEqual({ stage: 'denoising', ...FIRST });
    expect(outcome.chunks).toBe(0);
  });

  it.each<[string, 'A' | 'B', number, boolean]>([
    ['NaN', 'A', NaN, false],
    ['an infinity, fused', 'B', Infinity, true],
    ['1e30', 'A', 1e30, false],
    ['3e38, fused', 'B', 3e38, true],
  ])('a LoRA of %s', async (_, factor, value, fused) => {
    const outcome = await run(unchanged, {}, {}, async (pipe) => {
      // Factors that are refused when they are loaded never get here.
      await pipe.loadLora(await lora(factor, value));
      if (fused) pipe.fuseLora();
    }).catch((error: unknown) => ({ error, chunks: 0 }));
    expect(outcome.chunks).toBe(0);
    expect(String(outcome.error)).toMatch(/denoising, chunk 1 of 2, step 1 of 10: .*try no LoRA|lora_[AB]/);
  });

  it('names the step and the chunk, and what to try', async () => {
    const { error } = await run(hugeGuidance);
    expect(String(error)).toMatch(
      /^NotFiniteError: denoising, chunk 1 of 2, step 1 of 10: the latents reach \d\.\de\+2\d, more than float32 norms can take; try weights /,
    );
  });

  it('tells the first bad step from those after it, and keeps what was finished before', async () => {
    const seen: number[] = [];
    await using pipe = await Magi1Pipeline.fromPretrained(TINY_MODEL, { device });
    const runOnce = async () => {
      for await (const chunk of pipe.stream({
        ...SMALL,
        numFrames: 144,
        onStep: (step, { latents }) => {
          if (step.index === 9) latents.get(3)!.writeBytes(new Uint8Array(new Float32Array([NaN]).buffer));
        },
      }))
        seen.push(chunk.index);
    };
    const error: unknown = await runOnce().catch((reason: unknown) => reason);
    expect(placeOf({ error, chunks: 0 })).toEqual({
      stage: 'denoising',
      chunk: { index: 3, count: 6 },
      step: { index: 9, count: 18 },
    });
    expect(seen).toEqual([0]);
  });
});

describe('decoding', () => {
  it.each<[string, Change, TextToVideoOptions?]>([
    ['NaN in the first layer', vae('decoder.proj_in.weight', NaN)],
    ['NaN in the last layer', vae('decoder.last_layer.weight', NaN)],
    ['a weight beyond f16', vae('decoder.blocks.0.mlp.fc1.weight', 1e6), { dtype: { vae: 'f16' } }],
    ['scale_factor of nearly 0', (folder) => editConfig(folder, (c) => (c['runtime_config']!['scale_factor'] = 1e-30))],
  ])('%s', async (_, change, options) => {
    for (const outputType of ['uint8', 'float'] as const) {
      const outcome = await run(change, { outputType, numFrames: 24 }, options);
      expect(placeOf(outcome)).toEqual({ stage: 'decoding', chunk: { index: 0, count: 1 } });
      expect(outcome.chunks).toBe(0);
    }
  });

  it('latents given to decodeLatents', async () => {
    await using pipe = await Magi1Pipeline.fromPretrained(TINY_MODEL, { device });
    for (const bad of [NaN, -Infinity, 1e30]) {
      const values = new Float32Array(16 * 16);
      values[77] = bad;
      await expect(pipe.decodeLatents({ values, latentFrames: 1, height: 4, width: 4 })).rejects.toThrow(
        /^decodeLatents: the values (are not finite|reach 1\.0e\+30)/,
      );
    }
  });
});

describe('encoding', () => {
  it('NaN in the encoder', async () => {
    const folder = copyTinyModel();
    vae('encoder.patch_embed.proj.weight', NaN)(folder);
    await using pipe = await Magi1ImageToVideoPipeline.fromPretrained(folder, { device });
    const image = { data: new Uint8Array(32 * 32 * 3).fill(90), frameCount: 1, width: 32, height: 32 };
    await expect(pipe({ ...SMALL, image })).rejects.toThrow(
      /^encoding: the latents of the picture or clip are not finite \(NaN\); try weights of the VAE/,
    );
  });
});

describe('text', () => {
  it('NaN in the text encoder', async () => {
    const folder = join(temporaryFolder(), 'model');
    cpSync(POCKET_MODEL, folder, { recursive: true });
    setWeight(join(folder, 't5', 't5-v1_1-xxl', 'model.safetensors'), 'shared.weight', NaN, 'all');
    await using pipe = await Magi1Pipeline.fromPretrained(folder, { device });
    await expect(pipe(SMALL)).rejects.toThrow(
      /^text: the features of the prompt are not finite \(NaN\); try weights of the text encoder/,
    );
  });
});

describe('given latents', () => {
  it.each([NaN, Infinity, -Infinity, 1e30])('%s among them is refused before any work', async (bad) => {
    await using pipe = await Magi1Pipeline.fromPretrained(TINY_MODEL, { device });
    const latents = new Float32Array(16 * 12 * 4 * 4).fill(0.5);
    latents[1000] = bad;
    expect(() => pipe.plan({ ...SMALL, latents })).toThrow(/latents: the values (are not finite|reach 1\.0e\+30)/);
  });
});
