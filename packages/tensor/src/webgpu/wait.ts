// Waiting for the GPU. Dawn in Node polls on every turn of the event loop as long as a promise is pending, which costs
// a core that a software adapter needs: the wait sleeps between turns, the longer the longer it lasts.
import { isNode } from '../is-node.ts';
import { yieldToEventLoop } from '../queue.ts';

const LONGEST_SLEEP_MS = 1;
/** Made when it is needed: pages that are not isolated have no shared memory, and do not sleep. */
let sleeper: Int32Array<SharedArrayBuffer> | undefined;
let awakeSince = 0;

/** `promise`, or a rejection when `lost` rejects or `signal` aborts before. */
export async function waitFor<T>(promise: Promise<T>, lost: Promise<never>, signal?: AbortSignal): Promise<T> {
  let settled = false;
  let stop = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => {
      reject(signal?.reason as Error);
    };
  });
  if (signal?.aborted) stop();
  signal?.addEventListener('abort', stop, { once: true });
  const outcome = Promise.race([promise, lost, aborted]).finally(() => {
    settled = true;
    signal?.removeEventListener('abort', stop);
  });
  outcome.catch(() => undefined);
  if (!isNode()) return outcome;
  const start = performance.now();
  while (!settled) {
    await yieldToEventLoop();
    if (settled) break;
    const now = performance.now();
    // Several waits at once sleep once per turn together.
    if (now - awakeSince < 0.05) continue;
    const sleep = Math.min(LONGEST_SLEEP_MS, (now - start) / 20);
    if (sleep > 0.05) Atomics.wait((sleeper ??= new Int32Array(new SharedArrayBuffer(4))), 0, 0, sleep);
    awakeSince = performance.now();
  }
  return outcome;
}
