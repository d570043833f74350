// The bytes of every wasm kernel and variant that the case tables lead to, kept as checksums beside the WGSL snapshots
// (after a wanted change: vitest run tests/wasm-bytes.test.ts -u).
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { kernelsFolder, loadOps, rooms } from './support/all-ops.ts';
import { wasmStepsOf } from './support/programs.ts';

const file = join(kernelsFolder, 'snapshots', 'wasm.txt');

/** Fixed here: what this engine offers must not matter. */
const FEATURES = {
  plain: { relaxedSimd: false, sharedMemory: false },
  relaxed: { relaxedSimd: true, sharedMemory: true },
};

const ops = (await loadOps()).filter((op) => op.wasm !== undefined);
const lines = new Set<string>();
for (const op of ops) {
  for (const [key, { kernel, variant }] of wasmStepsOf(op)) {
    for (const [name, features] of Object.entries(FEATURES)) {
      const checksum = createHash('sha256').update(kernel.build(variant, features)).digest('hex');
      lines.add(`${key} ${name} ${checksum}`);
    }
  }
}

if (rooms === undefined)
  test('the checksums of all kernels are those kept', async () => {
    await expect(`${[...lines].sort().join('\n')}\n`).toMatchFileSnapshot(file);
  });
else
  test('the checksums of these rooms are among those kept', () => {
    expect(readFileSync(file, 'utf8').split('\n')).toEqual(expect.arrayContaining([...lines]));
  });
