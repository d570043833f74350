// Lets the model add two numbers: node examples/dist/tiny-model/run.js [sum, 37+85 when left out] [device, auto]
import { Device } from '@magi1/tensor';
import type { DeviceOptions } from '@magi1/tensor';
import { complete, loadTinyModel, planTinyModel } from './index.ts';

const [sum = '37+85', backend = 'auto'] = process.argv.slice(2);
const device = await Device.open({ backend: backend as NonNullable<DeviceOptions['backend']> });
try {
  console.log(`${device.backend}: ${device.info.name} (${device.info.reason})`);
  // The sum, `=` and up to three digits are there when the full stop comes.
  const tokens = sum.length + 4;
  const plan = await planTinyModel(device, tokens);
  console.log(
    `planned: ${plan.weights} bytes of weights, ${plan.peak} at most, ${plan.flops} operations for ${tokens} tokens`,
  );
  const { model, params } = await loadTinyModel(device);
  device.resetPeak();
  const answer = await complete(model, `${sum}=`);
  console.log(`measured: ${device.memory().peak} bytes at most`);
  console.log(`${sum} = ${Array.from(answer).reverse().join('')}`);
  params.dispose();
} finally {
  await device.dispose();
}
