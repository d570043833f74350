// What is kept of a run while it goes on, so that a later one can finish it or redo its end: plain data, and what it
// belongs to.
import type { LoraChoice } from '../lora/index.ts';
import type { TextRows } from '../text/conditioning.ts';
import { VERSION } from '../version.ts';
import { RequestError, option, worded } from '../wording.ts';
import type { ModelFiles } from './model-files.ts';
import type { RunIdentity } from './kept.ts';
import type { CheckedRequest } from './prepare.ts';

/** What the end of a video may be redone with; the rest must be as it was. */
const MAY_CHANGE = ['seed', 'noise', 'prompt', 'chunk prompts', 'negative prompt', 'guidance scale'];
const LONGEST_SHOWN = 60;

async function runIdentity(
  { config, environment, transformer, textEncoder, vae }: ModelFiles,
  { settings, texts, prefix, sampling, request }: CheckedRequest,
  { loras }: LoraChoice,
): Promise<RunIdentity> {
  const { model_config, engine_config, runtime_config: runtime } = config;
  const weights = [transformer, textEncoder, vae].map((network) =>
    [...network.entries].map(([name, entry]) => [name, entry, network.dtypeOf(name)]),
  );
  // What a prompt and a guidance scale change has names of its own.
  const schedule = { ...sampling.options, guidance: null, emptyText: null };
  const textOf = async (text: string | TextRows | undefined): Promise<string> =>
    text === undefined ? 'none' : typeof text === 'string' ? text : `features ${await hashed(text.rows)}`;
  const { pictures } = prefix;
  return {
    'magi1 version': VERSION,
    model: `${model_config.model_name} ${await hashed([model_config, engine_config.distill, engine_config.fp8_quant])}`,
    weights: await hashed(weights),
    loras: JSON.stringify(loras.map(({ name, weight, layers, rank }) => [name, weight, layers, rank])),
    prompt: await textOf(texts.caption),
    'chunk prompts': JSON.stringify(
      await Promise.all(texts.later.map(async ({ chunk, text }) => [chunk, await textOf(text)])),
    ),
    'negative prompt': await textOf(texts.negative),
    seed: `${settings.seed}`,
    noise: request.latents === undefined ? 'of the seed' : await hashed(request.latents),
    size: `${settings.width}x${settings.height}`,
    frames: `${settings.frames}`,
    steps: `${settings.numInferenceSteps}`,
    schedule: await hashed([schedule, environment.prevChunksScale, runtime.scale_factor]),
    'guidance scale': `${settings.guidanceScale}`,
    'longest text': `${settings.maxSequenceLength}`,
    'cache dtype': settings.cacheDType,
    'special tokens': JSON.stringify(settings.specialTokens),
    'given frames': pictures === undefined ? 'none' : `${prefix.frames} ${await hashed(pictures.data)}`,
  };
}

/** The first half of a SHA-256, in hex. */
export async function hashed(value: unknown): Promise<string> {
  const bytes = ArrayBuffer.isView(value)
    ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
    : new TextEncoder().encode(JSON.stringify(value));
  const digest = await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>);
  return [...new Uint8Array(digest).subarray(0, 16)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * What a run is, compared with what was kept where it goes on from that.
 * @throws RequestError naming all that differs
 */
export async function checkedIdentity(
  files: ModelFiles,
  run: CheckedRequest,
  choice: LoraChoice,
): Promise<RunIdentity> {
  const identity = await runIdentity(files, run, choice);
  const { resume, redoFromChunk } = run.request;
  if (resume !== undefined) compare(resume.identity, identity, redoFromChunk !== undefined);
  return identity;
}

/** Names of what is not the same. */
export const differences = (was: RunIdentity, now: RunIdentity): string[] =>
  [...new Set([...Object.keys(now), ...Object.keys(was)])].filter((name) => was[name] !== now[name]);

function compare(was: RunIdentity, now: RunIdentity, redoes: boolean): void {
  const differ = differences(was, now).filter((name) => !(redoes && MAY_CHANGE.includes(name)));
  if (differ.length === 0) return;
  const shown = (text: string | undefined): string =>
    text === undefined || text.length > LONGEST_SHOWN ? 'another' : text;
  const facts = differ.map((name) => `${name}: kept of ${shown(was[name])}, asked for is ${shown(now[name])}`);
  throw new RequestError(worded`${option('resume')}: what was kept is of another run; ${facts.join('; ')}`);
}
