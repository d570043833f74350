enable subgroups;
struct Params {
  rows: u32,
  columns: u32,
  depth: u32,
  first_column: u32,
  stride: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4f>;
@group(0) @binding(2) var<storage, read> b: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }


fn tile_of(index: u32, row_tiles: u32, column_tiles: u32) -> vec2u {
  let group = index / (16u * column_tiles);
  let within = index % (16u * column_tiles);
  let rows = min(row_tiles - group * 16u, 16u);
  return vec2u(group * 16u + within % rows, within / rows);
}


fn decode_vector(i: u32) -> vec4f {
  let group = i / 16u * 17u;
  let part = i % 16u;
  let scale = unpack2x16float(b[group])[part / 8u];
  let codes = vec4i(vec4u(b[group + 1u + part]) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u);
  return scale * vec4f(codes);
}

const COLUMNS = 16u;

@compute @workgroup_size(4)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let row_tiles = (params.rows + 15u) / 16u;
  let column_tiles = (params.columns + COLUMNS - 1u) / COLUMNS;
  let index = workgroup_index(id, count);
  if (index >= row_tiles * column_tiles) { return; }
  let tile = tile_of(index, row_tiles, column_tiles);
  let row0 = tile.x * 16u;
  let column0 = tile.y * COLUMNS;
  let steps = params.depth / 4u;
  // Rows and columns past the end repeat the last one and are not stored.
  let a_start0 = min(row0 + 0u + lane, params.rows - 1u) * steps;
  let a_start1 = min(row0 + 4u + lane, params.rows - 1u) * steps;
  let a_start2 = min(row0 + 8u + lane, params.rows - 1u) * steps;
  let a_start3 = min(row0 + 12u + lane, params.rows - 1u) * steps;
  let b_start0 = min(column0 + lane + 4u * 0u, params.columns - 1u) * steps;
  let b_start1 = min(column0 + lane + 4u * 1u, params.columns - 1u) * steps;
  let b_start2 = min(column0 + lane + 4u * 2u, params.columns - 1u) * steps;
  let b_start3 = min(column0 + lane + 4u * 3u, params.columns - 1u) * steps;
  var total: array<f32, 64>;
  for (var first = 0u; first < steps; first += 64u) {
    var c0_0 = 0.0; var c0_1 = 0.0; var c0_2 = 0.0; var c0_3 = 0.0; var c1_0 = 0.0; var c1_1 = 0.0; var c1_2 = 0.0; var c1_3 = 0.0; var c2_0 = 0.0; var c2_1 = 0.0; var c2_2 = 0.0; var c2_3 = 0.0; var c3_0 = 0.0; var c3_1 = 0.0; var c3_2 = 0.0; var c3_3 = 0.0; var c4_0 = 0.0; var c4_1 = 0.0; var c4_2 = 0.0; var c4_3 = 0.0; var c5_0 = 0.0; var c5_1 = 0.0; var c5_2 = 0.0; var c5_3 = 0.0; var c6_0 = 0.0; var c6_1 = 0.0; var c6_2 = 0.0; var c6_3 = 0.0; var c7_0 = 0.0; var c7_1 = 0.0; var c7_2 = 0.0; var c7_3 = 0.0; var c8_0 = 0.0; var c8_1 = 0.0; var c8_2 = 0.0; var c8_3 = 0.0; var c9_0 = 0.0; var c9_1 = 0.0; var c9_2 = 0.0; var c9_3 = 0.0; var c10_0 = 0.0; var c10_1 = 0.0; var c10_2 = 0.0; var c10_3 = 0.0; var c11_0 = 0.0; var c11_1 = 0.0; var c11_2 = 0.0; var c11_3 = 0.0; var c12_0 = 0.0; var c12_1 = 0.0; var c12_2 = 0.0; var c12_3 = 0.0; var c13_0 = 0.0; var c13_1 = 0.0; var c13_2 = 0.0; var c13_3 = 0.0; var c14_0 = 0.0; var c14_1 = 0.0; var c14_2 = 0.0; var c14_3 = 0.0; var c15_0 = 0.0; var c15_1 = 0.0; var c15_2 = 0.0; var c15_3 = 0.0;
    let end = min(first + 64u, steps);
    for (var k = first; k < end; k++) {
      let b0 = decode_vector(b_start0 + k); let b1 = decode_vector(b_start1 + k); let b2 = decode_vector(b_start2 + k); let b3 = decode_vector(b_start3 + k);
      let a0 = a[a_start0 + k]; let a1 = a[a_start1 + k]; let a2 = a[a_start2 + k]; let a3 = a[a_start3 + k];
      { let v = subgroupBroadcast(a0, 0u); c0_0 = fma(v.w, b0.w, fma(v.z, b0.z, fma(v.y, b0.y, fma(v.x, b0.x, c0_0)))); c0_1 = fma(v.w, b1.w, fma(v.z, b1.z, fma(v.y, b1.y, fma(v.x, b1.x, c0_1)))); c0_2 = fma(v.w, b2.w, fma(v.z, b2.z, fma(v.y, b2.y, fma(v.x, b2.x, c0_2)))); c0_3 = fma(v.w, b3.w, fma(v.z, b3.z, fma(v.y, b3.y, fma(v.x, b3.x, c0_3)))); }
      { let v = subgroupBroadcast(a0, 1u); c1_0 = fma(v.w, b0.w, fma(v.z, b0.z, fma(v.y, b0.y, fma(v.x, b0.x, c1_0)))); c1_1 = fma(v.w, b1.w, fma(v.z, b1.z, fma(v.y, b1.y, fma(v.x, b1.x, c1_1)))); c1_2 = fma(v.w, b2.w, fma(v.z, b2.z, fma(v.y, b2.y, fma(v.x, b2.x, c1_2)))); c1_3 = fma(v.w, b3.w, fma(v.z, b3.z, fma(v.y, b3.y, fma(v.x, b3.x, c1_3)))); }
      { let v = subgroupBroadcast(a0, 2u); c2_0 = fma(v.w, b0.w, fma(v.z, b0.z, fma(v.y, b0.y, fma(v.x, b0.x, c2_0)))); c2_1 = fma(v.w, b1.w, fma(v.z, b1.z, fma(v.y, b1.y, fma(v.x, b1.x, c2_1)))); c2_2 = fma(v.w, b2.w, fma(v.z, b2.z, fma(v.y, b2.y, fma(v.x, b2.x, c2_2)))); c2_3 = fma(v.w, b3.w, fma(v.z, b3.z, fma(v.y, b3.y, fma(v.x, b3.x, c2_3)))); }
      { let v = subgroupBroadcast(a0, 3u); c3_0 = fma(v.w, b0.w, fma(v.z, b0.z, fma(v.y, b0.y, fma(v.x, b0.x, c3_0)))); c3_1 = fma(v.w, b1.w, fma(v.z, b1.z, fma(v.y, b1.y, fma(v.x, b1.x, c3_1)))); c3_2 = fma(v.w, b2.w, fma(v.z, b2.z, fma(v.y, b2.y, fma(v.x, b2.x, c3_2)))); c3_3 = fma(v.w, b3.w, fma(v.z, b3.z, fma(v.y, b3.y, fma(v.x, b3.x, c3_3)))); }
      { let v = subgroupBroadcast(a1, 0u); c4_0 = fma(v.w, b0.w, fma(v.z, b0.z, fma(v.y, b0.y, fma(v.x, b0.x, c4_0)))); c4_1 = fma(v.w, b1.w, fma(v.z, b1.z, fma(v.y, b1.y, fma(v.x, b1.x, c4_1)))); c4_2 = fma(v.w, b2.w, fma(v.z, b2.z, fma(v.y, b2.y, fma(v.x, b2.x, c4_2)))); c4_3 = fma(v.w, b3.w, fma(v.z, b3.z, fma(v.y, b3.y, fma(v.x, b3.x, c4_3)))); }
      { let v = subgroupBroadcast(a1, 1u); c5_0 = fma(v.w, b0.w, fma(v.z, b0.z, fma(v.y, b0.y, fma(v.x, b0.x, c5_0)))); c5_1 = fma(v.w, b1.w, fma(v.z, b1.z, fma(v.y, b1.y, fma(v.x, b1.x, c5_1)))); c5_2 = fma(v.w, b2.w, fma(v.z, b2.z, fma(v.y, b2.y, fma(v.x, b2.x, c5_2)))); c5_3 = fma(v.w, b3.w, fma(v.z, b3.z, fma(v.y, b3.y, fma(v.x, b3.x, c5_3)))); }
      { let v = subgroupBroadcast(a1, 2u); c6_0 = fma(v.w, b0.w, fma(v.z, b0.z, fma(v.y, b0.y, fma(v.x, b0.x, c6_0)))); c6_1 = fma(v.w, b1.w, fma(v.z, b1.z, fma(v.y, b1.y, fma(v.x, b1.x, c6_1)))); c6_2 = fma(v.w, b2.w, fma(v.z, b2.z, fma(v.y, b2.y, fma(v.x, b2.x, c6_2)))); c6_3 = fma(v.w, b3.w, fma(v.z, b3.z, fma(v.y, b3.y, fma(v.x, b3.x, c6_3)))); }
      { let v = subgroupBroadcast(a1, 3u); c7_0 = fma(v.w, b0.w, fma(v.z, b0.z, fma(v.y, b0.y, fma(v.x, b0.x, c7_0)))); c7_1 = fma(v.w, b1.w, fma(v.z, b1.z, fma(v.y, b1.y, fma(v.x, b1.x, c7_1)))); c7_2 = fma(v.w, b2.w, fma(v.z, b2.z, fma(v.y, b2.y, fma(v.x, b2.x, c7_2)))); c7_3 = fma(v.w, b3.w, fma(v.z, b3.z, fma(v.y, b3.y, fma(v.x, b3.x, c7_3)))); }
      { let v = subgroupBroadcast(a2, 0u); c8_0 = fma(v.w, b0.w, fma(v.z, b0.z, fma(v.y, b0.y, fma(v.x, b0.x, c8_0)))); c8_1 = fma(v.w, b1.w, fma(v.z, b1.z, fma(v.y, b1.y, fma(v.x, b1.x, c8_1)))); c8_2 = fma(v.w, b2.w, fma(v.z, b2.z, fma(v.y, b2.y, fma(v.x, b2.x, c8_2)))); c8_3 = fma(v.w, b3.w, fma(v.z, b3.z, fma(v.y, b3.y, fma(v.x, b3.x, c8_3)))); }
      { let v = subgroupBroadcast(a2, 1u); c9_0 = fma(v.w, b0.w, fma(v.z, b0.z, fma(v.y, b0.y, fma(v.x, b0.x, c9_0)))); c9_1 = fma(v.w, b1.w, fma(v.z, b1.z, fma(v.y, b1.y, fma(v.x, b1.x, c9_1)))); c9_2 = fma(v.w, b2.w, fma(v.z, b2.z, fma(v.y, b2.y, fma(v.x, b2.x, c9_2)))); c9_3 = fma(v.w, b3.w, fma(v.z, b3.z, fma(v.y, b3.y, fma(v.x, b3.x, c9_3)))); }
      { let v = subgroupBroadcast(a2, 2u); c10_0 = fma(v.w, b0.w, fma(v.z, b0.z, fma(v.y, b0.y, fma(v.x, b0.x, c10_0)))); c10_1 = fma(v.w, b1.w, fma(v.z, b1.z, fma(v.y, b1.y, fma(v.x, b1.x, c10_1)))); c10_2 = fma(v.w, b2.w, fma(v.z, b2.z, fma(v.y, b2.y, fma(v.x, b2.x, c10_2)))); c10_3 = fma(v.w, b3.w, fma(v.z, b3.z, fma(v.y, b3.y, fma(v.x, b3.x, c10_3)))); }
      { let v = subgroupBroadcast(a2, 3u); c11_0 = fma(v.w, b0.w, fma(v.z, b0.z, fma(v.y, b0.y, fma(v.x, b0.x, c11_0)))); c11_1 = fma(v.w, b1.w, fma(v.z, b1.z, fma(v.y, b1.y, fma(v.x, b1.x, c11_1)))); c11_2 = fma(v.w, b2.w, fma(v.z, b2.z, fma(v.y, b2.y, fma(v.x, b2.x, c11_2)))); c11_3 = fma(v.w, b3.w, fma(v.z, b3.z, fma(v.y, b3.y, fma(v.x, b3.x, c11_3)))); }
      { let v = subgroupBroadcast(a3, 0u); c12_0 = fma(v.w, b0.w, fma(v.z, b0.z, fma(v.y, b0.y, fma(v.x, b0.x, c12_0)))); c12_1 = fma(v.w, b1.w, fma(v.z, b1.z, fma(v.y, b1.y, fma(v.x, b1.x, c12_1)))); c12_2 = fma(v.w, b2.w, fma(v.z, b2.z, fma(v.y, b2.y, fma(v.x, b2.x, c12_2)))); c12_3 = fma(v.w, b3.w, fma(v.z, b3.z, fma(v.y, b3.y, fma(v.x, b3.x, c12_3)))); }
      { let v = subgroupBroadcast(a3, 1u); c13_0 = fma(v.w, b0.w, fma(v.z, b0.z, fma(v.y, b0.y, fma(v.x, b0.x, c13_0)))); c13_1 = fma(v.w, b1.w, fma(v.z, b1.z, fma(v.y, b1.y, fma(v.x, b1.x, c13_1)))); c13_2 = fma(v.w, b2.w, fma(v.z, b2.z, fma(v.y, b2.y, fma(v.x, b2.x, c13_2)))); c13_3 = fma(v.w, b3.w, fma(v.z, b3.z, fma(v.y, b3.y, fma(v.x, b3.x, c13_3)))); }
      { let v = subgroupBroadcast(a3, 2u); c14_0 = fma(v.w, b0.w, fma(v.z, b0.z, fma(v.y, b0.y, fma(v.x, b0.x, c14_0)))); c14_1 = fma(v.w, b1.w, fma(v.z, b1.z, fma(v.y, b1.y, fma(v.x, b1.x, c14_1)))); c14_2 = fma(v.w, b2.w, fma(v.z, b2.z, fma(v.y, b2.y, fma(v.x, b2.x, c14_2)))); c14_3 = fma(v.w, b3.w, fma(v.z, b3.z, fma(v.y, b3.y, fma(v.x, b3.x, c14_3)))); }
      { let v = subgroupBroadcast(a3, 3u); c15_0 = fma(v.w, b0.w, fma(v.z, b0.z, fma(v.y, b0.y, fma(v.x, b0.x, c15_0)))); c15_1 = fma(v.w, b1.w, fma(v.z, b1.z, fma(v.y, b1.y, fma(v.x, b1.x, c15_1)))); c15_2 = fma(v.w, b2.w, fma(v.z, b2.z, fma(v.y, b2.y, fma(v.x, b2.x, c15_2)))); c15_3 = fma(v.w, b3.w, fma(v.z, b3.z, fma(v.y, b3.y, fma(v.x, b3.x, c15_3)))); }
    }
    total[0] += c0_0; total[1] += c0_1; total[2] += c0_2; total[3] += c0_3; total[4] += c1_0; total[5] += c1_1; total[6] += c1_2; total[7] += c1_3; total[8] += c2_0; total[9] += c2_1; total[10] += c2_2; total[11] += c2_3; total[12] += c3_0; total[13] += c3_1; total[14] += c3_2; total[15] += c3_3; total[16] += c4_0; total[17] += c4_1; total[18] += c4_2; total[19] += c4_3; total[20] += c5_0; total[21] += c5_1; total[22] += c5_2; total[23] += c5_3; total[24] += c6_0; total[25] += c6_1; total[26] += c6_2; total[27] += c6_3; total[28] += c7_0; total[29] += c7_1; total[30] += c7_2; total[31] += c7_3; total[32] += c8_0; total[33] += c8_1; total[34] += c8_2; total[35] += c8_3; total[36] += c9_0; total[37] += c9_1; total[38] += c9_2; total[39] += c9_3; total[40] += c10_0; total[41] += c10_1; total[42] += c10_2; total[43] += c10_3; total[44] += c11_0; total[45] += c11_1; total[46] += c11_2; total[47] += c11_3; total[48] += c12_0; total[49] += c12_1; total[50] += c12_2; total[51] += c12_3; total[52] += c13_0; total[53] += c13_1; total[54] += c13_2; total[55] += c13_3; total[56] += c14_0; total[57] += c14_1; total[58] += c14_2; total[59] += c14_3; total[60] += c15_0; total[61] += c15_1; total[62] += c15_2; total[63] += c15_3;
  }
  // Not unrolled, as its end is not constant: unrolled stores would take seconds to compile.
  let end = 4u * min(params.rows - row0, 16u);
  for (var i = 0u; i < end; i++) {
    let row = row0 + i / 4u;
    let column = column0 + lane + 4u * (i % 4u);
    if (column < params.columns) {
      let at = params.first_column + column;
      y[row * params.stride + at] = total[i] + bias[at];
    }
  }
}
