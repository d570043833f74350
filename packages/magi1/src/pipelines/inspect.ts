// What a model holds and needs, without loading it; where files are missing, what its config alone says.
import { NotFoundError } from '@magi1/loaders';
import { elementCount } from '@magi1/tensor';
import type { Device, DType } from '@magi1/tensor';
import { t5Network } from '../t5/encoder.ts';
import { transformerNetwork } from '../transformer/video-dit.ts';
import { vaeNetwork } from '../vae/vit-vae.ts';
import { MemoryPlanner } from './memory.ts';
import type { Fit, OtherSize } from './memory.ts';
import type { ModelShapes, WeightTypes } from './memory-plan.ts';
import { IMAGE_TO_VIDEO, NO_PREFIX, VIDEO_TO_VIDEO, mediaDefaults } from './mode.ts';
import type { Prefix } from './mode.ts';
import { modelNotes } from './model-folder.ts';
import type { ModelFolder } from './model-folder.ts';
import { openModelFiles } from './model.ts';
import type { WeightDTypes } from './model.ts';
import type { ModeName } from './options.ts';
import { planRequest } from './prepare.ts';
import type { GenerationOptions, Settings, VideoToVideoRequest } from './request.ts';
import { plannedSize } from './run-size.ts';
import { PUBLISHED_T5, PUBLISHED_VAE, paramsDType, recordedWeights } from './shapes.ts';
import type { Trained } from './trained.ts';

export interface PartSummary {
  readonly name: string;
  /** Where it is, or would be. */
  readonly path: string;
  readonly tensors: number;
  readonly parameters: number;
  /** Parameters by the dtype they are stored in. */
  readonly dtypes: Readonly<Record<string, number>>;
  /** Bytes of the weights on a device. */
  readonly deviceBytes: number;
}

export interface ModelSummary {
  readonly config: string;
  readonly name: string;
  /** What it was trained on, where it says so. */
  readonly trained: Trained | null;
  /** What is not there; the parts are then those that the config speaks of, in the types in which they are published. */
  readonly missing: string | null;
  readonly parts: readonly PartSummary[];
  /** Of the run that was asked about; the config's own where nothing was asked. */
  readonly settings: Settings;
  /** What that run needs on the device, and whether it fits. */
  readonly fit: Fit;
  /** The largest size of its shape, with as many chunks, that fits. */
  readonly largest: OtherSize | null;
  readonly notes: readonly string[];
}

export interface InspectOptions {
  readonly dtype?: WeightDTypes | undefined;
  readonly mode?: ModeName | undefined;
  /** What of a request decides its memory: sizes, frames, prefixFrames. */
  readonly request?: GenerationOptions & Pick<Partial<VideoToVideoRequest>, 'prefixFrames'>;
}

/** Checks a model as opening it does and sums it up, with what a run of it needs on a device. */
export async function inspectModel(
  folder: ModelFolder,
  device: Device,
  { dtype, mode = 't2v', request = {} }: InspectOptions = {},
): Promise<ModelSummary> {
  const { config, folders } = folder;
  const { settings, sampling } = planRequest(request, prefixOf(mode, request, folder), folder);
  let missing = folder.missing.length === 0 ? null : folder.missing.join('; ');
  const files =
    missing === null
      ? await openModelFiles(folder, dtype).catch((error: unknown) => {
          if (!(error instanceof NotFoundError)) throw error;
          missing = error.message;
          return undefined;
        })
      : undefined;
  await files?.close();
  const shapes: ModelShapes = files ?? shapesOf(config, typeof dtype === 'object' ? dtype.transformer : dtype);
  const planner = new MemoryPlanner(shapes, device, folder.environment.offloadT5Cache);
  const run = plannedSize({ settings, sampling });
  const names = { textEncoder: 'text encoder', transformer: 'transformer', vae: 'vae' } as const;
  return {
    config: folder.configFile,
    name: config.model_config.model_name,
    trained: folder.trained,
    missing,
    parts: (['textEncoder', 'transformer', 'vae'] as const).map((part) => ({
      name: names[part],
      path: folders[part].name,
      ...summary(shapes[part], files?.[part].entries),
    })),
    settings,
    fit: await planner.fit(run),
    largest: await planner.largestSize(run),
    notes: modelNotes(folder),
  };
}

function summary(weights: WeightTypes, entries?: ReadonlyMap<string, { readonly dtype: string }>) {
  const dtypes: Record<string, number> = {};
  let parameters = 0;
  for (const [name, spec] of weights.specs) {
    const count = elementCount(spec.shape);
    const stored = entries?.get(name)?.dtype ?? weights.dtypeOf(name, spec);
    parameters += count;
    dtypes[stored] = (dtypes[stored] ?? 0) + count;
  }
  return { tensors: weights.specs.size, parameters, dtypes, deviceBytes: weights.deviceBytes };
}

/** The networks that a config speaks of, with the text encoder and the VAE of the published models. */
export function shapesOf(config: ModelFolder['config'], dtype: DType | undefined): ModelShapes {
  return {
    config,
    t5Config: PUBLISHED_T5,
    vaeConfig: PUBLISHED_VAE,
    transformer: recordedWeights(transformerNetwork(config), paramsDType(config), dtype),
    textEncoder: recordedWeights(t5Network(PUBLISHED_T5), 'f32', dtype),
    vae: recordedWeights(vaeNetwork(PUBLISHED_VAE), 'f32'),
  };
}

/** A picture or clip that suffices. */
function prefixOf(mode: ModeName, request: object, { config, asOriginal }: ModelFolder): Prefix {
  const { fps } = config.runtime_config;
  if (mode === 't2v') return NO_PREFIX;
  const of = mode === 'i2v' ? IMAGE_TO_VIDEO : VIDEO_TO_VIDEO;
  return of.prefix(request as VideoToVideoRequest & { image: never }, undefined, fps, mediaDefaults(asOriginal));
}
