struct Params {
  size: u32,
  rank: u32,
  first: u32,
  a_start: u32,
  b_start: u32,
  y_start: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> loops: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = params.first + workgroup_index(id, count) * 64u + lane;
  if (i >= params.size) { return; }
  var rest = i;
  var from_a = 0u;
  var from_b = 0u;
  // loops: length, stride of a, stride of b; innermost first
  for (var axis = 0u; axis < params.rank; axis++) {
    let length = loops[3u * axis];
    let next = rest / length;
    let at = rest - next * length;
    from_a += at * loops[3u * axis + 1u];
    from_b += at * loops[3u * axis + 2u];
    rest = next;
  }
  y[i - params.y_start] = a[from_a - params.a_start] - b[from_b - params.b_start];
}
