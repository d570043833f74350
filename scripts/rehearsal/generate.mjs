// The last stage of a rehearsal, in a process of its own: what `magi1 generate` does, with its stages measured. Takes its
// task as JSON in the first argument, and writes what it found into the file that the task names.
import { writeFileSync } from 'node:fs';
import { Device, Magi1Pipeline, openVideoWriter, reserveOutput } from '@magi1/core';
import { deviceOptions } from '../../packages/magi1/dist/cli/model-options.js';
import { ProcessMeter, nothing, together } from './meter.mjs';

/**
 * @typedef {object} Task
 * @property {string} model its folder
 * @property {string} output
 * @property {string} facts the file for what was found
 * @property {Record<string, string>} device as on the command line
 * @property {object} options of the pipeline
 * @property {object} request
 */

const task = /** @type {Task} */ (JSON.parse(process.argv[2]));
const started = performance.now();
const meter = new ProcessMeter();
/** @type {Record<string, import('./meter.mjs').Taken & { peakDeviceBytes: number }>} */
const stages = {};
const device = await Device.open(deviceOptions(task.device));

/** What went by since the last report belongs to the stage that now reports. @param {string} stage */
function ends(stage) {
  const { peak } = device.memory();
  device.resetPeak();
  const { peakDeviceBytes, ...before } = stages[stage] ?? { ...nothing(), peakDeviceBytes: 0 };
  stages[stage] = { ...together(before, meter.take()), peakDeviceBytes: Math.max(peakDeviceBytes, peak) };
}

let shown = '';
/** @type {import('@magi1/core').ProgressListener} */
const onProgress = ({ stage, detail, fraction }) => {
  ends(stage);
  const line = `${stage} ${detail} ${Math.floor(fraction * 20) * 5} %`;
  if (line !== shown) process.stderr.write(`  ${line}\n`);
  shown = line;
};
const controller = new AbortController();
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) process.on(signal, () => controller.abort());
const { signal } = controller;

const output = await reserveOutput(task.output, { overwrite: true });
ends('opening');
const pipe = await Magi1Pipeline.fromPretrained(task.model, {
  ...task.options,
  device,
  request: { ...task.request, onProgress, signal },
  ...{ onProgress, signal },
});
const { settings } = /** @type {any} */ (pipe.plan(pipe.firstRun));
const { offload } = /** @type {any} */ (pipe);
const { width, height, fps } = settings;
const writer = await openVideoWriter({ path: output, width, height, fps });
const chunks = pipe.stream(pipe.firstRun, { signal: writer.failed });
let result;
for (;;) {
  const next = await chunks.next();
  if (next.done) {
    result = next.value;
    break;
  }
  const { frames, frameCount } = next.value;
  ends('decoding');
  await writer.write(frames, frameCount);
}
const file = await writer.finish({});
ends('writing');
await pipe.dispose();
output[Symbol.dispose]();
await device.dispose();
ends('closing');
const seconds = (performance.now() - started) / 1000;
writeFileSync(task.facts, JSON.stringify({ stages, seconds, offload, facts: result, frames: file.frames }));
