// The program of a worker, as text: it must run from sources, from a build and from a Blob URL alike. It shares the
// wasm memory and a control block with the main thread; threads.ts has the protocol.

import { PAGE } from './memory.ts';

/** Indices of the control block's 32-bit words. */
export const WORD = {
  /** Counts up whenever workers should look: a step opened, a message posted, the end. They sleep on it. */
  signal: 0,
  /** Odd while a step is open for workers. */
  state: 1,
  /** The next grain to hand out. */
  next: 2,
  /** Workers that may be looking at the open step. The main thread sleeps on it. */
  active: 3,
  /** Messages posted to every worker. */
  posted: 4,
  exit: 5,
  /** Bytes of the first error's text; -1 while it is being written. */
  fault: 6,
  // The open step.
  kernel: 8,
  items: 9,
  grain: 10,
  scratch: 11,
  scratchStride: 12,
  /** Index of the streamed argument or -1. Offset and length are 64-bit floats at half their index. */
  streamArg: 13,
  streamBuffer: 14,
  streamBytesPerItem: 15,
  streamScratch: 16,
  streamOffset: 18,
  streamLength: 20,
  /** Size of the wasm memory, in pages of 64 KiB. */
  pages: 22,
  args: 24,
} as const;
export const MAX_ARGS = 40;
export const FAULT_TEXT_BYTE = 256;
export const FAULT_TEXT_BYTES = 768;
export const CONTROL_BYTES = FAULT_TEXT_BYTE + FAULT_TEXT_BYTES;

/** What the main thread posts; `start` comes first and does not count as posted. */
export type WorkerMessage =
  | { readonly start: number; readonly memory: WebAssembly.Memory; readonly control: SharedArrayBuffer }
  | { readonly kernel: number; readonly module: WebAssembly.Module; readonly kinds: readonly string[] }
  | { readonly external: number; readonly chunks: readonly Uint8Array[] }
  | { readonly forget: number }
  | { readonly collect: true };

export const WORKER_PROGRAM = /* js */ `
'use strict';
const WORD = ${JSON.stringify(WORD)};
const inNode = typeof process === 'object' && typeof require === 'function';
const port = inNode ? require('node:worker_threads').parentPort : self;
let thread = 0, memory, control, words, floats, doubles;
let handled = 0;
const kernels = new Map();
const externals = new Map();

function receive(message) {
  if (message.start !== undefined) {
    thread = message.start;
    memory = message.memory;
    control = message.control;
    words = new Int32Array(control);
    floats = new Float32Array(control);
    doubles = new Float64Array(control);
  } else {
    handled++;
    if (message.kernel !== undefined) {
      const instance = new WebAssembly.Instance(message.module, { env: { memory } });
      kernels.set(message.kernel, { run: instance.exports.run, kinds: message.kinds });
    } else if (message.external !== undefined) {
      externals.set(message.external, message.chunks);
    } else if (message.forget !== undefined) {
      externals.delete(message.forget);
    } else if (inNode) {
      // Its event loop is asleep between steps, so the engine never finds the time by itself.
      require('node:vm').runInNewContext('gc')();
    }
  }
  watch();
}

// Works and sleeps until a message waits, which only the event loop can deliver.
function watch() {
  for (;;) {
    const seen = Atomics.load(words, WORD.signal);
    if (Atomics.load(words, WORD.exit) !== 0) {
      if (inNode) port.close(); else self.close();
      return;
    }
    if (Atomics.load(words, WORD.posted) !== handled) return;
    Atomics.add(words, WORD.active, 1);
    try {
      if ((Atomics.load(words, WORD.state) & 1) === 1) work();
    } catch (error) {
      report(error);
    }
    if (Atomics.sub(words, WORD.active, 1) === 1) Atomics.notify(words, WORD.active);
    Atomics.wait(words, WORD.signal, seen);
  }
}

function work() {
  const kernel = kernels.get(words[WORD.kernel]);
  if (kernel === undefined) return; // Its message waits; the next look finds it.
  // V8 misses a growth that happens while it receives the memory: plain loads would work, bulk copies and views fail.
  // Growing by nothing brings it up to date (findings/v8-shared-memory-missed-growth.sh).
  if (memory.buffer.byteLength < words[WORD.pages] * ${PAGE}) memory.grow(0);
  const items = words[WORD.items];
  const grain = words[WORD.grain];
  const scratch = words[WORD.scratch] + thread * words[WORD.scratchStride];
  const streamArg = words[WORD.streamArg];
  const args = kernel.kinds.map((kind, i) => (kind === 'f32' ? floats : words)[WORD.args + i]);
  for (;;) {
    const begin = Atomics.add(words, WORD.next, 1) * grain;
    if (begin >= items) return;
    const end = Math.min(begin + grain, items);
    if (streamArg >= 0) {
      const perItem = words[WORD.streamBytesPerItem];
      const address = scratch + words[WORD.streamScratch];
      const first = begin * perItem;
      const bytes = Math.min(end * perItem, doubles[WORD.streamLength / 2]) - first;
      const target = new Uint8Array(memory.buffer, address >>> 0, bytes);
      copy(externals.get(words[WORD.streamBuffer]), doubles[WORD.streamOffset / 2] + first, target);
      args[streamArg] = (address - first) | 0;
    }
    kernel.run(begin, end, scratch, ...args);
  }
}

function copy(chunks, from, target) {
  const size = chunks[0].byteLength;
  for (let at = 0; at < target.byteLength; ) {
    const chunk = chunks[Math.floor((from + at) / size)];
    const start = (from + at) % size;
    const piece = chunk.subarray(start, Math.min(chunk.byteLength, start + target.byteLength - at));
    target.set(piece, at);
    at += piece.byteLength;
  }
}

function report(error) {
  Atomics.store(words, WORD.next, 0x3fffffff);
  if (Atomics.compareExchange(words, WORD.fault, 0, -1) !== 0) return;
  const text = new TextEncoder().encode(String(error)).subarray(0, ${FAULT_TEXT_BYTES});
  new Uint8Array(control).set(text, ${FAULT_TEXT_BYTE});
  Atomics.store(words, WORD.fault, Math.max(text.byteLength, 1));
}

if (inNode) port.on('message', receive);
else port.onmessage = (event) => receive(event.data);
`;
