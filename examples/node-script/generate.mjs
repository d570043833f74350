// A short video by the library: node examples/node-script/generate.mjs [model folder] [output.mp4 or folder]
import { Magi1Pipeline, POCKET_MODEL, openVideoWriter } from '@magi1/core';

const [folder = POCKET_MODEL, path = 'star.mp4'] = process.argv.slice(2);

// A GPU if there is one, else WebAssembly. What the request leaves out comes from the model's config.
const pipe = await Magi1Pipeline.fromPretrained(folder, { device: { backend: 'auto' } });
try {
  const request = { prompt: 'A yellow star spins on a black background', numFrames: 48, seed: 7 };
  const { width, height, fps, frames, chunks } = pipe.plan(request).settings;
  console.log(`${pipe.device.info.name}: ${frames} frames in ${chunks} chunks`);

  const writer = await openVideoWriter({ path, width, height, fps });
  try {
    // Each chunk is written as soon as it is decoded.
    for await (const chunk of pipe.stream(request)) {
      await writer.write(chunk.frames, chunk.frameCount);
      console.log(`frames ${chunk.firstFrame} to ${chunk.firstFrame + chunk.frameCount - 1}`);
    }
    const file = await writer.finish();
    console.log(`${file.path}: ${file.frames} frames`);
  } finally {
    await writer.abort(); // does nothing after finish
  }
} finally {
  await pipe.dispose();
}
