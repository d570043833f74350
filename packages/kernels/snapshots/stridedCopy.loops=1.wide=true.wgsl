struct Params {
  invocations: u32,
  runs: u32,
  source_offset: u32,
  target_offset: u32,
  length0: u32,
  source0: u32,
  target0: u32,
  length1: u32,
  source1: u32,
  target1: u32,
  length2: u32,
  source2: u32,
  target2: u32,
  length3: u32,
  source3: u32,
  target3: u32,
  length4: u32,
  source4: u32,
  target4: u32,
  length5: u32,
  source5: u32,
  target5: u32,
  length6: u32,
  source6: u32,
  target6: u32,
  length7: u32,
  source7: u32,
  target7: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source_: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> target_: array<vec4u>;


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(id, count) * 64u + lane;
  if (i >= params.invocations) { return; }
  var rest = i / params.runs;
  let first = i - rest * params.runs;
  var source_at = params.source_offset;
  var target_at = params.target_offset;
  var next = 0u;
  var at = 0u;
  // Neighbours in a subgroup copy neighbours in memory.
  for (var k = first; k < params.length0; k += params.runs) {
    target_[target_at + k * params.target0] = source_[source_at + k * params.source0];
  }
}
