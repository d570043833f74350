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
  var query_rows: array<Unit, 4>;
  var sums: array<Unit, 4>;
  var scores: array<f32, 32>;
  for (var j = 0u; j < used; j++) {
    let start = (min(query0 + j * 8u, tile.y - 1u) * params.heads + head) * 4u;
    for (var u = 0u; u < params.units; u++) { query_rows[u * 1u + j] = q[start + u] * params.scale; }
  }
  
  var most0 = -3.0e38; var total0 = 0.0;
  for (var first = tile.z; first < tile.w; first += 32u) {
    let keys = min(32u, tile.w - first);
    var higher0 = most0;
    for (var i = 0u; i < keys; i++) {
      let key = first + i;
      let start = (key * params.kv_heads + kv_head) * 4u;
      let row0 = k[start + min(lane + 0u, 3u)];
      var s0 = Unit();
      { let b = subgroupBroadcast(row0, 0u); s0 = fma(b, query_rows[0], s0); }
      { let b = subgroupBroadcast(row0, 1u); s0 = fma(b, query_rows[1], s0); }
      { let b = subgroupBroadcast(row0, 2u); s0 = fma(b, query_rows[2], s0); }
      { let b = subgroupBroadcast(row0, 3u); s0 = fma(b, query_rows[3], s0); }
      var z0 = sum(s0); 
      
      scores[i * 1u + 0u] = z0; higher0 = max(higher0, z0);
    }
    let fade0 = exp_(most0 - higher0); most0 = higher0; total0 *= fade0;
    sums[0] *= fade0;
    sums[1] *= fade0;
    sums[2] *= fade0;
    sums[3] *= fade0;
    for (var i = 0u; i < keys; i++) {
      let start = ((first + i) * params.kv_heads + kv_head) * 4u;
      let row0 = v[start + min(lane + 0u, 3u)];
      let z0 = scores[i * 1u + 0u];
      let p0 = select(0.0, exp_(z0 - most0), z0 > -1.0e38); total0 += p0;
      { let b = subgroupBroadcast(row0, 0u); sums[0] = fma(Unit(p0), b, sums[0]); }
      { let b = subgroupBroadcast(row0, 1u); sums[1] = fma(Unit(p0), b, sums[1]); }
      { let b = subgroupBroadcast(row0, 2u); sums[2] = fma(Unit(p0), b, sums[2]); }
      { let b = subgroupBroadcast(row0, 3u); sums[3] = fma(Unit(p0), b, sums[3]); }
    }
  }
  var totals = array<f32, 1>(total0);
  for (var j = 0u; j < used; j++) {
    let query = query0 + j * 8u;
    if (query < tile.y) {
      let start = (query * params.heads + head) * 4u;
      let factor = select(0.0, 1.0 / totals[j], totals[j] > 0.0);
      for (var u = 0u; u < params.units; u++) { y[start + u] = sums[u * 1u + j] * factor; }
    }
  }
}
