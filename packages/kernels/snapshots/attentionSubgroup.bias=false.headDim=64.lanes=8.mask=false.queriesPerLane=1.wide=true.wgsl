enable subgroups;
struct Params {
  queries: u32,
  keys: u32,
  heads: u32,
  kv_heads: u32,
  group: u32,
  units: u32,
  tiles: u32,
  scale: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4f>;
@group(0) @binding(2) var<storage, read> k: array<vec4f>;
@group(0) @binding(3) var<storage, read> v: array<vec4f>;
@group(0) @binding(4) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4f>;

alias Unit = vec4f;
alias T = f32; alias Int = i32;

fn exp_(x: T) -> T {
  let clamped = clamp(x, T(-87.0), T(88.0));
  let n = round(clamped * 1.44269504);
  let r = fma(n, T(0.00021219444), fma(n, T(-0.693359375), clamped));
  let power = bitcast<T>((Int(n) + Int(127)) * Int(8388608));
  return (1.0 + fma(fma(fma(fma(fma(T(0.00139504802), r, T(0.00836888364)), r, T(0.041666206)), r, T(0.166665189)), r, T(0.50000001)), r * r, r)) * power;
}


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }

fn sum(v: Unit) -> f32 { return (v.x + v.y) + (v.z + v.w); }

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let index = workgroup_index(id, count);
  if (index >= params.tiles * params.heads) { return; }
  let head = index / params.tiles;
  let kv_head = head / params.group;
  let tile = tiles[index % params.tiles];
  let query0 = tile.x + lane;
  // Loops over queries and units run to ends that are not constant, so that drivers do not unroll their loads and stores.
  let used = (tile.y - tile.x + 7u) / 8u;
  var query_rows: array<Unit, 16>;
  var sums: array<Unit, 16>;
  var scores: array<f32, 32>;
  for (var j = 0u; j < used; j++) {
    let start = (min(query0 + j * 8u, tile.y - 1u) * params.heads + head) * 16u;
    for (var u = 0u; u < params.units; u++) { query_rows[u * 1u + j] = q[start + u] * params.scale; }
  }
  
  var most0 = -3.0e38; var total0 = 0.0;
  for (var first = tile.z; first < tile.w; first += 32u) {
    let keys = min(32u, tile.w - first);
    var higher0 = most0;
    for (var i = 0u; i < keys; i++) {
      let key = first + i;
      let start = (key * params.kv_heads + kv_head) * 16u;
      let row0 = k[start + min(lane + 0u, 15u)]; let row1 = k[start + min(lane + 8u, 15u)];
      var s0 = Unit();
      { let b = subgroupBroadcast(row0, 0u); s0 = fma(b, query_rows[0], s0); }
      { let b = subgroupBroadcast(row0, 1u); s0 = fma(b, query_rows[1], s0); }
      { let b = subgroupBroadcast(row0, 2u); s0 = fma(b, query_rows[2], s0); }
      { let b = subgroupBroadcast(row0, 3u); s0 = fma(b, query_rows[3], s0); }
      { let b = subgroupBroadcast(row0, 4u); s0 = fma(b, query_rows[4], s0); }
      { let b = subgroupBroadcast(row0, 5u); s0 = fma(b, query_rows[5], s0); }
      { let b = subgroupBroadcast(row0, 6u); s0 = fma(b, query_rows[6], s0); }
      { let b = subgroupBroadcast(row0, 7u); s0 = fma(b, query_rows[7], s0); }
      { let b = subgroupBroadcast(row1, 0u); s0 = fma(b, query_rows[8], s0); }
      { let b = subgroupBroadcast(row1, 1u); s0 = fma(b, query_rows[9], s0); }
      { let b = subgroupBroadcast(row1, 2u); s0 = fma(b, query_rows[10], s0); }
      { let b = subgroupBroadcast(row1, 3u); s0 = fma(b, query_rows[11], s0); }
      { let b = subgroupBroadcast(row1, 4u); s0 = fma(b, query_rows[12], s0); }
      { let b = subgroupBroadcast(row1, 5u); s0 = fma(b, query_rows[13], s0); }
      { let b = subgroupBroadcast(row1, 6u); s0 = fma(b, query_rows[14], s0); }
      { let b = subgroupBroadcast(row1, 7u); s0 = fma(b, query_rows[15], s0); }
      var z0 = sum(s0); 
      
      scores[i * 1u + 0u] = z0; higher0 = max(higher0, z0);
    }
    let fade0 = exp_(most0 - higher0); most0 = higher0; total0 *= fade0;
    sums[0] *= fade0;
    sums[1] *= fade0;
    sums[2] *= fade0;
    sums[3] *= fade0;
    sums[4] *= fade0;
    sums[5] *= fade0;
    sums[6] *= fade0;
    sums[7] *= fade0;
    sums[8] *= fade0;
    sums[9] *= fade0;
    sums[10] *= fade0;
    sums[11] *= fade0;
    sums[12] *= fade0;
    sums[13] *= fade0;
    sums[14] *= fade0;
    sums[15] *= fade0;
    for (var i = 0u; i < keys; i++) {
      let start = ((first + i) * params.kv_heads + kv_head) * 16u;
      let row0 = v[start + min(lane + 0u, 15u)]; let row1 = v[start + min(lane + 8u, 15u)];
      let z0 = scores[i * 1u + 0u];
      let p0 = select(0.0, exp_(z0 - most0), z0 > -1.0e38); total0 += p0;
      { let b = subgroupBroadcast(row0, 0u); sums[0] = fma(Unit(p0), b, sums[0]); }
      { let b = subgroupBroadcast(row0, 1u); sums[1] = fma(Unit(p0), b, sums[1]); }
      { let b = subgroupBroadcast(row0, 2u); sums[2] = fma(Unit(p0), b, sums[2]); }
      { let b = subgroupBroadcast(row0, 3u); sums[3] = fma(Unit(p0), b, sums[3]); }
      { let b = subgroupBroadcast(row0, 4u); sums[4] = fma(Unit(p0), b, sums[4]); }
      { let b = subgroupBroadcast(row0, 5u); sums[5] = fma(Unit(p0), b, sums[5]); }
      { let b = subgroupBroadcast(row0, 6u); sums[6] = fma(Unit(p0), b, sums[6]); }
      { let b = subgroupBroadcast(row0, 7u); sums[7] = fma(Unit(p0), b, sums[7]); }
      { let b = subgroupBroadcast(row1, 0u); sums[8] = fma(Unit(p0), b, sums[8]); }
      { let b = subgroupBroadcast(row1, 1u); sums[9] = fma(Unit(p0), b, sums[9]); }
      { let b = subgroupBroadcast(row1, 2u); sums[10] = fma(Unit(p0), b, sums[10]); }
      { let b = subgroupBroadcast(row1, 3u); sums[11] = fma(Unit(p0), b, sums[11]); }
      { let b = subgroupBroadcast(row1, 4u); sums[12] = fma(Unit(p0), b, sums[12]); }
      { let b = subgroupBroadcast(row1, 5u); sums[13] = fma(Unit(p0), b, sums[13]); }
      { let b = subgroupBroadcast(row1, 6u); sums[14] = fma(Unit(p0), b, sums[14]); }
      { let b = subgroupBroadcast(row1, 7u); sums[15] = fma(Unit(p0), b, sums[15]); }
    }
  }
  var totals = array<f32, 1>(total0);
  for (var j = 0u; j < used; j++) {
    let query = query0 + j * 8u;
    if (query < tile.y) {
      let start = (query * params.heads + head) * 16u;
      let factor = select(0.0, 1.0 / totals[j], totals[j] > 0.0);
      for (var u = 0u; u < params.units; u++) { y[start + u] = sums[u * 1u + j] * factor; }
    }
  }
}
