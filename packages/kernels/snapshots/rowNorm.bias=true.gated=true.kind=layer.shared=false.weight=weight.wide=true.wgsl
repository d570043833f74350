struct Params {
  rows: u32,
  lanes: u32,
  features: u32,
  steps: u32,
  first_row: u32,
  rows_per_gate: u32,
  eps: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> gate: array<vec4f>;
@group(0) @binding(3) var<storage, read> h: array<vec4f>;
@group(0) @binding(4) var<storage, read> weight: array<vec4f>;
@group(0) @binding(5) var<storage, read> bias: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> y: array<vec4f>;



fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }

alias T = vec4f; alias Int = vec4i; alias Bits = vec4u; alias Truth = vec4<bool>;
fn across_sum(v: T) -> f32 { return (v.x + v.y) + (v.z + v.w); }
fn across_max(v: T) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }
const RUN = 32u;

fn reduce_sum(value: vec2f, lane: u32, slot: u32) -> vec2f { return value; }
fn reduce_max(value: f32, lane: u32, slot: u32) -> f32 { return value; }

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) slot: u32) {
  let invocation = workgroup_index(id, count) * 8u + slot;
  let row = invocation / params.lanes;
  main_row(min(row, params.rows - 1u), invocation % params.lanes, slot, row < params.rows);
}

fn load(row: u32, k: u32) -> T { return x[row * params.steps + k] * gate[(params.first_row + row) / params.rows_per_gate * params.steps + k]; }

// Sums of d and of d * d over this lane's elements, d = element - origin.
fn sums(row: u32, lane: u32, origin: f32) -> vec2f {
  var first = T(0.0);
  var second = T(0.0);
  for (var start = lane; start < params.steps; start += RUN * params.lanes) {
    let end = min(start + RUN * params.lanes, params.steps);
    var run_first = T(0.0);
    var run_second = T(0.0);
    for (var k = start; k < end; k += params.lanes) {
      let d = load(row, k) - origin;
      run_first += d;
      run_second += d * d;
    }
    first += run_first;
    second += run_second;
  }
  return vec2f(across_sum(first), across_sum(second));
}

fn main_row(row: u32, lane: u32, slot: u32, live: bool) {

  var mean = 0.0;
  var moments = vec2f(0.0);
  for (var turn = 0u; turn < 2u; turn++) {
    mean = moments.x;
    moments = reduce_sum(sums(row, lane, mean), lane, slot) / f32(params.features);
  }
  let rest = moments.x;
  let spread = moments.y - rest * rest;
  let lost = (bitcast<u32>(spread) & 0x7fffffffu) > 0x7f800000u; // squares overflowed: max would hide the NaN
  let variance = select(max(spread, 0.0), spread, lost);
  let scale = 1.0 / sqrt(variance + params.eps);
  if (!live) { return; }
  for (var k = lane; k < params.steps; k += params.lanes) {
    y[row * params.steps + k] = ((load(row, k) - mean) - rest) * scale * weight[k] + bias[k] + h[row * params.steps + k];
  }
}
