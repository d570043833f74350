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
  slice: u32,
  value_keys: u32,
  cached: u32,
  first: u32,
  ring: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<vec4f>;
@group(0) @binding(2) var<storage, read> k: array<vec4f>;
@group(0) @binding(3) var<storage, read> v: array<vec4f>;
@group(0) @binding(4) var<storage, read> tiles: array<vec4u>;
@group(0) @binding(5) var<storage, read> cachedK: array<u32>;
@group(0) @binding(6) var<storage, read> cachedV: array<u32>;
@group(0) @binding(7) var<storage, read_write> y: array<vec4f>;

alias T = f32; alias Int = i32; alias Bits = u32; alias Truth = bool;

fn exp_number(x: T) -> T {
  let clamped = clamp(x, T(-88.0), T(89.0));
  let n = round(clamped * 1.44269504);
  let r = fma(n, T(0.00021219444), fma(n, T(-0.693359375), clamped));
  let power = bitcast<T>((Int(n) + Int(127)) * Int(8388608));
  return (1.0 + fma(fma(fma(fma(fma(T(0.00139504802), r, T(0.00836888364)), r, T(0.041666206)), r, T(0.166665189)), r, T(0.50000001)), r * r, r)) * power;
}

fn is_nan(x: T) -> Truth { return (bitcast<Bits>(x) & Bits(0x7fffffffu)) > Bits(0x7f800000u); }

fn exp_(x: T) -> T { return select(exp_number(x), x, is_nan(x)); }


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }

const QUERIES = 64u;
const KEYS = 32u;
const SLICE = 4u;
var<workgroup> scores: array<f32, 2048>;
var<workgroup> stage: array<vec4f, 384>;
var<workgroup> shares: array<f32, 256>;
var<workgroup> fade: array<f32, 64>;

// Vector `i` of the row that starts at unit `start`; the part of it past the row's end is zero.
fn load_q(start: u32, i: u32) -> vec4f { return q[start + i]; }
fn load_k(start: u32, i: u32) -> vec4f { return k[start + i]; }
fn load_v(start: u32, i: u32) -> vec4f { return v[start + i]; }
fn is_cached(key: u32) -> bool { return key < params.cached; }
fn own_row(key: u32) -> u32 { return key - params.cached; }
// params.first may be negative, as u32, for a key axis that starts before the first key.
fn ring_row(key: u32) -> u32 {
  let row = params.first + key;
  return select(row, row - params.ring, row >= params.ring);
}
fn cached_k(i: u32) -> vec4f {
  let group = 17u * (i >> 4u);
  let codes = vec4i(vec4u(cachedK[group + 1u + (i & 15u)]) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u);
  return unpack2x16float(cachedK[group])[(i >> 3u) & 1u] * vec4f(codes);
}
fn cached_v(i: u32) -> vec4f {
  let group = 17u * (i >> 4u);
  let codes = vec4i(vec4u(cachedV[group + 1u + (i & 15u)]) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u);
  return unpack2x16float(cachedV[group])[(i >> 3u) & 1u] * vec4f(codes);
}
fn load_key_k(key: u32, kv_head: u32, i: u32) -> vec4f {
  if (is_cached(key)) {
    let start = (ring_row(key) * params.kv_heads + kv_head) * params.units;
    return cached_k(start + i);
  }
  return load_k((own_row(key) * params.kv_heads + kv_head) * params.units, i);
}
fn load_key_v(key: u32, kv_head: u32, i: u32) -> vec4f {
  if (is_cached(key)) {
    let start = (ring_row(key) * params.kv_heads + kv_head) * params.units;
    return cached_v(start + i);
  }
  return load_v((own_row(key) * params.kv_heads + kv_head) * params.units, i);
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
  let units = params.units;
  let vectors = units;
  // In softmax steps four invocations share a row; each keeps its maximum and its share of the total.
  let row = lane / 4u;
  var most = -3.4028234663852886e+38;
  var total = 0.0;
  
  var sum0_0 = vec4f(); var sum1_0 = vec4f(); var sum2_0 = vec4f(); var sum3_0 = vec4f();
  
  for (var first = tile.z; first < tile.w; first += KEYS) {
    var z0_0 = 0.0; var z0_1 = 0.0; var z1_0 = 0.0; var z1_1 = 0.0; var z2_0 = 0.0; var z2_1 = 0.0; var z3_0 = 0.0; var z3_1 = 0.0;
    for (var slice = 0u; slice < vectors; slice += SLICE) {
      // As many invocations as vectors of q, twice as many as of k.
      let query = min(tile.x + lane / SLICE, last);
      stage[(lane % SLICE) * QUERIES + lane / SLICE] = load_q((query * params.heads + head) * units, slice + lane % SLICE) * params.scale;
      if (lane < SLICE * KEYS) {
        let key = min(first + lane / SLICE, tile.w - 1u);
        stage[SLICE * QUERIES + (lane % SLICE) * KEYS + lane / SLICE] = load_key_k(key, kv_head, slice + lane % SLICE);
      }
      workgroupBarrier();
      let depth = min(params.slice, vectors - slice);
      for (var d = 0u; d < depth; d++) {
        let k0 = stage[SLICE * QUERIES + d * KEYS + 0u + place.x]; let k1 = stage[SLICE * QUERIES + d * KEYS + 16u + place.x];
        { let a = stage[d * QUERIES + 0u + place.y]; z0_0 += dot(a, k0); z0_1 += dot(a, k1); }
        { let a = stage[d * QUERIES + 16u + place.y]; z1_0 += dot(a, k0); z1_1 += dot(a, k1); }
        { let a = stage[d * QUERIES + 32u + place.y]; z2_0 += dot(a, k0); z2_1 += dot(a, k1); }
        { let a = stage[d * QUERIES + 48u + place.y]; z3_0 += dot(a, k0); z3_1 += dot(a, k1); }
      }
      workgroupBarrier();
    }
    scores[(0u + place.y) * KEYS + 0u + place.x] = z0_0; scores[(0u + place.y) * KEYS + 16u + place.x] = z0_1;
    scores[(16u + place.y) * KEYS + 0u + place.x] = z1_0; scores[(16u + place.y) * KEYS + 16u + place.x] = z1_1;
    scores[(32u + place.y) * KEYS + 0u + place.x] = z2_0; scores[(32u + place.y) * KEYS + 16u + place.x] = z2_1;
    scores[(48u + place.y) * KEYS + 0u + place.x] = z3_0; scores[(48u + place.y) * KEYS + 16u + place.x] = z3_1;
    workgroupBarrier();
    var higher = most;
    for (var i = lane % 4u; i < params.key_tile; i += 4u) {
      let key = min(first + i, tile.w - 1u);
      let visible = first + i < tile.w;
      
      let z = select(-3.4028234663852886e+38, scores[row * KEYS + i], visible);
      scores[row * KEYS + i] = z;
      higher = max(higher, z);
    }
    shares[lane] = higher;
    workgroupBarrier();
    higher = max(max(shares[4u * row], shares[4u * row + 1u]), max(shares[4u * row + 2u], shares[4u * row + 3u]));
    let factor = exp_number(most - higher);
    most = higher;
    total *= factor;
    if (lane % 4u == 0u) { fade[row] = factor; }
    for (var i = lane % 4u; i < params.key_tile; i += 4u) {
      
      let p = select(0.0, exp_(scores[row * KEYS + i] - most), first + i < tile.w);
      scores[row * KEYS + i] = p;
      total += p;
    }
    workgroupBarrier();
    { let factor = fade[0u + place.y]; sum0_0 *= factor; }
    { let factor = fade[16u + place.y]; sum1_0 *= factor; }
    { let factor = fade[32u + place.y]; sum2_0 *= factor; }
    { let factor = fade[48u + place.y]; sum3_0 *= factor; }
    for (var value0 = 0u; value0 < params.key_tile; value0 += params.value_keys) {
      for (var i = lane; i < params.value_keys * vectors; i += 256u) {
        // Values past the last key are 0: times a weight of 0 an infinite one would leave NaN.
        let key = first + value0 + i / vectors;
        let value = load_key_v(min(key, tile.w - 1u), kv_head, i % vectors);
        stage[i] = select(vec4f(), value, key < tile.w);
      }
      workgroupBarrier();
      for (var i = 0u; i < params.value_keys; i++) {
        let v0 = stage[i * vectors + min(0u + place.x, vectors - 1u)];
        { let p = scores[(0u + place.y) * KEYS + value0 + i]; sum0_0 += p * v0; }
        { let p = scores[(16u + place.y) * KEYS + value0 + i]; sum1_0 += p * v0; }
        { let p = scores[(32u + place.y) * KEYS + value0 + i]; sum2_0 += p * v0; }
        { let p = scores[(48u + place.y) * KEYS + value0 + i]; sum3_0 += p * v0; }
      }
      workgroupBarrier();
    }
  }
  shares[lane] = total;
  workgroupBarrier();
  var sums: array<vec4f, 4>;
  sums[0] = sum0_0; sums[1] = sum1_0; sums[2] = sum2_0; sums[3] = sum3_0;
  // Not unrolled, as its end is not constant: unrolled stores would take seconds to compile.
  let end = 1u * ((tile.y - tile.x + 15u) / 16u);
  for (var i = 0u; i < end; i++) {
    let r = 16u * (i / 1u) + place.y;
    let vector = 16u * (i % 1u) + place.x;
    let query = tile.x + r;
    if (query < tile.y && vector < vectors) {
      let total = (shares[4u * r] + shares[4u * r + 1u]) + (shares[4u * r + 2u] + shares[4u * r + 3u]);
      let divisor = bitcast<f32>(select(bitcast<u32>(total), 0x7fc00000u, total == 0.0));
      let value = select(sums[i] / divisor, vec4f(), tile.z == tile.w);
      let start = (query * params.heads + head) * units;
      y[start + vector] = value;
    }
  }
}
