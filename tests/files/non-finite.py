"""What PyTorch makes of NaN, infinities and numbers near the ends of f32, for every op of @magi1/kernels and for the op of
examples/custom-op: writes non-finite.json beside itself. An op without a counterpart is composed of PyTorch's.

    pip install torch==2.13.0 ml_dtypes==0.6.0   # torch for the CPU is enough
    python tests/files/non-finite.py
"""

import json
import math
from pathlib import Path

import ml_dtypes
import numpy as np
import torch
import torch.nn.functional as F

NAN, INF = math.nan, math.inf
DTYPES = {
    "f32": torch.float32,
    "f16": torch.float16,
    "bf16": torch.bfloat16,
    "f8e4m3fn": torch.float8_e4m3fn,
    "i32": torch.int32,
    "u8": torch.uint8,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
# Ends of the range of f32; sums and products of two of them overflow.
SPECIAL = [NAN, INF, -INF, 3e38, -3e38, 1e30, 0.0, -0.0, 1.0, -2.5]

table = []
generator = torch.Generator().manual_seed(1)


def tensor(values, dtype="f32"):
    return torch.tensor(values, dtype=torch.float32).to(DTYPES[dtype])


def normal(*shape, dtype="f32"):
    """Numbers that every dtype holds: multiples of 1/4 within 2."""
    return (torch.randn(shape, generator=generator) * 4).round().clamp(-8, 8).div(4).to(DTYPES[dtype])


def put(x, **at):
    """A copy of x with values at flat positions, given as _3=NAN."""
    wide = x.float().clone()
    for position, value in at.items():
        wide.view(-1)[int(position[1:])] = value
    return wide.to(x.dtype)


def q8(x):
    """As q8 holds it: a scale for each 32 elements; a NaN or an infinity makes all of them NaN."""
    blocks = x.float().reshape(-1, 32)
    scale = (blocks.abs().amax(1, keepdim=True) / 127).half().float()
    codes = (blocks / torch.where(scale == 0, 1.0, scale) + 0.5).floor()
    held = torch.where(scale.isfinite(), codes * scale, NAN).reshape(x.shape)
    held.dtype_name = "q8"
    return held


def plain(x):
    def number(value):
        if isinstance(value, int):
            return value
        if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        return float(f"{value:.9g}")  # enough for f32

    values = x.float().flatten() if x.dtype.is_floating_point else x.flatten()
    return {"shape": list(x.shape), "dtype": getattr(x, "dtype_name", NAMES[x.dtype]), "values": [number(value) for value in values.tolist()]}


def case(op, name, inputs, params, output, weight=None):
    inputs = {key: plain(value) for key, value in inputs.items()}
    if weight is not None:
        inputs["weight"]["dtype"] = weight
    table.append({"op": op, "name": name, "params": params, "inputs": inputs, "output": plain(output)})


# --- one element at a time -------------------------------------------------------------------------------------------

x = tensor(SPECIAL)
case("unary", "silu", {"x": x}, {"kind": "silu"}, x / (1 + torch.exp(-x)))  # F.silu(Infinity) is Infinity as well
# F.gelu(Infinity) of the CPU is NaN for the form with erf, though its formula, and CUDA's, give Infinity.
case("unary", "geluErf", {"x": x}, {"kind": "geluErf"}, 0.5 * x * (1 + torch.erf(x * math.sqrt(0.5))))
case("unary", "geluTanh", {"x": x}, {"kind": "geluTanh"}, F.gelu(x, approximate="tanh"))
case("unary", "tanh", {"x": x}, {"kind": "tanh"}, torch.tanh(x))

kinds = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div}
for kind, function in kinds.items():
    # WGSL promises nothing about quotients by numbers from 2^126 on.
    values = tensor([1e37 if v == 3e38 else -1e37 if v == -3e38 else v for v in SPECIAL]) if kind == "div" else x
    a, b = values[:, None].repeat(1, 10).flatten(), values.repeat(10)
    case("binary", f"{kind}.same", {"a": a, "b": b}, {"kind": kind}, function(a, b))
    a, b = values[:, None], values[None]
    case("binary", f"{kind}.broadcast", {"a": a, "b": b}, {"kind": kind}, function(a, b))

case("affine", "line", {"x": x}, {"scale": 0.375, "shift": -1.5}, x * 0.375 - 1.5)
case("affine", "zeroScale", {"x": x}, {"scale": 0, "shift": 3}, x * 0 + 3)
a, b = x[:, None].repeat(1, 10).flatten(), x.repeat(10)
case("eulerStep", "step", {"x": a, "v": b}, {"dt": 0.5}, a + b * 0.5)
case("eulerStep", "zero", {"x": a, "v": b}, {"dt": 0}, a + b * 0)


def guidance(p, s, alone, null_text, caption):
    return (1 - p) * alone + (p - s) * null_text + s * caption


small = tensor([NAN, INF, -INF, 1e37, 0.0, 1.5])
grid = [t.flatten() for t in torch.meshgrid(small, small, small, indexing="ij")]
inputs = dict(zip(("alone", "nullText", "caption"), grid, strict=True))
case("guidance", "threePasses", inputs, {"prevScale": 1.5, "textScale": 7.5}, guidance(1.5, 7.5, *grid))
# A prediction without weight is not made, so it is not read either.
case("guidance", "nullTextOnly", inputs, {"prevScale": 1, "textScale": 0}, inputs["nullText"])

swiglu_in = torch.cat([a.reshape(10, 10), b.reshape(10, 10)], dim=1)
case("swiglu", "odd", {"x": swiglu_in}, {}, a.reshape(10, 10) / (1 + torch.exp(-a.reshape(10, 10))) * b.reshape(10, 10))
wide = torch.cat([a[:100].reshape(5, 20), b[:100].reshape(5, 20)], dim=1)
case("swiglu", "wide", {"x": wide}, {}, a.reshape(5, 20) / (1 + torch.exp(-a.reshape(5, 20))) * b.reshape(5, 20))

for features in (3, 4):
    slope = tensor([NAN, INF, -INF, 0.5])[:features]
    rows = tensor([[v] * features for v in SPECIAL])
    case("prelu", f"slopes{features}", {"x": rows, "slope": slope}, {}, F.prelu(rows, slope))

# --- rows ------------------------------------------------------------------------------------------------------------

LEAST = -3.4028234663852886e38
for features in (4, 5, 70):
    rows = normal(10, features)
    at = features - 1
    rows[1, 0], rows[2, 1], rows[3, at] = NAN, INF, -INF
    rows[4, :], rows[5, :], rows[6, 0], rows[6, at] = -INF, LEAST, INF, -INF
    rows[7, :2], rows[8, :] = INF, -3e38
    rows[8, 2], rows[9, :], rows[9, at] = -2.9e38, NAN, 1.0
    case("softmax", f"features{features}", {"x": rows}, {}, torch.softmax(rows, -1))


def spoiled(*shape):
    """Rows that are fine, have a NaN, an infinity of either sign, both, or large numbers."""
    rows = normal(7, *shape)
    flat = rows.view(7, -1)
    flat[1, 0], flat[2, -1], flat[3, 1], flat[4, 0], flat[4, 2], flat[5] = NAN, INF, -INF, INF, -INF, flat[5] * 1e17
    return rows


def norm(x, weight, bias, eps, offset):
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)
    z = (x - mean) / torch.sqrt(variance + eps)
    return z * (weight + offset) + bias


for features in (8, 13, 36):
    rows, weight, bias = spoiled(features), normal(features), normal(features)
    bad_weight = put(weight, _1=NAN, _2=INF, _3=-INF)
    bad_bias = put(bias, _1=NAN, _4=INF, _5=-INF)
    for name, w, b in (("x", weight, bias), ("weights", bad_weight, bad_bias)):
        inputs = {"x": rows, "weight": w, "bias": b}
        case("layerNorm", f"{name}{features}", inputs, {"eps": 1e-6, "onePlusWeight": False}, F.layer_norm(rows, (features,), w, b, 1e-6))
        rms = rows * torch.rsqrt((rows * rows).mean(-1, keepdim=True) + 1e-6) * w
        case("rmsNorm", f"{name}{features}", {"x": rows, "weight": w}, {"eps": 1e-6}, rms)
        heads = rows[:, None]
        inputs = {"x": heads, "weight": w, "bias": b}
        case("qkNorm", f"{name}{features}", inputs, {"kind": "onePlusWeight", "eps": 1e-6}, norm(heads, w, b, 1e-6, 1))
        gate = normal(4, features).view(-1)
        if name == "weights":
            gate[0], gate[features + 1], gate[2 * features + 1] = NAN, INF, -INF
        gate, h = gate.view(4, features), spoiled(features).flip(0)
        inputs = {"h": h, "branch": rows, "gate": gate, "weight": w, "bias": b}
        gated = gate.repeat_interleave(2, 0)[:7] * rows
        params = {"eps": 1e-6, "onePlusWeight": True, "tokensPerRow": 2}
        case("gatedResidual", f"{name}{features}", inputs, params, h + norm(gated, w, b, 1e-6, 1))
    inputs = {"x": rows[:, None], "weight": bad_weight}
    case("qkNorm", f"weight{features}", inputs, {"kind": "weight", "eps": 1e-6}, F.layer_norm(rows[:, None], (features,), bad_weight, None, 1e-6))
    std = (rows - rows.mean(-1, keepdim=True)) / (rows.std(-1, correction=0, keepdim=True) + 1e-6)
    case("qkNorm", f"std{features}", {"x": rows[:, None]}, {"kind": "std", "eps": 1e-6}, std[:, None])

for features, columns in ((16, 8), (13, 5)):
    rows, cos, sin = spoiled(2, features), normal(7, columns), normal(7, columns)
    for name, c, s in (("x", cos, sin), ("angles", put(cos, _0=NAN, _1=INF, _9=-INF), put(sin, _2=NAN, _3=INF, _8=-INF))):
        first, second, rest = rows.split((columns, columns, features - 2 * columns), -1)
        turned = first * c[:, None] - second * s[:, None], first * s[:, None] + second * c[:, None], rest
        case("rope", f"{name}{features}", {"x": rows, "cos": c, "sin": s}, {}, torch.cat(turned, -1))

# --- products --------------------------------------------------------------------------------------------------------

for dtype in ("f32", "f16", "bf16", "f8e4m3fn"):
    largest = NAN if dtype == "f8e4m3fn" else INF
    for rows, depth in ((3, 8), (5, 9), (21, 20)):
        x, weight, bias = normal(rows, depth), normal(7, depth, dtype=dtype), normal(7)
        bad_x = put(x, _0=NAN, **{f"_{depth}": INF, f"_{2 * depth + 1}": -INF})
        bad_weight = put(weight, _2=NAN, **{f"_{depth}": largest, f"_{2 * depth + 7}": -largest})
        for name, a, b, c in (
            ("x", bad_x, weight, bias),
            ("weight", x, bad_weight, bias),
            ("bias", x, weight, put(bias, _0=NAN, _1=INF, _2=-INF)),
            ("all", bad_x, bad_weight, put(bias, _3=INF, _4=-INF)),
        ):
            inputs = {"x": a, "weight": b, "bias": c}
            case("linear", f"{dtype}.{name}.{rows}x{depth}", inputs, {}, F.linear(a, b.float(), c))

for rows, depth, columns in ((3, 8, 4), (5, 9, 7), (21, 16, 20)):
    a, b = normal(rows, depth), normal(depth, columns)
    bad_a = put(a, _0=NAN, **{f"_{depth}": INF, f"_{2 * depth + 1}": -INF})
    bad_b = put(b, _0=NAN, _1=INF, **{f"_{columns + 2}": -INF})
    for name, left, right in (("a", bad_a, b), ("b", a, bad_b), ("both", bad_a, bad_b)):
        case("matmul", f"{name}.{rows}x{depth}x{columns}", {"a": left, "b": right}, {}, left @ right)

for dtype in ("f32", "f16", "bf16"):
    for name, padding, stride in (("padded", (1, 1, 1), (1, 1, 1)), ("strided", (0, 1, 2), (1, 2, 2))):
        x, weight, bias = normal(1, 2, 3, 5, 10), normal(3, 2, 2, 3, 3, dtype=dtype), normal(3)
        bad = {
            "x": (put(x, _0=NAN, _77=INF, _149=-INF), weight, bias),
            "weight": (x, put(weight, _0=NAN, _50=INF, _107=-INF), bias),
            "bias": (x, weight, put(bias, _0=NAN, _1=INF, _2=-INF)),
        }
        for which, (a, w, b) in bad.items():
            params = {"padding": list(padding), "stride": list(stride)}
            y = F.conv3d(a, w.float(), b, stride=stride, padding=padding)
            case("conv3d", f"{dtype}.{name}.{which}", {"x": a, "weight": w, "bias": b}, params, y)


def attention(q, k, v, blocks, scale, mask=None, bias=None):
    """Queries without a key that they may see come out 0."""
    (queries, heads, _), (keys, kv_heads, _) = q.shape, k.shape
    k, v = (t.repeat_interleave(heads // kv_heads, 1) for t in (k, v))
    scores = torch.einsum("qhd,khd->hqk", q, k) * scale
    if bias is not None:
        offset = torch.arange(keys)[None] - torch.arange(queries)[:, None] + queries - 1
        scores = scores + bias[:, offset]
    y = torch.zeros_like(q)
    for block in blocks:
        (q0, q1), (k0, k1) = block["q"], block["k"]
        seen = torch.ones(k1 - k0, dtype=torch.bool) if mask is None else mask[k0:k1] != 0
        if not seen.any():
            continue
        weights = torch.softmax(scores[:, q0:q1, k0:k1].masked_fill(~seen, -INF), -1)
        y[q0:q1] = torch.einsum("hqk,khd->qhd", weights, v[k0:k1])
    return y


def attend(name, q, k, v, blocks=None, scale=1.0, mask=None, bias=None):
    blocks = blocks or [{"q": [0, q.shape[0]], "k": [0, k.shape[0]]}]
    inputs = {"q": q, "k": k, "v": v}
    if mask is not None:
        inputs["keyMask"] = mask = torch.tensor(mask, dtype=torch.int32)
    if bias is not None:
        inputs["relativeBias"] = bias
    case("attention", name, inputs, {"blocks": blocks, "scale": scale}, attention(q, k, v, blocks, scale, mask, bias))


one, eight = torch.ones(1, 1, 4), torch.arange(1.0, 9.0).view(2, 1, 4)
attend("infiniteQuery", put(one, _0=INF), torch.ones(2, 1, 4), eight)
attend("nanKey", one, put(torch.ones(2, 1, 4), _0=NAN), eight)
attend("nanQuery", put(one, _1=NAN), torch.ones(2, 1, 4), eight)
# More keys than any kernel takes at a time.
KEYS = 100
for dim in (4, 5):
    q, k, v = normal(6, 4, dim), normal(KEYS, 2, dim), normal(KEYS, 2, dim)
    scale = 1 / math.sqrt(dim)
    width, row = 4 * dim, 2 * dim
    spoiled_q = put(q, _0=NAN, **{f"_{width}": INF, f"_{3 * width + 1}": -INF})
    attend(f"q.{dim}", spoiled_q, k, v, scale=scale)
    for key, value in ((0, NAN), (70, INF), (99, -INF), (99, NAN)):
        attend(f"k.{key}.{value}.{dim}", q, put(k, **{f"_{key * row + 1}": value}), v, scale=scale)
    attend(f"v.{dim}", q, k, put(v, _0=NAN, **{f"_{70 * row + 1}": INF, f"_{99 * row + 2}": -INF}), scale=scale)
    attend(f"vLast.{dim}", q, k, put(v, **{f"_{99 * row}": INF}), scale=scale)
    # Keys that nobody may see may hold anything; in values what they hold is multiplied by 0.
    mask = [0 if key in (0, 70, 99) or key < 64 else 1 for key in range(KEYS)]
    hidden = put(k, **{f"_{row * key}": value for key, value in ((0, NAN), (3, INF), (70, -INF), (99, NAN))})
    attend(f"hiddenKeys.{dim}", q, hidden, v, scale=scale, mask=mask)
    attend(f"hiddenValue.{dim}", q, k, put(v, _1=NAN), scale=scale, mask=mask)
    attend(f"allHidden.{dim}", spoiled_q, hidden, put(v, _0=NAN, _1=INF), scale=scale, mask=[0] * KEYS)
    blocks = [{"q": [0, 2], "k": [10, 20]}, {"q": [2, 3], "k": [5, 5]}, {"q": [4, 6], "k": [4, 98]}]
    outside = put(k, **{f"_{row * key}": value for key, value in ((0, NAN), (98, INF), (99, -INF))})
    attend(f"blocks.{dim}", q, outside, put(v, _0=NAN, **{f"_{row * 99}": INF}), blocks, scale)
    bias = normal(4, KEYS + 5)
    attend(f"bias.{dim}", q, k, v, scale=scale, bias=put(bias, _20=NAN, _120=INF, _320=-INF))
    # Scores that are -Infinity are real ones: together they leave NaN, where a hidden key leaves 0.
    attend(f"minusBias.{dim}", q, k, v, scale=scale, bias=torch.full((4, KEYS + 5), -INF))
    attend(f"minusBiasMask.{dim}", q, k, v, scale=scale, bias=torch.full((4, KEYS + 5), -INF), mask=mask)
    attend(f"lowBias.{dim}", q, k, v, scale=scale, bias=torch.full((4, KEYS + 5), -2e38))
    attend(f"lowestBiasMask.{dim}", q, k, v, scale=scale, bias=torch.full((4, KEYS + 5), LEAST), mask=mask)
    low = torch.full((6, 4, dim), -1.3e19)
    high = torch.full((KEYS, 2, dim), 1.3e19 / dim)
    attend(f"lowScores.{dim}", low, high, v, mask=mask)
    attend(f"lowScoresNoMask.{dim}", low, high, v)

# --- copies, tables, frames ------------------------------------------------------------------------------------------

for dtype in ("f32", "f16", "bf16", "f8e4m3fn"):
    largest = NAN if dtype == "f8e4m3fn" else INF
    for columns in (4, 5):
        rows = put(normal(5, columns, dtype=dtype), _0=NAN, _6=largest, _11=-largest)
        ids = torch.tensor([4, 0, 1, 2, 0], dtype=torch.int32)
        case("embedding", f"{dtype}.{columns}", {"ids": ids, "table": rows}, {}, rows.float()[ids.long()])
        if dtype != "f32":
            case("cast", f"{dtype}-f32.{columns}", {"x": rows}, {"to": "f32"}, rows.float())
        case("cast", f"{dtype}-{dtype}.{columns}", {"x": rows}, {"to": dtype}, rows)
narrowed = tensor([*SPECIAL, 65504.0, 65519.0, 65520.0, -65520.0, 448.0, 464.0, 465.0, -465.0, 1e6])
case("cast", "f32-f16", {"x": narrowed}, {"to": "f16"}, narrowed.half())
case("cast", "f32-bf16", {"x": narrowed}, {"to": "bf16"}, narrowed.bfloat16())
# NaN for what rounds to more than 448, as in ml_dtypes; PyTorch 2.13 takes 448 for it, even for infinity.
f8 = torch.from_numpy(narrowed.numpy().astype(ml_dtypes.float8_e4m3fn).astype(np.float32))
case("cast", "f32-f8e4m3fn", {"x": narrowed}, {"to": "f8e4m3fn"}, f8.to(torch.float8_e4m3fn))

for features in (5, 8):
    rows = tensor([[v] * features for v in (*SPECIAL, 447.0, 465.0)])
    for name, scale in (("perFeature", tensor([1.0, NAN, INF, -INF, 0.5, 3e38, 1e-30, -2.0])[:features]), ("one", tensor([0.25]))):
        bytes_ = torch.clamp(rows / scale, -448, 448).bfloat16().to(torch.float8_e4m3fn)
        case("quantize", f"{name}{features}", {"x": rows, "scale": scale}, {}, bytes_)

video = put(normal(1, 3, 2, 3, 5), _0=NAN, _1=INF, _2=-INF, _33=NAN, _34=3e38, _89=-INF)
# PyTorch leaves open which byte NaN becomes; here it is 0.
levels = torch.nan_to_num(video * 127.5 + 127.5, nan=0.0, posinf=INF, neginf=-INF).clamp(0, 255).to(torch.uint8)
case("framesToUint8", "odd", {"y": video}, {}, levels.permute(0, 2, 3, 4, 1).reshape(2, 3, 5, 3))
frames = torch.arange(258, dtype=torch.int32).to(torch.uint8).view(2, 1, 43, 3)
exact = (2 * frames.permute(3, 0, 1, 2)[None].double() - 255) / 255
case("uint8ToVideo", "everyByte", {"frames": frames}, {}, exact.float())

for channels in (4, 5):
    grid = put(normal(3, 4, 5, channels), _0=NAN, _31=INF, _90=-INF, _133=3e38)
    y = F.interpolate(grid.permute(3, 0, 1, 2)[None], size=(2, 6, 5), mode="trilinear", align_corners=False)
    case("resizeTrilinear", f"channels{channels}", {"x": grid}, {"size": [2, 6, 5]}, y[0].permute(1, 2, 3, 0))

for axis in (0, 2):
    previous = put(normal(4, 3, 6), _1=NAN, _50=INF, _71=-INF, _34=INF, _35=NAN)
    current = put(normal(4, 3, 6), _0=NAN, _1=INF, _20=-INF, _71=NAN)
    blended, extent = current.clone().movedim(axis, 0), 3
    for i in range(extent):
        blended[i] = previous.movedim(axis, 0)[i - extent] * (1 - i / extent) + current.movedim(axis, 0)[i] * (i / extent)
    inputs = {"previous": previous, "current": current}
    case("blendEdges", f"axis{axis}", inputs, {"axis": axis, "extent": extent}, blended.movedim(0, axis))

x = put(normal(2, 3, 4, 6, 10), _0=NAN, _1=INF, _2=-INF, _700=NAN, _1439=INF)
tokens = x.reshape(2, 3, 2, 2, 2, 3, 2, 5).permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(16, 90)
case("patchify", "odd", {"x": x}, {"patch": [2, 3, 5]}, tokens)
video = tokens.reshape(2, 2, 2, 2, 2, 3, 5, 3).permute(0, 7, 1, 4, 2, 5, 3, 6).reshape(2, 3, 4, 6, 10)
case("unpatchify", "odd", {"tokens": tokens}, {"batch": 2, "grid": [2, 2, 2], "patch": [2, 3, 5], "channels": 3}, video)
x = put(normal(3, 5, 7), _0=NAN, _9=INF, _104=-INF)
case("permute", "201", {"x": x}, {"axes": [2, 0, 1]}, x.permute(2, 0, 1))
case("narrow", "middle", {"x": x}, {"axis": 1, "start": 1, "length": 4}, x[:, 1:])
case("concat", "middle", {"0": x, "1": x[:, :2], "2": -x}, {"axis": 1}, torch.cat([x, x[:, :2], -x], 1))

for name, x in (("all", tensor(SPECIAL)), ("infinite", tensor([1.0, -INF, 3e38])), ("stretches", put(torch.ones(513), _3=INF, _512=NAN))):
    stretches = F.pad(x, (0, -x.numel() % 512)).view(-1, 512)
    bits = (stretches.view(torch.int32) & 0x7FFFFFFF).amax(1).to(torch.int32)
    case("maxMagnitude", name, {"x": x}, {}, bits)

# --- attention's cached keys: rows of a ring in front of the others ---------------------------------------------------
for dtype in ("f32", "f16", "bf16"):
    for dim in (4, 5):
        q, k, v = normal(6, 4, dim), normal(30, 2, dim), normal(30, 2, dim)
        ring_k, ring_v = normal(90, 2, dim, dtype=dtype), normal(90, 2, dim, dtype=dtype)
        first, rows, row = 60, 70, 2 * dim
        order = [(first + i) % 90 for i in range(rows)]
        for name, cached_k, cached_v in (
            *((f"k.{value}", put(ring_k, **{f"_{row * 3 + 1}": value}), ring_v) for value in (NAN, INF, -INF)),
            ("v", ring_k, put(ring_v, _0=NAN, **{f"_{row * 61 + 1}": INF, f"_{row * 89 + 2}": -INF})),
            # Rows of the ring that are not seen may hold anything.
            ("unseen", put(ring_k, **{f"_{row * 41}": NAN}), put(ring_v, **{f"_{row * 59}": INF})),
        ):
            joined_k, joined_v = (torch.cat([c.float()[order], own]) for c, own in ((cached_k, k), (cached_v, v)))
            blocks = [{"q": [0, 6], "k": [0, 100]}]
            inputs = {"q": q, "k": k, "v": v, "cachedK": cached_k, "cachedV": cached_v}
            params = {"blocks": blocks, "scale": 0.5, "cached": {"first": first, "rows": rows}}
            case("attention", f"cached.{name}.{dtype}.{dim}", inputs, params, attention(q, joined_k, joined_v, blocks, 0.5))

# --- q8 and q4: a number that is not finite makes all 32 of its block NaN ---------------------------------------------

for dtype, most, least in (("q8", 127 / 64, 1 / 64), ("q4", -2.0, 1 / 4)):
    for rows, depth in ((3, 64), (5, 128), (21, 64)):
        x, bias = normal(rows, depth), normal(7)
        # The largest of every block decides its scale: such numbers come out as they are.
        weight = (torch.randn((7, depth), generator=generator) / least).round().clamp(-6, 6).mul(least)
        weight.view(-1)[::32] = most
        written = put(weight, _2=NAN, **{f"_{depth}": INF, f"_{2 * depth + 40}": -INF})
        spoiled_blocks = ~written.view(-1, 32).isfinite().all(1, keepdim=True)
        held = written.view(-1, 32).masked_fill(spoiled_blocks, NAN).view(7, depth)
        bad_x = put(x, _0=NAN, **{f"_{depth}": INF, f"_{2 * depth + 1}": -INF})
        for name, a, b, c, w in (
            ("x", bad_x, weight, bias, weight),
            ("weight", x, written, bias, held),
            ("bias", x, weight, put(bias, _0=NAN, _1=INF, _2=-INF), weight),
            ("all", bad_x, written, put(bias, _3=INF, _4=-INF), held),
        ):
            inputs = {"x": a, "weight": b, "bias": c}
            case("linear", f"{dtype}.{name}.{rows}x{depth}", inputs, {}, F.linear(a, w, c), weight=dtype)

# --- q8: casts to it, and cached keys in it ------------------------------------------------------------------------
# In q8 what its largest scale cannot reach is NaN, too.
groups = normal(6, 64)
for row, value in enumerate([NAN, INF, -INF, 3e38, 8.36e6, 8.3e6]):
    groups[row, 7 * row] = value
case("cast", "f32-q8", {"x": groups}, {"to": "q8"}, q8(groups))

q, k, v, ring_k, ring_v = (normal(rows, 2, 32) for rows in (3, 2, 2, 6, 6))
order = [4, 5, 0, 1]
for name, cached_k, cached_v in (
    *((f"k.{value}", q8(put(ring_k, _70=value)), q8(ring_v)) for value in (NAN, INF, -INF)),
    *((f"v.{value}", q8(ring_k), q8(put(ring_v, _70=value))) for value in (NAN, INF, -INF)),
    ("unseen", q8(put(ring_k, _130=NAN)), q8(put(ring_v, _200=INF))),
):
    joined_k, joined_v = (torch.cat([c[order], own]) for c, own in ((cached_k, k), (cached_v, v)))
    blocks = [{"q": [0, 3], "k": [0, 6]}]
    inputs = {"q": q, "k": k, "v": v, "cachedK": cached_k, "cachedV": cached_v}
    params = {"blocks": blocks, "scale": 0.5, "cached": {"first": 4, "rows": 4}}
    case("attention", f"cached.{name}.q8", inputs, params, attention(q, joined_k, joined_v, blocks, 0.5))

lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in table)
Path(__file__).with_suffix(".json").write_text(f"[\n{lines}\n]\n")
print(f"{len(table)} cases of {len({entry['op'] for entry in table})} ops, PyTorch {torch.__version__}")
