// Goldens of the VAE: whole models (encode, decode, tiled, prefix pipeline), single operations, tile plans.
import { affine, framesToUint8, permute, uint8ToVideo } from '@magi1/kernels';
import { scope } from '@magi1/tensor';
import type { Device, HostTensor, Tensor } from '@magi1/tensor';
import { keepView, observe } from '../nn/index.ts';
import type { TileSettings } from '../vae/tile-plan.ts';
import { defaultTiles, tiledDecode, tiledEncode } from '../vae/tiling.ts';
import type { ViTVae } from '../vae/vit-vae.ts';
import { compareFloats, compareLevels, compareTensor, golden, goldenFloats, toDevice } from './goldens.ts';
import type { Check, FileTree, Kit, VerifyCase, VerifyContext } from './types.ts';
import { loadVae } from './load-networks.ts';
import { verifyVaeOps } from './vae-ops.ts';
import { verifyTilePlans } from './tile-plans.ts';
import { readJson, readTensors } from './files.ts';

const GATE = { relL2: 1e-5, maxAbs: 5e-5 };
/** Share of uint8 values that may be one level off. */
const LEVEL_SHARE = 0.005;

interface ModelCase {
  readonly file: string;
  readonly kind: string;
  readonly params: Readonly<Record<string, unknown>>;
}

type Goldens = ReadonlyMap<string, HostTensor>;

export const vaeKit: Kit = async (tree) => {
  const cases: VerifyCase[] = [];
  for (const folder of tree.foldersWith('manifest.json')) {
    const prefix = folder === '' ? '' : `${folder}/`;
    if (!tree.has(`${prefix}diffusion_pytorch_model.safetensors`)) continue;
    const manifest = (await readJson(tree.resolve(`${prefix}manifest.json`))) as { cases?: ModelCase[] };
    for (const found of manifest.cases ?? []) cases.push(modelCase(tree, folder, prefix + found.file, found));
  }
  for (const folder of tree.foldersWith('ops.safetensors')) {
    const path = `${folder === '' ? '' : `${folder}/`}ops.safetensors`;
    // The transformer's kits have ops files, too; theirs come with a manifest of their own.
    if (tree.has(path.replace(/safetensors$/, 'manifest.json'))) continue;
    cases.push({ path, kind: 'vae.ops', files: [path], run: (context) => verifyVaeOps(tree.resolve(path), context) });
  }
  for (const folder of tree.foldersWith('tile_plans.json')) {
    const path = `${folder === '' ? '' : `${folder}/`}tile_plans.json`;
    const run = async () => verifyTilePlans(await readJson(tree.resolve(path)));
    cases.push({ path, kind: 'vae.tile_plans', files: [path], run });
  }
  return cases;
};

function modelCase(tree: FileTree, folder: string, path: string, found: ModelCase): VerifyCase {
  return {
    path,
    kind: `vae.${found.kind}`,
    files: [path],
    async run(context) {
      const goldens = await readTensors(tree.resolve(path));
      const vae = await loadVae(tree.resolve(folder), context.device);
      try {
        const runner = RUNNERS[found.kind];
        if (runner === undefined) throw new Error(`no kind of case is called ${found.kind}`);
        return await runner(vae, goldens, found.params, context);
      } finally {
        vae.dispose();
      }
    },
  };
}

type Runner = (
  vae: ViTVae,
  goldens: Goldens,
  params: ModelCase['params'],
  context: VerifyContext,
) => Promise<readonly Check[]>;

const RUNNERS: Readonly<Record<string, Runner>> = {
  encode: async (vae, goldens, _params, { device, signal }) => {
    const taps = new Taps();
    const x = toDevice(device, golden(goldens, 'in.x'));
    const moments = await observe(vae.params, taps.add, () => vae.encodeMoments(x, { signal }));
    return [...(await compareMoments(moments, goldens)), ...(await taps.compare(goldens))];
  },
  encode_image: async (vae, goldens, _params, { device, signal }) => {
    const moments = await vae.encodeMoments(toDevice(device, golden(goldens, 'in.x')), { signal });
    return compareMoments(moments, goldens);
  },
  decode: async (vae, goldens, _params, { device, signal }) => {
    const taps = new Taps();
    const z = toDevice(device, golden(goldens, 'in.z'));
    const y = await observe(vae.params, taps.add, () => vae.decode(z, { signal }));
    return [await compareTensor('y', y, golden(goldens, 'out.y'), GATE), ...(await taps.compare(goldens))];
  },
  tiled_encode: async (vae, goldens, params, { device, signal }) => {
    const name = goldens.has('in.video_u8') ? 'in.video_u8' : 'in.x';
    const raw = toDevice(device, golden(goldens, name));
    const video = raw.dtype === 'u8' ? fromPlanarUint8(device, golden(goldens, name)) : raw;
    const z = await tiledEncode(vae, video, tileSettings(params), { signal });
    return [await compareTensor('z', z, golden(goldens, 'out.z'), GATE)];
  },
  tiled_decode: async (vae, goldens, params, { device, signal }) => {
    const y = await tiledDecode(vae, toDevice(device, golden(goldens, 'in.z')), tileSettings(params), { signal });
    return [
      await compareTensor('y', framesFirst(y), golden(goldens, 'out.y'), GATE),
      await compareFrames('y_u8', y, golden(goldens, 'out.y_u8')),
    ];
  },
  prefix_pipeline: async (vae, goldens, params, { device, signal }) => {
    const tiles = defaultTiles(params.fps as number);
    const scale = params.scale_factor as number;
    const z = await tiledEncode(vae, uint8ToVideo(toDevice(device, golden(goldens, 'in.frames_u8'))), tiles, {
      signal,
    });
    const scaled = affine(z, { scale, shift: 0 });
    // The decoder's golden starts from the golden latents, so that the two halves are judged apart.
    const stored = toDevice(device, golden(goldens, 'out.latent_scaled'));
    const decoded = await tiledDecode(vae, affine(stored, { scale: 1 / scale, shift: 0 }), tiles, { signal });
    return [
      await compareTensor('latent_scaled', scaled, golden(goldens, 'out.latent_scaled'), GATE),
      await compareFrames('decoded_u8', decoded, golden(goldens, 'out.decoded_u8')),
    ];
  },
};

/** Moments [B, 2z, t, h, w] against the posterior's goldens: clamped log-variance, std, sample with the given noise. */
async function compareMoments(moments: Tensor, goldens: Goldens): Promise<Check[]> {
  const checks: Check[] = [];
  if (goldens.has('out.moments'))
    checks.push(await compareTensor('moments', moments, golden(goldens, 'out.moments'), GATE));
  const values = await moments.toFloat32();
  const [batch, channels] = moments.shape as [number, number];
  const half = values.length / batch / 2;
  const part = (which: 0 | 1) =>
    Float32Array.from(
      { length: batch * half },
      (_, i) => values[Math.floor(i / half) * 2 * half + which * half + (i % half)]!,
    );
  const mean = part(0);
  const logvar = part(1).map((value) => Math.min(Math.max(value, -30), 20));
  const std = logvar.map((value) => Math.exp(0.5 * value));
  const posterior: Record<string, Float32Array> = { mean, mode: mean, logvar_clamped: logvar, std };
  if (goldens.has('out.noise')) {
    // The original samples before it drops the latents of a repeated frame: the noise may have more of them.
    const noise = golden(goldens, 'out.noise');
    const [here, there] = [mean.length, noise.data.length].map((n) => n / (batch * (channels / 2))) as [number, number];
    posterior.sample = mean.map((value, i) => value + std[i]! * noise.data[Math.floor(i / here) * there + (i % here)]!);
  }
  for (const [name, actual] of Object.entries(posterior)) {
    if (!goldens.has(`out.${name}`)) continue;
    // std and sample span many orders of magnitude: they are compared relatively.
    const gate = name === 'std' || name === 'sample' ? { relL2: GATE.relL2 } : GATE;
    checks.push(
      compareFloats(`${name} of ${channels / 2} channels`, actual, goldenFloats(goldens, `out.${name}`), gate),
    );
  }
  return checks;
}

/** Names in the goldens of what modules compute, where they differ from their paths. */
const TAPS: Readonly<Record<string, string>> = { 'patch_embed.proj': 'patch_embed', embed: 'blocks_input' };

/** Intermediate activations, held until they are compared. */
class Taps {
  readonly #held = new Map<string, Tensor>();
  readonly add = (path: string, tensor: Tensor): void => {
    const name = path.replace(/^(en|de)coder\./, '');
    this.#held.get(TAPS[name] ?? name)?.dispose();
    this.#held.set(TAPS[name] ?? name, keepView(tensor));
  };

  async compare(goldens: Goldens): Promise<Check[]> {
    const checks: Check[] = [];
    for (const [name, tensor] of this.#held) {
      const stored = goldens.get(`out.tap.${name}`);
      if (stored !== undefined) {
        const shown = name === 'patch_embed' ? channelsFirst(tensor, stored) : tensor.reshape(stored.shape);
        checks.push(await compareTensor(name, shown, stored, GATE));
      }
      tensor.dispose();
    }
    return checks;
  }
}

/** Token rows [B*t*h*w, C] in the layout [B, C, t, h, w] of a golden. */
function channelsFirst(tokens: Tensor, { shape }: HostTensor): Tensor {
  const [batch, channels, ...grid] = shape as [number, number, number, number, number];
  return scope(() => permute(tokens.reshape([batch, ...grid, channels]), [0, 4, 1, 2, 3]));
}

/** [B, 3, T, H, W] -> [B*T, 3, H, W]. */
function framesFirst(y: Tensor): Tensor {
  const [batch, channels, frames, height, width] = y.shape as [number, number, number, number, number];
  return permute(y, [0, 2, 1, 3, 4]).reshape([batch * frames, channels, height, width]);
}

/** Video [B, 3, T, H, W] as uint8 frames against a golden [B*T, 3, H, W]. */
async function compareFrames(what: string, y: Tensor, stored: HostTensor): Promise<Check> {
  const actual = await framesToUint8(y).read(); // [frames, H, W, 3]
  const [frames, channels, height, width] = stored.shape as [number, number, number, number];
  const plane = height * width;
  const expected = new Uint8Array(frames * plane * channels);
  for (let f = 0; f < frames; f++)
    for (let c = 0; c < channels; c++)
      for (let i = 0; i < plane; i++)
        expected[(f * plane + i) * channels + c] = stored.data[(f * channels + c) * plane + i]!;
  return compareLevels(what, actual, expected, LEVEL_SHARE);
}

/** uint8 video stored channels first [1, 3, T, H, W] -> f32 in [-1, 1]. */
function fromPlanarUint8(device: Device, stored: HostTensor): Tensor {
  const values = Float32Array.from(stored.data, (level) => Math.fround(level / 127.5) - 1);
  return device.tensor(values, stored.shape, 'f32');
}

function tileSettings(params: ModelCase['params']): TileSettings {
  const whole = params.allow_spatial_tiling === false;
  const number = (name: string) => params[name] as number;
  return {
    tileLength: number('tile_length'),
    tileHeight: whole ? 100000 : number('tile_height'),
    tileWidth: whole ? 100000 : number('tile_width'),
    spatialOverlap: number('spatial_overlap'),
    temporalOverlap: number('temporal_overlap'),
  };
}
