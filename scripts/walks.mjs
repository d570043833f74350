// Three walks through a built clone, counted by one rule: node scripts/walks.mjs DIR prints them as JSON.
//
// The pocket model makes a short video on wasm. At some places, the leaves, the call stack is taken, with the callers that
// wait for it (V8's asynchronous stack). A walk's hops are the different functions of the clone's packages that occur on
// the stacks of its leaves; a function without a name is told by its place. Leaves are places that no change of the
// clone renames: Node's file system, the request that is given, and what a device offers.
//
//   tensor  fromPretrained to the device's write: the transformer's file is opened or read; a weight of it is written
//   prompt  the call to the text encoder's forward: an option of the request is read; the first activation is allocated
//   latent  a denoising step to the video writer: a tensor of the latents' shape is made; the video's file is written
//
// `entered` counts functions as often as they are walked through: of every leaf's stack what differs from the stack of the
// leaf before, from the first call on that does; for a tensor up to the first write of one.
// `again` counts what is done more than once: openings of that file after the first, readings of one option after the
// first, and all tensors of the latents' shape, views included.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve, sep } from 'node:path';
import { pathToFileURL } from 'node:url';

const packages = join(fs.realpathSync(resolve(process.argv[2] ?? '.')), 'packages') + sep;
const SIZE = { height: 64, width: 64, numFrames: 48, numInferenceSteps: 4, seed: 1 };
const LATER = { chunk: 1, prompt: 'A blue circle moves up' };

Error.stackTraceLimit = Infinity;
/** @type {Record<string, Set<string>>} */
const hops = { tensor: new Set(), prompt: new Set(), latent: new Set() };
/** @type {Record<string, string[]>} */
const before = { tensor: [], prompt: [], latent: [] };
/** @type {Record<string, number>} */
const entered = { tensor: 0, prompt: 0, latent: 0 };
let written = false;

/** Adds the functions of the present stack to a walk. @param {string} walk */
function leaf(walk) {
  const { prepareStackTrace } = Error;
  Error.prepareStackTrace = (_, sites) => sites;
  const sites = /** @type {NodeJS.CallSite[]} */ (/** @type {unknown} */ (new Error().stack));
  Error.prepareStackTrace = prepareStackTrace;
  const calls = [];
  for (const site of sites.reverse()) {
    const file = (site.getFileName() ?? '').replace('file://', '');
    if (!file.startsWith(packages)) continue;
    const place = `${site.getLineNumber()}:${site.getColumnNumber()}`;
    hops[walk].add(`${file.slice(packages.length)} ${site.getFunctionName() ?? place}`);
    calls.push(`${file}:${place}`);
  }
  const same = calls.findIndex((call, i) => call !== before[walk][i]);
  if (walk !== 'tensor' || !written) entered[walk] += same < 0 ? 0 : calls.length - same;
  before[walk] = calls;
}

/** Calls `before` ahead of a method, and `after` with what it gives. */
function hook(target, name, before, after = (result) => result) {
  const original = target[name];
  if (typeof original !== 'function') throw new Error(`walks: there is no ${name} any more; hook what does its work`);
  target[name] = (...given) => {
    before(...given);
    return after(original.apply(target, given), ...given);
  };
}

const folder = fs.mkdtempSync(join(tmpdir(), 'walks-'));
const isWeights = (path) => String(path).endsWith('.safetensors');
const isVideo = (path) => String(path).startsWith(folder);
let openings = 0;
/** The file of weights that is being read is the transformer's. */
let inTransformer = false;
const touch = (path) => {
  if (!isWeights(path)) return;
  inTransformer = /[/\\]magi[/\\]/.test(path);
  if (inTransformer) leaf('tensor');
};
const opening = (path) => {
  touch(path);
  if (isWeights(path) && inTransformer) openings++;
};
for (const name of ['openSync', 'readFileSync', 'createReadStream']) hook(fs, name, opening);
hook(fs.promises, 'readFile', opening);
hook(fs.promises, 'open', opening, async (result, path) => {
  const handle = await result;
  if (isWeights(path)) hook(handle, 'read', () => touch(path));
  if (isVideo(path)) for (const name of ['write', 'writeFile', 'appendFile']) hook(handle, name, () => leaf('latent'));
  return handle;
});
syncBuiltinESMExports();

const load = (name) => import(pathToFileURL(join(packages, name, 'dist', 'index.js')).href);
const { Magi1Pipeline, openVideoWriter, POCKET_MODEL } = await load('magi1');
const { Device } = await load('tensor');

const device = await Device.open({ backend: 'wasm', threads: 1 });
const weights = new WeakSet();
let running = false;
let encoded = false;
let latents = 0;
hook(
  device,
  'empty',
  () => {
    if (running && !encoded) leaf('prompt');
    encoded = running;
  },
  (tensor, shape, dtype, options) => {
    if (options?.weight) weights.add(tensor.buffer);
    return tensor;
  },
);
hook(device, 'writeBuffer', (buffer) => {
  if (!inTransformer || !weights.has(buffer)) return;
  leaf('tensor');
  written = true;
});
hook(device, 'tensorCreated', ({ shape }) => {
  if (!running || shape.length !== 5 || shape[0] !== 1 || shape[3] !== SIZE.height / 8 || shape[4] !== SIZE.width / 8)
    return;
  latents++;
  leaf('latent');
});

const pipe = await Magi1Pipeline.fromPretrained(POCKET_MODEL, { device });
let readings = 0;
const later = new Proxy(LATER, {
  get(target, name) {
    if (name === 'prompt') {
      readings++;
      leaf('prompt');
    }
    return target[name];
  },
});
running = true;
const writer = await openVideoWriter({ path: join(folder, 'out.mp4'), ...SIZE, fps: 24 });
const request = { ...SIZE, prompt: 'A red circle moves to the right', chunkPrompts: [later] };
for await (const { frames, frameCount } of pipe.stream(request)) await writer.write(frames, frameCount);
await writer.finish();
await pipe.dispose();
await device.dispose();
fs.rmSync(folder, { recursive: true });
const again = { tensor: openings - 1, prompt: readings - 1, latent: latents };
const walks = Object.entries(hops).map(([name, found]) => [
  name,
  { hops: [...found].sort(), entered: entered[name], again: again[name] },
]);
console.log(JSON.stringify(Object.fromEntries(walks)));
