// What a device can do at best, measured: multiply-adds in registers, and bytes of large copies.
import { affineOp } from '@magi1/kernels';
import { defineOp, elementCount, runOp, scope, wasmKernel } from '@magi1/tensor';
import type { Device, F32x4, OpTypes, Tensor, Var, WebGpuDevice, WgslProgram } from '@magi1/tensor';
import { measure } from './measure.ts';
import type { Effort } from './measure.ts';

export interface Peaks {
  readonly flopsPerSecond: number;
  readonly bytesPerSecond: number;
  /** What reached the highest bytes per second. */
  readonly bytesBy: string;
}

/** Independent sums of four per item: enough to fill the pipeline of a core, few enough for its registers. */
const CHAINS = 12;
const FLOPS_PER_ROUND = CHAINS * 4 * 2;

interface FmaParams {
  readonly rounds: number;
  readonly factor: number;
  readonly addend: number;
}

const LANES = 64;
const chains = Array.from({ length: CHAINS }, (_, i) => i);

const program: WgslProgram = {
  name: 'peakFma',
  bindings: () => [
    { name: 'x', type: 'array<vec4f>', access: 'read' },
    { name: 'y', type: 'array<vec4f>', access: 'read_write' },
  ],
  params: { rounds: 'u32', factor: 'f32', addend: 'f32' },
  // Three chains of vectors at a time: a software adapter turns a vector into four registers.
  source: () => /* wgsl */ `
@compute @workgroup_size(${LANES})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let factor = vec4f(params.factor);
  let addend = vec4f(params.addend);
  var a = x[id.x];
  var b = a + 1.0;
  var c = a + 2.0;
  for (var i = 0u; i < params.rounds; i++) {
${chains.map((i) => `    ${'abc'[i % 3]!} = fma(${'abc'[i % 3]!}, factor, addend);`).join('\n')}
  }
  y[id.x] = a + b + c;
}
`,
};

const kernel = wasmKernel({
  name: 'peakFma',
  args: { x: 'ptr', y: 'ptr', rounds: 'i32', factor: 'f32', addend: 'f32' },
  body(k, { begin, end, x, y, rounds, factor, addend }) {
    const item = k.function(
      { x: 'i32', y: 'i32', rounds: 'i32', factor: 'f32x4', addend: 'f32x4' },
      null,
      (f, args) => {
        const start = f.let(args.x.loadF32x4());
        const sums: Var<F32x4>[] = chains.map((i) => f.var(start.add(i)));
        f.forRange(0, args.rounds, 1, () => {
          for (const sum of sums) sum.set(f.madd(sum, args.factor, args.addend));
        });
        f.store(
          args.y,
          sums.slice(1).reduce((all: F32x4, sum) => all.add(sum), sums[0]!),
        );
      },
    );
    const [factors, addends] = [k.let(factor.splat()), k.let(addend.splat())];
    k.forRange(begin, end, 1, (i) => {
      const at = k.let(i.shl(4));
      k.call(item, { x: x.add(at), y: y.add(at), rounds, factor: factors, addend: addends });
    });
  },
});

/** Many multiply-adds on few numbers: x is a multiple of 256 elements; what comes out only proves that it ran. */
const fmaOp = defineOp<OpTypes<{ x: Tensor }, FmaParams>>({
  name: 'peakFma',
  infer: ({ x }) => ({ shape: x.shape, dtype: 'f32' }),
  cost: ({ x }, { rounds }) => ({
    flops: (elementCount(x.shape) / 4) * rounds * FLOPS_PER_ROUND,
    bytes: 8 * elementCount(x.shape),
  }),
  reference({ inputs: { x }, y, params: { rounds, factor, addend } }) {
    for (let i = 0; i < x.data.length; i++) {
      let [a, b, c] = [x.data[i]!, x.data[i]! + 1, x.data[i]! + 2];
      for (let round = 0; round < (rounds * CHAINS) / 3; round++) {
        a = a * factor + addend;
        b = b * factor + addend;
        c = c * factor + addend;
      }
      y.data[i] = a + b + c;
    }
  },
  webgpu: ({ inputs, y, params }) => [
    {
      program,
      variant: {},
      bindings: { x: inputs.x, y },
      params: { ...params },
      workgroups: [y.size / 4 / LANES, 1, 1],
    },
  ],
  wasm: ({ inputs, y, params }) => [
    {
      kernel,
      variant: {},
      args: { x: inputs.x, y, ...params },
      items: y.size / 4,
      itemCost: params.rounds * FLOPS_PER_ROUND,
    },
  ],
  cases: [],
});

type Kind = 'reference' | 'cpu' | 'gpu';
/** Elements and rounds of the multiply-adds, and elements of the copies: far larger than the caches. */
const SIZES: Readonly<Record<Kind, { fma: number; rounds: number; copy: number }>> = {
  reference: { fma: 2 ** 8, rounds: 2 ** 10, copy: 2 ** 21 },
  cpu: { fma: 2 ** 14, rounds: 2 ** 10, copy: 2 ** 24 },
  gpu: { fma: 2 ** 22, rounds: 2 ** 10, copy: 2 ** 26 },
};
const EFFORT: Effort = { sampleMs: 20, totalMs: 200, samples: 4, slowMs: 2000 };

export async function measurePeaks(device: Device, effort: Effort = EFFORT): Promise<Peaks> {
  const { fma, rounds, copy } = SIZES[kindOf(device)];
  const flopsPerSecond = await multiplyAdds(device, fma, rounds, effort);
  const candidates = [
    { by: 'copy', ms: await copyTime(device, copy, effort) },
    { by: 'affine', ms: await affineTime(device, copy, effort) },
  ];
  const best = candidates.reduce((a, b) => (b.ms < a.ms ? b : a));
  return { flopsPerSecond, bytesPerSecond: (8e3 * copy) / best.ms, bytesBy: best.by };
}

function kindOf(device: Device): Kind {
  if (device.backend === 'reference') return 'reference';
  return device.backend === 'webgpu' && !(device as WebGpuDevice).capabilities.software ? 'gpu' : 'cpu';
}

async function multiplyAdds(device: Device, elements: number, rounds: number, effort: Effort): Promise<number> {
  using x = device.zeros([elements], 'f32');
  // a -> a / 2 + 1 ends at 2, whatever it starts from.
  const params: FmaParams = { rounds, factor: 0.5, addend: 1 };
  // wasm sums twelve chains, the others three.
  const wanted = 2 * (device.backend === 'wasm' ? CHAINS : 3);
  using y = runOp(fmaOp, { x }, params);
  const wrong = (await y.toFloat32()).find((value) => !(Math.abs(value - wanted) < 1e-3));
  if (wrong !== undefined) throw new Error(`peakFma gave ${wrong} instead of ${wanted} on ${device.info.name}`);
  const { min } = await measure(device, () => void runOp(fmaOp, { x }, params), effort);
  return (1e3 * fmaOp.cost({ x }, params).flops) / min;
}

async function copyTime(device: Device, elements: number, effort: Effort): Promise<number> {
  using from = device.zeros([elements], 'f32');
  using to = device.zeros([elements], 'f32');
  const run = () => {
    device.copyBuffer(from.buffer, 0, to.buffer, 0, from.byteLength);
  };
  return (await measure(device, run, effort)).min;
}

async function affineTime(device: Device, elements: number, effort: Effort): Promise<number> {
  const x = scope(() => device.zeros([elements], 'f32'));
  try {
    return (await measure(device, () => void runOp(affineOp, { x }, { scale: 0.5, shift: 1 }), effort)).min;
  } finally {
    x.dispose();
  }
}
