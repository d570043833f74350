struct Params {
  quads: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;


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

fn encode4(bits: vec4u) -> u32 {
  let magnitude = min(round_off(bits & vec4u(0x7fffffffu), 20u, 121u), vec4u(0x7fu));
  let bytes = (magnitude | ((bits >> vec4u(24u)) & vec4u(0x80u))) << vec4u(0u, 8u, 16u, 24u);
  return bytes.x | bytes.y | bytes.z | bytes.w;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(id, count) * 64u + lane;
  if (i < params.quads) { y[i] = encode4(bitcast<vec4u>(decode4(x[i]))); }
}
