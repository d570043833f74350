struct Params {
  pixels: u32,
  most: f32,
  plane: u32,
  colour: u32,
  first: u32,
  frames_start: u32,
  y_start: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> frames: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }


@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = params.first + workgroup_index(id, count) * 64u + lane;
  if (i >= params.pixels) { return; }
  for (var c = params.colour; c < params.colour + 1u; c++) {
    let byte = 3u * i + c;
    let level = (frames[byte / 4u - params.frames_start] >> (8u * (byte % 4u))) & 255u;
    // u / 127.5 - 1 without the cancellation.
    y[c * params.plane + i - params.y_start] = f32(2 * i32(level) - 255) / params.most;
  }
}
