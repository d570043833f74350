import { appendFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { Device, runOp, type WebGpuDevice } from '@magi1/tensor';
import { testDevices } from './support/devices.ts';
import { materialise } from './support/op-cases.ts';
const { kernelsFolder, rooms } = await import('./support/all-ops.ts');
const ops: any[] = [];
for (const room of rooms!) ops.push(...Object.values(await import(kernelsFolder + '/src/' + room + '/index.ts')).filter((v: any) => v?.isOp));
testDevices();
const names = (process.env['DEVS'] ?? 'llvmpipe,wasm,wasm1').split(',');
const only = process.env['CASE'];
for (const name of names) test(name, { timeout: 600000 }, async () => {
  const device = name.startsWith('wasm') ? await Device.open({ backend: 'wasm', threads: name === 'wasm1' ? 1 : 2 }) : await Device.open({ backend: 'webgpu', adapter: name });
  for (const op of ops) for (const c of op.cases as any[]) {
    if (!c.benchmarkOnly || (only && !c.name.includes(only))) continue;
    const inputs: any = {};
    for (const [k, v] of Object.entries(c.inputs as any) as any) if (v) inputs[k] = device.tensor(materialise(v, k), v.shape, v.dtype);
    const once = async () => { const outs = runOp(op, inputs, c.params); await device.sync(); outs.forEach((o: any) => o.dispose()); };
    await once();
    const times: number[] = [];
    for (let i = 0; i < 9; i++) { const t = performance.now(); await once(); times.push(performance.now() - t); }
    times.sort((a, b) => a - b);
    const cost = op.cost(c.inputs, c.params);
    appendFileSync('/tmp/move-times.txt', `${name} ${op.name} ${c.name}: min ${times[0]!.toFixed(2)} median ${times[4]!.toFixed(2)} ms, ${(cost.bytes / times[0]! / 1e6).toFixed(2)} GB/s ${(cost.flops / times[0]! / 1e6).toFixed(2)} GFLOP/s\n`);
    for (const t of Object.values(inputs) as any) t.dispose();
  }
  await device.dispose();
});
