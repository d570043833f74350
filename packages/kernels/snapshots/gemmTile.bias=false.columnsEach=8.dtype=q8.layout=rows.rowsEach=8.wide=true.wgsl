struct Params {
  rows: u32,
  columns: u32,
  depth: u32,
  first_column: u32,
  stride: u32,
  depth_tile: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4f>;
@group(0) @binding(2) var<storage, read> b: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }


fn tile_of(index: u32, row_tiles: u32, column_tiles: u32) -> vec2u {
  let group = index / (16u * column_tiles);
  let within = index % (16u * column_tiles);
  let rows = min(row_tiles - group * 16u, 16u);
  return vec2u(group * 16u + within % rows, within / rows);
}

const ROWS = 128u;
const COLUMNS = 128u;
const DEPTH = 4u;
var<workgroup> a_tile: array<vec4f, 512>;
var<workgroup> b_tile: array<vec4f, 512>;


fn load_a(row: u32, depth: u32) -> vec4f {
  if (row >= params.rows || depth >= params.depth) { return vec4f(); }
  return a[(row * params.depth + depth) / 4u];
}


fn decode_vector(i: u32) -> vec4f {
  let group = i / 16u * 17u;
  let part = i % 16u;
  let scale = unpack2x16float(b[group])[part / 8u];
  let codes = vec4i(vec4u(b[group + 1u + part]) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u);
  return scale * vec4f(codes);
}

fn load_b(column: u32, depth: u32) -> vec4f {
  if (column >= params.columns || depth >= params.depth) { return vec4f(); }
  return decode_vector((column * params.depth + depth) / 4u);
}


@compute @workgroup_size(16, 16)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_id) place: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let row_tiles = (params.rows + ROWS - 1u) / ROWS;
  let column_tiles = (params.columns + COLUMNS - 1u) / COLUMNS;
  let index = workgroup_index(id, count);
  if (index >= row_tiles * column_tiles) { return; }
  let tile = tile_of(index, row_tiles, column_tiles);
  let row0 = tile.x * ROWS;
  let column0 = tile.y * COLUMNS;
  var c0_0 = 0.0; var c0_1 = 0.0; var c0_2 = 0.0; var c0_3 = 0.0; var c0_4 = 0.0; var c0_5 = 0.0; var c0_6 = 0.0; var c0_7 = 0.0;
  var c1_0 = 0.0; var c1_1 = 0.0; var c1_2 = 0.0; var c1_3 = 0.0; var c1_4 = 0.0; var c1_5 = 0.0; var c1_6 = 0.0; var c1_7 = 0.0;
  var c2_0 = 0.0; var c2_1 = 0.0; var c2_2 = 0.0; var c2_3 = 0.0; var c2_4 = 0.0; var c2_5 = 0.0; var c2_6 = 0.0; var c2_7 = 0.0;
  var c3_0 = 0.0; var c3_1 = 0.0; var c3_2 = 0.0; var c3_3 = 0.0; var c3_4 = 0.0; var c3_5 = 0.0; var c3_6 = 0.0; var c3_7 = 0.0;
  var c4_0 = 0.0; var c4_1 = 0.0; var c4_2 = 0.0; var c4_3 = 0.0; var c4_4 = 0.0; var c4_5 = 0.0; var c4_6 = 0.0; var c4_7 = 0.0;
  var c5_0 = 0.0; var c5_1 = 0.0; var c5_2 = 0.0; var c5_3 = 0.0; var c5_4 = 0.0; var c5_5 = 0.0; var c5_6 = 0.0; var c5_7 = 0.0;
  var c6_0 = 0.0; var c6_1 = 0.0; var c6_2 = 0.0; var c6_3 = 0.0; var c6_4 = 0.0; var c6_5 = 0.0; var c6_6 = 0.0; var c6_7 = 0.0;
  var c7_0 = 0.0; var c7_1 = 0.0; var c7_2 = 0.0; var c7_3 = 0.0; var c7_4 = 0.0; var c7_5 = 0.0; var c7_6 = 0.0; var c7_7 = 0.0;
  for (var first = 0u; first < params.depth; first += 4u * DEPTH) {
    for (var i = lane; i < ROWS * DEPTH; i += 256u) {
      a_tile[(i % DEPTH) * ROWS + i / DEPTH] = load_a(row0 + i / DEPTH, first + 4u * (i % DEPTH));
    }
    for (var i = lane; i < COLUMNS * DEPTH; i += 256u) {
      b_tile[(i % DEPTH) * COLUMNS + i / DEPTH] = load_b(column0 + i / DEPTH, first + 4u * (i % DEPTH));
    }
    workgroupBarrier();
    let end = min(params.depth_tile, (params.depth - first + 3u) / 4u);
    for (var d = 0u; d < end; d++) {
      let a0 = a_tile[d * ROWS + 0u + place.y];
      let a1 = a_tile[d * ROWS + 16u + place.y];
      let a2 = a_tile[d * ROWS + 32u + place.y];
      let a3 = a_tile[d * ROWS + 48u + place.y];
      let a4 = a_tile[d * ROWS + 64u + place.y];
      let a5 = a_tile[d * ROWS + 80u + place.y];
      let a6 = a_tile[d * ROWS + 96u + place.y];
      let a7 = a_tile[d * ROWS + 112u + place.y];
      { let b = b_tile[d * COLUMNS + 0u + place.x]; c0_0 += dot(a0, b); c1_0 += dot(a1, b); c2_0 += dot(a2, b); c3_0 += dot(a3, b); c4_0 += dot(a4, b); c5_0 += dot(a5, b); c6_0 += dot(a6, b); c7_0 += dot(a7, b); }
      { let b = b_tile[d * COLUMNS + 16u + place.x]; c0_1 += dot(a0, b); c1_1 += dot(a1, b); c2_1 += dot(a2, b); c3_1 += dot(a3, b); c4_1 += dot(a4, b); c5_1 += dot(a5, b); c6_1 += dot(a6, b); c7_1 += dot(a7, b); }
      { let b = b_tile[d * COLUMNS + 32u + place.x]; c0_2 += dot(a0, b); c1_2 += dot(a1, b); c2_2 += dot(a2, b); c3_2 += dot(a3, b); c4_2 += dot(a4, b); c5_2 += dot(a5, b); c6_2 += dot(a6, b); c7_2 += dot(a7, b); }
      { let b = b_tile[d * COLUMNS + 48u + place.x]; c0_3 += dot(a0, b); c1_3 += dot(a1, b); c2_3 += dot(a2, b); c3_3 += dot(a3, b); c4_3 += dot(a4, b); c5_3 += dot(a5, b); c6_3 += dot(a6, b); c7_3 += dot(a7, b); }
      { let b = b_tile[d * COLUMNS + 64u + place.x]; c0_4 += dot(a0, b); c1_4 += dot(a1, b); c2_4 += dot(a2, b); c3_4 += dot(a3, b); c4_4 += dot(a4, b); c5_4 += dot(a5, b); c6_4 += dot(a6, b); c7_4 += dot(a7, b); }
      { let b = b_tile[d * COLUMNS + 80u + place.x]; c0_5 += dot(a0, b); c1_5 += dot(a1, b); c2_5 += dot(a2, b); c3_5 += dot(a3, b); c4_5 += dot(a4, b); c5_5 += dot(a5, b); c6_5 += dot(a6, b); c7_5 += dot(a7, b); }
      { let b = b_tile[d * COLUMNS + 96u + place.x]; c0_6 += dot(a0, b); c1_6 += dot(a1, b); c2_6 += dot(a2, b); c3_6 += dot(a3, b); c4_6 += dot(a4, b); c5_6 += dot(a5, b); c6_6 += dot(a6, b); c7_6 += dot(a7, b); }
      { let b = b_tile[d * COLUMNS + 112u + place.x]; c0_7 += dot(a0, b); c1_7 += dot(a1, b); c2_7 += dot(a2, b); c3_7 += dot(a3, b); c4_7 += dot(a4, b); c5_7 += dot(a5, b); c6_7 += dot(a6, b); c7_7 += dot(a7, b); }
    }
    workgroupBarrier();
  }
  var total: array<f32, 64>;
  total[0] = c0_0; total[1] = c0_1; total[2] = c0_2; total[3] = c0_3; total[4] = c0_4; total[5] = c0_5; total[6] = c0_6; total[7] = c0_7; total[8] = c1_0; total[9] = c1_1; total[10] = c1_2; total[11] = c1_3; total[12] = c1_4; total[13] = c1_5; total[14] = c1_6; total[15] = c1_7; total[16] = c2_0; total[17] = c2_1; total[18] = c2_2; total[19] = c2_3; total[20] = c2_4; total[21] = c2_5; total[22] = c2_6; total[23] = c2_7; total[24] = c3_0; total[25] = c3_1; total[26] = c3_2; total[27] = c3_3; total[28] = c3_4; total[29] = c3_5; total[30] = c3_6; total[31] = c3_7; total[32] = c4_0; total[33] = c4_1; total[34] = c4_2; total[35] = c4_3; total[36] = c4_4; total[37] = c4_5; total[38] = c4_6; total[39] = c4_7; total[40] = c5_0; total[41] = c5_1; total[42] = c5_2; total[43] = c5_3; total[44] = c5_4; total[45] = c5_5; total[46] = c5_6; total[47] = c5_7; total[48] = c6_0; total[49] = c6_1; total[50] = c6_2; total[51] = c6_3; total[52] = c6_4; total[53] = c6_5; total[54] = c6_6; total[55] = c6_7; total[56] = c7_0; total[57] = c7_1; total[58] = c7_2; total[59] = c7_3; total[60] = c7_4; total[61] = c7_5; total[62] = c7_6; total[63] = c7_7;
  // Not unrolled, as its end is not constant: unrolled stores would take seconds to compile.
  let end = 8u * ((min(params.rows - row0, ROWS) + 15u) / 16u);
  for (var i = 0u; i < end; i++) {
    let row = row0 + 16u * (i / 8u) + place.y;
    let column = column0 + 16u * (i % 8u) + place.x;
    if (row < params.rows && column < params.columns) {
      let at = params.first_column + column;
      y[row * params.stride + at] = total[i];
    }
  }
}
