// Opening a model for a pipeline: parts, request and memory are checked before any weight is loaded.
import { Device } from '@magi1/tensor';
import type { DeviceOptions } from '@magi1/tensor';
import type { Environment } from '../config/index.ts';
import { transformerLayouts } from '../layouts/index.ts';
import { LoraSet } from '../lora/index.ts';
import type { LoraSpec } from '../lora/index.ts';
import { Params } from '../nn/index.ts';
import { Call } from './call.ts';
import { checkRequest, planRequest } from './check-request.ts';
import type { CheckedRequest, RequestContext } from './check-request.ts';
import { chooseResidency } from './memory.ts';
import type { RunSize } from './memory.ts';
import { mediaDefaults } from './mode.ts';
import type { Mode } from './mode.ts';
import type { ModelSource } from './model-folder.ts';
import { Networks } from './networks.ts';
import { openParts } from './parts.ts';
import type { ModelParts, WeightDTypes } from './parts.ts';
import { NO_PREFIX } from './prefix.ts';
import { CallProgress } from './progress.ts';
import { VideoDiT } from '../transformer/video-dit.ts';
import type { ProgressListener } from './progress.ts';
import type { GenerationOptions } from './request.ts';
import type { Settings } from './settings.ts';
import { requireSpecialTokens } from './token-table.ts';

export interface PipelineOptions<Request> {
  /** An open device, which the caller disposes, or how to open one (`auto` by default), which the pipeline disposes. */
  readonly device?: Device | DeviceOptions | undefined;
  /** dtype of matrices on the device; as stored when left out. */
  readonly dtype?: WeightDTypes | undefined;
  /** LoRAs for the transformer, as `loadLora` takes them; read and checked before weights are loaded. */
  readonly loras?: readonly LoraSpec[] | undefined;
  /** Switches that the original reads from the environment. */
  readonly environment?: Environment | undefined;
  /** The first request, where it is known: it is checked, with the memory it needs, before anything is loaded. */
  readonly request?: Request | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
}

export interface OpenedModel<Request extends GenerationOptions> {
  readonly mode: Mode<Request>;
  readonly parts: ModelParts;
  readonly device: Device;
  readonly ownsDevice: boolean;
  readonly networks: Networks;
  readonly loras: LoraSet;
}

/**
 * Every part is checked, then the request, its picture or clip included, then the memory need is compared with the
 * device, and only then weights are loaded.
 */
export async function openModel<Request extends GenerationOptions>(
  source: ModelSource,
  mode: Mode<Request>,
  options: PipelineOptions<Request>,
): Promise<OpenedModel<Request>> {
  const { request } = options;
  const { settings, plan, size } = request ? await withRequest(request, mode, source) : defaultsOf(source);
  const specs = Params.record((p) => new VideoDiT(p, source.config));
  const loras = new LoraSet(specs, transformerLayouts(source.config.model_config));
  for (const { source: file, ...rest } of options.loras ?? []) await loras.load(file, rest);
  const parts = await openParts(source, options.dtype);
  await requireSpecialTokens(parts, request ?? {}, settings.specialTokens);
  options.signal?.throwIfAborted();
  const ownsDevice = !(options.device instanceof Device);
  const device = options.device instanceof Device ? options.device : await Device.open(options.device);
  let networks: Networks | undefined;
  try {
    networks = new Networks(
      parts,
      device,
      chooseResidency(device, parts, plan, { ...size, loras: loras.choose().deviceBytes }),
    );
    using call = new Call(options, new AbortController().signal);
    const { signal, onProgress } = call;
    const bytes = networks.missingBytes('textEncoder', 'transformer', 'vae');
    await networks.loadResident({
      signal,
      loading: new CallProgress({ loading: 1 }, onProgress).stage('loading', bytes),
    });
    await call.settle();
    return { mode, parts, device, ownsDevice, networks, loras };
  } catch (error) {
    networks?.dispose();
    if (ownsDevice) await device.dispose();
    throw error;
  }
}

async function withRequest<Request extends GenerationOptions>(
  request: Request,
  mode: Mode<Request>,
  source: ModelSource,
) {
  const checked = checkRequest(await prepareRequest(request, mode, source), mode, contextOf(source));
  return { ...checked, size: sizeOf(checked, 0) };
}

/** Checks a request and reads its picture or clip: the same request with decoded frames. */
export async function prepareRequest<Request extends GenerationOptions>(
  request: Request,
  mode: Mode<Request>,
  source: ModelSource,
): Promise<Request> {
  const { settings } = checkRequest(request, mode, contextOf(source));
  return mode.decode(request, settings, mediaDefaults(source.asOriginal));
}

export function contextOf({ config, environment, trained, asOriginal }: ModelSource): RequestContext {
  return { config, switches: environment.specialTokens, trained, asOriginal };
}

/** What decides the memory of a run. */
export function sizeOf({ settings, texts }: CheckedRequest, loras: number): RunSize {
  const { height, width, prefixFrames } = settings;
  const count = countTexts(settings, 1 + texts.later.length) + (texts.negative === undefined ? 0 : 1);
  return { height, width, prefixFrames, texts: count, loras };
}

/** Captions that differ: the duration token is another one in each of the last eight chunks. */
function countTexts({ chunks, specialTokens }: Settings, captions: number): number {
  return specialTokens.duration ? Math.min(chunks, captions + 7) : captions;
}

/** A run by the config alone, without a prefix. */
export function defaultsOf(source: ModelSource) {
  const { settings, plan } = planRequest({}, NO_PREFIX, contextOf(source));
  const { height, width } = settings;
  return { settings, plan, size: { height, width, prefixFrames: 0, texts: countTexts(settings, 1), loras: 0 } };
}
