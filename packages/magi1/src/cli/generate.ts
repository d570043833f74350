// magi1 generate: a prompt to an mp4 or a folder of PNGs, written chunk by chunk.
import type { DType } from '@magi1/tensor';
import { readEnvironment } from '../config/index.ts';
import { checkOutputPath, findFfmpeg, openVideoWriter, writeSidecar } from '../media/index.ts';
import type { VideoFile, VideoWriter } from '../media/index.ts';
import { formatBytes } from '../pipelines/format-bytes.ts';
import { Magi1Pipeline } from '../pipelines/text-to-video.ts';
import type { Facts } from '../pipelines/base.ts';
import type { TextToVideoRequest } from '../pipelines/request.ts';
import { VERSION } from '../version.ts';
import { DEVICE_OPTIONS, UsageError, choice, requiredText, text, wholeNumber } from './command.ts';
import type { Command, Values } from './command.ts';
import { deviceOptions } from './device-options.ts';
import { catchInterrupt } from './interrupt.ts';
import { formatSeconds, showProgress } from './progress.ts';

export const generate: Command = {
  name: 'generate',
  summary: 'Generates a video from a prompt.',
  usage: 'magi1 generate (--model DIR | --config-file FILE) --prompt TEXT --output (FILE.mp4 | DIR) [options]',
  positionals: 0,
  options: {
    model: { value: 'DIR', help: 'model folder with a config.json' },
    'config-file': { value: 'FILE', help: 'a config of the original, run as it is; paths count from here' },
    prompt: { value: 'TEXT', help: 'what the video shows' },
    output: { value: 'PATH', help: 'a file ending in .mp4, or a folder for PNGs' },
    height: { value: 'PIXELS', help: 'multiple of 16; default from the config, as for the next five' },
    width: { value: 'PIXELS', help: 'multiple of 16' },
    'num-frames': { value: 'N', help: 'frames wanted; whole chunks of 24 are made' },
    steps: { value: 'N', help: 'denoising steps; a multiple of the window and of the number of key ranges' },
    seed: { value: 'N', help: 'any whole number; the same seed gives the same noise on every device' },
    mode: { value: 't2v', help: 't2v, text to video' },
    ...DEVICE_OPTIONS,
    dtype: {
      value: 'DTYPE',
      help: 'of the weights of transformer and text encoder: f32, f16 or bf16; default as stored',
    },
    'memory-budget': { value: 'BYTES', help: 'most that tensors may take on the device, as in 12GiB' },
  },
  run,
};

async function run(values: Values): Promise<number> {
  const { model, configFile } = modelOption(values);
  const output = requiredText(values, 'output');
  const dtype = choice<DType>(values, 'dtype', ['f32', 'f16', 'bf16']);
  const device = deviceOptions(values);
  choice(values, 'mode', ['t2v']);
  const wanted: TextToVideoRequest = {
    prompt: requiredText(values, 'prompt'),
    height: wholeNumber(values, 'height'),
    width: wholeNumber(values, 'width'),
    numFrames: wholeNumber(values, 'num-frames'),
    numInferenceSteps: wholeNumber(values, 'steps'),
    seed: wholeNumber(values, 'seed'),
  };
  const say = (line: string) => process.stderr.write(`${line}\n`);
  if ((await checkOutputPath(output)) === 'mp4') {
    const ffmpeg = await findFfmpeg();
    if ('unusable' in ffmpeg)
      say(`${ffmpeg.unusable}: the built-in encoder writes the mp4, which is slower and larger`);
  }

  const display = showProgress();
  using interrupt = catchInterrupt(() => {
    display.stop();
    say('stopping; press Ctrl-C again to end at once');
  });
  const { signal } = interrupt;
  const request: TextToVideoRequest = { ...wanted, signal, onProgress: display.listener };
  const environment = readEnvironment(process.env);
  const options = { device, dtype, environment, request, signal, onProgress: display.listener };
  let writer: VideoWriter | undefined;
  let pipe: Magi1Pipeline | undefined;
  try {
    pipe =
      model === undefined
        ? await Magi1Pipeline.fromConfigFile(configFile, options)
        : await Magi1Pipeline.fromPretrained(model, options);
    const { width, height, fps } = pipe.plan(request).settings;
    const metadata = { title: wanted.prompt, comment: `magi1 ${VERSION}` };
    // Without the signal: a chunk that is there is written whole.
    writer = await openVideoWriter({ path: output, width, height, fps, metadata });
    const facts = await writeFrames(pipe, request, writer);
    const file = await writer.finish();
    display.stop();
    await writeSidecar(output, { output: file.path, complete: true, encoder: writer.encoder, ...facts });
    printResult(file, facts, writer.encoder);
    return 0;
  } catch (error) {
    display.stop();
    const kept = await writer?.abort();
    if (kept !== undefined) await keep(kept, pipe!, request, writer!);
    if (!signal.aborted) throw error;
    say(kept === undefined ? 'cancelled; nothing was finished yet' : 'cancelled');
    return 130;
  } finally {
    await pipe?.dispose();
  }
}

export function modelOption(
  values: Values,
): { model: string; configFile: undefined } | { model: undefined; configFile: string } {
  const model = text(values, 'model');
  const configFile = text(values, 'config-file');
  if (model !== undefined && configFile === undefined) return { model, configFile };
  if (model === undefined && configFile !== undefined) return { model, configFile };
  throw new UsageError(
    model === undefined ? '--model or --config-file is missing' : 'give --model or --config-file, not both',
  );
}

async function writeFrames(pipe: Magi1Pipeline, request: TextToVideoRequest, writer: VideoWriter): Promise<Facts> {
  const chunks = pipe.stream(request);
  try {
    for (;;) {
      const next = await chunks.next();
      if (next.done === true) return next.value;
      await writer.write(next.value.frames, next.value.frameCount);
    }
  } finally {
    // A failed write leaves the run in the middle: this frees what it holds.
    await chunks.return(undefined as never);
  }
}

/** Says where the finished part of a run that ended early is. */
async function keep(
  file: VideoFile,
  pipe: Magi1Pipeline,
  request: TextToVideoRequest,
  writer: VideoWriter,
): Promise<void> {
  const { settings } = pipe.plan(request);
  const { backend, info } = pipe.device;
  await writeSidecar(file.path, {
    output: file.path,
    complete: false,
    framesWritten: file.frames,
    encoder: writer.encoder,
    mode: pipe.mode,
    prompt: request.prompt,
    settings,
    versions: { magi1: VERSION, node: process.versions.node },
    device: { backend, name: info.name, reason: info.reason },
  });
  process.stderr.write(`${file.frames} of ${settings.frames} frames are finished and playable: ${file.path}\n`);
}

function printResult(file: VideoFile, facts: Facts, encoder: string): void {
  const { settings, seconds, device, chunkForwards } = facts;
  const stages = (['loading', 'text', 'denoising', 'decoding'] as const).map(
    (stage) => `${stage} ${seconds[stage] < 10 ? seconds[stage].toFixed(1) + ' s' : formatSeconds(seconds[stage])}`,
  );
  const rows = [
    ['output', `${file.path} (${encoder})`],
    [
      'video',
      `${file.frames} frames, ${settings.width}x${settings.height}, ${settings.fps} fps, seed ${settings.seed}`,
    ],
    ['device', `${device.name} (${device.backend}; ${device.reason})`],
    ['time', `${stages.join(', ')}; ${formatSeconds(seconds.total)} in all`],
    [
      'work',
      `${settings.numInferenceSteps} steps, ${chunkForwards.run} chunk-forwards (${chunkForwards.full} without skipping)`,
    ],
    ['memory', `${formatBytes(facts.peakDeviceBytes)} at most on the device`],
  ];
  for (const note of facts.notes) rows.push(['note', note]);
  process.stdout.write(rows.map(([name, value]) => `${name!.padEnd(8)}${value!}\n`).join(''));
}
