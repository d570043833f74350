// Every golden on the first WebGPU adapter that the tests use: a GPU, or lavapipe.
import { describe, test } from 'vitest';
import { conformanceSuite } from './support/conformance-suite.ts';
import { testAdapters, testDevices } from './support/devices.ts';

const [first] = testAdapters();
const device = testDevices().find(({ name }) => name === first);
if (device) await conformanceSuite(device.name, () => device.open());
else describe('WebGPU', () => test('is left out: MAGI1_NO_WEBGPU=1', () => undefined));
