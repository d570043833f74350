// magi1 download: what one published model needs, from a Hugging Face hub.
import { PUBLISHED_MODELS } from '../config/published.ts';
import type { DownloadPlan, DownloadProgress, PlanDownloadOptions } from '../hub/index.ts';
import { formatBytes } from '../wording.ts';
import { UsageError, choice, text } from './command.ts';
import type { Command, Values } from './command.ts';
import { catchInterrupt } from './interrupt.ts';
import { printable, printableLines } from './printable.ts';
import { showProgress } from './progress.ts';
import { bitsOf, followQuantizing } from './quantize.ts';
import type { ProgressDisplay, ShownProgress } from './progress.ts';

export const download: Command = {
  name: 'download',
  summary: 'Downloads a published model with its text encoder and VAE; goes on where an earlier download ended.',
  usage: 'magi1 download REPOSITORY --model NAME [options]',
  positionals: 1,
  options: {
    model: { value: 'NAME', help: PUBLISHED_MODELS.join(', ') },
    revision: { value: 'NAME', help: 'a branch, a tag or a commit; default main' },
    'local-dir': {
      value: 'DIR',
      help: "into this folder; default the cache of Hugging Face's libraries (HF_HUB_CACHE, HF_HOME)",
    },
    bits: {
      value: 'N',
      help: '8 or 4: quantised as it comes, so that only the smaller model lies on the disk; default as published',
    },
    'dry-run': { help: 'only say which files, how many bytes, and where' },
    json: { help: 'as JSON' },
  },
  run,
};

async function run(values: Values, [repository]: readonly string[]): Promise<number> {
  const model = choice(values, 'model', PUBLISHED_MODELS);
  if (model === undefined) throw new UsageError(`--model is missing: one of ${PUBLISHED_MODELS.join(', ')}`);
  const bits = bitsOf(values);
  const { planDownload, planQuantizedDownload } = await import('../hub/index.ts');
  const display = await showProgress();
  const options = (signal: AbortSignal): PlanDownloadOptions => ({
    model,
    revision: text(values, 'revision'),
    localDir: text(values, 'local-dir'),
    signal,
    onRetry: ({ name, reason, waitSeconds }) =>
      display.say(`${name}: ${reason}; once more in ${Math.ceil(waitSeconds)} s`),
  });
  if (bits !== undefined)
    return followQuantizing(
      (signal) => planQuantizedDownload(repository!, { ...options(signal), bits }),
      values,
      display,
    );
  const plan = (signal: AbortSignal) => planDownload(repository!, options(signal));
  return follow(plan, { display, json: values.json === true, dryRun: values['dry-run'] === true });
}

interface Manner {
  readonly display: ProgressDisplay;
  readonly json: boolean;
  readonly dryRun: boolean;
}

async function follow(
  planWith: (signal: AbortSignal) => Promise<DownloadPlan>,
  { display, json, dryRun }: Manner,
): Promise<number> {
  using interrupt = catchInterrupt(() => display.say('stopping'));
  const { signal } = interrupt;
  const print = (line: string) => (json ? display.say(line) : void process.stdout.write(`${printable(line)}\n`));
  const printJson = (facts: object) => process.stdout.write(`${printableLines(JSON.stringify(facts, null, 2))}\n`);
  try {
    const plan = await planWith(signal);
    if (!json || !dryRun) for (const line of planLines(plan)) print(line);
    if (dryRun) {
      if (json) printJson(plan);
      return 0;
    }
    const done = await plan.run({ signal, onProgress: (progress) => display.listener(shown(progress)) });
    display.stop();
    const { modelFolder, files, bytes, fetchedBytes } = done;
    if (json) printJson(done);
    else {
      print(`done    ${files} files, ${formatBytes(bytes)}, of which ${formatBytes(fetchedBytes)} came now`);
      print(`model   ${modelFolder}`);
    }
    return 0;
  } catch (error) {
    display.stop();
    if (!signal.aborted) throw error;
    process.stderr.write('stopped; the same command goes on from here\n');
    return interrupt.status;
  }
}

function shown({ path, activity, bytes, total, bytesPerSecond, secondsLeft }: DownloadProgress): ShownProgress {
  const pace = bytesPerSecond === undefined ? '' : `, ${formatBytes(Math.round(bytesPerSecond))}/s`;
  const name = path.slice(path.lastIndexOf('/') + 1);
  const detail = `${name}, ${formatBytes(bytes)} of ${formatBytes(total)}${pace}`;
  return { stage: activity, detail, fraction: total === 0 ? 1 : bytes / total, secondsLeft };
}

function planLines({
  repository,
  model,
  revision,
  commit,
  files,
  bytes,
  missingBytes,
  freeBytes,
  modelFolder,
}: DownloadPlan) {
  const width = Math.max(...files.map(({ size }) => formatBytes(size).length));
  const notes = { here: 'is there', unchecked: 'is there, to be checked', missing: '' };
  return [
    `${model} of ${repository}, ${revision === commit ? `commit ${commit}` : `${revision} (commit ${commit})`}`,
    ...files.map(({ path, size, state, partial }) => {
      const note = partial > 0 ? `${formatBytes(partial)} of it are there` : notes[state];
      return `  ${formatBytes(size).padStart(width)}  ${path}${note === '' ? '' : `  (${note})`}`;
    }),
    `${files.length} files, ${formatBytes(bytes)}: ${missingBytes === 0 ? 'nothing' : formatBytes(missingBytes)} to fetch, ${formatBytes(freeBytes)} free${missingBytes > freeBytes ? ', which is too little' : ''}`,
    `into    ${modelFolder}`,
  ];
}
