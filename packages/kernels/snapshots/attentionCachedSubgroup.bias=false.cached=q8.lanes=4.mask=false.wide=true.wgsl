enable subgroups;
struct Params {
  queries: u32,
  keys: u32,
  heads: u32,
  kv_heads: u32,
  group: u32,
  units: u32,
  tiles: u32,
  key_tile: u32,
  scale: f32,
  head_dim: u32,
  unit_tile: u32,
  cached: u32,
  first: u32,
  ring: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> k: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<vec4f>;
@group(0) @binding(4) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(5) var<storage, read> cachedK: array<u32>;
@group(0) @binding(6) var<storage, read> cachedV: array<u32>;
@group(0) @binding(7) var<storage, read_write> y: array<vec4f>;

alias Unit = vec4f;
alias T = vec4f; alias Int = vec4i; alias Bits = vec4u; alias Truth = vec4<bool>;

fn exp_number(x: T) -> T {
  let clamped = clamp(x, T(-88.0), T(89.0));
  let n = round(clamped * 1.44269504);
  let r = fma(n, T(0.00021219444), fma(n, T(-0.693359375), clamped));
  let power = bitcast<T>((Int(n) + Int(127)) * Int(8388608));
  return (1.0 + fma(fma(fma(fma(fma(T(0.00139504802), r, T(0.00836888364)), r, T(0.041666206)), r, T(0.166665189)), r, T(0.50000001)), r * r, r)) * power;
}

fn is_nan(x: T) -> Truth { return (bitcast<Bits>(x) & Bits(0x7fffffffu)) > Bits(0x7f800000u); }

fn exp_(x: T) -> T { return select(exp_number(x), x, is_nan(x)); }


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }

fn is_cached(key: u32) -> bool { return key < params.cached; }
fn own_row(key: u32) -> u32 { return key - params.cached; }
// params.first may be negative, as u32, for a key axis that starts before the first key.
fn ring_row(key: u32) -> u32 {
  let row = params.first + key;
  return select(row, row - params.ring, row >= params.ring);
}
fn cached_k(i: u32) -> vec4f {
  let group = 17u * (i >> 4u);
  let codes = vec4i(vec4u(cachedK[group + 1u + (i & 15u)]) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u);
  return unpack2x16float(cachedK[group])[(i >> 3u) & 1u] * vec4f(codes);
}
fn cached_v(i: u32) -> vec4f {
  let group = 17u * (i >> 4u);
  let codes = vec4i(vec4u(cachedV[group + 1u + (i & 15u)]) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u);
  return unpack2x16float(cachedV[group])[(i >> 3u) & 1u] * vec4f(codes);
}
fn key_start(key: u32, kv_head: u32) -> u32 {
  return (select(own_row(key), ring_row(key), is_cached(key)) * params.kv_heads + kv_head) * params.units;
}
fn key_element(key: u32, start: u32, d: u32) -> f32 {
  if (is_cached(key)) { return cached_k(start + d / 4u)[d % 4u]; }
  return k[4u * start + d];
}
fn value_unit(key: u32, kv_head: u32, unit: u32) -> Unit {
  let at = key_start(key, kv_head) + unit;
  if (is_cached(key)) { return cached_v(at); }
  return v[at];
}
// Scores, then weights, of a lane's queries; a lane touches its own only.
var<workgroup> kept: array<vec4f, 256>;

@compute @workgroup_size(4)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let index = workgroup_index(id, count);
  if (index >= params.tiles * params.heads) { return; }
  let units = params.units;
  let head = index / params.tiles;
  let kv_head = head / params.group;
  let tile = tiles[index % params.tiles];
  let query0 = tile.x + lane;
  let query_start0 = (min(query0 + 0u, tile.y - 1u) * params.heads + head) * params.head_dim;
  let query_start1 = (min(query0 + 4u, tile.y - 1u) * params.heads + head) * params.head_dim;
  let query_start2 = (min(query0 + 8u, tile.y - 1u) * params.heads + head) * params.head_dim;
  let query_start3 = (min(query0 + 12u, tile.y - 1u) * params.heads + head) * params.head_dim;
  
  let keys_end = tile.w;
  // Queries that some lane has.
  let used = (tile.y - tile.x + 3u) / 4u;
  // Every vec4f below is of the lane's four queries.
  var most = vec4f(-3.4028234663852886e+38);
  var total = vec4f();
  for (var kept0 = tile.z; kept0 < keys_end; kept0 += 64u) {
    let kept_end = min(kept0 + params.key_tile, keys_end);
    var higher = most;
    for (var first = kept0; first < kept_end; first += 16u) {
      let end = min(first + 16u, kept_end);
      let key0 = min(first + 0u + lane, end - 1u); let start0 = key_start(key0, kv_head); let key1 = min(first + 4u + lane, end - 1u); let start1 = key_start(key1, kv_head); let key2 = min(first + 8u + lane, end - 1u); let start2 = key_start(key2, kv_head); let key3 = min(first + 12u + lane, end - 1u); let start3 = key_start(key3, kv_head);
      var s0 = vec4f(); var s1 = vec4f(); var s2 = vec4f(); var s3 = vec4f(); var s4 = vec4f(); var s5 = vec4f(); var s6 = vec4f(); var s7 = vec4f(); var s8 = vec4f(); var s9 = vec4f(); var s10 = vec4f(); var s11 = vec4f(); var s12 = vec4f(); var s13 = vec4f(); var s14 = vec4f(); var s15 = vec4f();
      for (var d = 0u; d < params.head_dim; d++) {
        let row0 = key_element(key0, start0, d); let row1 = key_element(key1, start1, d); let row2 = key_element(key2, start2, d); let row3 = key_element(key3, start3, d);
        let across = vec4f(q[query_start0 + d], q[query_start1 + d], q[query_start2 + d], q[query_start3 + d]);
        s0 = fma(vec4f(subgroupBroadcast(row0, 0u)), across, s0);
        s1 = fma(vec4f(subgroupBroadcast(row0, 1u)), across, s1);
        s2 = fma(vec4f(subgroupBroadcast(row0, 2u)), across, s2);
        s3 = fma(vec4f(subgroupBroadcast(row0, 3u)), across, s3);
        s4 = fma(vec4f(subgroupBroadcast(row1, 0u)), across, s4);
        s5 = fma(vec4f(subgroupBroadcast(row1, 1u)), across, s5);
        s6 = fma(vec4f(subgroupBroadcast(row1, 2u)), across, s6);
        s7 = fma(vec4f(subgroupBroadcast(row1, 3u)), across, s7);
        s8 = fma(vec4f(subgroupBroadcast(row2, 0u)), across, s8);
        s9 = fma(vec4f(subgroupBroadcast(row2, 1u)), across, s9);
        s10 = fma(vec4f(subgroupBroadcast(row2, 2u)), across, s10);
        s11 = fma(vec4f(subgroupBroadcast(row2, 3u)), across, s11);
        s12 = fma(vec4f(subgroupBroadcast(row3, 0u)), across, s12);
        s13 = fma(vec4f(subgroupBroadcast(row3, 1u)), across, s13);
        s14 = fma(vec4f(subgroupBroadcast(row3, 2u)), across, s14);
        s15 = fma(vec4f(subgroupBroadcast(row3, 3u)), across, s15);
      }
      var scores = array<vec4f, 16>(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15);
      for (var key = first; key < end; key++) {
        var score = scores[key - first] * params.scale;
        
        
        kept[(key - kept0) * 4u + lane] = score;
        higher = max(higher, score);
      }
    }
    let fade = exp_number(most - higher);
    most = higher;
    total *= fade;
    for (var key = kept0; key < kept_end; key++) {
      let at = (key - kept0) * 4u + lane;
      let weight = exp_(kept[at] - most);
      kept[at] = weight;
      total += weight;
    }
    for (var unit0 = 0u; unit0 < units; unit0 += 4u) {
      let unit = min(unit0 + lane, units - 1u);
      var v0_0 = Unit(); var v0_1 = Unit(); var v0_2 = Unit(); var v0_3 = Unit(); var v1_0 = Unit(); var v1_1 = Unit(); var v1_2 = Unit(); var v1_3 = Unit(); var v2_0 = Unit(); var v2_1 = Unit(); var v2_2 = Unit(); var v2_3 = Unit(); var v3_0 = Unit(); var v3_1 = Unit(); var v3_2 = Unit(); var v3_3 = Unit();
      for (var key = kept0; key < kept_end; key++) {
        let row = value_unit(key, kv_head, unit);
        let weight = kept[(key - kept0) * 4u + lane];
        { let b = subgroupBroadcast(row, 0u); v0_0 = fma(Unit(weight[0]), b, v0_0); v0_1 = fma(Unit(weight[1]), b, v0_1); v0_2 = fma(Unit(weight[2]), b, v0_2); v0_3 = fma(Unit(weight[3]), b, v0_3); }
        { let b = subgroupBroadcast(row, 1u); v1_0 = fma(Unit(weight[0]), b, v1_0); v1_1 = fma(Unit(weight[1]), b, v1_1); v1_2 = fma(Unit(weight[2]), b, v1_2); v1_3 = fma(Unit(weight[3]), b, v1_3); }
        { let b = subgroupBroadcast(row, 2u); v2_0 = fma(Unit(weight[0]), b, v2_0); v2_1 = fma(Unit(weight[1]), b, v2_1); v2_2 = fma(Unit(weight[2]), b, v2_2); v2_3 = fma(Unit(weight[3]), b, v2_3); }
        { let b = subgroupBroadcast(row, 3u); v3_0 = fma(Unit(weight[0]), b, v3_0); v3_1 = fma(Unit(weight[1]), b, v3_1); v3_2 = fma(Unit(weight[2]), b, v3_2); v3_3 = fma(Unit(weight[3]), b, v3_3); }
      }
      var sum_tile = array<Unit, 16>(v0_0, v0_1, v0_2, v0_3, v1_0, v1_1, v1_2, v1_3, v2_0, v2_1, v2_2, v2_3, v3_0, v3_1, v3_2, v3_3);
      let unit_end = min(unit0 + params.unit_tile, units);
      for (var j = 0u; j < used; j++) {
        let query = query0 + j * 4u;
        if (query < tile.y) {
          let start = (query * params.heads + head) * units;
          for (var unit = unit0; unit < unit_end; unit++) {
            let sum = select(y[start + unit] * fade[j], Unit(), kept0 == tile.z);
            y[start + unit] = sum + sum_tile[4u * (unit - unit0) + j];
          }
        }
      }
    }
  }
  let divisor = bitcast<vec4f>(select(bitcast<vec4u>(total), vec4u(0x7fc00000u), total == vec4f()));
  for (var j = 0u; j < used; j++) {
    let query = query0 + j * 4u;
    if (query < tile.y) {
      let start = (query * params.heads + head) * units;
      for (var u = 0u; u < units; u++) { y[start + u] = select(y[start + u] / divisor[j], Unit(), keys_end == tile.z); }
    }
  }
}
