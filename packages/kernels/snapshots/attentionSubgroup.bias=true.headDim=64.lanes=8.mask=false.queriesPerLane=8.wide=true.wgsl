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
@group(0) @binding(5) var<storage, read> relativeBias: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<vec4f>;

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
  var query_rows: array<Unit, 128>;
  var sums: array<Unit, 128>;
  var scores: array<f32, 256>;
  for (var j = 0u; j < used; j++) {
    let start = (min(query0 + j * 8u, tile.y - 1u) * params.heads + head) * 16u;
    for (var u = 0u; u < params.units; u++) { query_rows[u * 8u + j] = q[start + u] * params.scale; }
  }
  let bias_start = head * (params.queries + params.keys - 1u) + params.queries - 1u;
  var most0 = -3.0e38; var total0 = 0.0; var most1 = -3.0e38; var total1 = 0.0; var most2 = -3.0e38; var total2 = 0.0; var most3 = -3.0e38; var total3 = 0.0; var most4 = -3.0e38; var total4 = 0.0; var most5 = -3.0e38; var total5 = 0.0; var most6 = -3.0e38; var total6 = 0.0; var most7 = -3.0e38; var total7 = 0.0;
  for (var first = tile.z; first < tile.w; first += 32u) {
    let keys = min(32u, tile.w - first);
    var higher0 = most0; var higher1 = most1; var higher2 = most2; var higher3 = most3; var higher4 = most4; var higher5 = most5; var higher6 = most6; var higher7 = most7;
    for (var i = 0u; i < keys; i++) {
      let key = first + i;
      let start = (key * params.kv_heads + kv_head) * 16u;
      let row0 = k[start + min(lane + 0u, 15u)]; let row1 = k[start + min(lane + 8u, 15u)];
      var s0 = Unit(); var s1 = Unit(); var s2 = Unit(); var s3 = Unit(); var s4 = Unit(); var s5 = Unit(); var s6 = Unit(); var s7 = Unit();
      { let b = subgroupBroadcast(row0, 0u); s0 = fma(b, query_rows[0], s0); s1 = fma(b, query_rows[1], s1); s2 = fma(b, query_rows[2], s2); s3 = fma(b, query_rows[3], s3); s4 = fma(b, query_rows[4], s4); s5 = fma(b, query_rows[5], s5); s6 = fma(b, query_rows[6], s6); s7 = fma(b, query_rows[7], s7); }
      { let b = subgroupBroadcast(row0, 1u); s0 = fma(b, query_rows[8], s0); s1 = fma(b, query_rows[9], s1); s2 = fma(b, query_rows[10], s2); s3 = fma(b, query_rows[11], s3); s4 = fma(b, query_rows[12], s4); s5 = fma(b, query_rows[13], s5); s6 = fma(b, query_rows[14], s6); s7 = fma(b, query_rows[15], s7); }
      { let b = subgroupBroadcast(row0, 2u); s0 = fma(b, query_rows[16], s0); s1 = fma(b, query_rows[17], s1); s2 = fma(b, query_rows[18], s2); s3 = fma(b, query_rows[19], s3); s4 = fma(b, query_rows[20], s4); s5 = fma(b, query_rows[21], s5); s6 = fma(b, query_rows[22], s6); s7 = fma(b, query_rows[23], s7); }
      { let b = subgroupBroadcast(row0, 3u); s0 = fma(b, query_rows[24], s0); s1 = fma(b, query_rows[25], s1); s2 = fma(b, query_rows[26], s2); s3 = fma(b, query_rows[27], s3); s4 = fma(b, query_rows[28], s4); s5 = fma(b, query_rows[29], s5); s6 = fma(b, query_rows[30], s6); s7 = fma(b, query_rows[31], s7); }
      { let b = subgroupBroadcast(row0, 4u); s0 = fma(b, query_rows[32], s0); s1 = fma(b, query_rows[33], s1); s2 = fma(b, query_rows[34], s2); s3 = fma(b, query_rows[35], s3); s4 = fma(b, query_rows[36], s4); s5 = fma(b, query_rows[37], s5); s6 = fma(b, query_rows[38], s6); s7 = fma(b, query_rows[39], s7); }
      { let b = subgroupBroadcast(row0, 5u); s0 = fma(b, query_rows[40], s0); s1 = fma(b, query_rows[41], s1); s2 = fma(b, query_rows[42], s2); s3 = fma(b, query_rows[43], s3); s4 = fma(b, query_rows[44], s4); s5 = fma(b, query_rows[45], s5); s6 = fma(b, query_rows[46], s6); s7 = fma(b, query_rows[47], s7); }
      { let b = subgroupBroadcast(row0, 6u); s0 = fma(b, query_rows[48], s0); s1 = fma(b, query_rows[49], s1); s2 = fma(b, query_rows[50], s2); s3 = fma(b, query_rows[51], s3); s4 = fma(b, query_rows[52], s4); s5 = fma(b, query_rows[53], s5); s6 = fma(b, query_rows[54], s6); s7 = fma(b, query_rows[55], s7); }
      { let b = subgroupBroadcast(row0, 7u); s0 = fma(b, query_rows[56], s0); s1 = fma(b, query_rows[57], s1); s2 = fma(b, query_rows[58], s2); s3 = fma(b, query_rows[59], s3); s4 = fma(b, query_rows[60], s4); s5 = fma(b, query_rows[61], s5); s6 = fma(b, query_rows[62], s6); s7 = fma(b, query_rows[63], s7); }
      { let b = subgroupBroadcast(row1, 0u); s0 = fma(b, query_rows[64], s0); s1 = fma(b, query_rows[65], s1); s2 = fma(b, query_rows[66], s2); s3 = fma(b, query_rows[67], s3); s4 = fma(b, query_rows[68], s4); s5 = fma(b, query_rows[69], s5); s6 = fma(b, query_rows[70], s6); s7 = fma(b, query_rows[71], s7); }
      { let b = subgroupBroadcast(row1, 1u); s0 = fma(b, query_rows[72], s0); s1 = fma(b, query_rows[73], s1); s2 = fma(b, query_rows[74], s2); s3 = fma(b, query_rows[75], s3); s4 = fma(b, query_rows[76], s4); s5 = fma(b, query_rows[77], s5); s6 = fma(b, query_rows[78], s6); s7 = fma(b, query_rows[79], s7); }
      { let b = subgroupBroadcast(row1, 2u); s0 = fma(b, query_rows[80], s0); s1 = fma(b, query_rows[81], s1); s2 = fma(b, query_rows[82], s2); s3 = fma(b, query_rows[83], s3); s4 = fma(b, query_rows[84], s4); s5 = fma(b, query_rows[85], s5); s6 = fma(b, query_rows[86], s6); s7 = fma(b, query_rows[87], s7); }
      { let b = subgroupBroadcast(row1, 3u); s0 = fma(b, query_rows[88], s0); s1 = fma(b, query_rows[89], s1); s2 = fma(b, query_rows[90], s2); s3 = fma(b, query_rows[91], s3); s4 = fma(b, query_rows[92], s4); s5 = fma(b, query_rows[93], s5); s6 = fma(b, query_rows[94], s6); s7 = fma(b, query_rows[95], s7); }
      { let b = subgroupBroadcast(row1, 4u); s0 = fma(b, query_rows[96], s0); s1 = fma(b, query_rows[97], s1); s2 = fma(b, query_rows[98], s2); s3 = fma(b, query_rows[99], s3); s4 = fma(b, query_rows[100], s4); s5 = fma(b, query_rows[101], s5); s6 = fma(b, query_rows[102], s6); s7 = fma(b, query_rows[103], s7); }
      { let b = subgroupBroadcast(row1, 5u); s0 = fma(b, query_rows[104], s0); s1 = fma(b, query_rows[105], s1); s2 = fma(b, query_rows[106], s2); s3 = fma(b, query_rows[107], s3); s4 = fma(b, query_rows[108], s4); s5 = fma(b, query_rows[109], s5); s6 = fma(b, query_rows[110], s6); s7 = fma(b, query_rows[111], s7); }
      { let b = subgroupBroadcast(row1, 6u); s0 = fma(b, query_rows[112], s0); s1 = fma(b, query_rows[113], s1); s2 = fma(b, query_rows[114], s2); s3 = fma(b, query_rows[115], s3); s4 = fma(b, query_rows[116], s4); s5 = fma(b, query_rows[117], s5); s6 = fma(b, query_rows[118], s6); s7 = fma(b, query_rows[119], s7); }
      { let b = subgroupBroadcast(row1, 7u); s0 = fma(b, query_rows[120], s0); s1 = fma(b, query_rows[121], s1); s2 = fma(b, query_rows[122], s2); s3 = fma(b, query_rows[123], s3); s4 = fma(b, query_rows[124], s4); s5 = fma(b, query_rows[125], s5); s6 = fma(b, query_rows[126], s6); s7 = fma(b, query_rows[127], s7); }
      var z0 = sum(s0); z0 += relativeBias[bias_start + key - min(query0 + 0u, tile.y - 1u)]; var z1 = sum(s1); z1 += relativeBias[bias_start + key - min(query0 + 8u, tile.y - 1u)]; var z2 = sum(s2); z2 += relativeBias[bias_start + key - min(query0 + 16u, tile.y - 1u)]; var z3 = sum(s3); z3 += relativeBias[bias_start + key - min(query0 + 24u, tile.y - 1u)]; var z4 = sum(s4); z4 += relativeBias[bias_start + key - min(query0 + 32u, tile.y - 1u)]; var z5 = sum(s5); z5 += relativeBias[bias_start + key - min(query0 + 40u, tile.y - 1u)]; var z6 = sum(s6); z6 += relativeBias[bias_start + key - min(query0 + 48u, tile.y - 1u)]; var z7 = sum(s7); z7 += relativeBias[bias_start + key - min(query0 + 56u, tile.y - 1u)];
      
      scores[i * 8u + 0u] = z0; higher0 = max(higher0, z0); scores[i * 8u + 1u] = z1; higher1 = max(higher1, z1); scores[i * 8u + 2u] = z2; higher2 = max(higher2, z2); scores[i * 8u + 3u] = z3; higher3 = max(higher3, z3); scores[i * 8u + 4u] = z4; higher4 = max(higher4, z4); scores[i * 8u + 5u] = z5; higher5 = max(higher5, z5); scores[i * 8u + 6u] = z6; higher6 = max(higher6, z6); scores[i * 8u + 7u] = z7; higher7 = max(higher7, z7);
    }
    let fade0 = exp_(most0 - higher0); most0 = higher0; total0 *= fade0; let fade1 = exp_(most1 - higher1); most1 = higher1; total1 *= fade1; let fade2 = exp_(most2 - higher2); most2 = higher2; total2 *= fade2; let fade3 = exp_(most3 - higher3); most3 = higher3; total3 *= fade3; let fade4 = exp_(most4 - higher4); most4 = higher4; total4 *= fade4; let fade5 = exp_(most5 - higher5); most5 = higher5; total5 *= fade5; let fade6 = exp_(most6 - higher6); most6 = higher6; total6 *= fade6; let fade7 = exp_(most7 - higher7); most7 = higher7; total7 *= fade7;
    sums[0] *= fade0; sums[1] *= fade1; sums[2] *= fade2; sums[3] *= fade3; sums[4] *= fade4; sums[5] *= fade5; sums[6] *= fade6; sums[7] *= fade7;
    sums[8] *= fade0; sums[9] *= fade1; sums[10] *= fade2; sums[11] *= fade3; sums[12] *= fade4; sums[13] *= fade5; sums[14] *= fade6; sums[15] *= fade7;
    sums[16] *= fade0; sums[17] *= fade1; sums[18] *= fade2; sums[19] *= fade3; sums[20] *= fade4; sums[21] *= fade5; sums[22] *= fade6; sums[23] *= fade7;
    sums[24] *= fade0; sums[25] *= fade1; sums[26] *= fade2; sums[27] *= fade3; sums[28] *= fade4; sums[29] *= fade5; sums[30] *= fade6; sums[31] *= fade7;
    sums[32] *= fade0; sums[33] *= fade1; sums[34] *= fade2; sums[35] *= fade3; sums[36] *= fade4; sums[37] *= fade5; sums[38] *= fade6; sums[39] *= fade7;
    sums[40] *= fade0; sums[41] *= fade1; sums[42] *= fade2; sums[43] *= fade3; sums[44] *= fade4; sums[45] *= fade5; sums[46] *= fade6; sums[47] *= fade7;
    sums[48] *= fade0; sums[49] *= fade1; sums[50] *= fade2; sums[51] *= fade3; sums[52] *= fade4; sums[53] *= fade5; sums[54] *= fade6; sums[55] *= fade7;
    sums[56] *= fade0; sums[57] *= fade1; sums[58] *= fade2; sums[59] *= fade3; sums[60] *= fade4; sums[61] *= fade5; sums[62] *= fade6; sums[63] *= fade7;
    sums[64] *= fade0; sums[65] *= fade1; sums[66] *= fade2; sums[67] *= fade3; sums[68] *= fade4; sums[69] *= fade5; sums[70] *= fade6; sums[71] *= fade7;
    sums[72] *= fade0; sums[73] *= fade1; sums[74] *= fade2; sums[75] *= fade3; sums[76] *= fade4; sums[77] *= fade5; sums[78] *= fade6; sums[79] *= fade7;
    sums[80] *= fade0; sums[81] *= fade1; sums[82] *= fade2; sums[83] *= fade3; sums[84] *= fade4; sums[85] *= fade5; sums[86] *= fade6; sums[87] *= fade7;
    sums[88] *= fade0; sums[89] *= fade1; sums[90] *= fade2; sums[91] *= fade3; sums[92] *= fade4; sums[93] *= fade5; sums[94] *= fade6; sums[95] *= fade7;
    sums[96] *= fade0; sums[97] *= fade1; sums[98] *= fade2; sums[99] *= fade3; sums[100] *= fade4; sums[101] *= fade5; sums[102] *= fade6; sums[103] *= fade7;
    sums[104] *= fade0; sums[105] *= fade1; sums[106] *= fade2; sums[107] *= fade3; sums[108] *= fade4; sums[109] *= fade5; sums[110] *= fade6; sums[111] *= fade7;
    sums[112] *= fade0; sums[113] *= fade1; sums[114] *= fade2; sums[115] *= fade3; sums[116] *= fade4; sums[117] *= fade5; sums[118] *= fade6; sums[119] *= fade7;
    sums[120] *= fade0; sums[121] *= fade1; sums[122] *= fade2; sums[123] *= fade3; sums[124] *= fade4; sums[125] *= fade5; sums[126] *= fade6; sums[127] *= fade7;
    for (var i = 0u; i < keys; i++) {
      let start = ((first + i) * params.kv_heads + kv_head) * 16u;
      let row0 = v[start + min(lane + 0u, 15u)]; let row1 = v[start + min(lane + 8u, 15u)];
      let z0 = scores[i * 8u + 0u]; let z1 = scores[i * 8u + 1u]; let z2 = scores[i * 8u + 2u]; let z3 = scores[i * 8u + 3u]; let z4 = scores[i * 8u + 4u]; let z5 = scores[i * 8u + 5u]; let z6 = scores[i * 8u + 6u]; let z7 = scores[i * 8u + 7u];
      let p0 = select(0.0, exp_(z0 - most0), z0 > -1.0e38); total0 += p0; let p1 = select(0.0, exp_(z1 - most1), z1 > -1.0e38); total1 += p1; let p2 = select(0.0, exp_(z2 - most2), z2 > -1.0e38); total2 += p2; let p3 = select(0.0, exp_(z3 - most3), z3 > -1.0e38); total3 += p3; let p4 = select(0.0, exp_(z4 - most4), z4 > -1.0e38); total4 += p4; let p5 = select(0.0, exp_(z5 - most5), z5 > -1.0e38); total5 += p5; let p6 = select(0.0, exp_(z6 - most6), z6 > -1.0e38); total6 += p6; let p7 = select(0.0, exp_(z7 - most7), z7 > -1.0e38); total7 += p7;
      { let b = subgroupBroadcast(row0, 0u); sums[0] = fma(Unit(p0), b, sums[0]); sums[1] = fma(Unit(p1), b, sums[1]); sums[2] = fma(Unit(p2), b, sums[2]); sums[3] = fma(Unit(p3), b, sums[3]); sums[4] = fma(Unit(p4), b, sums[4]); sums[5] = fma(Unit(p5), b, sums[5]); sums[6] = fma(Unit(p6), b, sums[6]); sums[7] = fma(Unit(p7), b, sums[7]); }
      { let b = subgroupBroadcast(row0, 1u); sums[8] = fma(Unit(p0), b, sums[8]); sums[9] = fma(Unit(p1), b, sums[9]); sums[10] = fma(Unit(p2), b, sums[10]); sums[11] = fma(Unit(p3), b, sums[11]); sums[12] = fma(Unit(p4), b, sums[12]); sums[13] = fma(Unit(p5), b, sums[13]); sums[14] = fma(Unit(p6), b, sums[14]); sums[15] = fma(Unit(p7), b, sums[15]); }
      { let b = subgroupBroadcast(row0, 2u); sums[16] = fma(Unit(p0), b, sums[16]); sums[17] = fma(Unit(p1), b, sums[17]); sums[18] = fma(Unit(p2), b, sums[18]); sums[19] = fma(Unit(p3), b, sums[19]); sums[20] = fma(Unit(p4), b, sums[20]); sums[21] = fma(Unit(p5), b, sums[21]); sums[22] = fma(Unit(p6), b, sums[22]); sums[23] = fma(Unit(p7), b, sums[23]); }
      { let b = subgroupBroadcast(row0, 3u); sums[24] = fma(Unit(p0), b, sums[24]); sums[25] = fma(Unit(p1), b, sums[25]); sums[26] = fma(Unit(p2), b, sums[26]); sums[27] = fma(Unit(p3), b, sums[27]); sums[28] = fma(Unit(p4), b, sums[28]); sums[29] = fma(Unit(p5), b, sums[29]); sums[30] = fma(Unit(p6), b, sums[30]); sums[31] = fma(Unit(p7), b, sums[31]); }
      { let b = subgroupBroadcast(row0, 4u); sums[32] = fma(Unit(p0), b, sums[32]); sums[33] = fma(Unit(p1), b, sums[33]); sums[34] = fma(Unit(p2), b, sums[34]); sums[35] = fma(Unit(p3), b, sums[35]); sums[36] = fma(Unit(p4), b, sums[36]); sums[37] = fma(Unit(p5), b, sums[37]); sums[38] = fma(Unit(p6), b, sums[38]); sums[39] = fma(Unit(p7), b, sums[39]); }
      { let b = subgroupBroadcast(row0, 5u); sums[40] = fma(Unit(p0), b, sums[40]); sums[41] = fma(Unit(p1), b, sums[41]); sums[42] = fma(Unit(p2), b, sums[42]); sums[43] = fma(Unit(p3), b, sums[43]); sums[44] = fma(Unit(p4), b, sums[44]); sums[45] = fma(Unit(p5), b, sums[45]); sums[46] = fma(Unit(p6), b, sums[46]); sums[47] = fma(Unit(p7), b, sums[47]); }
      { let b = subgroupBroadcast(row0, 6u); sums[48] = fma(Unit(p0), b, sums[48]); sums[49] = fma(Unit(p1), b, sums[49]); sums[50] = fma(Unit(p2), b, sums[50]); sums[51] = fma(Unit(p3), b, sums[51]); sums[52] = fma(Unit(p4), b, sums[52]); sums[53] = fma(Unit(p5), b, sums[53]); sums[54] = fma(Unit(p6), b, sums[54]); sums[55] = fma(Unit(p7), b, sums[55]); }
      { let b = subgroupBroadcast(row0, 7u); sums[56] = fma(Unit(p0), b, sums[56]); sums[57] = fma(Unit(p1), b, sums[57]); sums[58] = fma(Unit(p2), b, sums[58]); sums[59] = fma(Unit(p3), b, sums[59]); sums[60] = fma(Unit(p4), b, sums[60]); sums[61] = fma(Unit(p5), b, sums[61]); sums[62] = fma(Unit(p6), b, sums[62]); sums[63] = fma(Unit(p7), b, sums[63]); }
      { let b = subgroupBroadcast(row1, 0u); sums[64] = fma(Unit(p0), b, sums[64]); sums[65] = fma(Unit(p1), b, sums[65]); sums[66] = fma(Unit(p2), b, sums[66]); sums[67] = fma(Unit(p3), b, sums[67]); sums[68] = fma(Unit(p4), b, sums[68]); sums[69] = fma(Unit(p5), b, sums[69]); sums[70] = fma(Unit(p6), b, sums[70]); sums[71] = fma(Unit(p7), b, sums[71]); }
      { let b = subgroupBroadcast(row1, 1u); sums[72] = fma(Unit(p0), b, sums[72]); sums[73] = fma(Unit(p1), b, sums[73]); sums[74] = fma(Unit(p2), b, sums[74]); sums[75] = fma(Unit(p3), b, sums[75]); sums[76] = fma(Unit(p4), b, sums[76]); sums[77] = fma(Unit(p5), b, sums[77]); sums[78] = fma(Unit(p6), b, sums[78]); sums[79] = fma(Unit(p7), b, sums[79]); }
      { let b = subgroupBroadcast(row1, 2u); sums[80] = fma(Unit(p0), b, sums[80]); sums[81] = fma(Unit(p1), b, sums[81]); sums[82] = fma(Unit(p2), b, sums[82]); sums[83] = fma(Unit(p3), b, sums[83]); sums[84] = fma(Unit(p4), b, sums[84]); sums[85] = fma(Unit(p5), b, sums[85]); sums[86] = fma(Unit(p6), b, sums[86]); sums[87] = fma(Unit(p7), b, sums[87]); }
      { let b = subgroupBroadcast(row1, 3u); sums[88] = fma(Unit(p0), b, sums[88]); sums[89] = fma(Unit(p1), b, sums[89]); sums[90] = fma(Unit(p2), b, sums[90]); sums[91] = fma(Unit(p3), b, sums[91]); sums[92] = fma(Unit(p4), b, sums[92]); sums[93] = fma(Unit(p5), b, sums[93]); sums[94] = fma(Unit(p6), b, sums[94]); sums[95] = fma(Unit(p7), b, sums[95]); }
      { let b = subgroupBroadcast(row1, 4u); sums[96] = fma(Unit(p0), b, sums[96]); sums[97] = fma(Unit(p1), b, sums[97]); sums[98] = fma(Unit(p2), b, sums[98]); sums[99] = fma(Unit(p3), b, sums[99]); sums[100] = fma(Unit(p4), b, sums[100]); sums[101] = fma(Unit(p5), b, sums[101]); sums[102] = fma(Unit(p6), b, sums[102]); sums[103] = fma(Unit(p7), b, sums[103]); }
      { let b = subgroupBroadcast(row1, 5u); sums[104] = fma(Unit(p0), b, sums[104]); sums[105] = fma(Unit(p1), b, sums[105]); sums[106] = fma(Unit(p2), b, sums[106]); sums[107] = fma(Unit(p3), b, sums[107]); sums[108] = fma(Unit(p4), b, sums[108]); sums[109] = fma(Unit(p5), b, sums[109]); sums[110] = fma(Unit(p6), b, sums[110]); sums[111] = fma(Unit(p7), b, sums[111]); }
      { let b = subgroupBroadcast(row1, 6u); sums[112] = fma(Unit(p0), b, sums[112]); sums[113] = fma(Unit(p1), b, sums[113]); sums[114] = fma(Unit(p2), b, sums[114]); sums[115] = fma(Unit(p3), b, sums[115]); sums[116] = fma(Unit(p4), b, sums[116]); sums[117] = fma(Unit(p5), b, sums[117]); sums[118] = fma(Unit(p6), b, sums[118]); sums[119] = fma(Unit(p7), b, sums[119]); }
      { let b = subgroupBroadcast(row1, 7u); sums[120] = fma(Unit(p0), b, sums[120]); sums[121] = fma(Unit(p1), b, sums[121]); sums[122] = fma(Unit(p2), b, sums[122]); sums[123] = fma(Unit(p3), b, sums[123]); sums[124] = fma(Unit(p4), b, sums[124]); sums[125] = fma(Unit(p5), b, sums[125]); sums[126] = fma(Unit(p6), b, sums[126]); sums[127] = fma(Unit(p7), b, sums[127]); }
    }
  }
  var totals = array<f32, 8>(total0, total1, total2, total3, total4, total5, total6, total7);
  for (var j = 0u; j < used; j++) {
    let query = query0 + j * 8u;
    if (query < tile.y) {
      let start = (query * params.heads + head) * 16u;
      let factor = select(0.0, 1.0 / totals[j], totals[j] > 0.0);
      for (var u = 0u; u < params.units; u++) { y[start + u] = sums[u * 8u + j] * factor; }
    }
  }
}
