import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { PAGE } from './memory.ts';
import { CONTROL_BYTES, WORD, WORKER_PROGRAM } from './worker-program.ts';

/** Runs one step of one item in the worker's program on this thread, with a memory that its engine sees as `seen` pages. */
function runStep(seen: number, pages: number): { readonly grown: number[]; readonly runs: number[][] } {
  const control = new SharedArrayBuffer(CONTROL_BYTES);
  const words = new Int32Array(control);
  const grown: number[] = [];
  const runs: number[][] = [];
  const memory = {
    buffer: { byteLength: seen * PAGE },
    grow(delta: number) {
      grown.push(delta);
      this.buffer = { byteLength: pages * PAGE };
    },
  };
  function run(begin: number, end: number): void {
    runs.push([begin, end, memory.buffer.byteLength / PAGE]);
    // The program must not sleep on this thread: it looks again, and ends.
    Atomics.store(words, WORD.exit, 1);
    Atomics.add(words, WORD.signal, 1);
  }
  let receive: (message: unknown) => void = () => expect.unreachable();
  const parentPort = {
    on: (_: string, handler: typeof receive) => {
      receive = handler;
    },
    close: () => undefined,
  };
  class Instance {
    readonly exports = { run };
  }
  const context = { process: {}, require: () => ({ parentPort }), WebAssembly: { Instance }, Int32Array, Float32Array };
  runInNewContext(WORKER_PROGRAM, { ...context, Float64Array, Uint8Array, TextEncoder, Atomics });
  words[WORD.posted] = 1;
  receive({ start: 1, memory, control });
  words[WORD.pages] = pages;
  words[WORD.items] = 1;
  words[WORD.grain] = 1;
  words[WORD.streamArg] = -1;
  words[WORD.state] = 1;
  receive({ kernel: 0, module: undefined, kinds: [] });
  expect(words[WORD.fault]).toBe(0);
  return { grown, runs };
}

describe('worker program', () => {
  it('brings its view of the memory up to date before a step when the engine missed a growth', () => {
    expect(runStep(16, 300)).toEqual({ grown: [0], runs: [[0, 1, 300]] });
  });

  it('leaves a memory alone that it sees whole', () => {
    expect(runStep(300, 300)).toEqual({ grown: [], runs: [[0, 1, 300]] });
  });
});
