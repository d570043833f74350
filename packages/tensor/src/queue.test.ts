// The job queue of devices that compute on the host.
import { expect, test } from 'vitest';
import { JobQueue } from './queue.ts';

test('runs jobs in order, those pushed meanwhile too', async () => {
  const queue = new JobQueue();
  const seen: number[] = [];
  queue.push(async () => {
    await Promise.resolve();
    seen.push(1);
    queue.push(() => void seen.push(3));
  });
  queue.push(() => void seen.push(2));
  await Promise.all([queue.drain(), queue.drain()]);
  expect(seen).toEqual([1, 2, 3]);
  expect(queue.empty).toBe(true);
});

test('an error rejects and drops what follows', async () => {
  const queue = new JobQueue();
  let ran = false;
  queue.push(() => {
    throw new Error('broken');
  });
  queue.push(() => {
    ran = true;
  });
  await expect(queue.drain()).rejects.toThrow('broken');
  await queue.drain();
  expect(ran).toBe(false);
});

test('lets the event loop run between long jobs', async () => {
  const queue = new JobQueue();
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  for (let i = 0; i < 6; i++) {
    queue.push(() => {
      const end = performance.now() + 12;
      while (performance.now() < end);
    });
  }
  await queue.drain();
  clearInterval(timer);
  expect(ticks).toBeGreaterThan(1);
});
