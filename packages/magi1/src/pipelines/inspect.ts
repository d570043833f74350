// What a model holds and needs, without loading it; where files are missing, what its config alone says.
import { NotFoundError } from '@magi1/loaders';
import { Device, Magi1Error, describeValue, elementCount, isOptions } from '@magi1/tensor';
import type { DType } from '@magi1/tensor';
import { paramsDType } from '../config/index.ts';
import type { Trained } from '../config/trained.ts';
import { Params, deviceDType, weightBytes } from '../nn/index.ts';
import type { NetworkDefinition } from '../nn/index.ts';
import { PUBLISHED_T5 } from '../t5/config.ts';
import { t5Network } from '../t5/encoder.ts';
import { transformerNetwork } from '../transformer/video-dit.ts';
import { PUBLISHED_VAE } from '../vae/config.ts';
import { vaeNetwork } from '../vae/vit-vae.ts';
import { RequestError } from '../wording.ts';
import { checkCall, dtypeFaults, offloadFaults, valueFaults } from './check-options.ts';
import { IMAGE_TO_VIDEO, NO_PREFIX, VIDEO_TO_VIDEO, mediaDefaults } from './inputs.ts';
import type { Prefix } from './inputs.ts';
import type { ModelShapes, WeightTypes } from './memory-plan.ts';
import { MemoryPlanner, plannedSize } from './memory.ts';
import type { Fit, OtherSize } from './memory.ts';
import { modelNotes, openModelFiles, weightDTypes } from './model-files.ts';
import type { ModelFolder } from './model-files.ts';
import { offloadsOf } from './offload.ts';
import type { Offload } from './offload.ts';
import { expected } from './option-checks.ts';
import { planRequest } from './prepare.ts';
import type { GenerationOptions, ModeName, Settings, VideoToVideoRequest, WeightDTypes } from './request.ts';

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
  /** How much of the model is on the device at a time; what fits when left out. */
  readonly offload?: Offload | undefined;
  /** What of a request decides its memory: sizes, frames, prefixFrames. */
  readonly request?: GenerationOptions & Pick<Partial<VideoToVideoRequest>, 'prefixFrames'>;
}

const MODES: readonly ModeName[] = ['t2v', 'i2v', 'v2v'];

/** Checks a model as opening it does and sums it up, with what a run of it needs on a device. */
export async function inspectModel(
  folder: ModelFolder,
  device: Device,
  options: InspectOptions = {},
): Promise<ModelSummary> {
  checkCall('inspectModel', options, ['dtype', 'mode', 'offload', 'request']);
  const { dtype, offload } = options;
  if (!((device as unknown) instanceof Device))
    throw new Magi1Error(`inspectModel: an open device expected, got ${describeValue(device)}`);
  const planned = plannedRun(folder, options);
  const { shapes, missing, entries } = await modelShapes(folder, dtype);
  const planner = new MemoryPlanner(shapes, device, offloadsOf(offload, folder.environment));
  const run = plannedSize(planned);
  const names = { textEncoder: 'text encoder', transformer: 'transformer', vae: 'vae' } as const;
  return {
    config: folder.configFile,
    name: folder.config.model_config.model_name,
    trained: folder.trained,
    missing,
    parts: (['textEncoder', 'transformer', 'vae'] as const).map((part) => ({
      name: names[part],
      path: folder.folders[part].name,
      ...summary(shapes[part], entries?.[part]),
    })),
    settings: planned.settings,
    fit: await planner.fit(run),
    largest: await planner.largestSize(run),
    notes: modelNotes(folder),
  };
}

/** @throws RequestError that names everything that is wrong with what is asked about */
export function plannedRun(
  folder: ModelFolder,
  { dtype, mode = 't2v', offload, request = {} }: InspectOptions,
): ReturnType<typeof planRequest> {
  const faults = [
    ...dtypeFaults(dtype),
    ...offloadFaults(offload),
    ...(MODES.includes(mode) ? [] : [expected('mode', `one of ${MODES.join(', ')}`, mode)]),
    ...(isOptions(request)
      ? valueFaults(request, mode, folder.config)
      : [expected('request', 'an object of options', request)]),
  ];
  if (faults.length > 0) throw new RequestError(...faults);
  return planRequest(request, prefixOf(mode, request, folder), folder);
}

type Entries = ReadonlyMap<string, { readonly dtype: string }>;

/** Of its files, or, where any is missing, of its config alone. */
export async function modelShapes(
  folder: ModelFolder,
  dtype: WeightDTypes | undefined,
): Promise<{
  readonly shapes: ModelShapes;
  readonly missing: string | null;
  readonly entries: Readonly<Record<'textEncoder' | 'transformer' | 'vae', Entries>> | undefined;
}> {
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
  if (files === undefined) return { shapes: shapesOf(folder.config, weightDTypes(dtype)), missing, entries: undefined };
  const { textEncoder, transformer, vae } = files;
  const entries = { textEncoder: textEncoder.entries, transformer: transformer.entries, vae: vae.entries };
  return { shapes: files, missing, entries };
}

function summary(weights: WeightTypes, entries?: Entries) {
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
export function shapesOf(config: ModelFolder['config'], dtype: ReturnType<typeof weightDTypes> = {}): ModelShapes {
  return {
    config,
    t5Config: PUBLISHED_T5,
    vaeConfig: PUBLISHED_VAE,
    transformer: recordedWeights(transformerNetwork(config), paramsDType(config), dtype.transformer),
    textEncoder: recordedWeights(t5Network(PUBLISHED_T5), 'f32', dtype.textEncoder),
    vae: recordedWeights(vaeNetwork(PUBLISHED_VAE), 'f32', dtype.vae),
  };
}

/** A network's weights by what its constructor asks for. */
export interface RecordedWeights extends WeightTypes {
  readonly parameters: number;
}

/** @param stored type of matrices in the files, `wanted` on the device where that is another one */
export function recordedWeights(network: NetworkDefinition<unknown>, stored: DType, wanted?: DType): RecordedWeights {
  const specs = Params.record((p) => network.build(p));
  const typed =
    (dtype: DType | undefined): WeightTypes['dtypeOf'] =>
    (_, spec) =>
      deviceDType(spec, spec.role === 'quantized' ? 'f8e4m3fn' : stored, dtype);
  const bytesAs = (dtype: DType | undefined) =>
    weightBytes(network, specs, (name) => typed(dtype)(name, specs.get(name)!));
  let parameters = 0;
  for (const { shape } of specs.values()) parameters += elementCount(shape);
  return { specs, parameters, ...bytesAs(wanted), dtypeOf: typed(wanted), bytesAs };
}

/** A picture or clip that suffices. */
function prefixOf(mode: ModeName, request: object, { config, asOriginal }: ModelFolder): Prefix {
  const { fps } = config.runtime_config;
  if (mode === 't2v') return NO_PREFIX;
  const of = mode === 'i2v' ? IMAGE_TO_VIDEO : VIDEO_TO_VIDEO;
  return of.prefix(request as VideoToVideoRequest & { image: never }, undefined, fps, mediaDefaults(asOriginal));
}
