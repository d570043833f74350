struct Params {
  quads: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4f>;


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }

alias T = vec4f; alias Int = vec4i; alias Bits = vec4u; alias Truth = vec4<bool>;

fn exp_number(x: T) -> T {
  let clamped = clamp(x, T(-88.0), T(89.0));
  let n = round(clamped * 1.44269504);
  let r = fma(n, T(0.00021219444), fma(n, T(-0.693359375), clamped));
  let power = bitcast<T>((Int(n) + Int(127)) * Int(8388608));
  return (1.0 + fma(fma(fma(fma(fma(T(0.00139504802), r, T(0.00836888364)), r, T(0.041666206)), r, T(0.166665189)), r, T(0.50000001)), r * r, r)) * power;
}

fn is_nan(x: T) -> Truth { return (bitcast<Bits>(x) & Bits(0x7fffffffu)) > Bits(0x7f800000u); }

fn exp_(x: T) -> T { return select(exp_number(x), x, is_nan(x)); }

fn erf_number(x: T) -> T {
  let a = min(abs(x), T(4.0));
  let z = a * a;
  let near = fma(a, fma(fma(fma(fma(fma(fma(T(0.0000785388256), z, T(-0.000801020057)), z, T(0.00518832856)), z, T(-0.0268538125)), z, T(0.112835852)), z, T(-0.376126258)), z, T(0.128379166)), a);
  let far = 1.0 - exp_number(fma(fma(fma(fma(fma(fma(T(0.00018569459), a, T(-0.00294083972)), a, T(0.021810452)), a, T(-0.10304853)), a, T(-0.638212312)), a, T(-1.1270484)), a, T(-0.000351580364)));
  return select(far, near, a < T(1.0)) * sign(x);
}

fn erf(x: T) -> T { return select(erf_number(x), x, is_nan(x)); }

fn apply(x: T) -> T { return 0.5 * x * (1.0 + erf_number(x * 0.7071067811865476)); }

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = workgroup_index(id, count) * 64u + lane;
  if (i < params.quads) { output[i] = apply(x[i]); }
}
