struct Params {
  size: u32,
  width: u32,
  all_rows: u32,
  first_row: u32,
  rows: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read> table: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<u32>;


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }


fn decode_word(word: u32) -> vec2f { return bitcast<vec2f>(vec2u(word << 16u, word & 0xffff0000u)); }
fn decode_at(i: u32) -> f32 { return decode_word(table[i / 2u])[i % 2u]; }
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(id, count) * 64u + lane;
  if (i >= params.size) { return; }
  // A negative id is a large number here.
  let row = ids[i / params.width];
  let local = row - params.first_row;
  if (row >= params.all_rows) {
    y[i] = 0x7fc00000u;
  } else if (local < params.rows) {
    y[i] = bitcast<u32>(decode_at(local * params.width + i % params.width));
  }
}
