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
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> k: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
@group(0) @binding(4) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

alias T = f32; alias Int = i32;

fn exp_(x: T) -> T {
  let clamped = clamp(x, T(-87.0), T(88.0));
  let n = round(clamped * 1.44269504);
  let r = fma(n, T(0.00021219444), fma(n, T(-0.693359375), clamped));
  let power = bitcast<T>((Int(n) + Int(127)) * Int(8388608));
  return (1.0 + fma(fma(fma(fma(fma(T(0.00139504802), r, T(0.00836888364)), r, T(0.041666206)), r, T(0.166665189)), r, T(0.50000001)), r * r, r)) * power;
}


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }

const QUERIES = 64u;
const KEYS = 32u;
const SLICE = 4u;
const VECTORS = 32u;
const VALUE_KEYS = 8u;
var<workgroup> scores: array<f32, 2048>;
var<workgroup> stage: array<vec4f, 384>;
var<workgroup> shares: array<f32, 256>;
var<workgroup> fade: array<f32, 64>;

// Vector `i` of a row of one head; zero past its end.
fn row_start(row: u32) -> u32 { return row * 127u; }
fn load_q(start: u32, i: u32) -> vec4f {
  var loaded = vec4f();
  for (var c = 0u; c < 4u && 4u * i + c < 127u; c++) { loaded[c] = q[start + 4u * i + c]; }
  return loaded;
}
fn load_k(start: u32, i: u32) -> vec4f {
  var loaded = vec4f();
  for (var c = 0u; c < 4u && 4u * i + c < 127u; c++) { loaded[c] = k[start + 4u * i + c]; }
  return loaded;
}
fn load_v(start: u32, i: u32) -> vec4f {
  var loaded = vec4f();
  for (var c = 0u; c < 4u && 4u * i + c < 127u; c++) { loaded[c] = v[start + 4u * i + c]; }
  return loaded;
}

@compute @workgroup_size(16, 16)
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_id) place: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = workgroup_index(id, count);
  if (index >= params.tiles * params.heads) { return; }
  let head = index / params.tiles;
  let kv_head = head / params.group;
  let tile = tiles[index % params.tiles];
  let last = tile.y - 1u;
  // In softmax steps four invocations share a row; each keeps its maximum and its share of the total.
  let row = lane / 4u;
  var most = -3.0e38;
  var total = 0.0;
  var sum0_0 = vec4f(); var sum0_1 = vec4f(); var sum1_0 = vec4f(); var sum1_1 = vec4f(); var sum2_0 = vec4f(); var sum2_1 = vec4f(); var sum3_0 = vec4f(); var sum3_1 = vec4f();
  
  for (var first = tile.z; first < tile.w; first += KEYS) {
    var z0_0 = 0.0; var z0_1 = 0.0; var z1_0 = 0.0; var z1_1 = 0.0; var z2_0 = 0.0; var z2_1 = 0.0; var z3_0 = 0.0; var z3_1 = 0.0;
    for (var slice = 0u; slice < VECTORS; slice += SLICE) {
      for (var i = lane; i < SLICE * (QUERIES + KEYS); i += 256u) {
        let at = slice + i % SLICE;
        let r = i / SLICE;
        if (r < QUERIES) {
          stage[(i % SLICE) * QUERIES + r] = load_q(row_start(min(tile.x + r, last) * params.heads + head), at) * params.scale;
        } else {
          let key = min(first + r - QUERIES, tile.w - 1u);
          stage[SLICE * QUERIES + (i % SLICE) * KEYS + r - QUERIES] = load_k(row_start(key * params.kv_heads + kv_head), at);
        }
      }
      workgroupBarrier();
      let depth = min(SLICE, VECTORS - slice);
      for (var d = 0u; d < depth; d++) {
        let k0 = stage[SLICE * QUERIES + d * KEYS + 0u + place.x]; let k1 = stage[SLICE * QUERIES + d * KEYS + 16u + place.x];
        { let a = stage[d * QUERIES + 0u + place.y]; z0_0 += dot(a, k0); z0_1 += dot(a, k1); }
        { let a = stage[d * QUERIES + 16u + place.y]; z1_0 += dot(a, k0); z1_1 += dot(a, k1); }
        { let a = stage[d * QUERIES + 32u + place.y]; z2_0 += dot(a, k0); z2_1 += dot(a, k1); }
        { let a = stage[d * QUERIES + 48u + place.y]; z3_0 += dot(a, k0); z3_1 += dot(a, k1); }
      }
      workgroupBarrier();
    }
    {
      let key = first + 0u + place.x;
      let visible = key < tile.w;
      scores[(0u + place.y) * KEYS + 0u + place.x] = select(-3.0e38, z0_0, visible);
      scores[(16u + place.y) * KEYS + 0u + place.x] = select(-3.0e38, z1_0, visible);
      scores[(32u + place.y) * KEYS + 0u + place.x] = select(-3.0e38, z2_0, visible);
      scores[(48u + place.y) * KEYS + 0u + place.x] = select(-3.0e38, z3_0, visible);
    }
    {
      let key = first + 16u + place.x;
      let visible = key < tile.w;
      scores[(0u + place.y) * KEYS + 16u + place.x] = select(-3.0e38, z0_1, visible);
      scores[(16u + place.y) * KEYS + 16u + place.x] = select(-3.0e38, z1_1, visible);
      scores[(32u + place.y) * KEYS + 16u + place.x] = select(-3.0e38, z2_1, visible);
      scores[(48u + place.y) * KEYS + 16u + place.x] = select(-3.0e38, z3_1, visible);
    }
    workgroupBarrier();
    let start = row * KEYS + lane % 4u;
    var higher = most;
    for (var i = 0u; i < KEYS; i += 4u) { higher = max(higher, scores[start + i]); }
    shares[lane] = higher;
    workgroupBarrier();
    higher = max(max(shares[4u * row], shares[4u * row + 1u]), max(shares[4u * row + 2u], shares[4u * row + 3u]));
    let factor = exp_(most - higher);
    most = higher;
    total *= factor;
    if (lane % 4u == 0u) { fade[row] = factor; }
    for (var i = 0u; i < KEYS; i += 4u) {
      let z = scores[start + i];
      let p = select(0.0, exp_(z - most), z > -1.0e38);
      scores[start + i] = p;
      total += p;
    }
    workgroupBarrier();
    sum0_0 *= fade[0u + place.y]; sum0_1 *= fade[0u + place.y]; sum1_0 *= fade[16u + place.y]; sum1_1 *= fade[16u + place.y]; sum2_0 *= fade[32u + place.y]; sum2_1 *= fade[32u + place.y]; sum3_0 *= fade[48u + place.y]; sum3_1 *= fade[48u + place.y];
    for (var value0 = 0u; value0 < KEYS; value0 += VALUE_KEYS) {
      for (var i = lane; i < VALUE_KEYS * VECTORS; i += 256u) {
        let key = min(first + value0 + i / VECTORS, tile.w - 1u);
        stage[i] = load_v(row_start(key * params.kv_heads + kv_head), i % VECTORS);
      }
      workgroupBarrier();
      for (var i = 0u; i < VALUE_KEYS; i++) {
        let v0 = stage[i * VECTORS + min(0u + place.x, VECTORS - 1u)]; let v1 = stage[i * VECTORS + min(16u + place.x, VECTORS - 1u)];
        { let p = scores[(0u + place.y) * KEYS + value0 + i]; sum0_0 += p * v0; sum0_1 += p * v1; }
        { let p = scores[(16u + place.y) * KEYS + value0 + i]; sum1_0 += p * v0; sum1_1 += p * v1; }
        { let p = scores[(32u + place.y) * KEYS + value0 + i]; sum2_0 += p * v0; sum2_1 += p * v1; }
        { let p = scores[(48u + place.y) * KEYS + value0 + i]; sum3_0 += p * v0; sum3_1 += p * v1; }
      }
      workgroupBarrier();
    }
  }
  shares[lane] = total;
  workgroupBarrier();
  {
    let r = 0u + place.y;
    let total = (shares[4u * r] + shares[4u * r + 1u]) + (shares[4u * r + 2u] + shares[4u * r + 3u]);
    let factor = select(0.0, 1.0 / total, total > 0.0);
    let query = tile.x + r;
    if (query < tile.y) {
      let to = row_start(query * params.heads + head);
      store_y(to, 0u + place.x, sum0_0 * factor); store_y(to, 16u + place.x, sum0_1 * factor);
    }
  }
  {
    let r = 16u + place.y;
    let total = (shares[4u * r] + shares[4u * r + 1u]) + (shares[4u * r + 2u] + shares[4u * r + 3u]);
    let factor = select(0.0, 1.0 / total, total > 0.0);
    let query = tile.x + r;
    if (query < tile.y) {
      let to = row_start(query * params.heads + head);
      store_y(to, 0u + place.x, sum1_0 * factor); store_y(to, 16u + place.x, sum1_1 * factor);
    }
  }
  {
    let r = 32u + place.y;
    let total = (shares[4u * r] + shares[4u * r + 1u]) + (shares[4u * r + 2u] + shares[4u * r + 3u]);
    let factor = select(0.0, 1.0 / total, total > 0.0);
    let query = tile.x + r;
    if (query < tile.y) {
      let to = row_start(query * params.heads + head);
      store_y(to, 0u + place.x, sum2_0 * factor); store_y(to, 16u + place.x, sum2_1 * factor);
    }
  }
  {
    let r = 48u + place.y;
    let total = (shares[4u * r] + shares[4u * r + 1u]) + (shares[4u * r + 2u] + shares[4u * r + 3u]);
    let factor = select(0.0, 1.0 / total, total > 0.0);
    let query = tile.x + r;
    if (query < tile.y) {
      let to = row_start(query * params.heads + head);
      store_y(to, 0u + place.x, sum3_0 * factor); store_y(to, 16u + place.x, sum3_1 * factor);
    }
  }
}

fn store_y(start: u32, i: u32, value: vec4f) {
  for (var c = 0u; c < 4u && 4u * i + c < 127u; c++) { y[start + 4u * i + c] = value[c]; }
}
