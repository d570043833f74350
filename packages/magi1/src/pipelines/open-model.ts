// Opening a model for a pipeline: request, files and memory are checked before any weight is loaded.
import { Device } from '@magi1/tensor';
import { transformerLayouts } from '../layouts/index.ts';
import { LoraSet } from '../lora/index.ts';
import { MemoryPlanner } from './memory.ts';
import { NO_PREFIX } from './mode.ts';
import type { Mode } from './mode.ts';
import type { ModelFolder } from './model-folder.ts';
import { openModelFiles } from './model.ts';
import type { ModelFiles } from './model.ts';
import { Networks } from './networks.ts';
import type { PipelineOptions } from './pipeline-options.ts';
import { Run, checkRequest, planRequest, readInput } from './prepare.ts';
import { Call, CallProgress } from './progress.ts';
import type { GenerationOptions } from './request.ts';
import { defaultSize, sizeOf } from './run-size.ts';
import { requireSpecialTokens } from './token-table.ts';

/** A model whose files are open, on a device. */
export interface OpenedModel<Request extends GenerationOptions> extends ModelFiles {
  readonly mode: Mode<Request>;
  readonly device: Device;
  readonly ownsDevice: boolean;
  readonly networks: Networks;
  readonly loras: LoraSet;
  readonly memory: MemoryPlanner;
  /** Of the request that the model was opened with. */
  readonly firstRun: Run<Request> | null;
}

/**
 * Every part is checked, then the request, its picture or clip included, then the memory need is compared with the
 * device, and only then weights are loaded.
 */
export async function openModel<Request extends GenerationOptions>(
  folder: ModelFolder,
  mode: Mode<Request>,
  options: PipelineOptions<Request>,
): Promise<OpenedModel<Request>> {
  const { request } = options;
  const checked =
    request && (await readInput(checkRequest(request, mode, folder), mode, options.signal ?? request.signal));
  const { settings } = checked ?? planRequest({}, NO_PREFIX, folder);
  const files = await openModelFiles(folder, options.dtype, options);
  const ownsDevice = !(options.device instanceof Device);
  let device: Device | undefined;
  let networks: Networks | undefined;
  try {
    const loras = new LoraSet(files.transformer.specs, transformerLayouts(folder.config.model_config));
    for (const { source: file, ...rest } of options.loras ?? []) await loras.load(file, rest);
    await requireSpecialTokens(files, request ?? {}, settings.specialTokens);
    options.signal?.throwIfAborted();
    const firstRun = checked === undefined ? null : new Run(checked);
    device = options.device instanceof Device ? options.device : await Device.open(options.device);
    const memory = new MemoryPlanner(files, device, folder.environment.offloadT5Cache);
    const residency = firstRun
      ? await memory.choose(await sizeOf(firstRun, files.tokenizer, { loras: loras.choose(), signal: options.signal }))
      : await memory.chooseForAny(defaultSize(folder, loras.choose()));
    networks = new Networks(files, device, residency);
    using call = new Call(options, new AbortController().signal);
    const { signal, onProgress } = call;
    const bytes = networks.missingBytes('textEncoder', 'transformer', 'vae');
    await networks.loadResident({
      signal,
      loading: new CallProgress({ loading: 1 }, onProgress).stage('loading', bytes),
    });
    await call.settle();
    return { ...files, mode, device, ownsDevice, networks, loras, memory, firstRun };
  } catch (error) {
    networks?.dispose();
    await files.close();
    if (ownsDevice) await device?.dispose();
    throw error;
  }
}
