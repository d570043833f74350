#!/usr/bin/env bash
# V8: a worker that receives a shared WebAssembly memory just while it grows may never hear of that growth.
#
# What: a shared memory that one thread grows is longer for all threads. The worker that receives it at that moment can
# keep the old length: `memory.buffer.byteLength` is too small, `memory.fill` and `memory.copy` into the new pages trap
# with 'memory access out of bounds', while a plain load from the same address works, since the pages are there. It does
# not pass with time, only the next growth mends it; `memory.grow(0)` in the worker counts as one.
#
# Why it matters: kernels that share a heap between threads are started while the heap grows (weights are loading). Of 1,600
# starts with growth that stopped at a random moment one ended in a trap, at an address that is right.
#
# Source: WebAssembly threads proposal, memory.grow on shared memories; V8 keeps a list of the isolates that share one.
#
# Needs node, npm and two cores. Exits 1 if the behaviour changes (not seen in 90 seconds a version), 2 if something
# is missing.
set -euo pipefail

command -v node >/dev/null && command -v npm >/dev/null || { echo 'needs node and npm'; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cat >grow.mjs <<'JS'
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';

if (availableParallelism() < 2) process.exit(2);
const name = (text) => [text.length, ...Buffer.from(text)];
const section = (id, content) => [id, content.length, ...content];
// fill(address, bytes) writes sevens; load(address) gives a 32-bit integer.
const code = new Uint8Array([
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...section(1, [2, 0x60, 2, 0x7f, 0x7f, 0, 0x60, 1, 0x7f, 1, 0x7f]),
  ...section(2, [1, ...name('env'), ...name('memory'), 2, 3, 1, 0x80, 0x80, 4]),
  ...section(3, [2, 0, 1]),
  ...section(7, [2, ...name('fill'), 0, 0, ...name('load'), 0, 1]),
  ...section(10, [2, 11, 0, 0x20, 0, 0x41, 7, 0x20, 1, 0xfc, 11, 0, 0x0b, 7, 0, 0x20, 0, 0x28, 2, 0, 0x0b]),
]);
const module = new WebAssembly.Module(code);
const PAGE = 65536;

const program = `
const { parentPort, workerData: words } = require('node:worker_threads');
const pagesOf = (memory) => memory.buffer.byteLength / ${PAGE};
const attempt = (run) => { try { run(); return 'works'; } catch (error) { return String(error); } };
parentPort.on('message', ({ memory, module, round }) => {
  const { fill, load } = new WebAssembly.Instance(module, { env: { memory } }).exports;
  words[1] = pagesOf(memory);
  Atomics.store(words, 0, round); Atomics.notify(words, 0);
  Atomics.wait(words, 2, round - 1);
  const pages = words[3];
  // News of a growth may be on its way: it arrives when functions are called.
  for (let i = 0; i < 50 && pagesOf(memory) !== pages; i++) Atomics.wait(words, 6, 0, 1);
  const seen = pagesOf(memory);
  if (seen !== pages) {
    const last = (pages - 1) * ${PAGE};
    const result = { load: attempt(() => load(last)), fill: attempt(() => fill(last, 64)) };
    memory.grow(0);
    result.fillAfterGrowingByNothing = attempt(() => fill(last, 64));
    parentPort.postMessage({ pages, seen, ...result });
  }
  Atomics.store(words, 4, seen === pages ? 1 : 2);
  Atomics.store(words, 5, round); Atomics.notify(words, 5);
});`;
const words = new Int32Array(new SharedArrayBuffer(32));
const worker = new Worker(program, { eval: true, workerData: words });
const told = new Promise((resolve) => worker.once('message', resolve));
await new Promise((resolve) => worker.once('online', resolve));

const until = Date.now() + 90_000;
let [delay, round, missed] = [0.05, 0, false];
while (!missed && Date.now() < until) {
  round++;
  // A fresh one each time: a worker that has got the same memory before is told of growth.
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
  worker.postMessage({ memory, module, round });
  const grow = performance.now() + delay * (0.8 + 0.4 * Math.random());
  while (performance.now() < grow);
  memory.grow(1);
  words[3] = 2;
  Atomics.wait(words, 0, round - 1);
  // Drifts to the delay at which the growth meets the moment of receiving.
  delay *= words[1] === 2 ? 1.02 : 0.98;
  Atomics.store(words, 2, round);
  Atomics.notify(words, 2);
  Atomics.wait(words, 5, round - 1);
  missed = words[4] === 2;
  if (round % 200 === 0) await new Promise((resolve) => setTimeout(resolve));
}
const seen = missed ? await told : undefined;
await worker.terminate();
console.log(`node ${process.version}: ${missed ? `a growth missed in round ${round}` : `none missed in ${round} rounds`}`);
console.log('  expected: the worker sees every page');
if (seen === undefined) process.exit(1);
console.log(`  seen: ${JSON.stringify(seen)}`);
const trap = 'RuntimeError: memory access out of bounds';
const same = seen.load === 'works' && seen.fill === trap && seen.fillAfterGrowingByNothing === 'works';
process.exit(same ? 0 : 1);
JS

status=0
for version in 20.20.2 24.21.0; do
  npm install --no-save --no-audit --no-fund --loglevel=error --prefix "v$version" "node@$version" >/dev/null
  "v$version/node_modules/node/bin/node" grow.mjs || status=$?
done
[ "$status" = 0 ] && echo 'As found.' || echo 'Changed.'
exit "$status"
