// WGSL of quantize: four elements per invocation. WGSL lets a division be 2.5 units off in the last place and flush
// subnormals, so the quotient is computed in integers.
import type { WebGpuOf, WgslProgram } from '@magi1/tensor';
import { MAIN, WORKGROUP_INDEX, gridOf } from '../support/wgsl/dispatch.ts';
import { encodeFour } from '../support/wgsl/encode.ts';
import { rowRanges } from '../support/wgsl/row-ranges.ts';
import type { Quantize } from './contract.ts';

/** `quotient(a, b)`: bits of |a / b| as correctly rounded f32, at most 448; below the normal numbers 0. */
const QUOTIENT = /* wgsl */ `
struct Number { significand: vec4u, exponent: vec4i }

// 24 bits with the highest set, unless it is 0, and the biased exponent.
fn unpack(magnitude: vec4u) -> Number {
  let subnormal = magnitude < vec4u(0x800000u);
  let shift = select(vec4u(0u), countLeadingZeros(magnitude) - 8u, subnormal);
  let digits = select((magnitude & vec4u(0x7fffffu)) | vec4u(0x800000u), magnitude, subnormal);
  return Number(digits << shift, vec4i(max(magnitude >> vec4u(23u), vec4u(1u))) - vec4i(shift));
}

fn quotient(a: vec4u, b: vec4u) -> vec4u {
  let x = unpack(a);
  let y = unpack(b);
  let less = x.significand < y.significand;
  // Of the significands' quotient, which is in 1..2: 25 bits, eight at a time, and what remains.
  var bits = vec4u(1u);
  var remainder = (x.significand << select(vec4u(0u), vec4u(1u), less)) - y.significand;
  for (var i = 0; i < 3; i++) {
    let digits = (remainder << vec4u(8u)) / y.significand;
    remainder = (remainder << vec4u(8u)) - digits * y.significand;
    bits = (bits << vec4u(8u)) | digits;
  }
  let beyond = select(vec4u(0u), vec4u(1u), remainder != vec4u(0u));
  let rounded = (bits >> vec4u(1u)) + (bits & ((bits >> vec4u(1u)) | beyond) & vec4u(1u));
  let exponent = x.exponent - y.exponent + select(vec4i(127), vec4i(126), less);
  let value = (vec4u(clamp(exponent, vec4i(1), vec4i(200)) - 1) << vec4u(23u)) + rounded;

  const INFINITY = vec4u(0x7f800000u);
  const MOST = vec4u(0x43e00000u); // 448
  let zero = (exponent < vec4i(1)) | (a == vec4u(0u)) | (b == INFINITY);
  let large = (a == INFINITY) | (b == vec4u(0u));
  let none = (max(a, b) > INFINITY) | ((a == b) & large);
  let finite = min(select(select(value, vec4u(0u), zero), MOST, large), MOST);
  return select(finite, vec4u(0x7fc00000u), none);
}
`;

const program: WgslProgram<{ readonly wide: boolean }> = {
  name: 'quantize',
  bindings: ({ wide }) => [
    { name: 'x', type: 'array<vec4u>', access: 'read' },
    { name: 'scale', type: wide ? 'array<vec4u>' : 'array<u32>', access: 'read' },
    { name: 'y', type: 'array<u32>', access: 'read_write' },
  ],
  // `scales` entries of the binding, of which element 0 of x takes entry `first`.
  params: { quads: 'u32', scales: 'u32', first: 'u32' },
  source({ wide }) {
    const scales = wide
      ? 'return scale[(i + params.first) % params.scales];'
      : `let at = (vec4u(4u * i + params.first) + vec4u(0u, 1u, 2u, 3u)) % params.scales;
  return vec4u(scale[at.x], scale[at.y], scale[at.z], scale[at.w]);`;
    return /* wgsl */ `
${WORKGROUP_INDEX}
${encodeFour('f8e4m3fn').code}
${QUOTIENT}
fn scales(i: u32) -> vec4u {
  ${scales}
}

fn to_bf16(bits: vec4u) -> vec4u {
  return (bits + 0x7fffu + ((bits >> vec4u(16u)) & vec4u(1u))) & vec4u(0xffff0000u);
}

${MAIN}
  if (i >= params.quads) { return; }
  let a = x[i];
  let b = scales(i);
  let magnitude = to_bf16(quotient(a & vec4u(0x7fffffffu), b & vec4u(0x7fffffffu)));
  y[i] = encode4(magnitude | ((a ^ b) & vec4u(0x80000000u)));
}
`;
  },
};

export const webgpu: WebGpuOf<Quantize> = ({ inputs: { x, scale }, y }, capabilities) => {
  const wide = scale.size % 4 === 0;
  const scales = wide ? scale.size / 4 : scale.size;
  return rowRanges('quantize', Math.ceil(x.size / 4), { x: [x, 16], y: [y, 4] }, capabilities).map((range) => ({
    program,
    variant: { wide },
    bindings: { ...range.bindings, scale },
    params: { quads: range.count, scales, first: (wide ? range.start : 4 * range.start) % scales },
    workgroups: gridOf('quantize', range.count, capabilities),
  }));
};
