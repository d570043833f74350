struct Params {
  size: u32,
  stretch: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<i32>;


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let part = workgroup_index(id, count) * 64u + lane;
  let start = part * params.stretch;
  if (start >= params.size) { return; }
  var most = 0u;
  for (var k = start; k < min(start + params.stretch, params.size); k++) { most = max(most, x[k] & 2147483647u); }
  y[part] = i32(most);
}
