import { test, expect } from 'vitest';
import { Device, runOp, fromFloat32, hostOutput } from '@magi1/tensor';
import { quantizeOp } from '@magi1/kernels';
import { testDevices } from '/work/main/tests/support/devices.ts';
for (const { name, open } of testDevices()) test(name, async () => {
  const device = await open({});
  let seed = 12345;
  const rnd = () => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0);
  for (let round = 0; round < 4; round++) {
    const K = [64, 63, 1024, 7][round]!, S = Math.floor(300000 / K);
    const sb = new Uint32Array(K), xb = new Uint32Array(S * K);
    for (let i = 0; i < K; i++) sb[i] = round === 3 ? rnd() ^ (rnd() >>> 16) : (0x3e000000 + (rnd() >>> 6)) ;
    const s = new Float32Array(sb.buffer), x = new Float32Array(xb.buffer);
    for (let i = 0; i < S * K; i++) {
      if (round === 3) xb[i] = rnd() ^ (rnd() >>> 16);
      else {
        // quotient near a bf16 value or a bf16 midpoint
        const target = new Float32Array(Uint32Array.of((0x3a000000 + ((rnd() >>> 5) % 0x0a000000)) & 0xffff8000).buffer)[0]!;
        x[i] = target * s[i % K]!;
        xb[i] = xb[i]! + (rnd() >>> 16) % 5 - 2;
      }
    }
    const views = { x: { shape: [S, K], dtype: 'f32', data: x }, scale: { shape: [K], dtype: 'f32', data: s } } as never;
    const out = [hostOutput({ shape: [S, K], dtype: 'f8e4m3fn' })];
    quantizeOp.reference(views, out, {});
    const want = fromFloat32('f8e4m3fn', out[0]!.data) as Uint8Array;
    const y = runOp(quantizeOp, { x: device.tensor(x, [S, K], 'f32'), scale: device.tensor(s, [K], 'f32') }, {})[0]!;
    const got = await y.read() as Uint8Array;
    let bad = 0, nan = 0;
    for (let i = 0; i < want.length; i++) {
      const wn = (want[i]! & 127) === 127, gn = (got[i]! & 127) === 127;
      if (wn) nan++;
      if (want[i] !== got[i] && !(wn && gn)) { if (bad++ < 3) console.log(name, round, x[i], s[i % K], want[i], got[i]); }
    }
    // what a division one unit off would have changed
    let sensitive = 0;
    for (let i = 0; i < want.length; i += 1) {
      const q = new Float32Array([x[i]! / s[i % K]!]); const b = new Uint32Array(q.buffer); b[0]!++;
      const r = fromFloat32('bf16', [Math.min(Math.max(q[0]!, -448), 448)])[0]!;
      const v = new Float32Array(Uint32Array.of(r << 16).buffer)[0]!;
      if (fromFloat32('f8e4m3fn', [v])[0] !== want[i]) sensitive++;
    }
    console.log(name, round, 'elements', want.length, 'bad', bad, 'nan', nan, 'sensitive to 1 ulp', sensitive);
    expect(bad).toBe(0);
  }
  await device.dispose();
});
