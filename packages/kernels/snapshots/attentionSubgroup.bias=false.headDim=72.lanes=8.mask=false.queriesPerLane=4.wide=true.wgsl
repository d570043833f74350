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
  var query_rows: array<Unit, 72>;
  var sums: array<Unit, 72>;
  var scores: array<f32, 128>;
  for (var j = 0u; j < used; j++) {
    let start = (min(query0 + j * 8u, tile.y - 1u) * params.heads + head) * 18u;
    for (var u = 0u; u < params.units; u++) { query_rows[u * 4u + j] = q[start + u] * params.scale; }
  }
  
  var most0 = -3.0e38; var total0 = 0.0; var most1 = -3.0e38; var total1 = 0.0; var most2 = -3.0e38; var total2 = 0.0; var most3 = -3.0e38; var total3 = 0.0;
  for (var first = tile.z; first < tile.w; first += 32u) {
    let keys = min(32u, tile.w - first);
    var higher0 = most0; var higher1 = most1; var higher2 = most2; var higher3 = most3;
    for (var i = 0u; i < keys; i++) {
      let key = first + i;
      let start = (key * params.kv_heads + kv_head) * 18u;
      let row0 = k[start + min(lane + 0u, 17u)]; let row1 = k[start + min(lane + 8u, 17u)]; let row2 = k[start + min(lane + 16u, 17u)];
      var s0 = Unit(); var s1 = Unit(); var s2 = Unit(); var s3 = Unit();
      { let b = subgroupBroadcast(row0, 0u); s0 = fma(b, query_rows[0], s0); s1 = fma(b, query_rows[1], s1); s2 = fma(b, query_rows[2], s2); s3 = fma(b, query_rows[3], s3); }
      { let b = subgroupBroadcast(row0, 1u); s0 = fma(b, query_rows[4], s0); s1 = fma(b, query_rows[5], s1); s2 = fma(b, query_rows[6], s2); s3 = fma(b, query_rows[7], s3); }
      { let b = subgroupBroadcast(row0, 2u); s0 = fma(b, query_rows[8], s0); s1 = fma(b, query_rows[9], s1); s2 = fma(b, query_rows[10], s2); s3 = fma(b, query_rows[11], s3); }
      { let b = subgroupBroadcast(row0, 3u); s0 = fma(b, query_rows[12], s0); s1 = fma(b, query_rows[13], s1); s2 = fma(b, query_rows[14], s2); s3 = fma(b, query_rows[15], s3); }
      { let b = subgroupBroadcast(row0, 4u); s0 = fma(b, query_rows[16], s0); s1 = fma(b, query_rows[17], s1); s2 = fma(b, query_rows[18], s2); s3 = fma(b, query_rows[19], s3); }
      { let b = subgroupBroadcast(row0, 5u); s0 = fma(b, query_rows[20], s0); s1 = fma(b, query_rows[21], s1); s2 = fma(b, query_rows[22], s2); s3 = fma(b, query_rows[23], s3); }
      { let b = subgroupBroadcast(row0, 6u); s0 = fma(b, query_rows[24], s0); s1 = fma(b, query_rows[25], s1); s2 = fma(b, query_rows[26], s2); s3 = fma(b, query_rows[27], s3); }
      { let b = subgroupBroadcast(row0, 7u); s0 = fma(b, query_rows[28], s0); s1 = fma(b, query_rows[29], s1); s2 = fma(b, query_rows[30], s2); s3 = fma(b, query_rows[31], s3); }
      { let b = subgroupBroadcast(row1, 0u); s0 = fma(b, query_rows[32], s0); s1 = fma(b, query_rows[33], s1); s2 = fma(b, query_rows[34], s2); s3 = fma(b, query_rows[35], s3); }
      { let b = subgroupBroadcast(row1, 1u); s0 = fma(b, query_rows[36], s0); s1 = fma(b, query_rows[37], s1); s2 = fma(b, query_rows[38], s2); s3 = fma(b, query_rows[39], s3); }
      { let b = subgroupBroadcast(row1, 2u); s0 = fma(b, query_rows[40], s0); s1 = fma(b, query_rows[41], s1); s2 = fma(b, query_rows[42], s2); s3 = fma(b, query_rows[43], s3); }
      { let b = subgroupBroadcast(row1, 3u); s0 = fma(b, query_rows[44], s0); s1 = fma(b, query_rows[45], s1); s2 = fma(b, query_rows[46], s2); s3 = fma(b, query_rows[47], s3); }
      { let b = subgroupBroadcast(row1, 4u); s0 = fma(b, query_rows[48], s0); s1 = fma(b, query_rows[49], s1); s2 = fma(b, query_rows[50], s2); s3 = fma(b, query_rows[51], s3); }
      { let b = subgroupBroadcast(row1, 5u); s0 = fma(b, query_rows[52], s0); s1 = fma(b, query_rows[53], s1); s2 = fma(b, query_rows[54], s2); s3 = fma(b, query_rows[55], s3); }
      { let b = subgroupBroadcast(row1, 6u); s0 = fma(b, query_rows[56], s0); s1 = fma(b, query_rows[57], s1); s2 = fma(b, query_rows[58], s2); s3 = fma(b, query_rows[59], s3); }
      { let b = subgroupBroadcast(row1, 7u); s0 = fma(b, query_rows[60], s0); s1 = fma(b, query_rows[61], s1); s2 = fma(b, query_rows[62], s2); s3 = fma(b, query_rows[63], s3); }
      { let b = subgroupBroadcast(row2, 0u); s0 = fma(b, query_rows[64], s0); s1 = fma(b, query_rows[65], s1); s2 = fma(b, query_rows[66], s2); s3 = fma(b, query_rows[67], s3); }
      { let b = subgroupBroadcast(row2, 1u); s0 = fma(b, query_rows[68], s0); s1 = fma(b, query_rows[69], s1); s2 = fma(b, query_rows[70], s2); s3 = fma(b, query_rows[71], s3); }
      var z0 = sum(s0);  var z1 = sum(s1);  var z2 = sum(s2);  var z3 = sum(s3); 
      
      scores[i * 4u + 0u] = z0; higher0 = max(higher0, z0); scores[i * 4u + 1u] = z1; higher1 = max(higher1, z1); scores[i * 4u + 2u] = z2; higher2 = max(higher2, z2); scores[i * 4u + 3u] = z3; higher3 = max(higher3, z3);
    }
    let fade0 = exp_(most0 - higher0); most0 = higher0; total0 *= fade0; let fade1 = exp_(most1 - higher1); most1 = higher1; total1 *= fade1; let fade2 = exp_(most2 - higher2); most2 = higher2; total2 *= fade2; let fade3 = exp_(most3 - higher3); most3 = higher3; total3 *= fade3;
    sums[0] *= fade0; sums[1] *= fade1; sums[2] *= fade2; sums[3] *= fade3;
    sums[4] *= fade0; sums[5] *= fade1; sums[6] *= fade2; sums[7] *= fade3;
    sums[8] *= fade0; sums[9] *= fade1; sums[10] *= fade2; sums[11] *= fade3;
    sums[12] *= fade0; sums[13] *= fade1; sums[14] *= fade2; sums[15] *= fade3;
    sums[16] *= fade0; sums[17] *= fade1; sums[18] *= fade2; sums[19] *= fade3;
    sums[20] *= fade0; sums[21] *= fade1; sums[22] *= fade2; sums[23] *= fade3;
    sums[24] *= fade0; sums[25] *= fade1; sums[26] *= fade2; sums[27] *= fade3;
    sums[28] *= fade0; sums[29] *= fade1; sums[30] *= fade2; sums[31] *= fade3;
    sums[32] *= fade0; sums[33] *= fade1; sums[34] *= fade2; sums[35] *= fade3;
    sums[36] *= fade0; sums[37] *= fade1; sums[38] *= fade2; sums[39] *= fade3;
    sums[40] *= fade0; sums[41] *= fade1; sums[42] *= fade2; sums[43] *= fade3;
    sums[44] *= fade0; sums[45] *= fade1; sums[46] *= fade2; sums[47] *= fade3;
    sums[48] *= fade0; sums[49] *= fade1; sums[50] *= fade2; sums[51] *= fade3;
    sums[52] *= fade0; sums[53] *= fade1; sums[54] *= fade2; sums[55] *= fade3;
    sums[56] *= fade0; sums[57] *= fade1; sums[58] *= fade2; sums[59] *= fade3;
    sums[60] *= fade0; sums[61] *= fade1; sums[62] *= fade2; sums[63] *= fade3;
    sums[64] *= fade0; sums[65] *= fade1; sums[66] *= fade2; sums[67] *= fade3;
    sums[68] *= fade0; sums[69] *= fade1; sums[70] *= fade2; sums[71] *= fade3;
    for (var i = 0u; i < keys; i++) {
      let start = ((first + i) * params.kv_heads + kv_head) * 18u;
      let row0 = v[start + min(lane + 0u, 17u)]; let row1 = v[start + min(lane + 8u, 17u)]; let row2 = v[start + min(lane + 16u, 17u)];
      let z0 = scores[i * 4u + 0u]; let z1 = scores[i * 4u + 1u]; let z2 = scores[i * 4u + 2u]; let z3 = scores[i * 4u + 3u];
      let p0 = select(0.0, exp_(z0 - most0), z0 > -1.0e38); total0 += p0; let p1 = select(0.0, exp_(z1 - most1), z1 > -1.0e38); total1 += p1; let p2 = select(0.0, exp_(z2 - most2), z2 > -1.0e38); total2 += p2; let p3 = select(0.0, exp_(z3 - most3), z3 > -1.0e38); total3 += p3;
      { let b = subgroupBroadcast(row0, 0u); sums[0] = fma(Unit(p0), b, sums[0]); sums[1] = fma(Unit(p1), b, sums[1]); sums[2] = fma(Unit(p2), b, sums[2]); sums[3] = fma(Unit(p3), b, sums[3]); }
      { let b = subgroupBroadcast(row0, 1u); sums[4] = fma(Unit(p0), b, sums[4]); sums[5] = fma(Unit(p1), b, sums[5]); sums[6] = fma(Unit(p2), b, sums[6]); sums[7] = fma(Unit(p3), b, sums[7]); }
      { let b = subgroupBroadcast(row0, 2u); sums[8] = fma(Unit(p0), b, sums[8]); sums[9] = fma(Unit(p1), b, sums[9]); sums[10] = fma(Unit(p2), b, sums[10]); sums[11] = fma(Unit(p3), b, sums[11]); }
      { let b = subgroupBroadcast(row0, 3u); sums[12] = fma(Unit(p0), b, sums[12]); sums[13] = fma(Unit(p1), b, sums[13]); sums[14] = fma(Unit(p2), b, sums[14]); sums[15] = fma(Unit(p3), b, sums[15]); }
      { let b = subgroupBroadcast(row0, 4u); sums[16] = fma(Unit(p0), b, sums[16]); sums[17] = fma(Unit(p1), b, sums[17]); sums[18] = fma(Unit(p2), b, sums[18]); sums[19] = fma(Unit(p3), b, sums[19]); }
      { let b = subgroupBroadcast(row0, 5u); sums[20] = fma(Unit(p0), b, sums[20]); sums[21] = fma(Unit(p1), b, sums[21]); sums[22] = fma(Unit(p2), b, sums[22]); sums[23] = fma(Unit(p3), b, sums[23]); }
      { let b = subgroupBroadcast(row0, 6u); sums[24] = fma(Unit(p0), b, sums[24]); sums[25] = fma(Unit(p1), b, sums[25]); sums[26] = fma(Unit(p2), b, sums[26]); sums[27] = fma(Unit(p3), b, sums[27]); }
      { let b = subgroupBroadcast(row0, 7u); sums[28] = fma(Unit(p0), b, sums[28]); sums[29] = fma(Unit(p1), b, sums[29]); sums[30] = fma(Unit(p2), b, sums[30]); sums[31] = fma(Unit(p3), b, sums[31]); }
      { let b = subgroupBroadcast(row1, 0u); sums[32] = fma(Unit(p0), b, sums[32]); sums[33] = fma(Unit(p1), b, sums[33]); sums[34] = fma(Unit(p2), b, sums[34]); sums[35] = fma(Unit(p3), b, sums[35]); }
      { let b = subgroupBroadcast(row1, 1u); sums[36] = fma(Unit(p0), b, sums[36]); sums[37] = fma(Unit(p1), b, sums[37]); sums[38] = fma(Unit(p2), b, sums[38]); sums[39] = fma(Unit(p3), b, sums[39]); }
      { let b = subgroupBroadcast(row1, 2u); sums[40] = fma(Unit(p0), b, sums[40]); sums[41] = fma(Unit(p1), b, sums[41]); sums[42] = fma(Unit(p2), b, sums[42]); sums[43] = fma(Unit(p3), b, sums[43]); }
      { let b = subgroupBroadcast(row1, 3u); sums[44] = fma(Unit(p0), b, sums[44]); sums[45] = fma(Unit(p1), b, sums[45]); sums[46] = fma(Unit(p2), b, sums[46]); sums[47] = fma(Unit(p3), b, sums[47]); }
      { let b = subgroupBroadcast(row1, 4u); sums[48] = fma(Unit(p0), b, sums[48]); sums[49] = fma(Unit(p1), b, sums[49]); sums[50] = fma(Unit(p2), b, sums[50]); sums[51] = fma(Unit(p3), b, sums[51]); }
      { let b = subgroupBroadcast(row1, 5u); sums[52] = fma(Unit(p0), b, sums[52]); sums[53] = fma(Unit(p1), b, sums[53]); sums[54] = fma(Unit(p2), b, sums[54]); sums[55] = fma(Unit(p3), b, sums[55]); }
      { let b = subgroupBroadcast(row1, 6u); sums[56] = fma(Unit(p0), b, sums[56]); sums[57] = fma(Unit(p1), b, sums[57]); sums[58] = fma(Unit(p2), b, sums[58]); sums[59] = fma(Unit(p3), b, sums[59]); }
      { let b = subgroupBroadcast(row1, 7u); sums[60] = fma(Unit(p0), b, sums[60]); sums[61] = fma(Unit(p1), b, sums[61]); sums[62] = fma(Unit(p2), b, sums[62]); sums[63] = fma(Unit(p3), b, sums[63]); }
      { let b = subgroupBroadcast(row2, 0u); sums[64] = fma(Unit(p0), b, sums[64]); sums[65] = fma(Unit(p1), b, sums[65]); sums[66] = fma(Unit(p2), b, sums[66]); sums[67] = fma(Unit(p3), b, sums[67]); }
      { let b = subgroupBroadcast(row2, 1u); sums[68] = fma(Unit(p0), b, sums[68]); sums[69] = fma(Unit(p1), b, sums[69]); sums[70] = fma(Unit(p2), b, sums[70]); sums[71] = fma(Unit(p3), b, sums[71]); }
    }
  }
  var totals = array<f32, 4>(total0, total1, total2, total3);
  for (var j = 0u; j < used; j++) {
    let query = query0 + j * 8u;
    if (query < tile.y) {
      let start = (query * params.heads + head) * 18u;
      let factor = select(0.0, 1.0 / totals[j], totals[j] > 0.0);
      for (var u = 0u; u < params.units; u++) { y[start + u] = sums[u * 4u + j] * factor; }
    }
  }
}
