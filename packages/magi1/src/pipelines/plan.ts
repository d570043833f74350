// Whether a run of a model fits on a device and how long it would take, and what would fit otherwise; its weights need not
// be there.
import { NotFoundError, blobSource } from '@magi1/loaders';
import type { Folder } from '@magi1/loaders';
import type { CacheDType } from '@magi1/kernels';
import type { Device, DType } from '@magi1/tensor';
import { publishedConfig } from '../config/published.ts';
import type { PublishedModel } from '../config/published.ts';
import { modelShapes } from './inspect.ts';
import type { plannedRun } from './inspect.ts';
import type { MemoryNeed, RunSize } from './memory-plan.ts';
import { MemoryPlanner, capacityOf, plannedSize, resized } from './memory.ts';
import type { Capacity, Fit, OtherSize } from './memory.ts';
import type { ModelFolder } from './model-files.ts';
import { offloadsOf } from './offload.ts';
import type { Offload } from './offload.ts';
import type { Settings } from './request.ts';
import { estimateTime } from './time-estimate.ts';
import type { TimeEstimate } from './time-estimate.ts';

/** A run beside the one that was asked about. */
export interface OtherRun {
  readonly width: number;
  readonly height: number;
  readonly frames: number;
  /** Of the weights; null: as they are stored. */
  readonly dtype: DType | null;
  readonly cacheDType: CacheDType;
  /** Most bytes on the device, by the way of offloading; null where a single tensor is too large. */
  readonly peaks: MemoryNeed['peaks'] | null;
  /** How it fits, with the most that may be on the device; null where it does not. */
  readonly offload: Offload | null;
}

export interface ModelPlan {
  /** What is not there, where anything is missing: then the config speaks, with the published text encoder and VAE. */
  readonly missing: string | null;
  readonly settings: Settings;
  readonly fit: Fit;
  /** Where it does not fit with the offloading that was asked for: with which it would; else null. */
  readonly otherOffload: Offload | null;
  readonly capacity: Capacity;
  /** The largest size of its shape, with as many chunks, that fits. */
  readonly largest: OtherSize | null;
  /** Of every size the run in question, and what changes how it fits: narrower weights, then a narrower cache. */
  readonly others: readonly OtherRun[];
  /** Undefined where it was not asked for, the run cannot be, or the device has no room to try its ops. */
  readonly time: TimeEstimate | undefined;
}

export interface PlanOptions {
  /** Of the weights of transformer and text encoder; as stored when left out. */
  readonly dtype: DType | undefined;
  /** How much of the model is on the device at a time; what fits when left out. */
  readonly offload?: Offload | undefined;
  /** Whether the device is measured. */
  readonly time: boolean;
  /** The memory is planned, ops will be tried. */
  readonly onTrials?: (() => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** @param planned of the run that is asked about, by `plannedRun` */
export async function planModel(
  folder: ModelFolder,
  device: Device,
  planned: ReturnType<typeof plannedRun>,
  { dtype, offload: wantedOffload, time, onTrials, signal }: PlanOptions,
): Promise<ModelPlan> {
  const run = plannedSize(planned);
  const capacity = capacityOf(device);
  const modelIn = async (wanted: DType | undefined) => {
    const { shapes, missing } = await modelShapes(folder, wanted);
    const { transformer, textEncoder, vae } = shapes;
    const bytes = transformer.deviceBytes + textEncoder.deviceBytes + vae.deviceBytes;
    const planner = new MemoryPlanner(shapes, device, offloadsOf(undefined, folder.environment), signal);
    return { dtype: wanted ?? null, shapes, missing, bytes, planner };
  };
  const asked = await modelIn(dtype);
  const models = [asked];
  for (const narrower of NARROWER) {
    const model = await modelIn(narrower);
    if (model.bytes < models.at(-1)!.bytes) models.push(model);
  }
  const others: OtherRun[] = [];
  for (const size of otherSizes(run, folder)) others.push(...(await otherRuns(resized(run, size), models, capacity)));
  const planner = new MemoryPlanner(asked.shapes, device, offloadsOf(wantedOffload, folder.environment), signal);
  const fit = await planner.fit(run, capacity);
  const largest = await planner.largestSize(run, capacity);
  const otherOffload = fit.offload === undefined ? ((await asked.planner.fit(run, capacity)).offload ?? null) : null;
  const timed = time && fit.need !== undefined;
  if (timed) onTrials?.();
  return {
    missing: asked.missing,
    settings: planned.settings,
    fit,
    otherOffload,
    capacity,
    largest,
    others,
    time: timed ? await estimateTime(asked.shapes, run, device, { available: capacity.bytes, signal }) : undefined,
  };
}

/** Types of weights that may be proposed, each narrower than the one before. */
const NARROWER: readonly DType[] = ['bf16', 'q8', 'q4'];

interface ModelIn {
  readonly dtype: DType | null;
  readonly planner: MemoryPlanner;
}

/** The run in the first model, and those of others that fit in another way; nothing beyond what fits without offloading. */
async function otherRuns(run: RunSize, models: readonly ModelIn[], capacity: Capacity): Promise<OtherRun[]> {
  const found: OtherRun[] = [];
  const look = async ({ dtype, planner }: ModelIn, { cacheDType, ...size }: RunSize) => {
    const { need, offload } = await planner.fit({ ...size, cacheDType }, capacity);
    const fits = offload ?? null;
    if (found.length > 0 && found.at(-1)!.offload === fits) return;
    const { height, width } = run;
    const frames = planner.framesOf(run, run.plan.options.chunks - run.plan.chunkOffset);
    found.push({ width, height, frames, dtype, cacheDType, peaks: need?.peaks ?? null, offload: fits });
  };
  const done = () => found.at(-1)?.offload === 'none';
  for (const model of models) if (!done()) await look(model, run);
  const narrowest = models.at(-1)!;
  for (const cacheDType of narrowest.planner.smallerCaches(run))
    if (!done()) await look(narrowest, { ...run, cacheDType });
  return found;
}

/** A few squares, the config's own size and the one that was asked about, each with one chunk and with as many as asked. */
function otherSizes(run: RunSize, { config }: ModelFolder): OtherSize[] {
  const { video_size_h, video_size_w } = config.runtime_config;
  const areaOf = ({ height, width }: { readonly height: number; readonly width: number }) => height * width;
  const own = { height: video_size_h, width: video_size_w };
  const asked = { height: run.height, width: run.width };
  const most = Math.max(areaOf(own), areaOf(asked));
  const squares = [256, 512, 768].map((side) => ({ height: side, width: side })).filter((size) => areaOf(size) < most);
  const sizes = new Map([...squares, own, asked].map((size) => [`${size.width}x${size.height}`, size]));
  const chunks = run.plan.options.chunks - run.plan.chunkOffset;
  return [...sizes.values()]
    .sort((a, b) => areaOf(a) - areaOf(b))
    .flatMap((size) => [...new Set([1, chunks])].map((count) => ({ ...size, chunks: count })));
}

/** The config of a published model, as if nothing but it had been downloaded. */
export function publishedFolder(model: PublishedModel): Folder {
  const absent = (name: string): Folder => ({
    name,
    list: () => Promise.reject(new NotFoundError(`${name}: there is no such folder`)),
    open: (path) => Promise.reject(new NotFoundError(`${name}/${path}: there is no such file`)),
    at: (path) => absent(`${name}/${path}`),
  });
  const rest = absent(model);
  const config = new Blob([JSON.stringify(publishedConfig(model))]);
  return {
    ...rest,
    list: () => Promise.resolve(['config.json']),
    open: (path) =>
      path === 'config.json' ? Promise.resolve(blobSource(config, `${model}/${path}`)) : rest.open(path),
  };
}
