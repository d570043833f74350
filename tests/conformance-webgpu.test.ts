// Every golden on the first WebGPU adapter that the tests use: a GPU, or lavapipe. Left out whole by MAGI1_NO_WEBGPU=1.
import { conformanceSuite } from './support/conformance-suite.ts';
import { firstWebGpuDevice } from './support/devices.ts';

const { name, open } = firstWebGpuDevice();
await conformanceSuite(name, () => open());
