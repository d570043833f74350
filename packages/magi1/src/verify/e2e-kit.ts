// End-to-end goldens: prompt (and recorded prefix frames) to uint8 frames, with every number on the way.
import { nodeFolder, readTokenizer } from '@magi1/loaders';
import { affine, framesToUint8, uint8ToVideo } from '@magi1/kernels';
import { scope } from '@magi1/tensor';
import type { Device, HostTensor, Tensor } from '@magi1/tensor';
import { dirname, join, resolve } from 'node:path';
import { parseConfig } from '../config/index.ts';
import type { Magi1Config } from '../config/index.ts';
import { cleanPrompt } from '../text/clean/clean-caption.ts';
import type { TextRows } from '../text/conditioning.ts';
import { transformerNetwork } from '../transformer/video-dit.ts';
import { defaultTiles, tiledDecode, tiledEncode } from '../vae/tiling.ts';
import type { ViTVae } from '../vae/vit-vae.ts';
import { planRun, samplingChecks, textOf, validRows } from './dit-sample.ts';
import type { Goldens } from './dit-model.ts';
import {
  compareExact,
  compareFloats,
  compareLevels,
  compareTensor,
  golden,
  goldenFloats,
  toDevice,
} from './goldens.ts';
import type { Check, Kit, VerifyContext } from './types.ts';
import { loadT5, loadVae } from './load-networks.ts';
import { loadNetwork, readJson, readTensors } from './files.ts';

const TEXT = { relL2: 1e-5 };
const PREFIX = { relL2: 1e-5 };
const CHUNKS = 2e-4;
const LEVEL_SHARE = 0.01;
const FRAMES_FLOAT = { relL2: 2e-4 };
const FRAME_STATISTICS = { maxAbs: 0.02 };

interface Manifest {
  readonly mode: string;
  readonly prompt: string;
  readonly cleaned_prompt: string;
  readonly config_file: string;
  readonly env: Readonly<Record<string, string>>;
  readonly prefix_frames?: string;
  readonly same_inputs_and_latents_as?: string;
}

export const e2eKit: Kit = async (tree) => {
  const cases = [];
  for (const path of tree.files.filter((file) => file.endsWith('.safetensors'))) {
    const manifestPath = path.replace(/\.safetensors$/, '.manifest.json');
    if (!tree.has(manifestPath)) continue;
    const manifest = (await readJson(tree.resolve(manifestPath))) as Partial<Manifest>;
    if (manifest.mode === undefined || manifest.prompt === undefined) continue;
    const run = (context: VerifyContext) => new EndToEnd(tree.resolve(path), manifest as Manifest, context).run();
    cases.push({ path, kind: `e2e.${manifest.mode}`, files: [path, manifestPath], run });
  }
  return cases;
};

class EndToEnd {
  readonly #folder: string;
  readonly #path: string;
  readonly #manifest: Manifest;
  readonly #context: VerifyContext;
  readonly #device: Device;

  constructor(path: string, manifest: Manifest, context: VerifyContext) {
    this.#path = path;
    this.#folder = dirname(path);
    this.#manifest = manifest;
    this.#context = context;
    this.#device = context.device;
  }

  async run(): Promise<Check[]> {
    const configPath = join(this.#folder, this.#manifest.config_file);
    const config = parseConfig(await readJson(configPath), configPath);
    // The config's paths are relative to the folder above configs/, where the original is run.
    const base = dirname(dirname(configPath));
    const vae = await loadVae(resolve(base, config.runtime_config.vae_pretrained), this.#device);
    try {
      const goldens = await readTensors(this.#path);
      const frames = new FrameChecks(vae, config, goldens, this.#context);
      const same = this.#manifest.same_inputs_and_latents_as;
      const checks =
        same === undefined
          ? await this.#generate(config, base, vae, goldens, frames)
          : await this.#decodeOnly(await readTensors(join(this.#folder, same)), frames);
      return [...checks, ...frames.compare()];
    } finally {
      vae.dispose();
    }
  }

  /** The latents are another case's: only the decoder differs. */
  async #decodeOnly(latents: Goldens, frames: FrameChecks): Promise<Check[]> {
    for (let i = 0; latents.has(`chunk_${i}`); i++)
      await frames.add(toDevice(this.#device, golden(latents, `chunk_${i}`)));
    return [];
  }

  async #generate(
    config: Magi1Config,
    base: string,
    vae: ViTVae,
    goldens: Goldens,
    frames: FrameChecks,
  ): Promise<Check[]> {
    const { caption, checks } = await this.#text(config, base, goldens);
    const prefix = await this.#prefix(config, vae, goldens, checks);
    const weights = resolve(base, config.runtime_config.load, weightsFolder(config));
    const model = await loadNetwork(weights, transformerNetwork(config), this.#device);
    try {
      const manifest = { config, env: this.#manifest.env };
      const plan = planRun(manifest, caption, prefix?.shape[2] ?? 0);
      const text = await textOf(manifest, model, plan, caption, join(base, 'special_tokens.npz'));
      checks.push(compareExact('text_rows_valid', validRows(text, plan), golden(goldens, 'text_rows_valid').data));
      const run = { model, plan, text, manifest, goldens, prefix, gate: CHUNKS };
      return [...checks, ...(await samplingChecks(run, this.#context, (latent) => frames.add(latent)))];
    } finally {
      model.dispose();
    }
  }

  /** Prompt -> ids -> T5 features of the valid tokens. */
  async #text(config: Magi1Config, base: string, goldens: Goldens): Promise<{ caption: TextRows; checks: Check[] }> {
    const folder = resolve(base, config.runtime_config.t5_pretrained, 't5-v1_1-xxl');
    const cleaned = cleanPrompt(this.#manifest.prompt);
    const tokenizer = await readTokenizer(nodeFolder(folder));
    const { inputIds, attentionMask } = tokenizer.encodePadded(cleaned, config.model_config.caption_max_length);
    const length = attentionMask.reduce((sum, on) => sum + on, 0);
    const encoder = await loadT5(folder, this.#device);
    try {
      const out = await encoder.encode(inputIds.slice(0, length), attentionMask.slice(0, length), this.#context);
      const rows = await out.toFloat32();
      out.dispose();
      const checks = [
        compareExact('cleaned_prompt', [cleaned], [this.#manifest.cleaned_prompt]),
        compareExact('input_ids', inputIds, golden(goldens, 'input_ids').data),
        compareExact('attention_mask', attentionMask, golden(goldens, 'attention_mask').data),
        compareFloats('text_embeddings', rows, goldenFloats(goldens, 'text_embeddings'), TEXT),
      ];
      return { caption: { rows, length }, checks };
    } finally {
      encoder.dispose();
    }
  }

  /** Recorded prefix frames -> latents times scale_factor; the run goes on from ours. */
  async #prefix(config: Magi1Config, vae: ViTVae, goldens: Goldens, checks: Check[]): Promise<HostTensor | undefined> {
    const stored = goldens.get('prefix_latents');
    if (stored === undefined) return undefined;
    let frames = goldens.get('prefix_frames');
    if (frames === undefined) {
      const file = this.#manifest.prefix_frames?.split(' ')[0] ?? '';
      frames = golden(await readTensors(join(this.#folder, file)), 'frames');
    }
    const { fps, scale_factor: scale } = config.runtime_config;
    const video = uint8ToVideo(toDevice(this.#device, frames));
    const z = await tiledEncode(vae, video, defaultTiles(fps), this.#context);
    const latents = affine(z, { scale, shift: 0 });
    checks.push(await compareTensor('prefix_latents', latents, stored, PREFIX));
    return { dtype: 'f32', shape: latents.shape, data: await latents.toFloat32() };
  }
}

/** Folder of the transformer's weights below `load`. */
function weightsFolder({ engine_config }: Magi1Config): string {
  return `inference_weight${engine_config.fp8_quant ? '.fp8' : ''}${engine_config.distill ? '.distill' : ''}`;
}

/** Decodes chunk by chunk as the pipeline does and compares frames once all are there. */
class FrameChecks {
  readonly #vae: ViTVae;
  readonly #config: Magi1Config;
  readonly #goldens: Goldens;
  readonly #context: VerifyContext;
  readonly #frames: Uint8Array[] = []; // one per frame, [H, W, 3]
  readonly #floats = new Map<number, Float32Array>();

  constructor(vae: ViTVae, config: Magi1Config, goldens: Goldens, context: VerifyContext) {
    this.#vae = vae;
    this.#config = config;
    this.#goldens = goldens;
    this.#context = context;
  }

  readonly add = async (latent: Tensor): Promise<void> => {
    const { scale_factor, fps } = this.#config.runtime_config;
    const z = scope(() => affine(latent, { scale: 1 / scale_factor, shift: 0 }));
    const y = await tiledDecode(this.#vae, z, defaultTiles(fps), this.#context); // [1, 3, T, H, W]
    z.dispose();
    const levels = framesToUint8(y);
    const bytes = await levels.read();
    const count = levels.shape[0]!;
    const size = bytes.length / count;
    await this.#keepFloats(y, this.#frames.length, count);
    for (let i = 0; i < count; i++) this.#frames.push(bytes.slice(i * size, (i + 1) * size));
    levels.dispose();
    y.dispose();
  };

  compare(): Check[] {
    const stored = golden(this.#goldens, 'frames');
    const index = this.#goldens.get('frame_index')?.data ?? this.#frames.keys();
    const shown = [...index].map((i) => this.#frames[i] ?? new Uint8Array());
    const means = this.#frames.map(mean);
    const stds = this.#frames.map((frame, i) => {
      const square = frame.reduce((sum, level) => sum + (level - means[i]!) ** 2, 0);
      return Math.sqrt(square / (frame.length - 1));
    });
    const checks = [
      compareLevels(
        'frames',
        Uint8Array.from(shown.flatMap((frame) => [...frame])),
        stored.data as Uint8Array,
        LEVEL_SHARE,
      ),
      compareFloats('frame_mean', means, goldenFloats(this.#goldens, 'frame_mean'), FRAME_STATISTICS),
      compareFloats('frame_std', stds, goldenFloats(this.#goldens, 'frame_std'), FRAME_STATISTICS),
    ];
    if (this.#goldens.has('frames_float')) {
      const wanted = [...golden(this.#goldens, 'float_frame_index').data].map((i) => [...(this.#floats.get(i) ?? [])]);
      checks.push(
        compareFloats('frames_float', wanted.flat(), goldenFloats(this.#goldens, 'frames_float'), FRAMES_FLOAT),
      );
    }
    return checks;
  }

  /** Frames whose floats the golden has, as [H, W, 3]. */
  async #keepFloats(y: Tensor, first: number, count: number): Promise<void> {
    const wanted = [...(this.#goldens.get('float_frame_index')?.data ?? [])].filter(
      (i) => i >= first && i < first + count,
    );
    if (wanted.length === 0) return;
    const values = await y.toFloat32();
    const plane = values.length / 3 / count;
    for (const frame of wanted) {
      const at = (frame - first) * plane;
      const picture = Float32Array.from(
        { length: plane * 3 },
        (_, i) => values[(i % 3) * count * plane + at + Math.floor(i / 3)]!,
      );
      this.#floats.set(frame, picture);
    }
  }
}

function mean(frame: Uint8Array): number {
  return frame.reduce((sum, level) => sum + level, 0) / frame.length;
}
