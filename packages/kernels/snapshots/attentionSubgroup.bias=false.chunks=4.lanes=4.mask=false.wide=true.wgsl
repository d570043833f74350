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
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4f>;
@group(0) @binding(2) var<storage, read> k: array<vec4f>;
@group(0) @binding(3) var<storage, read> v: array<vec4f>;
@group(0) @binding(4) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4f>;

alias Unit = vec4f;
alias T = vec4f; alias Int = vec4i;

fn exp_(x: T) -> T {
  let clamped = clamp(x, T(-87.0), T(88.0));
  let n = round(clamped * 1.44269504);
  let r = fma(n, T(0.00021219444), fma(n, T(-0.693359375), clamped));
  let power = bitcast<T>((Int(n) + Int(127)) * Int(8388608));
  return (1.0 + fma(fma(fma(fma(fma(T(0.00139504802), r, T(0.00836888364)), r, T(0.041666206)), r, T(0.166665189)), r, T(0.50000001)), r * r, r)) * power;
}


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }


@compute @workgroup_size(4)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let index = workgroup_index(id, count);
  if (index >= params.tiles * params.heads) { return; }
  let units = params.units;
  let head = index / params.tiles;
  let kv_head = head / params.group;
  let tile = tiles[index % params.tiles];
  let query0 = tile.x + lane;
  let query_start0 = (min(query0 + 0u, tile.y - 1u) * params.heads + head) * units;
  let query_start1 = (min(query0 + 4u, tile.y - 1u) * params.heads + head) * units;
  let query_start2 = (min(query0 + 8u, tile.y - 1u) * params.heads + head) * units;
  let query_start3 = (min(query0 + 12u, tile.y - 1u) * params.heads + head) * units;
  
  // sums[4 u + j] is unit u of the lane's query j; scores[i] and the vec4f below are of its four queries.
  var sums: array<Unit, 64>;
  var sum_tile: array<Unit, 16>;
  var scores: array<vec4f, 40>;
  var most = vec4f(-3.0e38);
  var total = vec4f();
  for (var first = tile.z; first < tile.w; first += 16u) {
    let keys = min(params.key_tile, tile.w - first);
    var higher = most;
    let start0 = ((first + min(0u + lane, keys - 1u)) * params.kv_heads + kv_head) * units; let start1 = ((first + min(4u + lane, keys - 1u)) * params.kv_heads + kv_head) * units; let start2 = ((first + min(8u + lane, keys - 1u)) * params.kv_heads + kv_head) * units; let start3 = ((first + min(12u + lane, keys - 1u)) * params.kv_heads + kv_head) * units;
      var s0 = vec4f(); var s1 = vec4f(); var s2 = vec4f(); var s3 = vec4f(); var s4 = vec4f(); var s5 = vec4f(); var s6 = vec4f(); var s7 = vec4f(); var s8 = vec4f(); var s9 = vec4f(); var s10 = vec4f(); var s11 = vec4f(); var s12 = vec4f(); var s13 = vec4f(); var s14 = vec4f(); var s15 = vec4f();
      for (var u = 0u; u < units; u++) {
        let row0 = k[start0 + u]; let row1 = k[start1 + u]; let row2 = k[start2 + u]; let row3 = k[start3 + u];
        let q0 = q[query_start0 + u]; let q1 = q[query_start1 + u]; let q2 = q[query_start2 + u]; let q3 = q[query_start3 + u];
        let across0 = vec4f(q0.x, q1.x, q2.x, q3.x); let across1 = vec4f(q0.y, q1.y, q2.y, q3.y); let across2 = vec4f(q0.z, q1.z, q2.z, q3.z); let across3 = vec4f(q0.w, q1.w, q2.w, q3.w);
        { let b = subgroupBroadcast(row0, 0u); s0 = fma(vec4f(b.w), across3, fma(vec4f(b.z), across2, fma(vec4f(b.y), across1, fma(vec4f(b.x), across0, s0)))); }
        { let b = subgroupBroadcast(row0, 1u); s1 = fma(vec4f(b.w), across3, fma(vec4f(b.z), across2, fma(vec4f(b.y), across1, fma(vec4f(b.x), across0, s1)))); }
        { let b = subgroupBroadcast(row0, 2u); s2 = fma(vec4f(b.w), across3, fma(vec4f(b.z), across2, fma(vec4f(b.y), across1, fma(vec4f(b.x), across0, s2)))); }
        { let b = subgroupBroadcast(row0, 3u); s3 = fma(vec4f(b.w), across3, fma(vec4f(b.z), across2, fma(vec4f(b.y), across1, fma(vec4f(b.x), across0, s3)))); }
        { let b = subgroupBroadcast(row1, 0u); s4 = fma(vec4f(b.w), across3, fma(vec4f(b.z), across2, fma(vec4f(b.y), across1, fma(vec4f(b.x), across0, s4)))); }
        { let b = subgroupBroadcast(row1, 1u); s5 = fma(vec4f(b.w), across3, fma(vec4f(b.z), across2, fma(vec4f(b.y), across1, fma(vec4f(b.x), across0, s5)))); }
        { let b = subgroupBroadcast(row1, 2u); s6 = fma(vec4f(b.w), across3, fma(vec4f(b.z), across2, fma(vec4f(b.y), across1, fma(vec4f(b.x), across0, s6)))); }
        { let b = subgroupBroadcast(row1, 3u); s7 = fma(vec4f(b.w), across3, fma(vec4f(b.z), across2, fma(vec4f(b.y), across1, fma(vec4f(b.x), across0, s7)))); }
        { let b = subgroupBroadcast(row2, 0u); s8 = fma(vec4f(b.w), across3, fma(vec4f(b.z), across2, fma(vec4f(b.y), across1, fma(vec4f(b.x), across0, s8)))); }
        { let b = subgroupBroadcast(row2, 1u); s9 = fma(vec4f(b.w), across3, fma(vec4f(b.z), across2, fma(vec4f(b.y), across1, fma(vec4f(b.x), across0, s9)))); }
        { let b = subgroupBroadcast(row2, 2u); s10 = fma(vec4f(b.w), across3, fma(vec4f(b.z), across2, fma(vec4f(b.y), across1, fma(vec4f(b.x), across0, s10)))); }
        { let b = subgroupBroadcast(row2, 3u); s11 = fma(vec4f(b.w), across3, fma(vec4f(b.z), across2, fma(vec4f(b.y), across1, fma(vec4f(b.x), across0, s11)))); }
        { let b = subgroupBroadcast(row3, 0u); s12 = fma(vec4f(b.w), across3, fma(vec4f(b.z), across2, fma(vec4f(b.y), across1, fma(vec4f(b.x), across0, s12)))); }
        { let b = subgroupBroadcast(row3, 1u); s13 = fma(vec4f(b.w), across3, fma(vec4f(b.z), across2, fma(vec4f(b.y), across1, fma(vec4f(b.x), across0, s13)))); }
        { let b = subgroupBroadcast(row3, 2u); s14 = fma(vec4f(b.w), across3, fma(vec4f(b.z), across2, fma(vec4f(b.y), across1, fma(vec4f(b.x), across0, s14)))); }
        { let b = subgroupBroadcast(row3, 3u); s15 = fma(vec4f(b.w), across3, fma(vec4f(b.z), across2, fma(vec4f(b.y), across1, fma(vec4f(b.x), across0, s15)))); }
      }
      scores[0] = s0; scores[1] = s1; scores[2] = s2; scores[3] = s3; scores[4] = s4; scores[5] = s5; scores[6] = s6; scores[7] = s7; scores[8] = s8; scores[9] = s9; scores[10] = s10; scores[11] = s11; scores[12] = s12; scores[13] = s13; scores[14] = s14; scores[15] = s15;
    for (var i = 0u; i < keys; i++) {
      var score = scores[i] * params.scale;
      
      
      
      scores[i] = score;
      higher = max(higher, score);
    }
    let fade = exp_(most - higher);
    most = higher;
    total *= fade;
    for (var i = 0u; i < keys; i++) {
      let score = scores[i];
      let weight = select(vec4f(), exp_(score - most), score > vec4f(-1.0e38));
      scores[i] = weight;
      total += weight;
    }
    for (var unit0 = 0u; unit0 < units; unit0 += 4u) {
      let unit = min(unit0 + lane, units - 1u);
      var v0_0 = Unit(); var v0_1 = Unit(); var v0_2 = Unit(); var v0_3 = Unit(); var v1_0 = Unit(); var v1_1 = Unit(); var v1_2 = Unit(); var v1_3 = Unit(); var v2_0 = Unit(); var v2_1 = Unit(); var v2_2 = Unit(); var v2_3 = Unit(); var v3_0 = Unit(); var v3_1 = Unit(); var v3_2 = Unit(); var v3_3 = Unit();
      for (var i = 0u; i < keys; i++) {
        let row = v[((first + i) * params.kv_heads + kv_head) * units + unit];
        let weight = scores[i];
        { let b = subgroupBroadcast(row, 0u); v0_0 = fma(Unit(weight[0]), b, v0_0); v0_1 = fma(Unit(weight[1]), b, v0_1); v0_2 = fma(Unit(weight[2]), b, v0_2); v0_3 = fma(Unit(weight[3]), b, v0_3); }
        { let b = subgroupBroadcast(row, 1u); v1_0 = fma(Unit(weight[0]), b, v1_0); v1_1 = fma(Unit(weight[1]), b, v1_1); v1_2 = fma(Unit(weight[2]), b, v1_2); v1_3 = fma(Unit(weight[3]), b, v1_3); }
        { let b = subgroupBroadcast(row, 2u); v2_0 = fma(Unit(weight[0]), b, v2_0); v2_1 = fma(Unit(weight[1]), b, v2_1); v2_2 = fma(Unit(weight[2]), b, v2_2); v2_3 = fma(Unit(weight[3]), b, v2_3); }
        { let b = subgroupBroadcast(row, 3u); v3_0 = fma(Unit(weight[0]), b, v3_0); v3_1 = fma(Unit(weight[1]), b, v3_1); v3_2 = fma(Unit(weight[2]), b, v3_2); v3_3 = fma(Unit(weight[3]), b, v3_3); }
      }
      sum_tile[0] = v0_0; sum_tile[1] = v0_1; sum_tile[2] = v0_2; sum_tile[3] = v0_3; sum_tile[4] = v1_0; sum_tile[5] = v1_1; sum_tile[6] = v1_2; sum_tile[7] = v1_3; sum_tile[8] = v2_0; sum_tile[9] = v2_1; sum_tile[10] = v2_2; sum_tile[11] = v2_3; sum_tile[12] = v3_0; sum_tile[13] = v3_1; sum_tile[14] = v3_2; sum_tile[15] = v3_3;
      let end = 4u * min(4u, units - unit0);
      for (var e = 0u; e < end; e++) {
        let to = 4u * unit0 + e;
        sums[to] = fma(sums[to], Unit(fade[e % 4u]), sum_tile[e]);
      }
    }
  }
  // To an end that is not constant, so that it is not unrolled.
  let used = (tile.y - tile.x + 3u) / 4u;
  for (var j = 0u; j < used; j++) {
    let query = query0 + j * 4u;
    if (query < tile.y) {
      let start = (query * params.heads + head) * units;
      let factor = select(0.0, 1.0 / total[j], total[j] > 0.0);
      for (var u = 0u; u < units; u++) { y[start + u] = sums[4u * u + j] * factor; }
    }
  }
}
