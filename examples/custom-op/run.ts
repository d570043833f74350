// Runs the op on the device that is best here: node examples/dist/custom-op/run.js [auto | webgpu | wasm | reference]
import { Device, scope } from '@magi1/tensor';
import type { DeviceOptions } from '@magi1/tensor';
import { prelu, softArgmax } from './index.ts';

const backend = (process.argv[2] ?? 'auto') as NonNullable<DeviceOptions['backend']>;
const device = await Device.open({ backend });
try {
  console.log(`${device.backend}: ${device.info.name} (${device.info.reason})`);
  // What is made inside the scope is freed with it, but for its result.
  const [y, where] = scope(() => {
    const x = device.tensor([-2, -1, 0, 1, 2, 3], [2, 3], 'f32');
    const slope = device.tensor([0.5, 0.25, 0.125], [3], 'f32');
    return [prelu(x, slope), softArgmax(x, { sharpness: 4 })];
  });
  console.log(`prelu: ${[...(await y.read())].join(' ')}`);
  console.log(`softArgmax: ${[...(await where.toFloat32())].map((at) => at.toFixed(3)).join(' ')}`);
  y.dispose();
  where.dispose();
} finally {
  await device.dispose();
}
