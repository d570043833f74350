// Generates a video of the given number of chunks to a file with the built package; prints the peak of host memory.
import { Magi1Pipeline, openVideoWriter } from '@magi1/core';

const [model, output, backend, chunks] = process.argv.slice(2);
const request = { prompt: 'a cat', height: 32, width: 32, numFrames: 24 * Number(chunks), numInferenceSteps: 4 };
const pipe = await Magi1Pipeline.fromPretrained(model, { device: { backend, threads: 1 }, request });
const { width, height, fps } = pipe.plan(request).settings;
const writer = await openVideoWriter({ path: output, width, height, fps });
for await (const { frames, frameCount } of pipe.stream(request)) await writer.write(frames, frameCount);
const { frames } = await writer.finish();
await pipe.dispose();
process.stdout.write(JSON.stringify({ frames, peakBytes: process.resourceUsage().maxRSS * 1024 }));
