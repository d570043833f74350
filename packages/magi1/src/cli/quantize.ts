// magi1 quantize: a model folder with weights in 8 or 4 bits, made of one in 16 or 32.
import type { DownloadProgress } from '../hub/index.ts';
import { NETWORK_NAMES } from '../quantize/network-names.ts';
import type { Bits, NetworkName, QuantizePlan, QuantizedModel } from '../quantize/index.ts';
import { formatBytes } from '../wording.ts';
import { UsageError, choice, texts } from './command.ts';
import type { Command, Values } from './command.ts';
import { catchInterrupt } from './interrupt.ts';
import { printable, printableLines } from './printable.ts';
import { showProgress } from './progress.ts';
import type { ProgressDisplay, ShownProgress } from './progress.ts';

export const quantize: Command = {
  name: 'quantize',
  summary: 'Makes a model with weights in 8 or 4 bits; goes on where an earlier run ended.',
  usage: 'magi1 quantize SOURCE DESTINATION --bits 8|4 [options]',
  positionals: 2,
  options: {
    bits: { value: 'N', help: '8 or 4; docs/quantization.md says what stays in 16' },
    only: {
      value: 'NETWORK',
      help: 'transformer, text or vae, once for each; the others are copied; default all',
      repeats: true,
    },
    overwrite: { help: 'replace a quantised model at DESTINATION, or other unfinished work there' },
    'dry-run': { help: 'only say what becomes of it, how many bytes, and where' },
    json: { help: 'as JSON' },
  },
  run,
};

/** @throws UsageError unless it is given and one of both */
export function bitsOf(values: Values): Bits | undefined {
  const bits = choice(values, 'bits', ['8', '4']);
  return bits === undefined ? undefined : (Number(bits) as Bits);
}

async function run(values: Values, [source, destination]: readonly string[]): Promise<number> {
  const bits = bitsOf(values);
  if (bits === undefined) throw new UsageError('--bits is missing: 8 or 4');
  const only = texts(values, 'only');
  const wrong = only.find((name) => !(NETWORK_NAMES as readonly string[]).includes(name));
  if (wrong !== undefined) throw new UsageError(`--only: one of ${NETWORK_NAMES.join(', ')} expected, got "${wrong}"`);
  const { planQuantize } = await import('../quantize/index.ts');
  return followQuantizing(
    (signal) =>
      planQuantize(source!, destination!, {
        bits,
        only: only.length === 0 ? undefined : (only as readonly NetworkName[]),
        overwrite: values.overwrite === true,
        signal,
      }),
    values,
  );
}

/** Says what will be done, does it with a progress line, and says what was done. */
export async function followQuantizing(
  planWith: (signal: AbortSignal) => Promise<QuantizePlan>,
  values: Values,
  given?: ProgressDisplay,
): Promise<number> {
  const [json, dryRun] = [values.json === true, values['dry-run'] === true];
  const display = given ?? (await showProgress());
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
    if (json) printJson(done);
    else for (const line of doneLines(done)) print(line);
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
  const detail = `${path}, ${formatBytes(bytes)} of ${formatBytes(total)}${pace}`;
  return { stage: activity, detail, fraction: total === 0 ? 1 : bytes / total, secondsLeft };
}

const CALLED = { transformer: 'transformer', text: 'text encoder', vae: 'VAE' };

function planLines({
  bits,
  parts,
  sourceBytes,
  bytes,
  missingBytes,
  freeBytes,
  complete,
  modelFolder,
}: QuantizePlan): string[] {
  return [
    ...parts.map(({ network, sourceBytes, bytes, quantized, tensors }) => {
      const what =
        quantized === 0 ? 'copied' : `${quantized} of ${tensors} tensors in ${bits} bits, ${formatBytes(bytes)}`;
      return `  ${CALLED[network].padEnd(12)}  ${formatBytes(sourceBytes).padStart(9)}  ${what}`;
    }),
    complete
      ? 'it is there already'
      : `${formatBytes(bytes)} made of ${formatBytes(sourceBytes)}: ${formatBytes(missingBytes)} to write, ${formatBytes(freeBytes)} free${missingBytes > freeBytes ? ', which is too little' : ''}`,
    `into    ${modelFolder}`,
  ];
}

function doneLines({ modelFolder, files, bytes, readBytes }: QuantizedModel): string[] {
  return [
    `done    ${files} files, ${formatBytes(bytes)}, made of ${formatBytes(readBytes)} read now`,
    `model   ${modelFolder}`,
  ];
}
