struct Params {
  words: u32,
  pixels: u32,
  plane: u32,
  zero: u32,
  first: u32,
  red_start: u32,
  green_start: u32,
  blue_start: u32,
  frames_start: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> red: array<f32>;
@group(0) @binding(2) var<storage, read> green: array<f32>;
@group(0) @binding(3) var<storage, read> blue: array<f32>;
@group(0) @binding(4) var<storage, read_write> frames: array<u32>;


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }

fn sample(colour: u32, at: u32) -> f32 {
  switch colour {
    case 0u: { return red[at - params.red_start]; }
    case 1u: { return green[at - params.green_start]; }
    default: { return blue[at - params.blue_start]; }
  }
}

fn level(byte: u32) -> u32 {
  let pixel = min(byte / 3u, params.pixels - 1u);
  let clip = pixel / params.plane;
  let at = (clip * 2u + byte % 3u) * params.plane + pixel;
  // Truncation shows every rounding: the exclusive or with 0 keeps compilers from fusing product and sum.
  let scaled = bitcast<u32>(sample(byte % 3u, at) * 127.5) ^ params.zero;
  // clamp need not make 0 of NaN.
  return select(u32(clamp(bitcast<f32>(scaled) + 127.5, 0.0, 255.0)), 0u, (scaled & 0x7fffffffu) > 0x7f800000u);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = params.first + workgroup_index(id, count) * 64u + lane;
  if (i >= params.words) { return; }
  var word = 0u;
  for (var k = 0u; k < 4u; k++) { word |= level(4u * i + k) << (8u * k); }
  frames[i - params.frames_start] = word;
}
