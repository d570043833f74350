// Goldens of the pocket model, made by the PyTorch side of the training code, on every device.
import { join } from 'node:path';
import { Device } from '@magi1/tensor';
import { REPOSITORY } from './support/cli.ts';
import { conformanceSuite } from './support/conformance-suite.ts';
import { testDevices } from './support/devices.ts';

const goldens = { root: join(REPOSITORY, 'tests', 'fixtures', 'pocket'), kind: 'fixtures' } as const;

await conformanceSuite('reference', () => Device.open({ backend: 'reference' }), undefined, goldens);
for (const { name, open } of testDevices()) await conformanceSuite(name, () => open(), undefined, goldens);
