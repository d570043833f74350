// Generates a video of the given number of chunks to a file with the built package; prints peaks of host memory: what the
// process took (RSS), and what was alive after a collection at each chunk. Run with --expose-gc.
import { Magi1Pipeline, openVideoWriter } from '@magi1/core';

const [model, output, backend, chunks] = process.argv.slice(2);
const request = { prompt: 'a cat', height: 64, width: 64, numFrames: 24 * Number(chunks), numInferenceSteps: 4 };
const pipe = await Magi1Pipeline.fromPretrained(model, { device: { backend, threads: 1 }, request });
const { width, height, fps } = pipe.plan(request).settings;
const writer = await openVideoWriter({ path: output, width, height, fps });
let alive = 0;
for await (const { frames, frameCount } of pipe.stream(request)) {
  await writer.write(frames, frameCount);
  globalThis.gc();
  globalThis.gc(); // waits for what the first one frees in the background
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  alive = Math.max(alive, heapUsed + arrayBuffers);
}
const { frames } = await writer.finish();
await pipe.dispose();
process.stdout.write(JSON.stringify({ frames, rss: process.resourceUsage().maxRSS * 1024, alive }));
