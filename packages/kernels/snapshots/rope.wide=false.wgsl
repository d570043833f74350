struct Params {
  size: u32,
  heads: u32,
  features: u32,
  columns: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> cosines: array<f32>;
@group(0) @binding(3) var<storage, read> sines: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }

alias T = f32; alias Int = i32; alias Bits = u32; alias Truth = bool;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(id, count) * 64u + lane;
  if (i >= params.size) { return; }
  let row = i / params.features;
  let feature = i - row * params.features;
  let value = x[i];
  if (feature >= 2u * params.columns) {
    y[i] = value;
    return;
  }
  let angles = row / params.heads * params.columns;
  if (feature < params.columns) {
    y[i] = value * cosines[angles + feature] - x[i + params.columns] * sines[angles + feature];
  } else {
    let column = feature - params.columns;
    y[i] = x[i - params.columns] * sines[angles + column] + value * cosines[angles + column];
  }
}
