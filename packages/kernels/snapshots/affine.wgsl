struct Params {
  quads: u32,
  scale: f32,
  shift: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4f>;


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }

alias T = vec4f; alias Int = vec4i; alias Bits = vec4u; alias Truth = vec4<bool>;

fn apply(x: T) -> T { return x * params.scale + params.shift; }

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(id, count) * 64u + lane;
  if (i < params.quads) { output[i] = apply(x[i]); }
}
