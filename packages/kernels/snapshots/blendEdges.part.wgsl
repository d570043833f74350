struct Params {
  size: u32,
  inner: u32,
  length: u32,
  length_before: u32,
  extent: u32,
  first: u32,
  previous_start: u32,
  current_start: u32,
  y_start: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> previous: array<f32>;
@group(0) @binding(2) var<storage, read> current: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = params.first + workgroup_index(id, count) * 64u + lane;
  if (i >= params.size) { return; }
  let run = i / params.inner;
  let outer = run / params.length;
  let k = run - outer * params.length;
  var value = current[i - params.current_start];
  if (k < params.extent) {
    let weight = f32(k) / f32(params.extent);
    let other = outer * params.length_before + params.length_before - params.extent + k;
    value = previous[other * params.inner + i % params.inner - params.previous_start] * (1.0 - weight) + value * weight;
  }
  y[i - params.y_start] = value;
}
