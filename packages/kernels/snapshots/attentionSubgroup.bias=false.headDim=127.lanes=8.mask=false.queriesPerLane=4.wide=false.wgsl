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
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> k: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
@group(0) @binding(4) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

alias Unit = f32;
alias T = f32; alias Int = i32;

fn exp_(x: T) -> T {
  let clamped = clamp(x, T(-87.0), T(88.0));
  let n = round(clamped * 1.44269504);
  let r = fma(n, T(0.00021219444), fma(n, T(-0.693359375), clamped));
  let power = bitcast<T>((Int(n) + Int(127)) * Int(8388608));
  return (1.0 + fma(fma(fma(fma(fma(T(0.00139504802), r, T(0.00836888364)), r, T(0.041666206)), r, T(0.166665189)), r, T(0.50000001)), r * r, r)) * power;
}


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }

fn sum(v: Unit) -> f32 { return v; }

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
  var query_rows: array<Unit, 508>;
  var sums: array<Unit, 508>;
  var scores: array<f32, 128>;
  for (var j = 0u; j < used; j++) {
    let start = (min(query0 + j * 8u, tile.y - 1u) * params.heads + head) * 127u;
    for (var u = 0u; u < params.units; u++) { query_rows[u * 4u + j] = q[start + u] * params.scale; }
  }
  
  var most0 = -3.0e38; var total0 = 0.0; var most1 = -3.0e38; var total1 = 0.0; var most2 = -3.0e38; var total2 = 0.0; var most3 = -3.0e38; var total3 = 0.0;
  for (var first = tile.z; first < tile.w; first += 32u) {
    let keys = min(32u, tile.w - first);
    var higher0 = most0; var higher1 = most1; var higher2 = most2; var higher3 = most3;
    for (var i = 0u; i < keys; i++) {
      let key = first + i;
      let start = (key * params.kv_heads + kv_head) * 127u;
      let row0 = k[start + min(lane + 0u, 126u)]; let row1 = k[start + min(lane + 8u, 126u)]; let row2 = k[start + min(lane + 16u, 126u)]; let row3 = k[start + min(lane + 24u, 126u)]; let row4 = k[start + min(lane + 32u, 126u)]; let row5 = k[start + min(lane + 40u, 126u)]; let row6 = k[start + min(lane + 48u, 126u)]; let row7 = k[start + min(lane + 56u, 126u)]; let row8 = k[start + min(lane + 64u, 126u)]; let row9 = k[start + min(lane + 72u, 126u)]; let row10 = k[start + min(lane + 80u, 126u)]; let row11 = k[start + min(lane + 88u, 126u)]; let row12 = k[start + min(lane + 96u, 126u)]; let row13 = k[start + min(lane + 104u, 126u)]; let row14 = k[start + min(lane + 112u, 126u)]; let row15 = k[start + min(lane + 120u, 126u)];
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
      { let b = subgroupBroadcast(row2, 2u); s0 = fma(b, query_rows[72], s0); s1 = fma(b, query_rows[73], s1); s2 = fma(b, query_rows[74], s2); s3 = fma(b, query_rows[75], s3); }
      { let b = subgroupBroadcast(row2, 3u); s0 = fma(b, query_rows[76], s0); s1 = fma(b, query_rows[77], s1); s2 = fma(b, query_rows[78], s2); s3 = fma(b, query_rows[79], s3); }
      { let b = subgroupBroadcast(row2, 4u); s0 = fma(b, query_rows[80], s0); s1 = fma(b, query_rows[81], s1); s2 = fma(b, query_rows[82], s2); s3 = fma(b, query_rows[83], s3); }
      { let b = subgroupBroadcast(row2, 5u); s0 = fma(b, query_rows[84], s0); s1 = fma(b, query_rows[85], s1); s2 = fma(b, query_rows[86], s2); s3 = fma(b, query_rows[87], s3); }
      { let b = subgroupBroadcast(row2, 6u); s0 = fma(b, query_rows[88], s0); s1 = fma(b, query_rows[89], s1); s2 = fma(b, query_rows[90], s2); s3 = fma(b, query_rows[91], s3); }
      { let b = subgroupBroadcast(row2, 7u); s0 = fma(b, query_rows[92], s0); s1 = fma(b, query_rows[93], s1); s2 = fma(b, query_rows[94], s2); s3 = fma(b, query_rows[95], s3); }
      { let b = subgroupBroadcast(row3, 0u); s0 = fma(b, query_rows[96], s0); s1 = fma(b, query_rows[97], s1); s2 = fma(b, query_rows[98], s2); s3 = fma(b, query_rows[99], s3); }
      { let b = subgroupBroadcast(row3, 1u); s0 = fma(b, query_rows[100], s0); s1 = fma(b, query_rows[101], s1); s2 = fma(b, query_rows[102], s2); s3 = fma(b, query_rows[103], s3); }
      { let b = subgroupBroadcast(row3, 2u); s0 = fma(b, query_rows[104], s0); s1 = fma(b, query_rows[105], s1); s2 = fma(b, query_rows[106], s2); s3 = fma(b, query_rows[107], s3); }
      { let b = subgroupBroadcast(row3, 3u); s0 = fma(b, query_rows[108], s0); s1 = fma(b, query_rows[109], s1); s2 = fma(b, query_rows[110], s2); s3 = fma(b, query_rows[111], s3); }
      { let b = subgroupBroadcast(row3, 4u); s0 = fma(b, query_rows[112], s0); s1 = fma(b, query_rows[113], s1); s2 = fma(b, query_rows[114], s2); s3 = fma(b, query_rows[115], s3); }
      { let b = subgroupBroadcast(row3, 5u); s0 = fma(b, query_rows[116], s0); s1 = fma(b, query_rows[117], s1); s2 = fma(b, query_rows[118], s2); s3 = fma(b, query_rows[119], s3); }
      { let b = subgroupBroadcast(row3, 6u); s0 = fma(b, query_rows[120], s0); s1 = fma(b, query_rows[121], s1); s2 = fma(b, query_rows[122], s2); s3 = fma(b, query_rows[123], s3); }
      { let b = subgroupBroadcast(row3, 7u); s0 = fma(b, query_rows[124], s0); s1 = fma(b, query_rows[125], s1); s2 = fma(b, query_rows[126], s2); s3 = fma(b, query_rows[127], s3); }
      { let b = subgroupBroadcast(row4, 0u); s0 = fma(b, query_rows[128], s0); s1 = fma(b, query_rows[129], s1); s2 = fma(b, query_rows[130], s2); s3 = fma(b, query_rows[131], s3); }
      { let b = subgroupBroadcast(row4, 1u); s0 = fma(b, query_rows[132], s0); s1 = fma(b, query_rows[133], s1); s2 = fma(b, query_rows[134], s2); s3 = fma(b, query_rows[135], s3); }
      { let b = subgroupBroadcast(row4, 2u); s0 = fma(b, query_rows[136], s0); s1 = fma(b, query_rows[137], s1); s2 = fma(b, query_rows[138], s2); s3 = fma(b, query_rows[139], s3); }
      { let b = subgroupBroadcast(row4, 3u); s0 = fma(b, query_rows[140], s0); s1 = fma(b, query_rows[141], s1); s2 = fma(b, query_rows[142], s2); s3 = fma(b, query_rows[143], s3); }
      { let b = subgroupBroadcast(row4, 4u); s0 = fma(b, query_rows[144], s0); s1 = fma(b, query_rows[145], s1); s2 = fma(b, query_rows[146], s2); s3 = fma(b, query_rows[147], s3); }
      { let b = subgroupBroadcast(row4, 5u); s0 = fma(b, query_rows[148], s0); s1 = fma(b, query_rows[149], s1); s2 = fma(b, query_rows[150], s2); s3 = fma(b, query_rows[151], s3); }
      { let b = subgroupBroadcast(row4, 6u); s0 = fma(b, query_rows[152], s0); s1 = fma(b, query_rows[153], s1); s2 = fma(b, query_rows[154], s2); s3 = fma(b, query_rows[155], s3); }
      { let b = subgroupBroadcast(row4, 7u); s0 = fma(b, query_rows[156], s0); s1 = fma(b, query_rows[157], s1); s2 = fma(b, query_rows[158], s2); s3 = fma(b, query_rows[159], s3); }
      { let b = subgroupBroadcast(row5, 0u); s0 = fma(b, query_rows[160], s0); s1 = fma(b, query_rows[161], s1); s2 = fma(b, query_rows[162], s2); s3 = fma(b, query_rows[163], s3); }
      { let b = subgroupBroadcast(row5, 1u); s0 = fma(b, query_rows[164], s0); s1 = fma(b, query_rows[165], s1); s2 = fma(b, query_rows[166], s2); s3 = fma(b, query_rows[167], s3); }
      { let b = subgroupBroadcast(row5, 2u); s0 = fma(b, query_rows[168], s0); s1 = fma(b, query_rows[169], s1); s2 = fma(b, query_rows[170], s2); s3 = fma(b, query_rows[171], s3); }
      { let b = subgroupBroadcast(row5, 3u); s0 = fma(b, query_rows[172], s0); s1 = fma(b, query_rows[173], s1); s2 = fma(b, query_rows[174], s2); s3 = fma(b, query_rows[175], s3); }
      { let b = subgroupBroadcast(row5, 4u); s0 = fma(b, query_rows[176], s0); s1 = fma(b, query_rows[177], s1); s2 = fma(b, query_rows[178], s2); s3 = fma(b, query_rows[179], s3); }
      { let b = subgroupBroadcast(row5, 5u); s0 = fma(b, query_rows[180], s0); s1 = fma(b, query_rows[181], s1); s2 = fma(b, query_rows[182], s2); s3 = fma(b, query_rows[183], s3); }
      { let b = subgroupBroadcast(row5, 6u); s0 = fma(b, query_rows[184], s0); s1 = fma(b, query_rows[185], s1); s2 = fma(b, query_rows[186], s2); s3 = fma(b, query_rows[187], s3); }
      { let b = subgroupBroadcast(row5, 7u); s0 = fma(b, query_rows[188], s0); s1 = fma(b, query_rows[189], s1); s2 = fma(b, query_rows[190], s2); s3 = fma(b, query_rows[191], s3); }
      { let b = subgroupBroadcast(row6, 0u); s0 = fma(b, query_rows[192], s0); s1 = fma(b, query_rows[193], s1); s2 = fma(b, query_rows[194], s2); s3 = fma(b, query_rows[195], s3); }
      { let b = subgroupBroadcast(row6, 1u); s0 = fma(b, query_rows[196], s0); s1 = fma(b, query_rows[197], s1); s2 = fma(b, query_rows[198], s2); s3 = fma(b, query_rows[199], s3); }
      { let b = subgroupBroadcast(row6, 2u); s0 = fma(b, query_rows[200], s0); s1 = fma(b, query_rows[201], s1); s2 = fma(b, query_rows[202], s2); s3 = fma(b, query_rows[203], s3); }
      { let b = subgroupBroadcast(row6, 3u); s0 = fma(b, query_rows[204], s0); s1 = fma(b, query_rows[205], s1); s2 = fma(b, query_rows[206], s2); s3 = fma(b, query_rows[207], s3); }
      { let b = subgroupBroadcast(row6, 4u); s0 = fma(b, query_rows[208], s0); s1 = fma(b, query_rows[209], s1); s2 = fma(b, query_rows[210], s2); s3 = fma(b, query_rows[211], s3); }
      { let b = subgroupBroadcast(row6, 5u); s0 = fma(b, query_rows[212], s0); s1 = fma(b, query_rows[213], s1); s2 = fma(b, query_rows[214], s2); s3 = fma(b, query_rows[215], s3); }
      { let b = subgroupBroadcast(row6, 6u); s0 = fma(b, query_rows[216], s0); s1 = fma(b, query_rows[217], s1); s2 = fma(b, query_rows[218], s2); s3 = fma(b, query_rows[219], s3); }
      { let b = subgroupBroadcast(row6, 7u); s0 = fma(b, query_rows[220], s0); s1 = fma(b, query_rows[221], s1); s2 = fma(b, query_rows[222], s2); s3 = fma(b, query_rows[223], s3); }
      { let b = subgroupBroadcast(row7, 0u); s0 = fma(b, query_rows[224], s0); s1 = fma(b, query_rows[225], s1); s2 = fma(b, query_rows[226], s2); s3 = fma(b, query_rows[227], s3); }
      { let b = subgroupBroadcast(row7, 1u); s0 = fma(b, query_rows[228], s0); s1 = fma(b, query_rows[229], s1); s2 = fma(b, query_rows[230], s2); s3 = fma(b, query_rows[231], s3); }
      { let b = subgroupBroadcast(row7, 2u); s0 = fma(b, query_rows[232], s0); s1 = fma(b, query_rows[233], s1); s2 = fma(b, query_rows[234], s2); s3 = fma(b, query_rows[235], s3); }
      { let b = subgroupBroadcast(row7, 3u); s0 = fma(b, query_rows[236], s0); s1 = fma(b, query_rows[237], s1); s2 = fma(b, query_rows[238], s2); s3 = fma(b, query_rows[239], s3); }
      { let b = subgroupBroadcast(row7, 4u); s0 = fma(b, query_rows[240], s0); s1 = fma(b, query_rows[241], s1); s2 = fma(b, query_rows[242], s2); s3 = fma(b, query_rows[243], s3); }
      { let b = subgroupBroadcast(row7, 5u); s0 = fma(b, query_rows[244], s0); s1 = fma(b, query_rows[245], s1); s2 = fma(b, query_rows[246], s2); s3 = fma(b, query_rows[247], s3); }
      { let b = subgroupBroadcast(row7, 6u); s0 = fma(b, query_rows[248], s0); s1 = fma(b, query_rows[249], s1); s2 = fma(b, query_rows[250], s2); s3 = fma(b, query_rows[251], s3); }
      { let b = subgroupBroadcast(row7, 7u); s0 = fma(b, query_rows[252], s0); s1 = fma(b, query_rows[253], s1); s2 = fma(b, query_rows[254], s2); s3 = fma(b, query_rows[255], s3); }
      { let b = subgroupBroadcast(row8, 0u); s0 = fma(b, query_rows[256], s0); s1 = fma(b, query_rows[257], s1); s2 = fma(b, query_rows[258], s2); s3 = fma(b, query_rows[259], s3); }
      { let b = subgroupBroadcast(row8, 1u); s0 = fma(b, query_rows[260], s0); s1 = fma(b, query_rows[261], s1); s2 = fma(b, query_rows[262], s2); s3 = fma(b, query_rows[263], s3); }
      { let b = subgroupBroadcast(row8, 2u); s0 = fma(b, query_rows[264], s0); s1 = fma(b, query_rows[265], s1); s2 = fma(b, query_rows[266], s2); s3 = fma(b, query_rows[267], s3); }
      { let b = subgroupBroadcast(row8, 3u); s0 = fma(b, query_rows[268], s0); s1 = fma(b, query_rows[269], s1); s2 = fma(b, query_rows[270], s2); s3 = fma(b, query_rows[271], s3); }
      { let b = subgroupBroadcast(row8, 4u); s0 = fma(b, query_rows[272], s0); s1 = fma(b, query_rows[273], s1); s2 = fma(b, query_rows[274], s2); s3 = fma(b, query_rows[275], s3); }
      { let b = subgroupBroadcast(row8, 5u); s0 = fma(b, query_rows[276], s0); s1 = fma(b, query_rows[277], s1); s2 = fma(b, query_rows[278], s2); s3 = fma(b, query_rows[279], s3); }
      { let b = subgroupBroadcast(row8, 6u); s0 = fma(b, query_rows[280], s0); s1 = fma(b, query_rows[281], s1); s2 = fma(b, query_rows[282], s2); s3 = fma(b, query_rows[283], s3); }
      { let b = subgroupBroadcast(row8, 7u); s0 = fma(b, query_rows[284], s0); s1 = fma(b, query_rows[285], s1); s2 = fma(b, query_rows[286], s2); s3 = fma(b, query_rows[287], s3); }
      { let b = subgroupBroadcast(row9, 0u); s0 = fma(b, query_rows[288], s0); s1 = fma(b, query_rows[289], s1); s2 = fma(b, query_rows[290], s2); s3 = fma(b, query_rows[291], s3); }
      { let b = subgroupBroadcast(row9, 1u); s0 = fma(b, query_rows[292], s0); s1 = fma(b, query_rows[293], s1); s2 = fma(b, query_rows[294], s2); s3 = fma(b, query_rows[295], s3); }
      { let b = subgroupBroadcast(row9, 2u); s0 = fma(b, query_rows[296], s0); s1 = fma(b, query_rows[297], s1); s2 = fma(b, query_rows[298], s2); s3 = fma(b, query_rows[299], s3); }
      { let b = subgroupBroadcast(row9, 3u); s0 = fma(b, query_rows[300], s0); s1 = fma(b, query_rows[301], s1); s2 = fma(b, query_rows[302], s2); s3 = fma(b, query_rows[303], s3); }
      { let b = subgroupBroadcast(row9, 4u); s0 = fma(b, query_rows[304], s0); s1 = fma(b, query_rows[305], s1); s2 = fma(b, query_rows[306], s2); s3 = fma(b, query_rows[307], s3); }
      { let b = subgroupBroadcast(row9, 5u); s0 = fma(b, query_rows[308], s0); s1 = fma(b, query_rows[309], s1); s2 = fma(b, query_rows[310], s2); s3 = fma(b, query_rows[311], s3); }
      { let b = subgroupBroadcast(row9, 6u); s0 = fma(b, query_rows[312], s0); s1 = fma(b, query_rows[313], s1); s2 = fma(b, query_rows[314], s2); s3 = fma(b, query_rows[315], s3); }
      { let b = subgroupBroadcast(row9, 7u); s0 = fma(b, query_rows[316], s0); s1 = fma(b, query_rows[317], s1); s2 = fma(b, query_rows[318], s2); s3 = fma(b, query_rows[319], s3); }
      { let b = subgroupBroadcast(row10, 0u); s0 = fma(b, query_rows[320], s0); s1 = fma(b, query_rows[321], s1); s2 = fma(b, query_rows[322], s2); s3 = fma(b, query_rows[323], s3); }
      { let b = subgroupBroadcast(row10, 1u); s0 = fma(b, query_rows[324], s0); s1 = fma(b, query_rows[325], s1); s2 = fma(b, query_rows[326], s2); s3 = fma(b, query_rows[327], s3); }
      { let b = subgroupBroadcast(row10, 2u); s0 = fma(b, query_rows[328], s0); s1 = fma(b, query_rows[329], s1); s2 = fma(b, query_rows[330], s2); s3 = fma(b, query_rows[331], s3); }
      { let b = subgroupBroadcast(row10, 3u); s0 = fma(b, query_rows[332], s0); s1 = fma(b, query_rows[333], s1); s2 = fma(b, query_rows[334], s2); s3 = fma(b, query_rows[335], s3); }
      { let b = subgroupBroadcast(row10, 4u); s0 = fma(b, query_rows[336], s0); s1 = fma(b, query_rows[337], s1); s2 = fma(b, query_rows[338], s2); s3 = fma(b, query_rows[339], s3); }
      { let b = subgroupBroadcast(row10, 5u); s0 = fma(b, query_rows[340], s0); s1 = fma(b, query_rows[341], s1); s2 = fma(b, query_rows[342], s2); s3 = fma(b, query_rows[343], s3); }
      { let b = subgroupBroadcast(row10, 6u); s0 = fma(b, query_rows[344], s0); s1 = fma(b, query_rows[345], s1); s2 = fma(b, query_rows[346], s2); s3 = fma(b, query_rows[347], s3); }
      { let b = subgroupBroadcast(row10, 7u); s0 = fma(b, query_rows[348], s0); s1 = fma(b, query_rows[349], s1); s2 = fma(b, query_rows[350], s2); s3 = fma(b, query_rows[351], s3); }
      { let b = subgroupBroadcast(row11, 0u); s0 = fma(b, query_rows[352], s0); s1 = fma(b, query_rows[353], s1); s2 = fma(b, query_rows[354], s2); s3 = fma(b, query_rows[355], s3); }
      { let b = subgroupBroadcast(row11, 1u); s0 = fma(b, query_rows[356], s0); s1 = fma(b, query_rows[357], s1); s2 = fma(b, query_rows[358], s2); s3 = fma(b, query_rows[359], s3); }
      { let b = subgroupBroadcast(row11, 2u); s0 = fma(b, query_rows[360], s0); s1 = fma(b, query_rows[361], s1); s2 = fma(b, query_rows[362], s2); s3 = fma(b, query_rows[363], s3); }
      { let b = subgroupBroadcast(row11, 3u); s0 = fma(b, query_rows[364], s0); s1 = fma(b, query_rows[365], s1); s2 = fma(b, query_rows[366], s2); s3 = fma(b, query_rows[367], s3); }
      { let b = subgroupBroadcast(row11, 4u); s0 = fma(b, query_rows[368], s0); s1 = fma(b, query_rows[369], s1); s2 = fma(b, query_rows[370], s2); s3 = fma(b, query_rows[371], s3); }
      { let b = subgroupBroadcast(row11, 5u); s0 = fma(b, query_rows[372], s0); s1 = fma(b, query_rows[373], s1); s2 = fma(b, query_rows[374], s2); s3 = fma(b, query_rows[375], s3); }
      { let b = subgroupBroadcast(row11, 6u); s0 = fma(b, query_rows[376], s0); s1 = fma(b, query_rows[377], s1); s2 = fma(b, query_rows[378], s2); s3 = fma(b, query_rows[379], s3); }
      { let b = subgroupBroadcast(row11, 7u); s0 = fma(b, query_rows[380], s0); s1 = fma(b, query_rows[381], s1); s2 = fma(b, query_rows[382], s2); s3 = fma(b, query_rows[383], s3); }
      { let b = subgroupBroadcast(row12, 0u); s0 = fma(b, query_rows[384], s0); s1 = fma(b, query_rows[385], s1); s2 = fma(b, query_rows[386], s2); s3 = fma(b, query_rows[387], s3); }
      { let b = subgroupBroadcast(row12, 1u); s0 = fma(b, query_rows[388], s0); s1 = fma(b, query_rows[389], s1); s2 = fma(b, query_rows[390], s2); s3 = fma(b, query_rows[391], s3); }
      { let b = subgroupBroadcast(row12, 2u); s0 = fma(b, query_rows[392], s0); s1 = fma(b, query_rows[393], s1); s2 = fma(b, query_rows[394], s2); s3 = fma(b, query_rows[395], s3); }
      { let b = subgroupBroadcast(row12, 3u); s0 = fma(b, query_rows[396], s0); s1 = fma(b, query_rows[397], s1); s2 = fma(b, query_rows[398], s2); s3 = fma(b, query_rows[399], s3); }
      { let b = subgroupBroadcast(row12, 4u); s0 = fma(b, query_rows[400], s0); s1 = fma(b, query_rows[401], s1); s2 = fma(b, query_rows[402], s2); s3 = fma(b, query_rows[403], s3); }
      { let b = subgroupBroadcast(row12, 5u); s0 = fma(b, query_rows[404], s0); s1 = fma(b, query_rows[405], s1); s2 = fma(b, query_rows[406], s2); s3 = fma(b, query_rows[407], s3); }
      { let b = subgroupBroadcast(row12, 6u); s0 = fma(b, query_rows[408], s0); s1 = fma(b, query_rows[409], s1); s2 = fma(b, query_rows[410], s2); s3 = fma(b, query_rows[411], s3); }
      { let b = subgroupBroadcast(row12, 7u); s0 = fma(b, query_rows[412], s0); s1 = fma(b, query_rows[413], s1); s2 = fma(b, query_rows[414], s2); s3 = fma(b, query_rows[415], s3); }
      { let b = subgroupBroadcast(row13, 0u); s0 = fma(b, query_rows[416], s0); s1 = fma(b, query_rows[417], s1); s2 = fma(b, query_rows[418], s2); s3 = fma(b, query_rows[419], s3); }
      { let b = subgroupBroadcast(row13, 1u); s0 = fma(b, query_rows[420], s0); s1 = fma(b, query_rows[421], s1); s2 = fma(b, query_rows[422], s2); s3 = fma(b, query_rows[423], s3); }
      { let b = subgroupBroadcast(row13, 2u); s0 = fma(b, query_rows[424], s0); s1 = fma(b, query_rows[425], s1); s2 = fma(b, query_rows[426], s2); s3 = fma(b, query_rows[427], s3); }
      { let b = subgroupBroadcast(row13, 3u); s0 = fma(b, query_rows[428], s0); s1 = fma(b, query_rows[429], s1); s2 = fma(b, query_rows[430], s2); s3 = fma(b, query_rows[431], s3); }
      { let b = subgroupBroadcast(row13, 4u); s0 = fma(b, query_rows[432], s0); s1 = fma(b, query_rows[433], s1); s2 = fma(b, query_rows[434], s2); s3 = fma(b, query_rows[435], s3); }
      { let b = subgroupBroadcast(row13, 5u); s0 = fma(b, query_rows[436], s0); s1 = fma(b, query_rows[437], s1); s2 = fma(b, query_rows[438], s2); s3 = fma(b, query_rows[439], s3); }
      { let b = subgroupBroadcast(row13, 6u); s0 = fma(b, query_rows[440], s0); s1 = fma(b, query_rows[441], s1); s2 = fma(b, query_rows[442], s2); s3 = fma(b, query_rows[443], s3); }
      { let b = subgroupBroadcast(row13, 7u); s0 = fma(b, query_rows[444], s0); s1 = fma(b, query_rows[445], s1); s2 = fma(b, query_rows[446], s2); s3 = fma(b, query_rows[447], s3); }
      { let b = subgroupBroadcast(row14, 0u); s0 = fma(b, query_rows[448], s0); s1 = fma(b, query_rows[449], s1); s2 = fma(b, query_rows[450], s2); s3 = fma(b, query_rows[451], s3); }
      { let b = subgroupBroadcast(row14, 1u); s0 = fma(b, query_rows[452], s0); s1 = fma(b, query_rows[453], s1); s2 = fma(b, query_rows[454], s2); s3 = fma(b, query_rows[455], s3); }
      { let b = subgroupBroadcast(row14, 2u); s0 = fma(b, query_rows[456], s0); s1 = fma(b, query_rows[457], s1); s2 = fma(b, query_rows[458], s2); s3 = fma(b, query_rows[459], s3); }
      { let b = subgroupBroadcast(row14, 3u); s0 = fma(b, query_rows[460], s0); s1 = fma(b, query_rows[461], s1); s2 = fma(b, query_rows[462], s2); s3 = fma(b, query_rows[463], s3); }
      { let b = subgroupBroadcast(row14, 4u); s0 = fma(b, query_rows[464], s0); s1 = fma(b, query_rows[465], s1); s2 = fma(b, query_rows[466], s2); s3 = fma(b, query_rows[467], s3); }
      { let b = subgroupBroadcast(row14, 5u); s0 = fma(b, query_rows[468], s0); s1 = fma(b, query_rows[469], s1); s2 = fma(b, query_rows[470], s2); s3 = fma(b, query_rows[471], s3); }
      { let b = subgroupBroadcast(row14, 6u); s0 = fma(b, query_rows[472], s0); s1 = fma(b, query_rows[473], s1); s2 = fma(b, query_rows[474], s2); s3 = fma(b, query_rows[475], s3); }
      { let b = subgroupBroadcast(row14, 7u); s0 = fma(b, query_rows[476], s0); s1 = fma(b, query_rows[477], s1); s2 = fma(b, query_rows[478], s2); s3 = fma(b, query_rows[479], s3); }
      { let b = subgroupBroadcast(row15, 0u); s0 = fma(b, query_rows[480], s0); s1 = fma(b, query_rows[481], s1); s2 = fma(b, query_rows[482], s2); s3 = fma(b, query_rows[483], s3); }
      { let b = subgroupBroadcast(row15, 1u); s0 = fma(b, query_rows[484], s0); s1 = fma(b, query_rows[485], s1); s2 = fma(b, query_rows[486], s2); s3 = fma(b, query_rows[487], s3); }
      { let b = subgroupBroadcast(row15, 2u); s0 = fma(b, query_rows[488], s0); s1 = fma(b, query_rows[489], s1); s2 = fma(b, query_rows[490], s2); s3 = fma(b, query_rows[491], s3); }
      { let b = subgroupBroadcast(row15, 3u); s0 = fma(b, query_rows[492], s0); s1 = fma(b, query_rows[493], s1); s2 = fma(b, query_rows[494], s2); s3 = fma(b, query_rows[495], s3); }
      { let b = subgroupBroadcast(row15, 4u); s0 = fma(b, query_rows[496], s0); s1 = fma(b, query_rows[497], s1); s2 = fma(b, query_rows[498], s2); s3 = fma(b, query_rows[499], s3); }
      { let b = subgroupBroadcast(row15, 5u); s0 = fma(b, query_rows[500], s0); s1 = fma(b, query_rows[501], s1); s2 = fma(b, query_rows[502], s2); s3 = fma(b, query_rows[503], s3); }
      { let b = subgroupBroadcast(row15, 6u); s0 = fma(b, query_rows[504], s0); s1 = fma(b, query_rows[505], s1); s2 = fma(b, query_rows[506], s2); s3 = fma(b, query_rows[507], s3); }
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
    sums[72] *= fade0; sums[73] *= fade1; sums[74] *= fade2; sums[75] *= fade3;
    sums[76] *= fade0; sums[77] *= fade1; sums[78] *= fade2; sums[79] *= fade3;
    sums[80] *= fade0; sums[81] *= fade1; sums[82] *= fade2; sums[83] *= fade3;
    sums[84] *= fade0; sums[85] *= fade1; sums[86] *= fade2; sums[87] *= fade3;
    sums[88] *= fade0; sums[89] *= fade1; sums[90] *= fade2; sums[91] *= fade3;
    sums[92] *= fade0; sums[93] *= fade1; sums[94] *= fade2; sums[95] *= fade3;
    sums[96] *= fade0; sums[97] *= fade1; sums[98] *= fade2; sums[99] *= fade3;
    sums[100] *= fade0; sums[101] *= fade1; sums[102] *= fade2; sums[103] *= fade3;
    sums[104] *= fade0; sums[105] *= fade1; sums[106] *= fade2; sums[107] *= fade3;
    sums[108] *= fade0; sums[109] *= fade1; sums[110] *= fade2; sums[111] *= fade3;
    sums[112] *= fade0; sums[113] *= fade1; sums[114] *= fade2; sums[115] *= fade3;
    sums[116] *= fade0; sums[117] *= fade1; sums[118] *= fade2; sums[119] *= fade3;
    sums[120] *= fade0; sums[121] *= fade1; sums[122] *= fade2; sums[123] *= fade3;
    sums[124] *= fade0; sums[125] *= fade1; sums[126] *= fade2; sums[127] *= fade3;
    sums[128] *= fade0; sums[129] *= fade1; sums[130] *= fade2; sums[131] *= fade3;
    sums[132] *= fade0; sums[133] *= fade1; sums[134] *= fade2; sums[135] *= fade3;
    sums[136] *= fade0; sums[137] *= fade1; sums[138] *= fade2; sums[139] *= fade3;
    sums[140] *= fade0; sums[141] *= fade1; sums[142] *= fade2; sums[143] *= fade3;
    sums[144] *= fade0; sums[145] *= fade1; sums[146] *= fade2; sums[147] *= fade3;
    sums[148] *= fade0; sums[149] *= fade1; sums[150] *= fade2; sums[151] *= fade3;
    sums[152] *= fade0; sums[153] *= fade1; sums[154] *= fade2; sums[155] *= fade3;
    sums[156] *= fade0; sums[157] *= fade1; sums[158] *= fade2; sums[159] *= fade3;
    sums[160] *= fade0; sums[161] *= fade1; sums[162] *= fade2; sums[163] *= fade3;
    sums[164] *= fade0; sums[165] *= fade1; sums[166] *= fade2; sums[167] *= fade3;
    sums[168] *= fade0; sums[169] *= fade1; sums[170] *= fade2; sums[171] *= fade3;
    sums[172] *= fade0; sums[173] *= fade1; sums[174] *= fade2; sums[175] *= fade3;
    sums[176] *= fade0; sums[177] *= fade1; sums[178] *= fade2; sums[179] *= fade3;
    sums[180] *= fade0; sums[181] *= fade1; sums[182] *= fade2; sums[183] *= fade3;
    sums[184] *= fade0; sums[185] *= fade1; sums[186] *= fade2; sums[187] *= fade3;
    sums[188] *= fade0; sums[189] *= fade1; sums[190] *= fade2; sums[191] *= fade3;
    sums[192] *= fade0; sums[193] *= fade1; sums[194] *= fade2; sums[195] *= fade3;
    sums[196] *= fade0; sums[197] *= fade1; sums[198] *= fade2; sums[199] *= fade3;
    sums[200] *= fade0; sums[201] *= fade1; sums[202] *= fade2; sums[203] *= fade3;
    sums[204] *= fade0; sums[205] *= fade1; sums[206] *= fade2; sums[207] *= fade3;
    sums[208] *= fade0; sums[209] *= fade1; sums[210] *= fade2; sums[211] *= fade3;
    sums[212] *= fade0; sums[213] *= fade1; sums[214] *= fade2; sums[215] *= fade3;
    sums[216] *= fade0; sums[217] *= fade1; sums[218] *= fade2; sums[219] *= fade3;
    sums[220] *= fade0; sums[221] *= fade1; sums[222] *= fade2; sums[223] *= fade3;
    sums[224] *= fade0; sums[225] *= fade1; sums[226] *= fade2; sums[227] *= fade3;
    sums[228] *= fade0; sums[229] *= fade1; sums[230] *= fade2; sums[231] *= fade3;
    sums[232] *= fade0; sums[233] *= fade1; sums[234] *= fade2; sums[235] *= fade3;
    sums[236] *= fade0; sums[237] *= fade1; sums[238] *= fade2; sums[239] *= fade3;
    sums[240] *= fade0; sums[241] *= fade1; sums[242] *= fade2; sums[243] *= fade3;
    sums[244] *= fade0; sums[245] *= fade1; sums[246] *= fade2; sums[247] *= fade3;
    sums[248] *= fade0; sums[249] *= fade1; sums[250] *= fade2; sums[251] *= fade3;
    sums[252] *= fade0; sums[253] *= fade1; sums[254] *= fade2; sums[255] *= fade3;
    sums[256] *= fade0; sums[257] *= fade1; sums[258] *= fade2; sums[259] *= fade3;
    sums[260] *= fade0; sums[261] *= fade1; sums[262] *= fade2; sums[263] *= fade3;
    sums[264] *= fade0; sums[265] *= fade1; sums[266] *= fade2; sums[267] *= fade3;
    sums[268] *= fade0; sums[269] *= fade1; sums[270] *= fade2; sums[271] *= fade3;
    sums[272] *= fade0; sums[273] *= fade1; sums[274] *= fade2; sums[275] *= fade3;
    sums[276] *= fade0; sums[277] *= fade1; sums[278] *= fade2; sums[279] *= fade3;
    sums[280] *= fade0; sums[281] *= fade1; sums[282] *= fade2; sums[283] *= fade3;
    sums[284] *= fade0; sums[285] *= fade1; sums[286] *= fade2; sums[287] *= fade3;
    sums[288] *= fade0; sums[289] *= fade1; sums[290] *= fade2; sums[291] *= fade3;
    sums[292] *= fade0; sums[293] *= fade1; sums[294] *= fade2; sums[295] *= fade3;
    sums[296] *= fade0; sums[297] *= fade1; sums[298] *= fade2; sums[299] *= fade3;
    sums[300] *= fade0; sums[301] *= fade1; sums[302] *= fade2; sums[303] *= fade3;
    sums[304] *= fade0; sums[305] *= fade1; sums[306] *= fade2; sums[307] *= fade3;
    sums[308] *= fade0; sums[309] *= fade1; sums[310] *= fade2; sums[311] *= fade3;
    sums[312] *= fade0; sums[313] *= fade1; sums[314] *= fade2; sums[315] *= fade3;
    sums[316] *= fade0; sums[317] *= fade1; sums[318] *= fade2; sums[319] *= fade3;
    sums[320] *= fade0; sums[321] *= fade1; sums[322] *= fade2; sums[323] *= fade3;
    sums[324] *= fade0; sums[325] *= fade1; sums[326] *= fade2; sums[327] *= fade3;
    sums[328] *= fade0; sums[329] *= fade1; sums[330] *= fade2; sums[331] *= fade3;
    sums[332] *= fade0; sums[333] *= fade1; sums[334] *= fade2; sums[335] *= fade3;
    sums[336] *= fade0; sums[337] *= fade1; sums[338] *= fade2; sums[339] *= fade3;
    sums[340] *= fade0; sums[341] *= fade1; sums[342] *= fade2; sums[343] *= fade3;
    sums[344] *= fade0; sums[345] *= fade1; sums[346] *= fade2; sums[347] *= fade3;
    sums[348] *= fade0; sums[349] *= fade1; sums[350] *= fade2; sums[351] *= fade3;
    sums[352] *= fade0; sums[353] *= fade1; sums[354] *= fade2; sums[355] *= fade3;
    sums[356] *= fade0; sums[357] *= fade1; sums[358] *= fade2; sums[359] *= fade3;
    sums[360] *= fade0; sums[361] *= fade1; sums[362] *= fade2; sums[363] *= fade3;
    sums[364] *= fade0; sums[365] *= fade1; sums[366] *= fade2; sums[367] *= fade3;
    sums[368] *= fade0; sums[369] *= fade1; sums[370] *= fade2; sums[371] *= fade3;
    sums[372] *= fade0; sums[373] *= fade1; sums[374] *= fade2; sums[375] *= fade3;
    sums[376] *= fade0; sums[377] *= fade1; sums[378] *= fade2; sums[379] *= fade3;
    sums[380] *= fade0; sums[381] *= fade1; sums[382] *= fade2; sums[383] *= fade3;
    sums[384] *= fade0; sums[385] *= fade1; sums[386] *= fade2; sums[387] *= fade3;
    sums[388] *= fade0; sums[389] *= fade1; sums[390] *= fade2; sums[391] *= fade3;
    sums[392] *= fade0; sums[393] *= fade1; sums[394] *= fade2; sums[395] *= fade3;
    sums[396] *= fade0; sums[397] *= fade1; sums[398] *= fade2; sums[399] *= fade3;
    sums[400] *= fade0; sums[401] *= fade1; sums[402] *= fade2; sums[403] *= fade3;
    sums[404] *= fade0; sums[405] *= fade1; sums[406] *= fade2; sums[407] *= fade3;
    sums[408] *= fade0; sums[409] *= fade1; sums[410] *= fade2; sums[411] *= fade3;
    sums[412] *= fade0; sums[413] *= fade1; sums[414] *= fade2; sums[415] *= fade3;
    sums[416] *= fade0; sums[417] *= fade1; sums[418] *= fade2; sums[419] *= fade3;
    sums[420] *= fade0; sums[421] *= fade1; sums[422] *= fade2; sums[423] *= fade3;
    sums[424] *= fade0; sums[425] *= fade1; sums[426] *= fade2; sums[427] *= fade3;
    sums[428] *= fade0; sums[429] *= fade1; sums[430] *= fade2; sums[431] *= fade3;
    sums[432] *= fade0; sums[433] *= fade1; sums[434] *= fade2; sums[435] *= fade3;
    sums[436] *= fade0; sums[437] *= fade1; sums[438] *= fade2; sums[439] *= fade3;
    sums[440] *= fade0; sums[441] *= fade1; sums[442] *= fade2; sums[443] *= fade3;
    sums[444] *= fade0; sums[445] *= fade1; sums[446] *= fade2; sums[447] *= fade3;
    sums[448] *= fade0; sums[449] *= fade1; sums[450] *= fade2; sums[451] *= fade3;
    sums[452] *= fade0; sums[453] *= fade1; sums[454] *= fade2; sums[455] *= fade3;
    sums[456] *= fade0; sums[457] *= fade1; sums[458] *= fade2; sums[459] *= fade3;
    sums[460] *= fade0; sums[461] *= fade1; sums[462] *= fade2; sums[463] *= fade3;
    sums[464] *= fade0; sums[465] *= fade1; sums[466] *= fade2; sums[467] *= fade3;
    sums[468] *= fade0; sums[469] *= fade1; sums[470] *= fade2; sums[471] *= fade3;
    sums[472] *= fade0; sums[473] *= fade1; sums[474] *= fade2; sums[475] *= fade3;
    sums[476] *= fade0; sums[477] *= fade1; sums[478] *= fade2; sums[479] *= fade3;
    sums[480] *= fade0; sums[481] *= fade1; sums[482] *= fade2; sums[483] *= fade3;
    sums[484] *= fade0; sums[485] *= fade1; sums[486] *= fade2; sums[487] *= fade3;
    sums[488] *= fade0; sums[489] *= fade1; sums[490] *= fade2; sums[491] *= fade3;
    sums[492] *= fade0; sums[493] *= fade1; sums[494] *= fade2; sums[495] *= fade3;
    sums[496] *= fade0; sums[497] *= fade1; sums[498] *= fade2; sums[499] *= fade3;
    sums[500] *= fade0; sums[501] *= fade1; sums[502] *= fade2; sums[503] *= fade3;
    sums[504] *= fade0; sums[505] *= fade1; sums[506] *= fade2; sums[507] *= fade3;
    for (var i = 0u; i < keys; i++) {
      let start = ((first + i) * params.kv_heads + kv_head) * 127u;
      let row0 = v[start + min(lane + 0u, 126u)]; let row1 = v[start + min(lane + 8u, 126u)]; let row2 = v[start + min(lane + 16u, 126u)]; let row3 = v[start + min(lane + 24u, 126u)]; let row4 = v[start + min(lane + 32u, 126u)]; let row5 = v[start + min(lane + 40u, 126u)]; let row6 = v[start + min(lane + 48u, 126u)]; let row7 = v[start + min(lane + 56u, 126u)]; let row8 = v[start + min(lane + 64u, 126u)]; let row9 = v[start + min(lane + 72u, 126u)]; let row10 = v[start + min(lane + 80u, 126u)]; let row11 = v[start + min(lane + 88u, 126u)]; let row12 = v[start + min(lane + 96u, 126u)]; let row13 = v[start + min(lane + 104u, 126u)]; let row14 = v[start + min(lane + 112u, 126u)]; let row15 = v[start + min(lane + 120u, 126u)];
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
      { let b = subgroupBroadcast(row2, 2u); sums[72] = fma(Unit(p0), b, sums[72]); sums[73] = fma(Unit(p1), b, sums[73]); sums[74] = fma(Unit(p2), b, sums[74]); sums[75] = fma(Unit(p3), b, sums[75]); }
      { let b = subgroupBroadcast(row2, 3u); sums[76] = fma(Unit(p0), b, sums[76]); sums[77] = fma(Unit(p1), b, sums[77]); sums[78] = fma(Unit(p2), b, sums[78]); sums[79] = fma(Unit(p3), b, sums[79]); }
      { let b = subgroupBroadcast(row2, 4u); sums[80] = fma(Unit(p0), b, sums[80]); sums[81] = fma(Unit(p1), b, sums[81]); sums[82] = fma(Unit(p2), b, sums[82]); sums[83] = fma(Unit(p3), b, sums[83]); }
      { let b = subgroupBroadcast(row2, 5u); sums[84] = fma(Unit(p0), b, sums[84]); sums[85] = fma(Unit(p1), b, sums[85]); sums[86] = fma(Unit(p2), b, sums[86]); sums[87] = fma(Unit(p3), b, sums[87]); }
      { let b = subgroupBroadcast(row2, 6u); sums[88] = fma(Unit(p0), b, sums[88]); sums[89] = fma(Unit(p1), b, sums[89]); sums[90] = fma(Unit(p2), b, sums[90]); sums[91] = fma(Unit(p3), b, sums[91]); }
      { let b = subgroupBroadcast(row2, 7u); sums[92] = fma(Unit(p0), b, sums[92]); sums[93] = fma(Unit(p1), b, sums[93]); sums[94] = fma(Unit(p2), b, sums[94]); sums[95] = fma(Unit(p3), b, sums[95]); }
      { let b = subgroupBroadcast(row3, 0u); sums[96] = fma(Unit(p0), b, sums[96]); sums[97] = fma(Unit(p1), b, sums[97]); sums[98] = fma(Unit(p2), b, sums[98]); sums[99] = fma(Unit(p3), b, sums[99]); }
      { let b = subgroupBroadcast(row3, 1u); sums[100] = fma(Unit(p0), b, sums[100]); sums[101] = fma(Unit(p1), b, sums[101]); sums[102] = fma(Unit(p2), b, sums[102]); sums[103] = fma(Unit(p3), b, sums[103]); }
      { let b = subgroupBroadcast(row3, 2u); sums[104] = fma(Unit(p0), b, sums[104]); sums[105] = fma(Unit(p1), b, sums[105]); sums[106] = fma(Unit(p2), b, sums[106]); sums[107] = fma(Unit(p3), b, sums[107]); }
      { let b = subgroupBroadcast(row3, 3u); sums[108] = fma(Unit(p0), b, sums[108]); sums[109] = fma(Unit(p1), b, sums[109]); sums[110] = fma(Unit(p2), b, sums[110]); sums[111] = fma(Unit(p3), b, sums[111]); }
      { let b = subgroupBroadcast(row3, 4u); sums[112] = fma(Unit(p0), b, sums[112]); sums[113] = fma(Unit(p1), b, sums[113]); sums[114] = fma(Unit(p2), b, sums[114]); sums[115] = fma(Unit(p3), b, sums[115]); }
      { let b = subgroupBroadcast(row3, 5u); sums[116] = fma(Unit(p0), b, sums[116]); sums[117] = fma(Unit(p1), b, sums[117]); sums[118] = fma(Unit(p2), b, sums[118]); sums[119] = fma(Unit(p3), b, sums[119]); }
      { let b = subgroupBroadcast(row3, 6u); sums[120] = fma(Unit(p0), b, sums[120]); sums[121] = fma(Unit(p1), b, sums[121]); sums[122] = fma(Unit(p2), b, sums[122]); sums[123] = fma(Unit(p3), b, sums[123]); }
      { let b = subgroupBroadcast(row3, 7u); sums[124] = fma(Unit(p0), b, sums[124]); sums[125] = fma(Unit(p1), b, sums[125]); sums[126] = fma(Unit(p2), b, sums[126]); sums[127] = fma(Unit(p3), b, sums[127]); }
      { let b = subgroupBroadcast(row4, 0u); sums[128] = fma(Unit(p0), b, sums[128]); sums[129] = fma(Unit(p1), b, sums[129]); sums[130] = fma(Unit(p2), b, sums[130]); sums[131] = fma(Unit(p3), b, sums[131]); }
      { let b = subgroupBroadcast(row4, 1u); sums[132] = fma(Unit(p0), b, sums[132]); sums[133] = fma(Unit(p1), b, sums[133]); sums[134] = fma(Unit(p2), b, sums[134]); sums[135] = fma(Unit(p3), b, sums[135]); }
      { let b = subgroupBroadcast(row4, 2u); sums[136] = fma(Unit(p0), b, sums[136]); sums[137] = fma(Unit(p1), b, sums[137]); sums[138] = fma(Unit(p2), b, sums[138]); sums[139] = fma(Unit(p3), b, sums[139]); }
      { let b = subgroupBroadcast(row4, 3u); sums[140] = fma(Unit(p0), b, sums[140]); sums[141] = fma(Unit(p1), b, sums[141]); sums[142] = fma(Unit(p2), b, sums[142]); sums[143] = fma(Unit(p3), b, sums[143]); }
      { let b = subgroupBroadcast(row4, 4u); sums[144] = fma(Unit(p0), b, sums[144]); sums[145] = fma(Unit(p1), b, sums[145]); sums[146] = fma(Unit(p2), b, sums[146]); sums[147] = fma(Unit(p3), b, sums[147]); }
      { let b = subgroupBroadcast(row4, 5u); sums[148] = fma(Unit(p0), b, sums[148]); sums[149] = fma(Unit(p1), b, sums[149]); sums[150] = fma(Unit(p2), b, sums[150]); sums[151] = fma(Unit(p3), b, sums[151]); }
      { let b = subgroupBroadcast(row4, 6u); sums[152] = fma(Unit(p0), b, sums[152]); sums[153] = fma(Unit(p1), b, sums[153]); sums[154] = fma(Unit(p2), b, sums[154]); sums[155] = fma(Unit(p3), b, sums[155]); }
      { let b = subgroupBroadcast(row4, 7u); sums[156] = fma(Unit(p0), b, sums[156]); sums[157] = fma(Unit(p1), b, sums[157]); sums[158] = fma(Unit(p2), b, sums[158]); sums[159] = fma(Unit(p3), b, sums[159]); }
      { let b = subgroupBroadcast(row5, 0u); sums[160] = fma(Unit(p0), b, sums[160]); sums[161] = fma(Unit(p1), b, sums[161]); sums[162] = fma(Unit(p2), b, sums[162]); sums[163] = fma(Unit(p3), b, sums[163]); }
      { let b = subgroupBroadcast(row5, 1u); sums[164] = fma(Unit(p0), b, sums[164]); sums[165] = fma(Unit(p1), b, sums[165]); sums[166] = fma(Unit(p2), b, sums[166]); sums[167] = fma(Unit(p3), b, sums[167]); }
      { let b = subgroupBroadcast(row5, 2u); sums[168] = fma(Unit(p0), b, sums[168]); sums[169] = fma(Unit(p1), b, sums[169]); sums[170] = fma(Unit(p2), b, sums[170]); sums[171] = fma(Unit(p3), b, sums[171]); }
      { let b = subgroupBroadcast(row5, 3u); sums[172] = fma(Unit(p0), b, sums[172]); sums[173] = fma(Unit(p1), b, sums[173]); sums[174] = fma(Unit(p2), b, sums[174]); sums[175] = fma(Unit(p3), b, sums[175]); }
      { let b = subgroupBroadcast(row5, 4u); sums[176] = fma(Unit(p0), b, sums[176]); sums[177] = fma(Unit(p1), b, sums[177]); sums[178] = fma(Unit(p2), b, sums[178]); sums[179] = fma(Unit(p3), b, sums[179]); }
      { let b = subgroupBroadcast(row5, 5u); sums[180] = fma(Unit(p0), b, sums[180]); sums[181] = fma(Unit(p1), b, sums[181]); sums[182] = fma(Unit(p2), b, sums[182]); sums[183] = fma(Unit(p3), b, sums[183]); }
      { let b = subgroupBroadcast(row5, 6u); sums[184] = fma(Unit(p0), b, sums[184]); sums[185] = fma(Unit(p1), b, sums[185]); sums[186] = fma(Unit(p2), b, sums[186]); sums[187] = fma(Unit(p3), b, sums[187]); }
      { let b = subgroupBroadcast(row5, 7u); sums[188] = fma(Unit(p0), b, sums[188]); sums[189] = fma(Unit(p1), b, sums[189]); sums[190] = fma(Unit(p2), b, sums[190]); sums[191] = fma(Unit(p3), b, sums[191]); }
      { let b = subgroupBroadcast(row6, 0u); sums[192] = fma(Unit(p0), b, sums[192]); sums[193] = fma(Unit(p1), b, sums[193]); sums[194] = fma(Unit(p2), b, sums[194]); sums[195] = fma(Unit(p3), b, sums[195]); }
      { let b = subgroupBroadcast(row6, 1u); sums[196] = fma(Unit(p0), b, sums[196]); sums[197] = fma(Unit(p1), b, sums[197]); sums[198] = fma(Unit(p2), b, sums[198]); sums[199] = fma(Unit(p3), b, sums[199]); }
      { let b = subgroupBroadcast(row6, 2u); sums[200] = fma(Unit(p0), b, sums[200]); sums[201] = fma(Unit(p1), b, sums[201]); sums[202] = fma(Unit(p2), b, sums[202]); sums[203] = fma(Unit(p3), b, sums[203]); }
      { let b = subgroupBroadcast(row6, 3u); sums[204] = fma(Unit(p0), b, sums[204]); sums[205] = fma(Unit(p1), b, sums[205]); sums[206] = fma(Unit(p2), b, sums[206]); sums[207] = fma(Unit(p3), b, sums[207]); }
      { let b = subgroupBroadcast(row6, 4u); sums[208] = fma(Unit(p0), b, sums[208]); sums[209] = fma(Unit(p1), b, sums[209]); sums[210] = fma(Unit(p2), b, sums[210]); sums[211] = fma(Unit(p3), b, sums[211]); }
      { let b = subgroupBroadcast(row6, 5u); sums[212] = fma(Unit(p0), b, sums[212]); sums[213] = fma(Unit(p1), b, sums[213]); sums[214] = fma(Unit(p2), b, sums[214]); sums[215] = fma(Unit(p3), b, sums[215]); }
      { let b = subgroupBroadcast(row6, 6u); sums[216] = fma(Unit(p0), b, sums[216]); sums[217] = fma(Unit(p1), b, sums[217]); sums[218] = fma(Unit(p2), b, sums[218]); sums[219] = fma(Unit(p3), b, sums[219]); }
      { let b = subgroupBroadcast(row6, 7u); sums[220] = fma(Unit(p0), b, sums[220]); sums[221] = fma(Unit(p1), b, sums[221]); sums[222] = fma(Unit(p2), b, sums[222]); sums[223] = fma(Unit(p3), b, sums[223]); }
      { let b = subgroupBroadcast(row7, 0u); sums[224] = fma(Unit(p0), b, sums[224]); sums[225] = fma(Unit(p1), b, sums[225]); sums[226] = fma(Unit(p2), b, sums[226]); sums[227] = fma(Unit(p3), b, sums[227]); }
      { let b = subgroupBroadcast(row7, 1u); sums[228] = fma(Unit(p0), b, sums[228]); sums[229] = fma(Unit(p1), b, sums[229]); sums[230] = fma(Unit(p2), b, sums[230]); sums[231] = fma(Unit(p3), b, sums[231]); }
      { let b = subgroupBroadcast(row7, 2u); sums[232] = fma(Unit(p0), b, sums[232]); sums[233] = fma(Unit(p1), b, sums[233]); sums[234] = fma(Unit(p2), b, sums[234]); sums[235] = fma(Unit(p3), b, sums[235]); }
      { let b = subgroupBroadcast(row7, 3u); sums[236] = fma(Unit(p0), b, sums[236]); sums[237] = fma(Unit(p1), b, sums[237]); sums[238] = fma(Unit(p2), b, sums[238]); sums[239] = fma(Unit(p3), b, sums[239]); }
      { let b = subgroupBroadcast(row7, 4u); sums[240] = fma(Unit(p0), b, sums[240]); sums[241] = fma(Unit(p1), b, sums[241]); sums[242] = fma(Unit(p2), b, sums[242]); sums[243] = fma(Unit(p3), b, sums[243]); }
      { let b = subgroupBroadcast(row7, 5u); sums[244] = fma(Unit(p0), b, sums[244]); sums[245] = fma(Unit(p1), b, sums[245]); sums[246] = fma(Unit(p2), b, sums[246]); sums[247] = fma(Unit(p3), b, sums[247]); }
      { let b = subgroupBroadcast(row7, 6u); sums[248] = fma(Unit(p0), b, sums[248]); sums[249] = fma(Unit(p1), b, sums[249]); sums[250] = fma(Unit(p2), b, sums[250]); sums[251] = fma(Unit(p3), b, sums[251]); }
      { let b = subgroupBroadcast(row7, 7u); sums[252] = fma(Unit(p0), b, sums[252]); sums[253] = fma(Unit(p1), b, sums[253]); sums[254] = fma(Unit(p2), b, sums[254]); sums[255] = fma(Unit(p3), b, sums[255]); }
      { let b = subgroupBroadcast(row8, 0u); sums[256] = fma(Unit(p0), b, sums[256]); sums[257] = fma(Unit(p1), b, sums[257]); sums[258] = fma(Unit(p2), b, sums[258]); sums[259] = fma(Unit(p3), b, sums[259]); }
      { let b = subgroupBroadcast(row8, 1u); sums[260] = fma(Unit(p0), b, sums[260]); sums[261] = fma(Unit(p1), b, sums[261]); sums[262] = fma(Unit(p2), b, sums[262]); sums[263] = fma(Unit(p3), b, sums[263]); }
      { let b = subgroupBroadcast(row8, 2u); sums[264] = fma(Unit(p0), b, sums[264]); sums[265] = fma(Unit(p1), b, sums[265]); sums[266] = fma(Unit(p2), b, sums[266]); sums[267] = fma(Unit(p3), b, sums[267]); }
      { let b = subgroupBroadcast(row8, 3u); sums[268] = fma(Unit(p0), b, sums[268]); sums[269] = fma(Unit(p1), b, sums[269]); sums[270] = fma(Unit(p2), b, sums[270]); sums[271] = fma(Unit(p3), b, sums[271]); }
      { let b = subgroupBroadcast(row8, 4u); sums[272] = fma(Unit(p0), b, sums[272]); sums[273] = fma(Unit(p1), b, sums[273]); sums[274] = fma(Unit(p2), b, sums[274]); sums[275] = fma(Unit(p3), b, sums[275]); }
      { let b = subgroupBroadcast(row8, 5u); sums[276] = fma(Unit(p0), b, sums[276]); sums[277] = fma(Unit(p1), b, sums[277]); sums[278] = fma(Unit(p2), b, sums[278]); sums[279] = fma(Unit(p3), b, sums[279]); }
      { let b = subgroupBroadcast(row8, 6u); sums[280] = fma(Unit(p0), b, sums[280]); sums[281] = fma(Unit(p1), b, sums[281]); sums[282] = fma(Unit(p2), b, sums[282]); sums[283] = fma(Unit(p3), b, sums[283]); }
      { let b = subgroupBroadcast(row8, 7u); sums[284] = fma(Unit(p0), b, sums[284]); sums[285] = fma(Unit(p1), b, sums[285]); sums[286] = fma(Unit(p2), b, sums[286]); sums[287] = fma(Unit(p3), b, sums[287]); }
      { let b = subgroupBroadcast(row9, 0u); sums[288] = fma(Unit(p0), b, sums[288]); sums[289] = fma(Unit(p1), b, sums[289]); sums[290] = fma(Unit(p2), b, sums[290]); sums[291] = fma(Unit(p3), b, sums[291]); }
      { let b = subgroupBroadcast(row9, 1u); sums[292] = fma(Unit(p0), b, sums[292]); sums[293] = fma(Unit(p1), b, sums[293]); sums[294] = fma(Unit(p2), b, sums[294]); sums[295] = fma(Unit(p3), b, sums[295]); }
      { let b = subgroupBroadcast(row9, 2u); sums[296] = fma(Unit(p0), b, sums[296]); sums[297] = fma(Unit(p1), b, sums[297]); sums[298] = fma(Unit(p2), b, sums[298]); sums[299] = fma(Unit(p3), b, sums[299]); }
      { let b = subgroupBroadcast(row9, 3u); sums[300] = fma(Unit(p0), b, sums[300]); sums[301] = fma(Unit(p1), b, sums[301]); sums[302] = fma(Unit(p2), b, sums[302]); sums[303] = fma(Unit(p3), b, sums[303]); }
      { let b = subgroupBroadcast(row9, 4u); sums[304] = fma(Unit(p0), b, sums[304]); sums[305] = fma(Unit(p1), b, sums[305]); sums[306] = fma(Unit(p2), b, sums[306]); sums[307] = fma(Unit(p3), b, sums[307]); }
      { let b = subgroupBroadcast(row9, 5u); sums[308] = fma(Unit(p0), b, sums[308]); sums[309] = fma(Unit(p1), b, sums[309]); sums[310] = fma(Unit(p2), b, sums[310]); sums[311] = fma(Unit(p3), b, sums[311]); }
      { let b = subgroupBroadcast(row9, 6u); sums[312] = fma(Unit(p0), b, sums[312]); sums[313] = fma(Unit(p1), b, sums[313]); sums[314] = fma(Unit(p2), b, sums[314]); sums[315] = fma(Unit(p3), b, sums[315]); }
      { let b = subgroupBroadcast(row9, 7u); sums[316] = fma(Unit(p0), b, sums[316]); sums[317] = fma(Unit(p1), b, sums[317]); sums[318] = fma(Unit(p2), b, sums[318]); sums[319] = fma(Unit(p3), b, sums[319]); }
      { let b = subgroupBroadcast(row10, 0u); sums[320] = fma(Unit(p0), b, sums[320]); sums[321] = fma(Unit(p1), b, sums[321]); sums[322] = fma(Unit(p2), b, sums[322]); sums[323] = fma(Unit(p3), b, sums[323]); }
      { let b = subgroupBroadcast(row10, 1u); sums[324] = fma(Unit(p0), b, sums[324]); sums[325] = fma(Unit(p1), b, sums[325]); sums[326] = fma(Unit(p2), b, sums[326]); sums[327] = fma(Unit(p3), b, sums[327]); }
      { let b = subgroupBroadcast(row10, 2u); sums[328] = fma(Unit(p0), b, sums[328]); sums[329] = fma(Unit(p1), b, sums[329]); sums[330] = fma(Unit(p2), b, sums[330]); sums[331] = fma(Unit(p3), b, sums[331]); }
      { let b = subgroupBroadcast(row10, 3u); sums[332] = fma(Unit(p0), b, sums[332]); sums[333] = fma(Unit(p1), b, sums[333]); sums[334] = fma(Unit(p2), b, sums[334]); sums[335] = fma(Unit(p3), b, sums[335]); }
      { let b = subgroupBroadcast(row10, 4u); sums[336] = fma(Unit(p0), b, sums[336]); sums[337] = fma(Unit(p1), b, sums[337]); sums[338] = fma(Unit(p2), b, sums[338]); sums[339] = fma(Unit(p3), b, sums[339]); }
      { let b = subgroupBroadcast(row10, 5u); sums[340] = fma(Unit(p0), b, sums[340]); sums[341] = fma(Unit(p1), b, sums[341]); sums[342] = fma(Unit(p2), b, sums[342]); sums[343] = fma(Unit(p3), b, sums[343]); }
      { let b = subgroupBroadcast(row10, 6u); sums[344] = fma(Unit(p0), b, sums[344]); sums[345] = fma(Unit(p1), b, sums[345]); sums[346] = fma(Unit(p2), b, sums[346]); sums[347] = fma(Unit(p3), b, sums[347]); }
      { let b = subgroupBroadcast(row10, 7u); sums[348] = fma(Unit(p0), b, sums[348]); sums[349] = fma(Unit(p1), b, sums[349]); sums[350] = fma(Unit(p2), b, sums[350]); sums[351] = fma(Unit(p3), b, sums[351]); }
      { let b = subgroupBroadcast(row11, 0u); sums[352] = fma(Unit(p0), b, sums[352]); sums[353] = fma(Unit(p1), b, sums[353]); sums[354] = fma(Unit(p2), b, sums[354]); sums[355] = fma(Unit(p3), b, sums[355]); }
      { let b = subgroupBroadcast(row11, 1u); sums[356] = fma(Unit(p0), b, sums[356]); sums[357] = fma(Unit(p1), b, sums[357]); sums[358] = fma(Unit(p2), b, sums[358]); sums[359] = fma(Unit(p3), b, sums[359]); }
      { let b = subgroupBroadcast(row11, 2u); sums[360] = fma(Unit(p0), b, sums[360]); sums[361] = fma(Unit(p1), b, sums[361]); sums[362] = fma(Unit(p2), b, sums[362]); sums[363] = fma(Unit(p3), b, sums[363]); }
      { let b = subgroupBroadcast(row11, 3u); sums[364] = fma(Unit(p0), b, sums[364]); sums[365] = fma(Unit(p1), b, sums[365]); sums[366] = fma(Unit(p2), b, sums[366]); sums[367] = fma(Unit(p3), b, sums[367]); }
      { let b = subgroupBroadcast(row11, 4u); sums[368] = fma(Unit(p0), b, sums[368]); sums[369] = fma(Unit(p1), b, sums[369]); sums[370] = fma(Unit(p2), b, sums[370]); sums[371] = fma(Unit(p3), b, sums[371]); }
      { let b = subgroupBroadcast(row11, 5u); sums[372] = fma(Unit(p0), b, sums[372]); sums[373] = fma(Unit(p1), b, sums[373]); sums[374] = fma(Unit(p2), b, sums[374]); sums[375] = fma(Unit(p3), b, sums[375]); }
      { let b = subgroupBroadcast(row11, 6u); sums[376] = fma(Unit(p0), b, sums[376]); sums[377] = fma(Unit(p1), b, sums[377]); sums[378] = fma(Unit(p2), b, sums[378]); sums[379] = fma(Unit(p3), b, sums[379]); }
      { let b = subgroupBroadcast(row11, 7u); sums[380] = fma(Unit(p0), b, sums[380]); sums[381] = fma(Unit(p1), b, sums[381]); sums[382] = fma(Unit(p2), b, sums[382]); sums[383] = fma(Unit(p3), b, sums[383]); }
      { let b = subgroupBroadcast(row12, 0u); sums[384] = fma(Unit(p0), b, sums[384]); sums[385] = fma(Unit(p1), b, sums[385]); sums[386] = fma(Unit(p2), b, sums[386]); sums[387] = fma(Unit(p3), b, sums[387]); }
      { let b = subgroupBroadcast(row12, 1u); sums[388] = fma(Unit(p0), b, sums[388]); sums[389] = fma(Unit(p1), b, sums[389]); sums[390] = fma(Unit(p2), b, sums[390]); sums[391] = fma(Unit(p3), b, sums[391]); }
      { let b = subgroupBroadcast(row12, 2u); sums[392] = fma(Unit(p0), b, sums[392]); sums[393] = fma(Unit(p1), b, sums[393]); sums[394] = fma(Unit(p2), b, sums[394]); sums[395] = fma(Unit(p3), b, sums[395]); }
      { let b = subgroupBroadcast(row12, 3u); sums[396] = fma(Unit(p0), b, sums[396]); sums[397] = fma(Unit(p1), b, sums[397]); sums[398] = fma(Unit(p2), b, sums[398]); sums[399] = fma(Unit(p3), b, sums[399]); }
      { let b = subgroupBroadcast(row12, 4u); sums[400] = fma(Unit(p0), b, sums[400]); sums[401] = fma(Unit(p1), b, sums[401]); sums[402] = fma(Unit(p2), b, sums[402]); sums[403] = fma(Unit(p3), b, sums[403]); }
      { let b = subgroupBroadcast(row12, 5u); sums[404] = fma(Unit(p0), b, sums[404]); sums[405] = fma(Unit(p1), b, sums[405]); sums[406] = fma(Unit(p2), b, sums[406]); sums[407] = fma(Unit(p3), b, sums[407]); }
      { let b = subgroupBroadcast(row12, 6u); sums[408] = fma(Unit(p0), b, sums[408]); sums[409] = fma(Unit(p1), b, sums[409]); sums[410] = fma(Unit(p2), b, sums[410]); sums[411] = fma(Unit(p3), b, sums[411]); }
      { let b = subgroupBroadcast(row12, 7u); sums[412] = fma(Unit(p0), b, sums[412]); sums[413] = fma(Unit(p1), b, sums[413]); sums[414] = fma(Unit(p2), b, sums[414]); sums[415] = fma(Unit(p3), b, sums[415]); }
      { let b = subgroupBroadcast(row13, 0u); sums[416] = fma(Unit(p0), b, sums[416]); sums[417] = fma(Unit(p1), b, sums[417]); sums[418] = fma(Unit(p2), b, sums[418]); sums[419] = fma(Unit(p3), b, sums[419]); }
      { let b = subgroupBroadcast(row13, 1u); sums[420] = fma(Unit(p0), b, sums[420]); sums[421] = fma(Unit(p1), b, sums[421]); sums[422] = fma(Unit(p2), b, sums[422]); sums[423] = fma(Unit(p3), b, sums[423]); }
      { let b = subgroupBroadcast(row13, 2u); sums[424] = fma(Unit(p0), b, sums[424]); sums[425] = fma(Unit(p1), b, sums[425]); sums[426] = fma(Unit(p2), b, sums[426]); sums[427] = fma(Unit(p3), b, sums[427]); }
      { let b = subgroupBroadcast(row13, 3u); sums[428] = fma(Unit(p0), b, sums[428]); sums[429] = fma(Unit(p1), b, sums[429]); sums[430] = fma(Unit(p2), b, sums[430]); sums[431] = fma(Unit(p3), b, sums[431]); }
      { let b = subgroupBroadcast(row13, 4u); sums[432] = fma(Unit(p0), b, sums[432]); sums[433] = fma(Unit(p1), b, sums[433]); sums[434] = fma(Unit(p2), b, sums[434]); sums[435] = fma(Unit(p3), b, sums[435]); }
      { let b = subgroupBroadcast(row13, 5u); sums[436] = fma(Unit(p0), b, sums[436]); sums[437] = fma(Unit(p1), b, sums[437]); sums[438] = fma(Unit(p2), b, sums[438]); sums[439] = fma(Unit(p3), b, sums[439]); }
      { let b = subgroupBroadcast(row13, 6u); sums[440] = fma(Unit(p0), b, sums[440]); sums[441] = fma(Unit(p1), b, sums[441]); sums[442] = fma(Unit(p2), b, sums[442]); sums[443] = fma(Unit(p3), b, sums[443]); }
      { let b = subgroupBroadcast(row13, 7u); sums[444] = fma(Unit(p0), b, sums[444]); sums[445] = fma(Unit(p1), b, sums[445]); sums[446] = fma(Unit(p2), b, sums[446]); sums[447] = fma(Unit(p3), b, sums[447]); }
      { let b = subgroupBroadcast(row14, 0u); sums[448] = fma(Unit(p0), b, sums[448]); sums[449] = fma(Unit(p1), b, sums[449]); sums[450] = fma(Unit(p2), b, sums[450]); sums[451] = fma(Unit(p3), b, sums[451]); }
      { let b = subgroupBroadcast(row14, 1u); sums[452] = fma(Unit(p0), b, sums[452]); sums[453] = fma(Unit(p1), b, sums[453]); sums[454] = fma(Unit(p2), b, sums[454]); sums[455] = fma(Unit(p3), b, sums[455]); }
      { let b = subgroupBroadcast(row14, 2u); sums[456] = fma(Unit(p0), b, sums[456]); sums[457] = fma(Unit(p1), b, sums[457]); sums[458] = fma(Unit(p2), b, sums[458]); sums[459] = fma(Unit(p3), b, sums[459]); }
      { let b = subgroupBroadcast(row14, 3u); sums[460] = fma(Unit(p0), b, sums[460]); sums[461] = fma(Unit(p1), b, sums[461]); sums[462] = fma(Unit(p2), b, sums[462]); sums[463] = fma(Unit(p3), b, sums[463]); }
      { let b = subgroupBroadcast(row14, 4u); sums[464] = fma(Unit(p0), b, sums[464]); sums[465] = fma(Unit(p1), b, sums[465]); sums[466] = fma(Unit(p2), b, sums[466]); sums[467] = fma(Unit(p3), b, sums[467]); }
      { let b = subgroupBroadcast(row14, 5u); sums[468] = fma(Unit(p0), b, sums[468]); sums[469] = fma(Unit(p1), b, sums[469]); sums[470] = fma(Unit(p2), b, sums[470]); sums[471] = fma(Unit(p3), b, sums[471]); }
      { let b = subgroupBroadcast(row14, 6u); sums[472] = fma(Unit(p0), b, sums[472]); sums[473] = fma(Unit(p1), b, sums[473]); sums[474] = fma(Unit(p2), b, sums[474]); sums[475] = fma(Unit(p3), b, sums[475]); }
      { let b = subgroupBroadcast(row14, 7u); sums[476] = fma(Unit(p0), b, sums[476]); sums[477] = fma(Unit(p1), b, sums[477]); sums[478] = fma(Unit(p2), b, sums[478]); sums[479] = fma(Unit(p3), b, sums[479]); }
      { let b = subgroupBroadcast(row15, 0u); sums[480] = fma(Unit(p0), b, sums[480]); sums[481] = fma(Unit(p1), b, sums[481]); sums[482] = fma(Unit(p2), b, sums[482]); sums[483] = fma(Unit(p3), b, sums[483]); }
      { let b = subgroupBroadcast(row15, 1u); sums[484] = fma(Unit(p0), b, sums[484]); sums[485] = fma(Unit(p1), b, sums[485]); sums[486] = fma(Unit(p2), b, sums[486]); sums[487] = fma(Unit(p3), b, sums[487]); }
      { let b = subgroupBroadcast(row15, 2u); sums[488] = fma(Unit(p0), b, sums[488]); sums[489] = fma(Unit(p1), b, sums[489]); sums[490] = fma(Unit(p2), b, sums[490]); sums[491] = fma(Unit(p3), b, sums[491]); }
      { let b = subgroupBroadcast(row15, 3u); sums[492] = fma(Unit(p0), b, sums[492]); sums[493] = fma(Unit(p1), b, sums[493]); sums[494] = fma(Unit(p2), b, sums[494]); sums[495] = fma(Unit(p3), b, sums[495]); }
      { let b = subgroupBroadcast(row15, 4u); sums[496] = fma(Unit(p0), b, sums[496]); sums[497] = fma(Unit(p1), b, sums[497]); sums[498] = fma(Unit(p2), b, sums[498]); sums[499] = fma(Unit(p3), b, sums[499]); }
      { let b = subgroupBroadcast(row15, 5u); sums[500] = fma(Unit(p0), b, sums[500]); sums[501] = fma(Unit(p1), b, sums[501]); sums[502] = fma(Unit(p2), b, sums[502]); sums[503] = fma(Unit(p3), b, sums[503]); }
      { let b = subgroupBroadcast(row15, 6u); sums[504] = fma(Unit(p0), b, sums[504]); sums[505] = fma(Unit(p1), b, sums[505]); sums[506] = fma(Unit(p2), b, sums[506]); sums[507] = fma(Unit(p3), b, sums[507]); }
    }
  }
  var totals = array<f32, 4>(total0, total1, total2, total3);
  for (var j = 0u; j < used; j++) {
    let query = query0 + j * 8u;
    if (query < tile.y) {
      let start = (query * params.heads + head) * 127u;
      let factor = select(0.0, 1.0 / totals[j], totals[j] > 0.0);
      for (var u = 0u; u < params.units; u++) { y[start + u] = sums[u * 4u + j] * factor; }
    }
  }
}
