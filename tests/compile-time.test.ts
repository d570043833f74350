// No pipeline may take more than two seconds to compile on lavapipe with a cold cache.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { defineOp, Device } from '@magi1/tensor';
import type { Tensor, WebGpuDevice, WebGpuDispatch } from '@magi1/tensor';
import { expandProgram } from '../packages/tensor/src/webgpu/prelude.ts';
import { loadOps } from './support/all-ops.ts';
import { testAdapters } from './support/devices.ts';
import { CAPABILITIES, programsOf } from './support/programs.ts';
import type { PlannedDispatch } from './support/programs.ts';

// Read by Mesa when the driver is loaded, which is when the device is opened.
process.env['MESA_SHADER_CACHE_DISABLE'] = 'true';

const LIMIT_MS = 2000;
/** A busy machine inflates CPU time, too: the least of a few compilations counts. */
const ATTEMPTS = 5;

const ops = await loadOps();
const lavapipe = testAdapters().filter((name) => name === 'llvmpipe');

describe.each(lavapipe)('%s', (adapter) => {
  let device: WebGpuDevice;
  const open = async () => {
    device = (await Device.open({ backend: 'webgpu', adapter })) as WebGpuDevice;
    await compileMilliseconds(warmUp());
  };
  beforeAll(open);
  afterAll(() => device.dispose());

  /** CPU time, as other processes on the machine must not count. The driver compiles at the first dispatch. */
  async function compileMilliseconds({ dispatch, expanded }: PlannedDispatch): Promise<number> {
    const x = device.empty([1024], 'f32');
    const op = defineOp<'x', never, unknown>({
      name: expanded.key,
      infer: () => [],
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
        { inputs: { x }, outputs: [], params: {} },
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

  for (const op of ops) {
    for (const [key, planned] of programsOf(op, [CAPABILITIES['lavapipe']!])) {
      test(key, async () => {
        let least = await compileMilliseconds(planned);
        for (let attempt = 1; attempt < ATTEMPTS && least >= LIMIT_MS; attempt++) {
          // A device keeps what it has compiled: only a new one compiles again.
          await device.dispose();
          await open();
          least = Math.min(least, await compileMilliseconds(planned));
        }
        expect(least).toBeLessThan(LIMIT_MS);
      });
    }
  }
});

/** A trivial program, so that the first test does not pay for loading the driver. */
function warmUp(): PlannedDispatch {
  const program = {
    name: 'test.warmUp',
    bindings: () => [{ name: 'y', type: 'array<f32>', access: 'read_write' as const }],
    params: {},
    source: () => '@compute @workgroup_size(1)\nfn main() { y[0] = 1; }',
  };
  const dispatch: WebGpuDispatch = { program, variant: {}, bindings: {}, params: {}, workgroups: [1, 1, 1] };
  return { op: 'warmUp', opCase: { name: '', inputs: {}, params: {} }, dispatch, expanded: expandProgram(program, {}) };
}
