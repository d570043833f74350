import { test } from 'vitest';
import { Device, isOp, runOp } from '@magi1/tensor';
import type { AnyOp } from '@magi1/tensor';
import { join } from 'node:path';
import { testDevices } from './support/devices.ts';
import { checkCase, materialise } from './support/op-cases.ts';
const source = '/work/main/packages/kernels/src';
const rooms = process.env['ROOMS']!.split(',');
const ops: AnyOp[] = (await Promise.all(rooms.map((r) => import(join(source, r, 'index.ts'))))).flatMap((m) => Object.values(m).filter(isOp)) as AnyOp[];
test('x', async () => {
  const lines: string[] = [];
  for (const d of testDevices()) {
    const device = await d.open({});
    for (const op of ops) for (const c of op.cases) {
      if (c.benchmarkOnly) {
        if (!process.env['BENCH']) continue;
        const inputs = Object.fromEntries(Object.entries(c.inputs).map(([n, i]: any) => [n, device.tensor(materialise(i, n), i.shape, i.dtype)]));
        let best = Infinity, first = 0;
        for (let r = 0; r < 5; r++) {
          const t0 = performance.now();
          const out = runOp(op, inputs as never, c.params);
          await device.sync();
          const t = performance.now() - t0;
          if (r === 0) first = t;
          best = Math.min(best, t);
          out.forEach((o) => o.dispose());
        }
        const cost = op.cost(c.inputs, c.params);
        lines.push(`${d.name} ${op.name} ${c.name} first ${first.toFixed(0)} ms best ${best.toFixed(1)} ms ${(cost.bytes / best / 1e6).toFixed(2)} GB/s`);
        Object.values(inputs).forEach((t: any) => t.dispose());
        continue;
      }
      if (process.env['BENCH']) continue;
      const t0 = performance.now();
      const e = await checkCase(op, c, device).catch((e) => e);
      const t = performance.now() - t0;
      lines.push(`${d.name} ${op.name} ${c.name} L2 ${e.relativeL2?.toExponential(1) ?? e} max ${e.relativeMax?.toExponential(1)} ${t > 800 ? t.toFixed(0) + ' ms' : ''}`);
    }
    await device.dispose();
  }
  console.log(lines.join('\n'));
}, 900000);
