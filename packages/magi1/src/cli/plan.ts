// magi1 plan: whether a run of a model fits here and how long it would take, before anything is downloaded.
import { statSync } from 'node:fs';
import { PUBLISHED_MODELS } from '../config/published.ts';
import type { ModelFolder } from '../pipelines/model-files.ts';
import type { MemoryNeed } from '../pipelines/memory-plan.ts';
import { OFFLOADS, OFFLOAD_WORDS } from '../pipelines/offload.ts';
import type { Offload } from '../pipelines/offload.ts';
import type { ModelPlan, OtherRun } from '../pipelines/plan.ts';
import type { TimeEstimate } from '../pipelines/time-estimate.ts';
import { POCKET_MODEL } from '../pocket.ts';
import { formatBytes, formatLimit, formatNeed } from '../wording.ts';
import { DEVICE_OPTIONS, MEMORY_OPTIONS, UsageError, choice, requiredText, text } from './command.ts';
import type { Command, Values } from './command.ts';
import { catchInterrupt } from './interrupt.ts';
import { deviceOptions } from './model-options.ts';
import { PLANNED_OPTIONS, plannedOptions } from './planned-options.ts';
import { printable, printableLines } from './printable.ts';
import { formatSeconds } from './progress.ts';

const NAMES = [...PUBLISHED_MODELS, 'pocket'];

/** Exit status where the run does not fit. */
const DOES_NOT_FIT = 3;

export const plan: Command = {
  name: 'plan',
  summary: 'Says whether a run fits, what would fit otherwise and how long it takes; needs no weights.',
  usage: 'magi1 plan --model NAME|DIR|FILE [options]; exit status 0: it fits, 3: it does not',
  positionals: 0,
  options: {
    model: { value: 'NAME', help: `${NAMES.join(', ')}, a model folder or a config.json` },
    ...PLANNED_OPTIONS,
    ...DEVICE_OPTIONS,
    ...MEMORY_OPTIONS,
    bits: { value: 'N', help: '16, 8 or 4: weights as magi1 quantize makes them, in place of --dtype' },
    'no-time': { help: 'do not try ops on the device, and tell no time' },
    json: { help: 'as JSON' },
  },
  run,
};

async function run(values: Values): Promise<number> {
  using interrupt = catchInterrupt(() => undefined);
  const { signal } = interrupt;
  try {
    const found = await planned(values, signal);
    print(values, found);
    return found.fit.offload === undefined ? DOES_NOT_FIT : 0;
  } catch (error) {
    if (!signal.aborted) throw error;
    process.stderr.write('stopped\n');
    return interrupt.status;
  }
}

async function planned(values: Values, signal: AbortSignal): Promise<Found> {
  const model = requiredText(values, 'model');
  const options = plannedOptions(withBits(values));
  const chosen = deviceOptions(values);
  const folder = await folderOf(model, signal);
  const { plannedRun } = await import('../pipelines/inspect.ts');
  const run = plannedRun(folder, options);
  const { planModel } = await import('../pipelines/plan.ts');
  const { Device } = await import('@magi1/tensor');
  const device = await Device.open(chosen);
  try {
    const time = values['no-time'] !== true;
    const onTrials = () =>
      void process.stderr.write(`trying ops on ${printable(device.info.name)} for a few seconds\n`);
    const found = await planModel(folder, device, run, {
      dtype: options.dtype,
      offload: options.offload,
      time,
      onTrials,
      signal,
    });
    const { name } = device.info;
    return { model, config: folder.configFile, device: name, askedOffload: options.offload ?? null, ...found };
  } finally {
    await device.dispose();
  }
}

/** What the bits of weights are called where they are chosen without files of their own. */
const DTYPE_OF_BITS = { '16': 'bf16', '8': 'q8', '4': 'q4' } as const;

/** @throws UsageError for other bits, and beside a dtype */
function withBits(values: Values): Values {
  const bits = choice(values, 'bits', ['16', '8', '4']);
  if (bits === undefined) return values;
  const dtype = text(values, 'dtype');
  if (dtype !== undefined)
    throw new UsageError(
      `--bits ${bits} and --dtype ${dtype}: both say in how many bits weights are held, give one of them (--bits ${bits} is --dtype ${DTYPE_OF_BITS[bits]})`,
    );
  return { ...values, dtype: DTYPE_OF_BITS[bits] };
}

/** @throws UsageError for what is neither a name nor there */
async function folderOf(model: string, signal: AbortSignal): Promise<ModelFolder> {
  const { readConfigFile, readModelFolder } = await import('../pipelines/model-files.ts');
  const published = PUBLISHED_MODELS.find((name) => name === model);
  if (published !== undefined) {
    const { publishedFolder } = await import('../pipelines/plan.ts');
    return readModelFolder(publishedFolder(published), { signal });
  }
  if (model === 'pocket') return readModelFolder(POCKET_MODEL, { signal });
  const found = statSync(model, { throwIfNoEntry: false });
  if (found === undefined)
    throw new UsageError(`--model: a folder, a config.json or one of ${NAMES.join(', ')} expected, got "${model}"`);
  return found.isDirectory() ? readModelFolder(model, { signal }) : readConfigFile(model, { signal });
}

interface Found extends ModelPlan {
  readonly model: string;
  readonly config: string;
  readonly device: string;
  readonly askedOffload: Offload | null;
}

function print(values: Values, found: Found): void {
  const peak = peakOf(found);
  const lines =
    values.json === true
      ? [JSON.stringify({ ...found, peak: { ...peak, fits: found.fit.offload !== undefined } }, null, 2)]
      : planLines(found, values['no-time'] !== true).map(printable);
  process.stdout.write(`${values.json === true ? printableLines(lines[0]!) : lines.join('\n')}\n`);
}

/** What the run takes where it fits, else the least that it could do with. */
function peakOf({ fit: { need, offload }, askedOffload, capacity }: Found) {
  const chosen = offload ?? askedOffload;
  const planned =
    need === undefined ? null : chosen === null ? Math.min(...Object.values(need.peaks)) : need.peaks[chosen];
  return { planned, available: Number.isFinite(capacity.bytes) ? capacity.bytes : null };
}

function planLines(found: Found, timed: boolean): string[] {
  const { model, device, missing, settings, fit, otherOffload, capacity, largest, others, time } = found;
  const { width, height, frames, numInferenceSteps } = settings;
  const { planned, available } = peakOf(found);
  const limits = { budget: 'the budget', machine: 'this machine', cgroup: 'this container', adapter: 'the adapter' };
  const { limitedBy } = capacity;
  return [
    `model   ${model}${missing === null ? '' : ', by its config alone, with the published text encoder and VAE'}`,
    `run     ${width}x${height}, ${frames} frames, ${numInferenceSteps} steps, on ${device}`,
    '',
    ...(fit.need === undefined ? [`cannot run on this device: ${fit.fault!}`] : partRows(fit.need)),
    '',
    ...otherRows(others),
    largest === null
      ? 'no size fits with as many frames'
      : `the largest size with as many frames: ${largest.width}x${largest.height}${largest.most === true ? ' or more' : ''}`,
    '',
    ...(timed ? timeRows(time) : []),
    fit.offload === undefined
      ? `verdict does not fit${otherOffload === null ? heapNote(found) : `; with --offload ${otherOffload} it does`}`
      : `verdict fits, ${OFFLOAD_WORDS[fit.offload]}`,
    `peak: ${planned === null ? 'unknown' : formatNeed(planned)} planned, ${available === null ? 'unknown' : formatLimit(available)} available${limitedBy === null ? '' : ` (${limits[limitedBy]})`}`,
  ];
}

/** Where memory would suffice. */
function heapNote({ fit: { need }, capacity }: ModelPlan): string {
  return need !== undefined && Math.min(...Object.values(need.peaks)) <= capacity.bytes
    ? `: activations and key-value cache are too much for a wasm heap of ${formatLimit(capacity.heapBytes)}`
    : '';
}

function partRows({ weights, loras, keyValueCache, text, encoding, denoising, decoding, peaks }: MemoryNeed) {
  const rows: [string, number, string][] = [
    ['text encoder', weights.textEncoder, 'weights'],
    ['', text, 'activations, while the text is encoded'],
    ['transformer', weights.transformer, 'weights'],
    ['', keyValueCache, 'key-value cache'],
    ['', denoising, 'activations, while denoising'],
    ['VAE', weights.vae, 'weights'],
    ['', encoding, 'activations, while what it starts from is encoded'],
    ['', decoding, 'activations, while decoding'],
    ['LoRAs', loras, 'weights'],
    ['in all', peaks.none, `${OFFLOAD_WORDS.none}; activations of stages are not there at once`],
    ['', peaks.text, OFFLOAD_WORDS.text],
    ['', peaks.group, OFFLOAD_WORDS.group],
  ];
  return rows
    .filter(([, bytes]) => bytes > 0)
    .map(([name, bytes, what]) => `${name.padEnd(14)}${formatBytes(bytes).padStart(9)}  ${what}`);
}

const COLUMNS = [11, 8, 9, 7, 20, 20, 20];

function otherRows(others: readonly OtherRun[]): string[] {
  const ladder = ['none', 'text', 'group'] as const;
  const cells = ({ peaks, offload }: OtherRun) =>
    ladder.map((each, i) => {
      if (peaks === null) return 'cannot run';
      const fits = offload !== null && (i === 2 || OFFLOADS.indexOf(offload) <= i);
      return `${formatBytes(peaks[each])} ${fits ? 'fits' : 'too much'}`;
    });
  const row = (texts: readonly string[]) =>
    texts.map((text, i) => (i < 4 ? text.padEnd(COLUMNS[i]!) : text.padStart(COLUMNS[i]!))).join('');
  return [
    row(['size', 'frames', 'weights', 'cache', '--offload none', 'text', 'group or disk']),
    ...others.map((other, i) => {
      const { width, height, frames, dtype, cacheDType } = other;
      const before = others[i - 1];
      const same = before?.width === width && before.height === height && before.frames === frames;
      const size = same ? ['', ''] : [`${width}x${height}`, String(frames)];
      return row([...size, dtype ?? 'stored', cacheDType, ...cells(other)]);
    }),
  ];
}

function timeRows(time: TimeEstimate | undefined): string[] {
  if (time === undefined) return ['time    not estimated: there is no room to try the ops of this model', ''];
  const of = (seconds: number, flops: number) => `${formatSeconds(seconds)} (${formatFlops(flops)})`;
  const stages = time.stages.map(({ stage, seconds, flops }) => `${stage} ${of(seconds, flops)}`);
  return [
    `time    about ${of(time.seconds, time.flops)}: ${stages.join(', ')}`,
    `        an estimate by ops tried for a few seconds on ${time.device}, for the longest prompt; loading and writing come on top`,
    '',
  ];
}

function formatFlops(flops: number): string {
  const [size, unit] = flops < 1e9 ? [1e6, 'MFLOP'] : flops < 1e12 ? [1e9, 'GFLOP'] : [1e12, 'TFLOP'];
  return `${Number((flops / size).toPrecision(3)).toLocaleString('en')} ${unit}`;
}
