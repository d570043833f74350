// A model on a device. Opening checks request, files and memory before any weight is loaded.
import { NotFoundError, ifFound, locate, readNpz, withFile } from '@magi1/loaders';
import type { Folder } from '@magi1/loaders';
import { Device, isFloat, toFloat32 } from '@magi1/tensor';
import { SPECIAL_TOKEN_VARIABLES } from '../config/index.ts';
import type { SpecialTokenSwitches } from '../config/index.ts';
import { transformerLayouts } from '../layouts/index.ts';
import { LoraSet } from '../lora/index.ts';
import { SPECIAL_TOKEN_ARRAYS, specialTokenTable } from '../text/special-tokens.ts';
import type { SpecialTokenTable } from '../text/special-tokens.ts';
import { RequestError, joined, option, worded } from '../wording.ts';
import { tokenOptionOf } from './check-options.ts';
import type { PipelineOptions } from './check-options.ts';
import { NO_PREFIX } from './inputs.ts';
import type { Mode } from './inputs.ts';
import { MemoryPlanner, NO_REQUEST, plannedSize, sizeOf } from './memory.ts';
import { openModelFiles } from './model-files.ts';
import type { ModelFiles, ModelFolder } from './model-files.ts';
import { ALL_NETWORKS, Networks } from './networks.ts';
import { offloadsOf } from './offload.ts';
import { Run, checkRequest, planRequest, readInput } from './prepare.ts';
import { Call, CallProgress } from './progress.ts';
import type { GenerationOptions } from './request.ts';
import { checkedIdentity } from './run-state.ts';

/** A model whose files are open, on a device. */
export interface OpenedModel<Request extends GenerationOptions> extends ModelFiles {
  readonly mode: Mode<Request>;
  readonly device: Device;
  readonly ownsDevice: boolean;
  readonly networks: Networks;
  readonly loras: LoraSet;
  readonly memory: MemoryPlanner;
  /**
   * Read when a switch needs it.
   * @throws NotFoundError where the model has none
   */
  specialTokens(): Promise<SpecialTokenTable>;
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
  const planned = checked ?? ownRun(folder);
  const files = await openModelFiles(folder, options.dtype, options);
  const ownsDevice = !(options.device instanceof Device);
  let table: Promise<SpecialTokenTable> | undefined;
  const specialTokens = () => (table ??= readSpecialTokens(folder));
  let device: Device | undefined;
  let networks: Networks | undefined;
  try {
    const layouts = transformerLayouts(folder.config.model_config);
    const loras = new LoraSet(files.transformer.specs, layouts, (name) => files.transformer.dtypeOf(name));
    for (const { source: file, ...rest } of options.loras ?? []) await loras.load(file, rest);
    await requireSpecialTokens({ specialTokens }, request ?? {}, planned.settings.specialTokens);
    if (checked?.request.resume !== undefined)
      await checkedIdentity(files, checked, loras.choose(checked.request.attentionKwargs?.scale));
    options.signal?.throwIfAborted();
    const firstRun = checked === undefined ? null : new Run(checked);
    device = options.device instanceof Device ? options.device : await Device.open(options.device);
    const memory = new MemoryPlanner(files, device, offloadsOf(options.offload, folder.environment));
    const offload = firstRun
      ? await memory.choose(await sizeOf(firstRun, files.tokenizer, { loras: loras.choose(), signal: options.signal }))
      : await memory.chooseForAny(plannedSize(planned, loras.choose()));
    networks = new Networks(files, device, offload);
    using call = new Call(options, new AbortController().signal);
    const { signal, onProgress } = call;
    const loading = new CallProgress({ loading: 1 }, onProgress).stage(
      'loading',
      networks.missingBytes(...ALL_NETWORKS),
    );
    // What stays loaded is loaded now, so that the first run need not.
    if (offload === 'none') (await networks.use(ALL_NETWORKS, { signal, loading }))[Symbol.dispose]();
    await call.settle();
    return { ...files, mode, device, ownsDevice, networks, loras, memory, specialTokens, firstRun };
  } catch (error) {
    networks?.dispose();
    await files.close();
    if (ownsDevice) await device?.dispose();
    throw error;
  }
}

/** By the config alone, without a prefix. */
function ownRun(folder: ModelFolder) {
  try {
    return planRequest({}, NO_PREFIX, folder);
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    throw new RequestError(worded`${error.wording}; ${NO_REQUEST}`);
  }
}

/**
 * Reads the table where a switch is on.
 * @throws RequestError naming the switches where the model has no table, Magi1Error where it cannot be used
 */
export async function requireSpecialTokens(
  model: Pick<OpenedModel<never>, 'specialTokens'>,
  request: GenerationOptions,
  switches: SpecialTokenSwitches,
): Promise<void> {
  const on = (Object.keys(switches) as (keyof SpecialTokenSwitches)[]).filter((key) => switches[key]);
  if (on.length === 0) return;
  try {
    await model.specialTokens();
  } catch (error) {
    if (!(error instanceof NotFoundError)) throw error;
    const names = on.map((key) => {
      const given = tokenOptionOf(request, key);
      return given === undefined ? worded`${SPECIAL_TOKEN_VARIABLES[key]}` : worded`${option(given)}`;
    });
    throw new RequestError(
      worded`${joined(names, ', ')}: this model has no table of special tokens (${error.message}); leave ${on.length === 1 ? 'it' : 'them'} out, or name the special_tokens.npz that belongs to the model in SPECIAL_TOKEN_PATH`,
    );
  }
}

/** Where the token table may be: beside the config, and where the original's repository has it. */
const TOKEN_FILES = ['special_tokens.npz', 'example/assets/special_tokens.npz'];

async function readSpecialTokens({ config, environment, tokenFolders }: ModelFolder): Promise<SpecialTokenTable> {
  const { specialTokenPath: given } = environment;
  const { caption_channels: width } = config.model_config;
  if (given !== null) {
    const { folder, file } = await locate(given);
    if (file === undefined) throw new NotFoundError(`${String(given)}: expected a file, found a folder`);
    return readTokenTable(folder, file, width);
  }
  for (const path of TOKEN_FILES) {
    for (const folder of tokenFolders) {
      const table = await ifFound(readTokenTable(folder, path, width));
      if (table !== undefined) return table;
    }
  }
  throw new NotFoundError(`${tokenFolders[0]!.at(TOKEN_FILES[0]!).name}: there is no such file`);
}

async function readTokenTable(folder: Folder, path: string, captionChannels: number): Promise<SpecialTokenTable> {
  const arrays = await withFile(folder, path, (source) =>
    readNpz(source, { f64: 'f16', bf16: true, names: SPECIAL_TOKEN_ARRAYS }),
  );
  const widened = [...arrays].map(([name, { shape, dtype, data }]) => {
    const values = isFloat(dtype) ? toFloat32(dtype, data) : (data as ArrayLike<number>);
    return [name, { shape, data: values }] as const;
  });
  return specialTokenTable(new Map(widened), captionChannels);
}
