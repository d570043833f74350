// Two runs share a device and one of them is aborted: the other must give the frames that it gives alone.
import { Magi1Pipeline, POCKET_MODEL } from '@magi1/core';
import { Device } from '@magi1/tensor';

/** Pairs of runs per backend. A software adapter and the reference are slow; what differs is when the abort comes. */
const PAIRS = { wasm: 60, reference: 4, webgpu: 8 };

/**
 * A row per backend: `tries` pairs, in which the run that was not aborted `kept` its frames, was `lost` to an error, or
 * ended with `wrong` frames and no error.
 * @param {(line: string) => void} log
 * @param {Partial<Record<'wasm' | 'reference' | 'webgpu', number>>} pairs
 * @param {{ adapter?: string }} options
 */
export async function abortTrials(log, pairs = PAIRS, { adapter } = {}) {
  const rows = [];
  for (const backend of /** @type {(keyof typeof PAIRS)[]} */ (Object.keys(pairs))) {
    const tries = pairs[backend] ?? 0;
    const row = { name: `abort beside another run, ${backend}`, tries, kept: 0, lost: 0, wrong: 0 };
    const device = await Device.open({ backend, ...(backend === 'webgpu' && adapter ? { adapter } : {}) });
    const aborted = await Magi1Pipeline.fromPretrained(POCKET_MODEL, { device });
    const other = await Magi1Pipeline.fromPretrained(POCKET_MODEL, { device });
    try {
      const request = { numFrames: backend === 'wasm' ? 48 : 24, height: 64, width: 64, numInferenceSteps: 4 };
      const run = () => other({ ...request, prompt: 'a blue star', seed: 1 });
      let events = 0;
      const start = performance.now();
      const alone = (await run()).frames;
      await aborted({ ...request, prompt: 'a red circle', onProgress: () => void events++ });
      const ms = performance.now() - start;
      for (let i = 0; i < tries; i++) {
        // Spread over the run: even tries at one of its progress events, odd ones at a time of their own.
        const at = ((i >> 1) * 0.618034) % 1;
        const control = new AbortController();
        let seen = 0;
        const onProgress = () => {
          if (i % 2 === 0 && seen++ === Math.floor(at * events)) control.abort();
        };
        const timer = i % 2 === 1 ? setTimeout(() => control.abort(), at * ms) : undefined;
        const [, result] = await Promise.allSettled([
          aborted({ ...request, prompt: 'a red circle', seed: i, signal: control.signal, onProgress }),
          run(),
        ]);
        clearTimeout(timer);
        if (result.status === 'rejected') {
          row.lost++;
          log(`${row.name}, pair ${i + 1}: ${String(result.reason)}`);
        } else if (Buffer.compare(result.value.frames, alone) === 0) row.kept++;
        else row.wrong++;
        if ((i + 1) % 10 === 0) log(`${row.name}: ${i + 1} of ${tries} pairs, ${row.kept} kept`);
      }
    } finally {
      await aborted.dispose();
      await other.dispose();
      await device.dispose();
    }
    rows.push(row);
  }
  return rows;
}
