// No program takes more than two seconds to compile on lavapipe with a cold cache, whichever kind of adapter it is for:
// two seconds of the machine on which YARDSTICK_MS was measured, in proportion to a yardstick on any slower one.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { defineOp, Device, expandProgram } from '@magi1/tensor';
import type { OpTypes, Tensor, WebGpuDevice, WebGpuDispatch } from '@magi1/tensor';
import { loadOps } from './support/all-ops.ts';
import { testAdapters } from './support/devices.ts';
import { CAPABILITIES, programsOf } from './support/programs.ts';
import type { PlannedDispatch } from './support/programs.ts';

// Read by Mesa when the driver is loaded, which is when the device is opened.
process.env['MESA_SHADER_CACHE_DISABLE'] = 'true';

const LIMIT_MS = 2000;
/** What the yardstick takes to compile where the limit was set: about a fifth of the slowest program. */
const YARDSTICK_MS = 300;
/** Programs whose times are printed at the end. */
const PRINTED = 5;

const lavapipe = testAdapters().filter((name) => name === 'llvmpipe');
// lavapipe has every feature that the programs for any kind of adapter use.
const programs = new Map<string, PlannedDispatch>();
for (const op of await loadOps()) {
  for (const [key, planned] of programsOf(op, Object.values(CAPABILITIES))) programs.set(key, planned);
}

describe.each(lavapipe)('%s', (adapter) => {
  const times: { key: string; milliseconds: number }[] = [];
  let device: WebGpuDevice;
  const open = async () => {
    device = (await Device.open({ backend: 'webgpu', adapter })) as WebGpuDevice;
    await compileMilliseconds(warmUp());
  };
  beforeAll(open);
  afterAll(async () => {
    await device.dispose();
    const slowest = times.sort((a, b) => b.milliseconds - a.milliseconds).slice(0, PRINTED);
    const lines = slowest.map(({ key, milliseconds }) => `${milliseconds.toFixed(0).padStart(6)} ms  ${key}`);
    console.log(`The slowest of ${times.length} programs, compiled in at most ${LIMIT_MS} ms:\n${lines.join('\n')}`);
  });

  /**
   * The first dispatch, when the driver compiles, less a second one. CPU time of the process: the driver compiles on one
   * thread, so on an idle machine it is the wall time, but time given to other processes does not count.
   */
  async function compileMilliseconds({ dispatch, expanded }: PlannedDispatch): Promise<number> {
    const x = device.empty([1024], 'f32');
    const op = defineOp<OpTypes<{ x: Tensor }>>({
      name: expanded.key,
      infer: (inputs) => inputs.x,
      cost: () => ({ flops: 0, bytes: 0 }),
      reference: () => undefined,
      cases: [],
    });
    const bindings: Record<string, WebGpuDispatch['bindings'][string]> = {};
    const made: Tensor[] = [x];
    for (const { name } of expanded.bindings) {
      const given = dispatch.bindings[name];
      if (given !== undefined && ArrayBuffer.isView(given)) {
        bindings[name] = given;
        continue;
      }
      const small = device.tensor(new Float32Array(1024), [1024], 'f32');
      made.push(small);
      bindings[name] = small;
    }
    const run = async () => {
      await device.sync();
      const before = process.cpuUsage();
      device.execute(
        { ...op, webgpu: () => [{ ...dispatch, bindings, workgroups: [1, 1, 1] }] },
        { inputs: { x }, y: x, params: {} },
      );
      await device.sync();
      const { user, system } = process.cpuUsage(before);
      return (user + system) / 1000;
    };
    const first = await run();
    const again = await run();
    for (const tensor of made) tensor.dispose();
    return first - again;
  }

  for (const [key, planned] of programs) {
    test(key, async () => {
      const milliseconds = await compileMilliseconds(planned);
      times.push({ key, milliseconds });
      if (milliseconds < LIMIT_MS) return;
      // A machine that is slow, or slowed by others, is slow at the yardstick too.
      await device.dispose();
      await open(); // a new device compiles anew
      const again = await compileMilliseconds(planned);
      const slowness = Math.max(1, (await compileMilliseconds(yardstick())) / YARDSTICK_MS);
      expect(Math.min(milliseconds, again) / slowness).toBeLessThan(LIMIT_MS);
    });
  }
});

/** A trivial program, so that the first test does not pay for loading the driver. */
function warmUp(): PlannedDispatch {
  return plannedProgram('test.warmUp', 'y[0] = 1;');
}

/** A program of fixed length that has nothing to do with ours. */
function yardstick(): PlannedDispatch {
  const lines = Array.from({ length: 30 }, (_, i) => `s = fma(sin(s + y[${i}u]), cos(s * y[${i + 1}u]), s);`);
  return plannedProgram('test.yardstick', `var s = y[0];\n${lines.join('\n')}\ny[0] = s;`);
}

function plannedProgram(name: string, body: string): PlannedDispatch {
  const program = {
    name,
    bindings: () => [{ name: 'y', type: 'array<f32>', access: 'read_write' as const }],
    params: {},
    source: () => `@compute @workgroup_size(1)\nfn main() { ${body} }`,
  };
  const dispatch: WebGpuDispatch = { program, variant: {}, bindings: {}, params: {}, workgroups: [1, 1, 1] };
  return { op: name, opCase: { name: '', inputs: {}, params: {} }, dispatch, expanded: expandProgram(program, {}) };
}
