struct Params {
  rows: u32,
  lanes: u32,
  steps: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;



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


fn exp_number(x: T) -> T {
  let clamped = clamp(x, T(-88.0), T(89.0));
  let n = round(clamped * 1.44269504);
  let r = fma(n, T(0.00021219444), fma(n, T(-0.693359375), clamped));
  let power = bitcast<T>((Int(n) + Int(127)) * Int(8388608));
  return (1.0 + fma(fma(fma(fma(fma(T(0.00139504802), r, T(0.00836888364)), r, T(0.041666206)), r, T(0.166665189)), r, T(0.50000001)), r * r, r)) * power;
}

fn is_nan(x: T) -> Truth { return (bitcast<Bits>(x) & Bits(0x7fffffffu)) > Bits(0x7f800000u); }

fn exp_(x: T) -> T { return select(exp_number(x), x, is_nan(x)); }

const INFINITY = 0x7f800000u;
const NAN = 0x7fc00000u;
fn across_largest(v: Bits) -> u32 { return max(max(v.x, v.y), max(v.z, v.w)); }

fn main_row(row: u32, lane: u32, slot: u32, live: bool) {
  let at = row * params.steps;
  var most = T(-3.4028234663852886e+38);
  var largest = Bits();
  for (var k = lane; k < params.steps; k += params.lanes) {
    most = max(most, x[at + k]);
    largest = max(largest, bitcast<Bits>(x[at + k]) & Bits(0x7fffffffu));
  }
  // A NaN does to a row what Infinity does: all of it becomes NaN.
  let lane_most = select(bitcast<u32>(across_max(most)), INFINITY, across_largest(largest) > INFINITY);
  let row_most = reduce_max(bitcast<f32>(lane_most), lane, slot);
  var sum = T(0.0);
  for (var start = lane; start < params.steps; start += RUN * params.lanes) {
    let end = min(start + RUN * params.lanes, params.steps);
    var run = T(0.0);
    for (var k = start; k < end; k += params.lanes) {
      let e = exp_number(x[at + k] - row_most);
      if (live) { y[at + k] = e; }
      run += e;
    }
    sum += run;
  }
  let total = reduce_sum(vec2f(across_sum(sum), 0.0), lane, slot).x;
  // Nothing is left of a row of -Infinity alone.
  let none = total == 0.0 || bitcast<u32>(row_most) == INFINITY;
  let scale = bitcast<f32>(select(bitcast<u32>(1.0 / total), NAN, none));
  if (!live) { return; }
  for (var k = lane; k < params.steps; k += params.lanes) { y[at + k] *= scale; }
}
