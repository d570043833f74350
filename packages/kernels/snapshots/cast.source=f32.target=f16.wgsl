struct Params {
  quads: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec2u>;


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }

fn decode4(v: vec4f) -> vec4f { return v; }

fn round_off(magnitude: vec4u, drop: u32, least: u32) -> vec4u {
  let exponent = magnitude >> vec4u(23u);
  let normal = exponent >= vec4u(least);
  // A significand of 24 bits shifted by 25 or more is 0.
  let shift = select(min(vec4u(drop + least) - exponent, vec4u(25u)), vec4u(drop), normal);
  let significand = (magnitude & vec4u(0x7fffffu)) | vec4u(0x800000u);
  let value = select(significand, magnitude - vec4u((least - 1u) << 23u), normal);
  return (value + (vec4u(1u) << (shift - 1u)) - 1u + ((value >> shift) & vec4u(1u))) >> shift;
}

fn encode4(bits: vec4u) -> vec2u {
  let magnitude = bits & vec4u(0x7fffffffu);
  let finite = min(round_off(magnitude, 13u, 113u), vec4u(0x7c00u));
  let half = select(finite, vec4u(0x7e00u), magnitude > vec4u(0x7f800000u)) | ((bits >> vec4u(16u)) & vec4u(0x8000u));
  return half.xz | (half.yw << vec2u(16u));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(id, count) * 64u + lane;
  if (i < params.quads) { y[i] = encode4(bitcast<vec4u>(decode4(x[i]))); }
}
