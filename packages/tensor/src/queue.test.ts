// The job queue of devices that compute on the host.
import { expect, test } from 'vitest';
import { JobQueue, yieldToEventLoop } from './queue.ts';
import type { Data, Job } from './queue.ts';

const job = (run: Job, data: { reads?: Data[]; writes?: Data[] } = {}) => ({ name: 'job', run, ...data });
const nextTurn = () => new Promise((resolve) => setTimeout(resolve, 0));

test('runs jobs in order; a drain ends with what was pushed before it', async () => {
  const queue = new JobQueue();
  const seen: number[] = [];
  queue.push(
    job(async () => {
      await Promise.resolve();
      seen.push(1);
      queue.push(job(() => void seen.push(3)));
    }),
  );
  queue.push(job(() => void seen.push(2)));
  await Promise.all([queue.drain(), queue.drain()]);
  expect(seen).toEqual([1, 2]);
  expect(queue.empty).toBe(false);
  await queue.drain();
  expect(seen).toEqual([1, 2, 3]);
  expect(queue.empty).toBe(true);
  await queue.drain();
});

test('an error rejects its drain and drops what belongs to it', async () => {
  const queue = new JobQueue();
  let ran = false;
  queue.push(
    job(() => {
      throw new Error('broken');
    }),
  );
  queue.push(job(() => void (ran = true)));
  await expect(queue.drain()).rejects.toThrow('broken');
  await queue.drain();
  expect(ran).toBe(false);
});

test('lets the event loop run between long jobs', async () => {
  const queue = new JobQueue();
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  for (let i = 0; i < 6; i++) {
    queue.push(
      job(() => {
        const end = performance.now() + 12;
        while (performance.now() < end);
      }),
    );
  }
  await queue.drain();
  clearInterval(timer);
  expect(ticks).toBeGreaterThan(1);
});

test('an abort drops the jobs of its own drain only', async () => {
  const queue = new JobQueue();
  const seen: string[] = [];
  const a = new AbortController();
  const slow = (name: string) => job(() => yieldToEventLoop().then(() => void seen.push(name)));
  queue.push(slow('b1'));
  const first = queue.drain();
  queue.push(slow('a1'));
  queue.push(slow('a2'));
  const doomed = queue.drain(a.signal);
  queue.push(slow('b2'));
  const second = queue.drain();
  a.abort(new Error('enough'));
  await expect(doomed).rejects.toThrow('enough');
  await Promise.all([first, second]);
  expect(seen).toEqual(['b1', 'b2']);
});

test('a drain whose signal has aborted drops what its own code pushed and nothing else', async () => {
  const queue = new JobQueue();
  const seen: string[] = [];
  queue.push(job(() => void seen.push('of an earlier stretch')));
  await nextTurn();
  queue.push(job(() => void seen.push('its own')));
  await expect(queue.drain(AbortSignal.abort(new Error('stop')))).rejects.toThrow('stop');
  queue.push(job(() => void seen.push('later')));
  await queue.drain();
  expect(seen).toEqual(['of an earlier stretch', 'later']);
});

test('a job gets the signal of its own drain, whoever else waits', async () => {
  const queue = new JobQueue();
  const [a, b] = [new AbortController().signal, new AbortController().signal];
  const seen: (AbortSignal | undefined)[] = [];
  const note = job((signal) => void seen.push(signal));
  queue.push(note);
  await nextTurn();
  queue.push(note);
  const first = queue.drain(a);
  queue.push(note);
  await Promise.all([first, queue.drain(b)]);
  expect(seen).toEqual([undefined, a, b]);
});

test('an aborted drain rejects when its job under way has stopped, and at once when that is another one’s', async () => {
  const queue = new JobQueue();
  const a = new AbortController();
  let stopped = false;
  const untilAbort = job(async (signal) => {
    while (!signal!.aborted) await yieldToEventLoop();
    await nextTurn();
    stopped = true;
  });
  queue.push(untilAbort);
  const own = queue.drain(a.signal);
  await nextTurn();
  const b = new AbortController();
  queue.push(job(() => undefined));
  const behind = queue.drain(b.signal);
  b.abort(new Error('behind'));
  await expect(behind).rejects.toThrow('behind');
  expect(stopped).toBe(false);
  a.abort(new Error('own'));
  await expect(own).rejects.toThrow('own');
  expect(stopped).toBe(true);
});

test('an error rejects the drain that owns the job; others go on', async () => {
  const queue = new JobQueue();
  const seen: string[] = [];
  queue.push(
    job(() => {
      throw new Error('of a');
    }),
  );
  const a = queue.drain();
  queue.push(job(() => void seen.push('b')));
  const b = queue.drain();
  await expect(a).rejects.toThrow('of a');
  await b;
  expect(seen).toEqual(['b']);
  // Nobody's: it reaches everybody who waits for it.
  queue.push(
    job(() => {
      throw new Error('of nobody');
    }),
  );
  await nextTurn();
  const both = await Promise.allSettled([queue.drain(), queue.drain(new AbortController().signal)]);
  expect(both.map((result) => String((result as PromiseRejectedResult).reason))).toEqual([
    'Error: of nobody',
    'Error: of nobody',
  ]);
});

test('what was dropped spoils what it would have written, and who reads that fails', async () => {
  const queue = new JobQueue();
  const [x, y, z]: Data[] = [{}, {}, {}];
  queue.push(job(() => undefined, { writes: [x!] }));
  const dropped = queue.drain(AbortSignal.abort(new Error('enough')));
  queue.push(job(() => undefined, { reads: [x!], writes: [y!] }));
  const dependent = queue.drain();
  queue.push(job(() => undefined, { writes: [z!] }));
  const other = queue.drain();
  await expect(dropped).rejects.toThrow('enough');
  await expect(dependent).rejects.toThrow(/job: an input was never computed: .*enough/);
  await other;
  expect([x!.spoiled !== undefined, y!.spoiled !== undefined, z!.spoiled]).toEqual([true, true, undefined]);
});

test('closing rejects who waits, once no job runs any more, and whoever comes', async () => {
  const queue = new JobQueue();
  let running = false;
  queue.push(
    job(async () => {
      running = true;
      await nextTurn();
      running = false;
    }),
  );
  const waiting = queue.drain();
  queue.push(job(() => undefined));
  const behind = queue.drain();
  const closing = queue.close(new Error('gone'));
  await expect(behind).rejects.toThrow('gone');
  await expect(waiting).rejects.toThrow('gone');
  await closing;
  expect(running).toBe(false);
  expect(() => queue.push(job(() => undefined))).toThrow('gone');
  await expect(queue.drain()).rejects.toThrow('gone');
});
