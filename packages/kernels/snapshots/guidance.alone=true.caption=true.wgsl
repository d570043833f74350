struct Params {
  quads: u32,
  nullTextWeight: f32,
  aloneWeight: f32,
  captionWeight: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> nullText: array<vec4f>;
@group(0) @binding(2) var<storage, read> alone: array<vec4f>;
@group(0) @binding(3) var<storage, read> caption: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> output: array<vec4f>;


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }

alias T = vec4f; alias Int = vec4i; alias Bits = vec4u; alias Truth = vec4<bool>;

fn apply(nullText: T, alone: T, caption: T) -> T { return nullText * params.nullTextWeight + alone * params.aloneWeight + caption * params.captionWeight; }

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(id, count) * 64u + lane;
  if (i < params.quads) { output[i] = apply(nullText[i], alone[i], caption[i]); }
}
