// The blocks of the networks in float64, for some of their tokens: plain loops, written apart from the kernels and from their
// references. `weight(name)` gives a tensor's values as they are held; vectors and matrices alike are flat arrays.

/** Rows of x that go over all columns before the next: they stay in the cache. */
const TILE = 64;

/** x [rows, depth] times w [columns, depth] transposed, plus a bias. */
export function product(x, depth, w, bias) {
  const rows = x.length / depth;
  const columns = w.length / depth;
  const y = new Float64Array(rows * columns);
  for (let first = 0; first < rows; first += TILE) {
    const end = Math.min(first + TILE, rows);
    for (let j = 0; j < columns; j++) {
      const start = bias?.[j] ?? 0;
      for (let i = first; i < end; i += 4) dots(x, i, Math.min(4, end - i), w, j, depth, y, columns, start);
    }
  }
  return y;
}

/** Up to four rows of x by one of w. */
function dots(x, row, count, w, column, depth, y, columns, start) {
  const at = column * depth;
  if (count === 4) {
    const [a, b, c, d] = [row * depth, (row + 1) * depth, (row + 2) * depth, (row + 3) * depth];
    let [p, q, r, s] = [start, start, start, start];
    for (let k = 0; k < depth; k++) {
      const value = w[at + k];
      p += x[a + k] * value;
      q += x[b + k] * value;
      r += x[c + k] * value;
      s += x[d + k] * value;
    }
    y[row * columns + column] = p;
    y[(row + 1) * columns + column] = q;
    y[(row + 2) * columns + column] = r;
    y[(row + 3) * columns + column] = s;
    return;
  }
  for (let i = row; i < row + count; i++) {
    let sum = start;
    for (let k = 0; k < depth; k++) sum += x[i * depth + k] * w[at + k];
    y[i * columns + column] = sum;
  }
}

/** Each row of `width` numbers without its mean, over its standard deviation, by weight and bias. */
export function normed(x, width, { eps, weight, bias, plusOne = false, outside = false, centred = true }) {
  const y = new Float64Array(x.length);
  for (let row = 0; row < x.length; row += width) {
    let mean = 0;
    if (centred) for (let k = 0; k < width; k++) mean += x[row + k] / width;
    let variance = 0;
    for (let k = 0; k < width; k++) variance += (x[row + k] - mean) ** 2 / width;
    const divisor = outside ? Math.sqrt(variance) + eps : Math.sqrt(variance + eps);
    for (let k = 0; k < width; k++) {
      const factor = (plusOne ? 1 : 0) + (weight?.[k] ?? 1);
      y[row + k] = ((x[row + k] - mean) / divisor) * factor + (bias?.[k] ?? 0);
    }
  }
  return y;
}

/** Rows of `width` numbers at the places `tokens`. */
export function rowsAt(x, width, tokens) {
  const y = new Float64Array(tokens.length * width);
  tokens.forEach((token, i) => {
    y.set(x.subarray(token * width, (token + 1) * width), i * width);
  });
  return y;
}

const silu = (x) => x / (1 + Math.exp(-x));
const geluTanh = (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
const geluErf = (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2));

/** By its series where that converges well, else by a continued fraction of 1 - erf. */
function erf(x) {
  if (Math.abs(x) < 2.5) {
    let [term, sum] = [x, x];
    for (let n = 1; n < 60; n++) {
      term *= (-x * x) / n;
      sum += term / (2 * n + 1);
    }
    return (2 / Math.sqrt(Math.PI)) * sum;
  }
  const z = Math.abs(x);
  let fraction = z;
  for (let n = 60; n > 0; n--) fraction = z + n / 2 / fraction;
  return Math.sign(x) * (1 - Math.exp(-z * z) / (Math.sqrt(Math.PI) * fraction));
}

/** Head features turned by the tables' angles: the first and the second `bands` of them are pairs, the rest stays. */
function turned(x, dim, heads, cos, sin, tokens) {
  const bands = cos.length / tokens.total;
  const y = x.slice();
  tokens.list.forEach((token, i) => {
    for (let h = 0; h < heads; h++) {
      const at = (i * heads + h) * dim;
      for (let b = 0; b < bands; b++) {
        const [c, s] = [cos[token * bands + b], sin[token * bands + b]];
        const [first, second] = [x[at + b], x[at + bands + b]];
        y[at + b] = first * c - second * s;
        y[at + bands + b] = first * s + second * c;
      }
    }
  });
  return y;
}

/**
 * For each query and head the weights of all keys and, by them, the mean of `values` rows. With `project`, rows of values are
 * what a matrix [groups x dim, width] makes of rows of `width`: it is applied to the mean, which is the same.
 */
function attended({ q, k, dim, heads, groups, scale, bias, values, width, project }) {
  const queries = q.length / (heads * dim);
  const keys = k.length / (groups * dim);
  const out = new Float64Array(queries * heads * dim);
  const scores = new Float64Array(keys);
  for (let i = 0; i < queries; i++) {
    for (let h = 0; h < heads; h++) {
      const group = Math.floor(h / (heads / groups));
      const from = (i * heads + h) * dim;
      let most = -Infinity;
      for (let j = 0; j < keys; j++) {
        let sum = 0;
        const at = (j * groups + group) * dim;
        for (let d = 0; d < dim; d++) sum += q[from + d] * k[at + d];
        scores[j] = sum * scale + (bias?.(h, i, j) ?? 0);
        most = Math.max(most, scores[j]);
      }
      let total = 0;
      for (let j = 0; j < keys; j++) total += scores[j] = Math.exp(scores[j] - most);
      if (project === undefined) {
        for (let j = 0; j < keys; j++) {
          const at = (j * groups + group) * dim;
          for (let d = 0; d < dim; d++) out[from + d] += (scores[j] / total) * values[at + d];
        }
      } else {
        const mean = new Float64Array(width);
        for (let j = 0; j < keys; j++)
          for (let d = 0, at = j * width; d < width; d++) mean[d] += (scores[j] / total) * values[at + d];
        const rows = project.weight.subarray(group * dim * width, (group + 1) * dim * width);
        const start = project.bias?.subarray(group * dim, (group + 1) * dim);
        out.set(product(mean, width, rows, start), from);
      }
    }
  }
  return out;
}

/** A block of the transformer: `tokens` of what it makes of h [total, width]. */
export function transformerBlock({ model, h, cos, sin, text, condition, tokens, weight, fp8 }) {
  const { hidden_size: width, kv_channels: dim, layernorm_epsilon: eps, apply_layernorm_1p: plusOne } = model;
  const { num_attention_heads: heads, num_query_groups: groups, ffn_hidden_size: hidden } = model;
  const total = h.length / width;
  const linear = (x, depth, name) =>
    fp8 && fp8.has(name) ? fp8.get(name)(x, depth) : product(x, depth, weight(name + '.weight'));
  const norm = (x, size, name, one) =>
    normed(x, size, { eps, weight: weight(`${name}.weight`), bias: weight(`${name}.bias`), plusOne: one });
  const [all, some] = [
    { list: Array.from({ length: total }, (_, i) => i), total },
    { list: tokens, total },
  ];
  const gates = product(
    condition.map(silu),
    condition.length,
    weight('ada_modulate_layer.proj.0.weight'),
    weight('ada_modulate_layer.proj.0.bias'),
  ).map(Math.tanh);

  const qkv = 'self_attention.linear_qkv';
  const n = norm(h, width, `${qkv}.layer_norm`, false);
  const own = rowsAt(n, width, tokens);
  const headed = (x, name) => norm(x, dim, `self_attention.${name}`, plusOne);
  const k = turned(headed(linear(n, width, `${qkv}.k`), 'k_layernorm'), dim, groups, cos, sin, all);
  const q = turned(headed(linear(own, width, `${qkv}.q`), 'q_layernorm'), dim, heads, cos, sin, some);
  const scale = 1 / Math.sqrt(dim);
  // The mean of projected rows is the projection of the mean; where inputs are rounded to fp8 first it is not.
  const self = fp8
    ? attended({ q, k, dim, heads, groups, scale, values: linear(n, width, `${qkv}.v`) })
    : attended({ q, k, dim, heads, groups, scale, values: n, width, project: { weight: weight(`${qkv}.v.weight`) } });

  const kv = linear(
    text,
    weight('self_attention.linear_kv_xattn.weight').length / (2 * groups * dim),
    'self_attention.linear_kv_xattn',
  );
  const parts = [0, 1].map((part) => {
    const out = new Float64Array(kv.length / 2);
    for (let at = 0; at < out.length; at += dim)
      out.set(kv.subarray(2 * at + part * dim, 2 * at + (part + 1) * dim), at);
    return out;
  });
  const kx = headed(parts[0], 'k_layernorm_xattn');
  const qx = headed(linear(own, width, `${qkv}.qx`), 'q_layernorm_xattn');
  const cross = attended({ q: qx, k: kx, dim, heads, groups, scale, values: parts[1] });

  const inner = heads * dim;
  const both = new Float64Array(tokens.length * 2 * inner);
  const slice = inner / 8;
  tokens.forEach((_, i) => {
    for (let s = 0; s < 8; s++) {
      const [from, to] = [i * inner + s * slice, i * 2 * inner + s * 2 * slice];
      both.set(self.subarray(from, from + slice), to);
      both.set(cross.subarray(from, from + slice), to + slice);
    }
  });
  const gated = (x, branch, first, name) => {
    const factors = branch.map((value, i) => value * gates[first + (i % width)]);
    return norm(factors, width, name, plusOne).map((value, i) => value + x[i]);
  };
  const own0 = rowsAt(h, width, tokens);
  const middle = gated(own0, linear(both, 2 * inner, 'self_attention.linear_proj'), 0, 'self_attn_post_norm');
  let wide = linear(norm(middle, width, 'mlp.layer_norm', false), width, 'mlp.linear_fc1');
  if (model.gated_linear_unit) {
    const pairs = new Float64Array(tokens.length * hidden);
    for (let i = 0; i < pairs.length; i++) {
      const [row, d] = [Math.floor(i / hidden), i % hidden];
      pairs[i] = silu(wide[row * 2 * hidden + d]) * wide[row * 2 * hidden + hidden + d];
    }
    wide = pairs;
  } else wide = wide.map(geluErf);
  return gated(middle, linear(wide, hidden, 'mlp.linear_fc2'), width, 'mlp_post_norm');
}

/** A block of T5. `relativeBias` [heads, 2 x length - 1]. */
export function t5Block({ config, h, relativeBias, tokens, weight }) {
  const { d_model: width, num_heads: heads, d_kv: dim, layer_norm_epsilon: eps } = config;
  const length = h.length / width;
  const rms = (x, name) => normed(x, width, { eps, weight: weight(`${name}.weight`), centred: false });
  const n = rms(h, 'layer.0.layer_norm');
  const own = rowsAt(n, width, tokens);
  const at = (name) => weight(`layer.0.SelfAttention.${name}.weight`);
  const self = attended({
    q: product(own, width, at('q')),
    k: product(n, width, at('k')),
    ...{ dim, heads, groups: heads, scale: 1, values: product(n, width, at('v')) },
    bias: (head, i, j) => relativeBias[head * (2 * length - 1) + j - tokens[i] + length - 1],
  });
  const branch = product(self, heads * dim, at('o'));
  const middle = rowsAt(h, width, tokens).map((value, i) => value + branch[i]);
  const wide = rms(middle, 'layer.1.layer_norm');
  const dense = (name) => weight(`layer.1.DenseReluDense.${name}.weight`);
  const up = product(wide, width, dense('wi_1'));
  const hidden = product(wide, width, dense('wi_0')).map((value, i) => geluTanh(value) * up[i]);
  const out = product(hidden, config.d_ff, dense('wo'));
  return middle.map((value, i) => value + out[i]);
}

/** A block of the VAE: full attention over h [tokens, width]. */
export function vaeBlock({ config, h, tokens, weight }) {
  const { embed_dim: width, num_heads: heads } = config;
  const dim = width / heads;
  const [qkv, start] = [weight('attn.qkv.weight'), weight('attn.qkv.bias')];
  const part = (i) => [
    qkv.subarray(i * width * width, (i + 1) * width * width),
    start.subarray(i * width, (i + 1) * width),
  ];
  const head = (x) => normed(x, dim, { eps: 1e-5, outside: true });
  const own = rowsAt(h, width, tokens);
  const self = attended({
    q: head(product(own, width, ...part(0))),
    k: head(product(h, width, ...part(1))),
    ...{ dim, heads, groups: heads, scale: 1 / Math.sqrt(dim), values: head(product(h, width, ...part(2))) },
  });
  const branch = product(self, width, weight('attn.proj.weight'), weight('attn.proj.bias'));
  const middle = own.map((value, i) => value + branch[i]);
  const n = normed(middle, width, { eps: 1e-5, weight: weight('norm2.weight'), bias: weight('norm2.bias') });
  const wide = product(n, width, weight('mlp.fc1.weight'), weight('mlp.fc1.bias')).map(geluErf);
  const out = product(wide, wide.length / tokens.length, weight('mlp.fc2.weight'), weight('mlp.fc2.bias'));
  return middle.map((value, i) => value + out[i]);
}
