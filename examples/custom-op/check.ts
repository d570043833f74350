// Holds the ops to what those of @magi1/kernels are held to: node examples/dist/custom-op/check.js [wasm] [webgpu]
import { checkOp } from '@magi1/tensor/checks';
import { preluOp, softArgmaxOp } from './index.ts';

const backends = process.argv.slice(2) as ('wasm' | 'webgpu')[];
const devices = (backends.length === 0 ? (['wasm'] as const) : backends).map((backend) => ({ backend }));
console.log(`prelu: ${await checkOp(preluOp, devices, { whole: ['slope'] })} checks passed`);
console.log(`softArgmax: ${await checkOp(softArgmaxOp, devices)} checks passed`);
