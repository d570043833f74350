// Opening a model for a pipeline: parts, request and memory are checked before any weight is loaded.
import { Device } from '@magi1/tensor';
import { transformerLayouts } from '../layouts/index.ts';
import { LoraSet } from '../lora/index.ts';
import { Params } from '../nn/index.ts';
import { VideoDiT } from '../transformer/video-dit.ts';
import { chooseResidency, estimateMemory } from './memory.ts';
import type { Mode } from './mode.ts';
import type { ModelSource } from './model-folder.ts';
import { Networks } from './networks.ts';
import { openParts } from './parts.ts';
import type { ModelParts } from './parts.ts';
import type { PipelineOptions } from './pipeline-options.ts';
import { Run, checkRequest, defaultsOf, readInput, sizeOf } from './prepare.ts';
import { Call, CallProgress } from './progress.ts';
import type { GenerationOptions } from './request.ts';
import { requireSpecialTokens } from './token-table.ts';

export interface OpenedModel<Request extends GenerationOptions> {
  readonly mode: Mode<Request>;
  readonly parts: ModelParts;
  readonly device: Device;
  readonly ownsDevice: boolean;
  readonly networks: Networks;
  readonly loras: LoraSet;
  /** Of the request that the model was opened with. */
  readonly firstRun: Run<Request> | null;
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
  const checked =
    request && (await readInput(checkRequest(request, mode, source), mode, options.signal ?? request.signal));
  const { settings, sampling } = checked ?? defaultsOf(source);
  const specs = Params.record((p) => new VideoDiT(p, source.config));
  const loras = new LoraSet(specs, transformerLayouts(source.config.model_config));
  for (const { source: file, ...rest } of options.loras ?? []) await loras.load(file, rest);
  const parts = await openParts(source, options.dtype);
  await requireSpecialTokens(parts, request ?? {}, settings.specialTokens);
  options.signal?.throwIfAborted();
  const { deviceBytes } = loras.choose();
  const size =
    checked === undefined ? { ...defaultsOf(source).size, loras: deviceBytes } : sizeOf(checked, deviceBytes);
  const firstRun = checked === undefined ? null : new Run(checked, estimateMemory(parts, sampling, size));
  const ownsDevice = !(options.device instanceof Device);
  const device = options.device instanceof Device ? options.device : await Device.open(options.device);
  let networks: Networks | undefined;
  try {
    networks = new Networks(parts, device, chooseResidency(device, parts, sampling, size));
    using call = new Call(options, new AbortController().signal);
    const { signal, onProgress } = call;
    const bytes = networks.missingBytes('textEncoder', 'transformer', 'vae');
    await networks.loadResident({
      signal,
      loading: new CallProgress({ loading: 1 }, onProgress).stage('loading', bytes),
    });
    await call.settle();
    return { mode, parts, device, ownsDevice, networks, loras, firstRun };
  } catch (error) {
    networks?.dispose();
    if (ownsDevice) await device.dispose();
    throw error;
  }
}
