struct Params {
  quads: u32,
  scales: u32,
  first: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4u>;
@group(0) @binding(2) var<storage, read> scale: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<u32>;


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }


fn round_off(magnitude: vec4u, drop: u32, least: u32) -> vec4u {
  let exponent = magnitude >> vec4u(23u);
  let normal = exponent >= vec4u(least);
  // A significand of 24 bits shifted by 25 or more is 0.
  let shift = select(min(vec4u(drop + least) - exponent, vec4u(25u)), vec4u(drop), normal);
  let significand = (magnitude & vec4u(0x7fffffu)) | vec4u(0x800000u);
  let value = select(significand, magnitude - vec4u((least - 1u) << 23u), normal);
  return (value + (vec4u(1u) << (shift - 1u)) - 1u + ((value >> shift) & vec4u(1u))) >> shift;
}

fn encode4(bits: vec4u) -> u32 {
  let magnitude = min(round_off(bits & vec4u(0x7fffffffu), 20u, 121u), vec4u(0x7fu));
  let bytes = (magnitude | ((bits >> vec4u(24u)) & vec4u(0x80u))) << vec4u(0u, 8u, 16u, 24u);
  return bytes.x | bytes.y | bytes.z | bytes.w;
}


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

fn scales(i: u32) -> vec4u {
  let at = (vec4u(4u * i + params.first) + vec4u(0u, 1u, 2u, 3u)) % params.scales;
  return vec4u(scale[at.x], scale[at.y], scale[at.z], scale[at.w]);
}

fn to_bf16(bits: vec4u) -> vec4u {
  return (bits + 0x7fffu + ((bits >> vec4u(16u)) & vec4u(1u))) & vec4u(0xffff0000u);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(id, count) * 64u + lane;
  if (i >= params.quads) { return; }
  let a = x[i];
  let b = scales(i);
  let magnitude = to_bf16(quotient(a & vec4u(0x7fffffffu), b & vec4u(0x7fffffffu)));
  y[i] = encode4(magnitude | ((a ^ b) & vec4u(0x80000000u)));
}
