// Two runs on one device, one of them aborted: the other one's frames are those it gives alone.
import { expect, test } from 'vitest';
import { testAdapters } from '../../tests/support/devices.ts';
import { abortTrials } from './aborts.mjs';

const silent = () => undefined;

test.each(
  /** @type {const} */ ([
    ['wasm', 60],
    ['reference', 3],
  ]),
)(
  '%s: %d pairs',
  async (backend, tries) => {
    const [row] = await abortTrials(silent, { [backend]: tries });
    expect(row).toMatchObject({ tries, kept: tries, lost: 0, wrong: 0 });
  },
  600_000,
);

test.each(testAdapters().slice(0, 1))(
  'webgpu, %s: 3 pairs',
  async (adapter) => {
    const [row] = await abortTrials(silent, { webgpu: 3 }, { adapter });
    expect(row).toMatchObject({ tries: 3, kept: 3, lost: 0, wrong: 0 });
  },
  600_000,
);
