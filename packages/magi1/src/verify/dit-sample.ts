// Goldens of complete sampling runs: from noise and caption features to every chunk as yielded.
import { toFloat32 } from '@magi1/tensor';
import type { HostTensor, Tensor } from '@magi1/tensor';
import { join } from 'node:path';
import { readEnvironment } from '../config/index.ts';
import { planSampling, sample, samplingOptions } from '../sampler/index.ts';
import type { SamplingPlan } from '../sampler/index.ts';
import { conditionText } from '../text/conditioning.ts';
import {
  captionTokenKeys,
  negativeTokenKeys,
  specialTokenTable,
  SPECIAL_TOKEN_ARRAYS,
} from '../text/special-tokens.ts';
import type { TextConditioning, TextRows } from '../text/conditioning.ts';
import type { VideoDiT } from '../transformer/video-dit.ts';
import { ditGates, folderOf, goldenFrames, loadDit, readDitManifest } from './dit-model.ts';
import type { DitManifest, Goldens } from './dit-model.ts';
import { compareExact, compareFloats, golden, goldenFloats } from './goldens.ts';
import type { Check, VerifyContext } from './types.ts';
import { keepView } from '../nn/index.ts';
import { readArrays, readTensors } from './files.ts';

export async function verifyDitSample(path: string, context: VerifyContext): Promise<Check[]> {
  const manifest = await readDitManifest(path);
  const goldens = await readTensors(path);
  const model = await loadDit(folderOf(path), manifest.config, context.device);
  try {
    const rows = Number(golden(goldens, 'emb_mask_len').data[0]);
    const caption = { rows: goldenFloats(goldens, 'caption_embs'), length: rows };
    const prefix = goldens.get('prefix');
    const plan = planRun(manifest, caption, prefix?.shape[2] ?? 0);
    const arrays = join(folderOf(path), '..', 'special_tokens.npz');
    const text = await textOf(manifest, model, plan, caption, arrays);
    return [
      compareFloats('t', plan.times, goldenFloats(goldens, 't'), { relL2: 1e-6 }),
      compareExact('emb_masks_valid', validRows(text, plan), golden(goldens, 'emb_masks_valid').data),
      ...(await samplingChecks(
        { model, plan, text, manifest, goldens, prefix, gate: ditGates(manifest.config).sampling },
        context,
      )),
    ];
  } finally {
    model.dispose();
  }
}

/** The plan of a recorded run; no caption row and no token at all means that the null text stands in. */
export function planRun(
  { config, env }: Pick<DitManifest, 'config' | 'env'>,
  caption: TextRows,
  prefixLatentFrames: number,
): SamplingPlan {
  const emptyText = caption.length + captionTokenKeys(readEnvironment(env).specialTokens).length === 0;
  return planSampling(samplingOptions(config, { prefixLatentFrames, emptyText }));
}

/** `npz` is read only when a switch asks for a token. */
export async function textOf(
  { config, env }: Pick<DitManifest, 'config' | 'env'>,
  model: VideoDiT,
  plan: SamplingPlan,
  caption: TextRows,
  npz: string,
): Promise<TextConditioning> {
  const { caption_channels: width, caption_max_length: captionMaxLength } = config.model_config;
  const switches = readEnvironment(env).specialTokens;
  const needed = captionTokenKeys(switches).length + negativeTokenKeys(switches).length > 0;
  return conditionText({
    caption,
    nullCaption: { rows: await model.nullCaption(), length: captionMaxLength },
    switches,
    ...(needed
      ? { specialTokens: specialTokenTable(await readArrays(npz, { names: SPECIAL_TOKEN_ARRAYS }), width) }
      : {}),
    width,
    captionMaxLength,
    chunks: plan.options.chunks,
    prefixChunks: plan.chunkOffset,
  });
}

/** [2, chunks]: valid caption rows (0 for prefix chunks), valid null rows. */
export function validRows(text: TextConditioning, plan: SamplingPlan): number[] {
  const captions = text.caption.map((rows) => (text.emptyText ? text.nullText : rows)?.length ?? 0);
  return [...captions, ...new Array<number>(plan.options.chunks).fill(text.nullText.length)];
}

export interface SamplingRun {
  readonly model: VideoDiT;
  readonly plan: SamplingPlan;
  readonly text: TextConditioning;
  readonly manifest: Pick<DitManifest, 'env'>;
  readonly goldens: Goldens;
  readonly prefix: HostTensor | undefined;
  readonly gate: number;
}

/** Runs the sampler from the golden noise and compares chunks, latents in between and the first velocity. */
export async function samplingChecks(
  { model, plan, text, manifest, goldens, prefix, gate }: SamplingRun,
  { device, signal, cacheDType }: VerifyContext,
  onChunk?: (latent: Tensor, order: number) => Promise<void>,
): Promise<Check[]> {
  const noise = golden(goldens, 'noise');
  const [, , , height, width] = noise.shape as [number, number, number, number, number];
  const frames = plan.options.chunkWidth;
  const snapshots = new Map<string, Map<number, Tensor>>();
  const latest = new Map<number, Tensor>();
  const checks: Check[] = [];
  const prefixTensor = prefix && device.tensor(toFloat32(prefix.dtype, prefix.data), prefix.shape, 'f32');
  const scale = readEnvironment(manifest.env).prevChunksScale;
  let velocities: Tensor[] = [];
  const run = sample(
    {
      model,
      plan,
      text,
      height,
      width,
      noise: (chunk) => goldenFrames(noise, chunk * frames, (chunk + 1) * frames).data,
      prefix: prefixTensor,
      cacheDType,
      ...(scale === undefined ? {} : { prevChunksScale: scale }),
      onStep(step, state) {
        for (const { chunk, clean } of step.chunks) {
          if (clean) continue; // run again for its keys only: the original leaves its latents as they are
          latest.get(chunk)?.dispose();
          latest.set(chunk, keepView(state.latents.get(chunk)!));
        }
        if (step.index === 0) velocities = [...state.velocities.values()].map(keepView);
        const name = `x_after_${step.index + 1}`;
        if (goldens.has(name)) snapshots.set(name, new Map([...latest].map(([chunk, x]) => [chunk, keepView(x)])));
      },
    },
    { signal },
  );
  for await (const { order, latent } of run) {
    const name = `chunk_${order}`;
    checks.push(compareFloats(name, await latent.toFloat32(), goldenFloats(goldens, name), { relL2: gate }));
    await onChunk?.(latent, order);
    latent.dispose();
  }
  const missing = [...goldens.keys()].filter((name) => /^chunk_\d+$/.test(name)).length - checks.length;
  if (missing !== 0)
    checks.push({ what: 'chunks', pass: false, tolerance: 'exact', detail: `${missing} were not delivered` });
  for (const [name, chunks] of snapshots) {
    for (const [chunk, x] of chunks) {
      const expected = goldenFrames(golden(goldens, name), chunk * frames, (chunk + 1) * frames).data;
      checks.push(compareFloats(`${name} chunk ${chunk}`, await x.toFloat32(), expected, { relL2: gate }));
    }
  }
  const first = goldens.get('velocity_step1');
  for (const [i, v] of velocities.entries()) {
    if (first === undefined) break;
    const expected = goldenFrames(first, i * frames, (i + 1) * frames).data;
    checks.push(compareFloats(`velocity_step1 chunk ${i}`, await v.toFloat32(), expected, { relL2: gate }));
  }
  return checks;
}
