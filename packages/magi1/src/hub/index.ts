// Models from a Hugging Face hub. What needs Node is imported when it is called, so that a browser can import this file.
import type { QuantizePlan } from '../quantize/index.ts';
import type {
  DownloadOptions,
  DownloadPlan,
  DownloadedModel,
  PlanDownloadOptions,
  PlanQuantizedDownloadOptions,
} from './node/download.ts';

export type {
  DownloadFile,
  DownloadOptions,
  DownloadPlan,
  DownloadedModel,
  PlanDownloadOptions,
  PlanQuantizedDownloadOptions,
} from './node/download.ts';
export type { DownloadProgress } from './node/rate.ts';
export { PUBLISHED_MODELS } from '../config/published.ts';
export type { PublishedModel } from '../config/published.ts';

/**
 * Asks the hub what a model needs and compares it with what is there; nothing is written. `plan.run()` downloads.
 * @param repository `sand-ai/MAGI-1`, or another of the same layout
 * @throws Magi1Error where the hub refuses, or the repository lacks the model
 */
export async function planDownload(repository: string, options: PlanDownloadOptions): Promise<DownloadPlan> {
  return (await import('./node/download.ts')).planDownload(repository, options);
}

/**
 * The same for a model that is quantised as it comes, so that its files never lie on the disk in their own types: into
 * `localDir`, or beside the config of the model in the cache. Checksums are those of the files that come; an interrupted run
 * goes on within them. `plan.run()` makes it.
 */
export async function planQuantizedDownload(
  repository: string,
  options: PlanQuantizedDownloadOptions,
): Promise<QuantizePlan> {
  return (await import('./node/download.ts')).planQuantizedDownload(repository, options);
}

/**
 * Downloads what one published model needs, with its text encoder, tokenizer and VAE, into the cache of Hugging Face's
 * libraries or into `localDir`, and returns the folder that a pipeline opens. HF_ENDPOINT, HF_TOKEN, HF_HOME and
 * HF_HUB_CACHE mean what they mean there. What is there already is not fetched again, and a download that ended early goes
 * on where it was. A file gets its name once its checksum is right. For Node.
 * @throws Magi1Error before anything is written where the disk lacks room
 */
export async function downloadModel(
  repository: string,
  options: PlanDownloadOptions & DownloadOptions,
): Promise<DownloadedModel> {
  return (await planDownload(repository, options)).run(options);
}
