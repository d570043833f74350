// magi1 generate: a prompt, with a picture or clip to start from, to an mp4 or a folder of PNGs, written chunk by chunk.
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Magi1Error } from '@magi1/tensor';
import type { DType } from '@magi1/tensor';
import { findFfmpeg, openVideoWriter, reserveOutput, writeContactSheet } from '../media/index.ts';
import type { Output, OutputOptions, VideoFile, VideoWriter } from '../media/index.ts';
import { formatBytes } from '../wording.ts';
import { OFFLOAD_WORDS } from '../pipelines/offload.ts';
import type { ModeName } from '../pipelines/request.ts';
import type { Magi1Base } from '../pipelines/pipeline.ts';
import type { PipelineOptions } from '../pipelines/check-options.ts';
import type { Run } from '../pipelines/prepare.ts';
import type { GenerationOptions } from '../pipelines/request.ts';
import type { Facts, VideoChunk } from '../pipelines/request.ts';
import type { Settings } from '../pipelines/request.ts';
import { VERSION } from '../version.ts';
import { DEVICE_OPTIONS, MEMORY_OPTIONS, UsageError, WEIGHT_DTYPES, choice, text } from './command.ts';
import type { Command, Values } from './command.ts';
import { REQUEST_OPTIONS, readRequest } from './generate-request.ts';
import { catchInterrupt } from './interrupt.ts';
import { deviceOptions, loraOptions, modelOption, offloadOption } from './model-options.ts';
import type { ModelOption } from './model-options.ts';
import { profiled, writeTrace } from './profile.ts';
import { formatSeconds, showProgress } from './progress.ts';
import { printable } from './printable.ts';
import { ResumeFile } from './resume-file.ts';
import { SheetFrames } from './sheet-frames.ts';
import { reserveUnusedName } from './unused-name.ts';

/** Milliseconds. */
const LONGEST_WRITE_AFTER_INTERRUPT = 5000;

export const generate: Command = {
  name: 'generate',
  summary: 'Generates a video from a prompt, from an image, or from a video that it continues.',
  usage: 'magi1 generate --prompt TEXT [--model DIR | --config-file FILE] [--output (FILE.mp4 | DIR)] [options]',
  positionals: 0,
  options: {
    model: { value: 'DIR', help: 'model folder with a config.json; default the bundled pocket model' },
    'config-file': {
      value: 'FILE',
      help: 'a config of the original, run as it is; its paths are resolved against the working directory',
    },
    output: {
      value: 'PATH',
      alias: 'output-path',
      help: 'a file ending in .mp4, or a folder for PNGs; default magi1.mp4, or magi1-2.mp4, ...',
    },
    overwrite: { help: 'replace an output that exists, once the new one is whole' },
    resume: {
      help: 'go on with a run that was stopped or killed: the same command again, with this; what is done is not done again',
    },
    'keep-state': { help: 'keep OUTPUT.resume when the run is over, for --resume --from-chunk' },
    'contact-sheet': { value: 'FILE.png', help: 'also write up to 12 frames as one picture' },
    profile: {
      value: 'FILE.json',
      help: 'also write where the time went: a trace, and a table of ops to the terminal',
    },
    ...REQUEST_OPTIONS,
    ...DEVICE_OPTIONS,
    lora: {
      value: 'PATH[:WEIGHT]',
      help: 'a LoRA for the transformer, file or folder; WEIGHT 1 where left out; may be repeated',
      repeats: true,
    },
    ...MEMORY_OPTIONS,
  },
  run,
};

async function run(values: Values): Promise<number> {
  const where = modelOption(values);
  const dtype = choice<DType>(values, 'dtype', WEIGHT_DTYPES);
  const offload = offloadOption(values);
  const device = deviceOptions(values);
  const loras = loraOptions(values);
  const { mode, request: asked, inputs } = readRequest(values);
  checkResumeOptions(values);

  const display = await showProgress();
  let output: Output | undefined = undefined;
  using interrupt = catchInterrupt(
    () => {
      display.stop();
      say('stopping; press Ctrl-C again to end at once');
    },
    () => {
      const kept = output?.keep('failed');
      if (kept !== undefined) say(`what is finished is kept as ${kept}`);
    },
  );
  const { signal } = interrupt;
  const read = Object.values(inputs);
  output = await chooseOutput(values, read);
  using reserved = output;
  using sheetFile = await chooseSingle(values, 'contact-sheet', {
    single: 'contactSheet',
    inputs: read,
    others: [output],
  });
  const state = new ResumeFile(output.path, (line) => display.say(line));
  const resume = values.resume === true ? await state.read({ overwrite: values.overwrite === true }) : undefined;
  const wanted = { ...asked, ...(resume === undefined ? {} : { resume }), onState: state.write };
  const others = sheetFile === undefined ? [output] : [output, sheetFile];
  using traceFile = await chooseSingle(values, 'profile', { single: 'profile', inputs: read, others });
  for (const { notes } of [...others, ...(traceFile === undefined ? [] : [traceFile])]) notes.forEach(say);

  let writer: VideoWriter | undefined;
  let pipe: Magi1Base<GenerationOptions> | undefined;
  let frames = 0;
  let led = 0; // those of the clip that come out before the new ones
  try {
    if (reserved.kind === 'mp4') {
      const ffmpeg = await findFfmpeg(signal);
      if ('unusable' in ffmpeg)
        display.say(`${ffmpeg.unusable}: the built-in encoder writes the mp4, which is slower and larger`);
    }
    const start = performance.now();
    const listening = { signal, onProgress: display.listener };
    const request = { ...wanted, ...listening };
    pipe = await open(mode, where, { device, dtype, offload, loras, request, ...listening });
    const openingSeconds = (performance.now() - start) / 1000;
    // Of a run that this one replaces: were it killed before its first step, it would be gone on with.
    if (resume === undefined) await state.remove();
    const run = pipe.firstRun!;
    const { settings, notes, clip } = pipe.plan(run);
    const { width, height, fps } = settings;
    if (clip !== null && wanted.keepClip === true) led = clip.from === 'end' ? clip.framesRead : clip.framesContinued;
    frames = led + settings.frames;
    const { backend, info } = pipe.device;
    const deviceLine = `${backend}: ${info.name} (${info.reason})`;
    for (const line of [deviceLine, ...notes, whatComesOut(settings, clip !== null, led)]) display.say(line);
    const title = String(wanted.prompt).slice(0, LONGEST_TITLE);
    const metadata = { title, comment: `magi1 ${VERSION}` };
    // Without the signal: a chunk that is there is written whole.
    writer = await openVideoWriter({ path: reserved, width, height, fps, metadata });
    const origin = { encoder: writer.encoder, ...inputs, clipFramesInOutput: led };
    reserved.describe({ ...origin, ...factsSoFar(pipe, wanted, settings) });
    const sheet = new SheetFrames(frames, width * height * 3);
    const write = async (chunk: Piece): Promise<void> => {
      await unlessGivenUp(writer!.write(chunk.frames, chunk.frameCount), signal);
      if (sheetFile !== undefined) sheet.add(chunk);
    };
    if (led > 0) await writeClip(pipe, run, write);
    const chunks = pipe.stream(run, { signal: writer.failed });
    const { result: facts, profile } = await profiled(pipe.device, traceFile !== undefined, () =>
      writeFrames(chunks, (chunk) => write({ ...chunk, firstFrame: led + chunk.firstFrame })),
    );
    const file = await writer.finish({ ...origin, ...facts });
    if (values['keep-state'] !== true) await state.remove();
    display.stop();
    if (sheetFile !== undefined) await writeContactSheet(sheetFile, sheet.frames, sheet.count, { width, height });
    const table = profile === undefined ? '' : await writeTrace(traceFile!, profile);
    printResult(file, facts, writer.encoder, { openingSeconds, led });
    process.stdout.write(table);
    return 0;
  } catch (error) {
    display.stop();
    const kept = await writer?.abort(signal.aborted ? 'cancelled' : 'failed');
    sayWhatIsKept(kept, frames, reserved);
    if (writer !== undefined && state.exists)
      say(
        `the same command with --resume goes on${values.output === undefined ? `; add --output ${output.path}` : ''}`,
      );
    if (!signal.aborted) throw error;
    say(kept === undefined ? 'cancelled; nothing was finished yet' : 'cancelled');
    return interrupt.status;
  } finally {
    await pipe?.dispose();
  }
}

/** @throws UsageError, and Magi1Error where a run that was not finished would be lost */
function checkResumeOptions(values: Values): void {
  if (values.resume === true && values.output === undefined)
    throw new UsageError('--resume needs --output: what was kept of a run lies beside its output');
  if (values['from-chunk'] !== undefined && values.resume !== true)
    throw new UsageError('--from-chunk needs --resume, whose chunks before it are kept');
  const output = text(values, 'output');
  if (output === undefined || values.resume === true || values.overwrite === true) return;
  const { path, exists } = new ResumeFile(resolve(output));
  if (exists)
    throw new Magi1Error(
      `${path} holds a run that was not finished: --resume goes on with it, --overwrite begins anew and replaces it`,
    );
}

/** The pipeline of a mode, its first request checked and read. What makes videos is loaded when it is needed. */
async function open(
  mode: ModeName,
  { model, configFile }: ModelOption,
  given: PipelineOptions<GenerationOptions>,
): Promise<Magi1Base<GenerationOptions>> {
  const pipelines = await import('../pipelines/pipeline.ts');
  const { readEnvironment } = await import('../config/environment.ts');
  const classes: Readonly<Record<ModeName, unknown>> = {
    t2v: pipelines.Magi1Pipeline,
    i2v: pipelines.Magi1ImageToVideoPipeline,
    v2v: pipelines.Magi1VideoToVideoPipeline,
  };
  // A request and the pipeline of its mode belong together.
  const pipeline = classes[mode] as typeof pipelines.Magi1Pipeline;
  const options = { ...given, environment: readEnvironment(process.env) };
  return model === undefined ? pipeline.fromConfigFile(configFile, options) : pipeline.fromPretrained(model, options);
}

const say = (line: string): void => void process.stderr.write(`${printable(line)}\n`);

/** Of the title inside the file; the sidecar has the whole prompt. */
const LONGEST_TITLE = 1000;

function chooseOutput(values: Values, inputs: readonly string[]): Promise<Output> {
  const path = text(values, 'output');
  const overwrite = values.overwrite === true || values.resume === true;
  return path === undefined ? reserveUnusedName('magi1', inputs) : reserveOutput(path, { overwrite, inputs });
}

async function chooseSingle(values: Values, name: string, options: OutputOptions): Promise<Output | undefined> {
  const path = text(values, name);
  const overwrite = values.overwrite === true;
  return path === undefined ? undefined : reserveOutput(path, { overwrite, ...options });
}

type Piece = Pick<VideoChunk, 'frames' | 'firstFrame' | 'frameCount'>;

/** The clip before the new frames. */
async function writeClip(
  pipe: Magi1Base<GenerationOptions>,
  run: Run,
  write: (frames: Piece) => Promise<void>,
): Promise<void> {
  let firstFrame = 0;
  for await (const frames of pipe.clipFrames(run)) await write({ frames, firstFrame: firstFrame++, frameCount: 1 });
}

function whatComesOut({ frames, width, height, fps }: Settings, fromClip: boolean, led: number): string {
  const seconds = (count: number): string => `${Number((count / fps).toFixed(2))} s`;
  const made = `${frames}${fromClip ? ' new' : ''} frames of ${width}x${height} come out, ${seconds(frames)}`;
  if (!fromClip) return made;
  return led > 0
    ? `${made}, after ${led} of the clip: ${led + frames} in all, ${seconds(led + frames)}`
    : `${made}; the clip is not part of the output (--include-clip puts it in front)`;
}

async function writeFrames(
  chunks: AsyncGenerator<VideoChunk, Facts, undefined>,
  write: (chunk: VideoChunk) => Promise<void>,
): Promise<Facts> {
  try {
    for (;;) {
      const next = await chunks.next();
      if (next.done === true) return next.value;
      await write(next.value);
    }
  } finally {
    // A failed write leaves the run in the middle: this frees what it holds.
    await chunks.return(undefined as never);
  }
}

/** A chunk that is there is written whole after Ctrl-C, but for an encoder that hangs. */
async function unlessGivenUp(write: Promise<void>, signal: AbortSignal): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  let wait = (): void => undefined;
  const givenUp = new Promise<never>((_, fail) => {
    wait = () => (timer = setTimeout(() => fail(signal.reason as Error), LONGEST_WRITE_AFTER_INTERRUPT));
    if (signal.aborted) wait();
    else signal.addEventListener('abort', wait, { once: true });
  });
  try {
    await Promise.race([write, givenUp]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', wait);
  }
}

/** What the sidecar says until the run has come to its end. */
function factsSoFar(pipe: Magi1Base<GenerationOptions>, { prompt }: GenerationOptions, settings: Settings): object {
  const { backend, info } = pipe.device;
  return {
    ...{ mode: pipe.mode, prompt, settings, loras: pipe.loras },
    versions: { magi1: VERSION, node: process.versions.node },
    device: { backend, name: info.name, reason: info.reason },
    offload: pipe.offload,
  };
}

/** Says where the finished part of a run that ended early is. */
function sayWhatIsKept(kept: VideoFile | undefined, frames: number, { path }: Output): void {
  if (kept === undefined) return;
  say(`${kept.frames} of ${frames} frames are finished and playable: ${kept.path}`);
  if (kept.path !== path && existsSync(path)) say(`${path} is as it was`);
}

/** `2 chunks in 8 steps each: the transformer ran 21 times over a chunk`. */
function workOf({ settings: { chunks, numInferenceSteps }, chunkForwards: { run, full } }: Facts): string {
  const skipped = full === run ? '' : `, ${full - run} times fewer than with nothing skipped`;
  const what = chunks === 1 ? '1 chunk' : `${chunks} chunks`;
  return `${what} in ${numInferenceSteps} steps${chunks === 1 ? '' : ' each'}: the transformer ran ${run} times over a chunk${skipped}`;
}

function memoryOf({ peakDeviceBytes, peakProcessBytes, offload }: Facts): string {
  const process = peakProcessBytes === undefined ? '' : `, ${formatBytes(peakProcessBytes)} in the whole process`;
  const way = offload === 'none' ? '' : `; ${OFFLOAD_WORDS[offload]}`;
  return `${formatBytes(peakDeviceBytes)} at most on the device${process}${way}`;
}

function printResult(
  file: VideoFile,
  facts: Facts,
  encoder: string,
  { openingSeconds, led }: { readonly openingSeconds: number; readonly led: number },
): void {
  const { settings, seconds, device } = facts;
  const stages = (['loading', 'text', 'encoding', 'denoising', 'decoding'] as const)
    .filter((stage) => stage !== 'encoding' || settings.prefixFrames > 0)
    .map((stage) => `${stage} ${formatSeconds(seconds[stage] + (stage === 'loading' ? openingSeconds : 0))}`);
  const rows = [
    ['output', `${file.path} (${encoder})`],
    [
      'video',
      `${file.frames} frames${led > 0 ? ` (${led} of the clip, ${file.frames - led} new)` : ''}, ${settings.width}x${settings.height}, ${settings.fps} fps, seed ${settings.seed}`,
    ],
    ['device', `${device.name} (${device.backend}; ${device.reason})`],
    ['time', `${stages.join(', ')}; ${formatSeconds(seconds.total + openingSeconds)} in all`],
    ['work', workOf(facts)],
    ['memory', memoryOf(facts)],
  ];
  for (const { name, weight, layers, rank } of facts.loras)
    rows.push(['lora', `${name}, weight ${weight}: ${layers} layers, rank up to ${rank}`]);
  for (const note of facts.notes) rows.push(['note', note]);
  process.stdout.write(rows.map(([name, value]) => `${name!.padEnd(8)}${printable(value!)}\n`).join(''));
}
