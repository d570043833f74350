struct Params {
  size: u32,
  channels: u32,
  frames: u32,
  height: u32,
  width: u32,
  first: u32,
  x_start: u32,
  y_start: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> offsets: array<vec2u>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4f>;


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }

alias T = vec4f; alias Int = vec4i; alias Bits = vec4u; alias Truth = vec4<bool>;
fn between(a: T, b: T, weight: f32) -> T { return a * (1.0 - weight) + b * weight; }
fn row_at(start: u32, w: vec2u, weight: f32) -> T { return between(x[start + w.x - params.x_start], x[start + w.y - params.x_start], weight); }

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = params.first + workgroup_index(id, count) * 64u + lane;
  if (i >= params.size) { return; }
  let position = i / params.channels;
  let row = position / params.width;
  let t = row / params.height;
  let h = params.frames + row % params.height;
  let w = params.frames + params.height + position % params.width;
  let channel = i % params.channels;
  var planes = array<T, 2>();
  for (var k = 0u; k < 2u; k++) {
    let start = offsets[t][k] + channel;
    let upper = row_at(start + offsets[h].x, offsets[w], weights[w]);
    let lower = row_at(start + offsets[h].y, offsets[w], weights[w]);
    planes[k] = between(upper, lower, weights[h]);
  }
  y[i - params.y_start] = between(planes[0], planes[1], weights[t]);
}
