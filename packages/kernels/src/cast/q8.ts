// f32 to q8, bit for bit as the host's codec: of each 32 elements the scale is the f16 nearest to a 127th of the largest
// magnitude, the codes are the nearest multiples of it, halves upwards. A block with a NaN or an infinity, or beyond what a
// scale can reach, is NaN throughout. The quotient is made in integers, and a code that was guessed in f32 is compared with
// its borders, whose products with a scale are exact: adapters may round divisions as they like.
import { F32x4, GROUP, I32, I32x4, bytesOf, wasmKernel } from '@magi1/tensor';
import type { KernelBuilder, WasmOf, WebGpuOf, WgslProgram } from '@magi1/tensor';
import { MAIN, WORKGROUP_INDEX, gridOf } from '../support/wgsl/dispatch.ts';
import { rowRanges } from '../support/wgsl/row-ranges.ts';
import type { Cast } from './contract.ts';

const GROUP_BYTES = bytesOf('q8', GROUP);
/** Elements under one scale. */
const BLOCK = 32;
const VECTORS = BLOCK / 4;
const INFINITY_BITS = 0x7f800000;
const F16_INFINITY = 0x7c00;
const F16_NAN = 0x7e00;

const program: WgslProgram = {
  name: 'castQ8',
  bindings: () => [
    { name: 'x', type: 'array<vec4u>', access: 'read' },
    { name: 'y', type: 'array<u32>', access: 'read_write' },
  ],
  // Vectors of a block, as a parameter: compilers unroll loops with a constant end.
  params: { groups: 'u32', vectors: 'u32' },
  source: () => /* wgsl */ `
${WORKGROUP_INDEX}
// Bits of the scale as f16, and its value, 0 where all elements are.
struct Scale { bits: u32, value: f32 }

fn scale_of(largest: u32) -> Scale {
  if (largest >= 0x7f800000u) { return Scale(0x7e00u, 0.0); }
  let exponent = max(largest >> 23u, 1u);
  let digits = (largest & 0x7fffffu) | select(0u, 0x800000u, largest >= 0x800000u);
  // A 127th in units of 2^(exponent - 158), the last bit for what is left over.
  let quotient = (digits << 7u) / 127u;
  let significand = (quotient << 1u) | select(0u, 1u, quotient * 127u != digits << 7u);
  let top = 31 - i32(countLeadingZeros(significand | 1u));
  let shift = u32(clamp(max(top - 10, 134 - i32(exponent)), 1, 30));
  var steps = (significand + (1u << (shift - 1u)) - 1u + ((significand >> shift) & 1u)) >> shift;
  let binade = clamp(top + i32(exponent) - 158, -14, 100);
  let unit = bitcast<f32>(u32(binade + 117) << 23u);
  if (f32(steps) * unit * 127.5 < bitcast<f32>(largest)) { steps++; }
  let bits = (u32(binade + 14) << 10u) + steps;
  if (bits >= 0x7c00u) { return Scale(0x7e00u, 0.0); }
  return Scale(bits, f32(steps) * unit);
}

fn codes_of(x: vec4f, scale: f32) -> u32 {
  var code = floor(x * (1.0 / scale) + 0.5);
  code = select(code, code - 1.0, x < (code - 0.5) * scale);
  code = select(code, code + 1.0, x >= (code + 0.5) * scale);
  // 127.5 steps would be 128, which is no code.
  let bytes = (vec4u(vec4i(min(code, vec4f(127.0)))) & vec4u(255u)) << vec4u(0u, 8u, 16u, 24u);
  return bytes.x | bytes.y | bytes.z | bytes.w;
}

${MAIN}
  if (i >= params.groups) { return; }
  var scales = 0u;
  for (var half = 0u; half < params.vectors / ${VECTORS / 2}u; half++) {
    let start = (2u * i + half) * params.vectors;
    var largest = vec4u();
    for (var v = 0u; v < params.vectors; v++) { largest = max(largest, x[start + v] & vec4u(0x7fffffffu)); }
    let scale = scale_of(max(max(largest.x, largest.y), max(largest.z, largest.w)));
    scales |= scale.bits << (16u * half);
    let to = ${GROUP_BYTES / 4}u * i + 1u + half * params.vectors;
    for (var v = 0u; v < params.vectors; v++) {
      // Codes without a scale are 0: whatever the elements are then, they are not looked at.
      if (scale.value == 0.0) { y[to + v] = 0u; } else { y[to + v] = codes_of(bitcast<vec4f>(x[start + v]), scale.value); }
    }
  }
  y[${GROUP_BYTES / 4}u * i] = scales;
}
`,
};

export const webgpuQ8: WebGpuOf<Cast> = ({ inputs: { x }, y }, capabilities) => {
  const operands = { x: [x, 4 * GROUP], y: [y, GROUP_BYTES] } as const;
  return rowRanges('cast', x.size / GROUP, operands, capabilities).map((range) => ({
    program,
    variant: {},
    bindings: range.bindings,
    params: { groups: range.count, vectors: VECTORS },
    workgroups: gridOf('cast', range.count, capabilities),
  }));
};

/** Stores the codes of a block and gives the bits of its scale. */
function blockFunction(k: KernelBuilder) {
  return k.function({ from: 'i32', to: 'i32' }, 'i32', (f, { from, to }) => {
    const most = f.var(I32x4.of(0));
    f.forRange(0, 4 * BLOCK, 16, (at) => {
      most.set(most.maxS(from.add(at).loadI32x4().and(0x7fffffff)));
    });
    const pair = (a: number, b: number) => f.let(f.let(most.lane(a)).maxS(f.let(most.lane(b))));
    const largest = f.let(pair(0, 1).maxS(pair(2, 3)));
    const exponent = f.let(largest.shrU(23).maxS(1));
    const hidden = largest.geU(0x800000).shl(23);
    const digits = f.let(largest.and(0x7fffff).or(hidden).shl(7));
    // A 127th in units of 2^(exponent - 158), the last bit for what is left over.
    const significand = f.let(digits.divU(127).shl(1).or(digits.remU(127).ne(0)));
    const top = f.let(I32.of(31).sub(significand.or(1).clz()));
    const wanted = f.let(top.sub(10).maxS(f.let(exponent.mul(-1).add(134))));
    const shift = f.let(f.let(wanted.maxS(1)).minS(30));
    const half = I32.of(1).shl(shift.sub(1));
    const steps = f.var(significand.add(half).sub(1).add(significand.shrU(shift).and(1)).shrU(shift));
    const binade = f.let(f.let(top.add(exponent).sub(158).maxS(-14)).minS(100));
    const unit = f.let(binade.add(117).shl(23).asF32());
    const falls = steps.toF32U().mul(unit).mul(127.5).lt(largest.asF32());
    steps.set(steps.add(falls));
    const bits = f.let(binade.add(14).shl(10).add(steps));
    const isNumber = f.let(bits.ltU(F16_INFINITY).and(largest.ltU(INFINITY_BITS)));
    f.if(
      isNumber.and(steps.ne(0)),
      () => {
        const scale = f.let(steps.toF32U().mul(unit).splat());
        const inverse = f.let(F32x4.of(1).div(scale));
        f.forRange(0, BLOCK, 16, (at) => {
          const source = f.let(from.add(at.shl(2)));
          const four = [0, 16, 32, 48].map((offset) => {
            const x = f.let(source.loadF32x4(offset));
            const guess = f.let(x.mul(inverse).add(0.5).floor());
            const less = f.let(x.lt(guess.sub(0.5).mul(scale)).select(guess.sub(1), guess));
            const code = x.ge(less.add(0.5).mul(scale)).select(less.add(1), less);
            // 127.5 steps would be 128, which is no code.
            return f.let(code.toI32x4S().minS(127).and(255));
          }) as [I32x4, I32x4, I32x4, I32x4];
          const bytes = four[0].narrowS(four[1]).narrowU(four[2].narrowS(four[3]));
          f.store(to.add(at), bytes);
        });
      },
      () => {
        f.fill(to, 0, BLOCK);
      },
    );
    return f.let(f.select(isNumber, bits, I32.of(F16_NAN)));
  });
}

const kernel = wasmKernel({
  name: 'castQ8',
  args: { x: 'ptr', y: 'ptr' },
  body(k, { begin, end, x, y }) {
    const block = blockFunction(k);
    k.forRange(begin, end, 1, (group) => {
      const from = k.let(x.add(group.mul(4 * GROUP)));
      const to = k.let(y.add(group.mul(GROUP_BYTES)));
      const low = k.call(block, { from, to: to.add(4) });
      const high = k.call(block, { from: from.add(4 * BLOCK), to: to.add(4 + BLOCK) });
      k.store(to, low.or(high.shl(16)));
    });
  },
});

export const wasmQ8: WasmOf<Cast> = ({ inputs: { x }, y }) => [
  { kernel, variant: {}, args: { x, y }, items: x.size / GROUP, itemCost: 8 * GROUP },
];
