// Goals for the memory of the published models at 720x720 with the full window, beside what is planned, by their configs
// alone, as a table in Markdown.
import { plannedRun, modelShapes } from '../packages/magi1/dist/pipelines/inspect.js';
import { MemoryPlanner, plannedSize } from '../packages/magi1/dist/pipelines/memory.js';
import { readModelFolder } from '../packages/magi1/dist/pipelines/model-files.js';
import { publishedFolder } from '../packages/magi1/dist/pipelines/plan.js';

/** Model, dtype of weights, offloading, GiB. */
const GOALS = /** @type {const} */ ([
  ['4.5B_distill', 'q4', 'text', 6],
  ['4.5B_distill', 'q8', 'text', 8.5],
  ['4.5B_distill', 'bf16', 'group', 5],
  ['24B_distill', 'q4', 'text', 20],
  ['24B_distill', 'q4', 'group', 8],
]);
const REQUEST = /** @type {const} */ ({ width: 720, height: 720, numFrames: 96, cacheDType: 'q8' });

/** @param {import('@magi1/tensor').Device} device @param {(...cells: (string | number)[]) => void} row */
export async function memoryGoals(device, row) {
  row('model', 'weights', '--offload', 'goal, GiB', 'planned, GiB', 'cache', 'denoising', 'decoding');
  row(...Array(8).fill('---'));
  const gib = (/** @type {number} */ bytes) => (bytes / 2 ** 30).toFixed(2);
  for (const [model, dtype, offload, goal] of GOALS) {
    const folder = await readModelFolder(publishedFolder(model));
    const { shapes } = await modelShapes(folder, dtype);
    const run = plannedSize(plannedRun(folder, { request: REQUEST }));
    const { peaks, keyValueCache, denoising, decoding } = await new MemoryPlanner(shapes, device, [offload]).need(run);
    row(model, dtype, offload, goal, gib(peaks[offload]), gib(keyValueCache), gib(denoising), gib(decoding));
  }
}
