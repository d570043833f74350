// The smallest case of every kind, on the slow devices: the reference and the WebGPU adapters after the first.
import { expect, test } from 'vitest';
import { findGoldens } from '@magi1/core/verify';
import { Device } from '@magi1/tensor';
import { conformanceRoots } from './support/conformance.ts';
import { QUICK_SET, conformanceSuite } from './support/conformance-suite.ts';
import { testAdapters, testDevices } from './support/devices.ts';

const { root, kind } = conformanceRoots();

// The repository's own copies are small enough to run all of them.
const only = (path: string): boolean => kind === 'fixtures' || QUICK_SET.includes(path);

test('the quick set has every kind of case', async () => {
  const { cases } = await findGoldens(root);
  const kinds = new Set(cases.filter(({ path }) => only(path)).map((found) => found.kind));
  expect([...new Set(cases.map((found) => found.kind))].filter((found) => !kinds.has(found))).toEqual([]);
});

await conformanceSuite('reference', () => Device.open({ backend: 'reference' }), only);
const slow = testAdapters().slice(1);
for (const { name, open } of testDevices()) {
  if (slow.includes(name)) await conformanceSuite(name, () => open(), only);
}
