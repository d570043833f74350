struct Params {
  invocations: u32,
  groups: u32,
  zero: f32,
  batch: i32,
  channels: i32,
  frames: i32,
  height: i32,
  width: i32,
  out_frames: i32,
  out_height: i32,
  out_width: i32,
  filters: i32,
  kernel_t: i32,
  kernel_h: i32,
  kernel_w: i32,
  stride_t: i32,
  stride_h: i32,
  stride_w: i32,
  pad_t: i32,
  pad_h: i32,
  pad_w: i32,
  first_channel: i32,
  end_channel: i32,
  first: u32,
  x_start: i32,
  weight_start: i32,
  bias_start: i32,
  y_start: i32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;


fn workgroup_index(id: vec3u, count: vec3u) -> u32 { return id.y * count.x + id.x; }

fn decode_at(i: u32) -> f32 { return weight[i]; }
fn x_at(row: i32, w: i32) -> f32 {
  let inside = w >= 0 && w < params.width;
  return select(0.0, x[row + select(0, w, inside) - params.x_start], inside);
}
fn store(row: i32, w: i32, values: vec4f) {
  for (var n = 0; n < min(4, params.out_width - w); n++) { y[row + w + n - params.y_start] = values[n]; }
}
fn load(row: i32, w: i32) -> vec4f {
  var values = vec4f();
  for (var n = 0; n < min(4, params.out_width - w); n++) { values[n] = y[row + w + n - params.y_start]; }
  return values;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = params.first + workgroup_index(id, count) * 64u + lane;
  if (i >= params.invocations) { return; }
  let out_row = i32(i / params.groups);
  let w = i32(i % params.groups) * 8;
  let h = out_row % params.out_height;
  let out_frame = out_row / params.out_height;
  let t = out_frame % params.out_frames;
  let filter_blocks = params.filters / 1;
  let clip_block = out_frame / params.out_frames;
  let filter0 = (clip_block % filter_blocks) * 1;
  let item = clip_block / filter_blocks;
  let filter_size = params.channels * params.kernel_t * params.kernel_h * params.kernel_w;
  let left = w * params.stride_w - params.pad_w;
  let plane = params.out_frames * params.out_height * params.out_width;
  let base = (item * params.filters + filter0) * plane + (t * params.out_height + h) * params.out_width;
  var low0 = vec4f(bias[filter0 + 0 - params.bias_start]);
  var high0 = low0;
  var padded0 = 0.0;
  if (params.first_channel > 0) {
    low0 = load(base + 0 * plane, w);
    high0 = load(base + 0 * plane, w + 4);
  }
  for (var c = params.first_channel; c < params.end_channel; c++) {
    for (var dt = 0; dt < params.kernel_t; dt++) {
      let frame = t * params.stride_t + dt - params.pad_t;
      for (var dh = 0; dh < params.kernel_h; dh++) {
        let line = h * params.stride_h + dh - params.pad_h;
        let tap = filter0 * filter_size + ((c * params.kernel_t + dt) * params.kernel_h + dh) * params.kernel_w;
        if (frame < 0 || frame >= params.frames || line < 0 || line >= params.height) {
          // Products with zeros: NaN for a weight that is not finite.
          for (var k = 0; k < params.kernel_w; k++) {
            padded0 += decode_at(u32(tap + 0 * filter_size + k - params.weight_start)) * params.zero;
          }
          continue;
        }
        let row = (((item * params.channels + c) * params.frames + frame) * params.height + line) * params.width;
        var low_x: vec4f;
        var high_x: vec4f;
        low_x = vec4f(0.0, x_at(row, left + 0), x_at(row, left + 1), x_at(row, left + 2));
        high_x = vec4f(x_at(row, left + 3), x_at(row, left + 4), x_at(row, left + 5), x_at(row, left + 6));
        for (var k = 0; k < params.kernel_w; k++) {
          low_x = vec4f(low_x.yzw, high_x.x);
          high_x = vec4f(high_x.yzw, x_at(row, left + k + 7));
          let w0 = decode_at(u32(tap + 0 * filter_size + k - params.weight_start));
          low0 += low_x * w0;
          high0 += high_x * w0;
        }
      }
    }
  }

  low0 += padded0;
  high0 += padded0;
  store(base + 0 * plane, w, low0);
  store(base + 0 * plane, w + 4, high0);
}
