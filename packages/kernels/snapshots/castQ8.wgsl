struct Params {
  groups: u32,
  vectors: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }

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

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(id, count) * 64u + lane;
  if (i >= params.groups) { return; }
  var scales = 0u;
  for (var half = 0u; half < params.vectors / 4u; half++) {
    let start = (2u * i + half) * params.vectors;
    var largest = vec4u();
    for (var v = 0u; v < params.vectors; v++) { largest = max(largest, x[start + v] & vec4u(0x7fffffffu)); }
    let scale = scale_of(max(max(largest.x, largest.y), max(largest.z, largest.w)));
    scales |= scale.bits << (16u * half);
    let to = 17u * i + 1u + half * params.vectors;
    for (var v = 0u; v < params.vectors; v++) {
      // Codes without a scale are 0: whatever the elements are then, they are not looked at.
      if (scale.value == 0.0) { y[to + v] = 0u; } else { y[to + v] = codes_of(bitcast<vec4f>(x[start + v]), scale.value); }
    }
  }
  y[17u * i] = scales;
}
