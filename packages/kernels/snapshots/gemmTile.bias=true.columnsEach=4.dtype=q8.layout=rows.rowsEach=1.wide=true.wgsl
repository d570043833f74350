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
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }


fn tile_of(index: u32, row_tiles: u32, column_tiles: u32) -> vec2u {
  let group = index / (16u * column_tiles);
  let within = index % (16u * column_tiles);
  let rows = min(row_tiles - group * 16u, 16u);
  return vec2u(group * 16u + within % rows, within / rows);
}

const ROWS = 16u;
const COLUMNS = 64u;
const DEPTH = 4u;
var<workgroup> a_tile: array<vec4f, 64>;
var<workgroup> b_tile: array<vec4f, 256>;


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
  var c0_0 = 0.0; var c0_1 = 0.0; var c0_2 = 0.0; var c0_3 = 0.0;
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
      { let b = b_tile[d * COLUMNS + 0u + place.x]; c0_0 += dot(a0, b); }
      { let b = b_tile[d * COLUMNS + 16u + place.x]; c0_1 += dot(a0, b); }
      { let b = b_tile[d * COLUMNS + 32u + place.x]; c0_2 += dot(a0, b); }
      { let b = b_tile[d * COLUMNS + 48u + place.x]; c0_3 += dot(a0, b); }
    }
    workgroupBarrier();
  }
  var total: array<f32, 4>;
  total[0] = c0_0; total[1] = c0_1; total[2] = c0_2; total[3] = c0_3;
  // Not unrolled, as its end is not constant: unrolled stores would take seconds to compile.
  let end = 4u * ((min(params.rows - row0, ROWS) + 15u) / 16u);
  for (var i = 0u; i < end; i++) {
    let row = row0 + 16u * (i / 4u) + place.y;
    let column = column0 + 16u * (i % 4u) + place.x;
    if (row < params.rows && column < params.columns) {
      let at = params.first_column + column;
      y[row * params.stride + at] = total[i] + bias[at];
    }
  }
}
