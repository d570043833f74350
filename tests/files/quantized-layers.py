# Writes quantized-layers.npz beside it: layers with weights in q8 and q4, quantised and computed here in float64, written
# apart from the TypeScript side. Run: python3 tests/files/quantized-layers.py
from pathlib import Path

import numpy as np

rng = np.random.default_rng(12)


def quantize(weight, bits):
    """The bytes of [rows, columns], and the float64 values that they stand for."""
    rows, columns = weight.shape
    blocks = weight.reshape(-1, 32)
    if bits == 8:
        scales = (np.abs(blocks).max(1) / 127).astype(np.float16)
        codes = np.clip(np.rint(blocks / scales.astype(np.float64)[:, None]), -127, 127).astype(np.int64)
        coded = codes.astype(np.int8).view(np.uint8)
    else:
        most = np.take_along_axis(blocks, np.abs(blocks).argmax(1)[:, None], 1)[:, 0]
        scales = (most / -8).astype(np.float16)
        codes = np.clip(np.rint(blocks / scales.astype(np.float64)[:, None]), -8, 7).astype(np.int64)
        nibbles = (codes + 8).astype(np.uint8)
        coded = nibbles[:, :16] | (nibbles[:, 16:] << 4)
    values = scales.astype(np.float64)[:, None] * codes
    groups = np.concatenate([scales.view(np.uint8).reshape(-1, 4), coded.reshape(len(blocks) // 2, -1)], 1)
    return groups.reshape(rows, -1), values.reshape(rows, columns)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


arrays = {}
for bits in (8, 4):
    for rows, depth, outputs in ((1, 64, 5), (5, 320, 24), (40, 576, 13)):
        x = rng.standard_normal((rows, depth)).astype(np.float32)
        bias = rng.standard_normal(outputs).astype(np.float32)
        packed, weight = quantize(rng.standard_normal((outputs, depth)) / np.sqrt(depth), bits)
        name = f"linear.q{bits}.{rows}x{depth}"
        y = x.astype(np.float64) @ weight.T + bias
        arrays |= {f"{name}.x": x, f"{name}.bias": bias, f"{name}.weight": packed, f"{name}.y": y}
    # The feed-forward of T5: wo (gelu(wi_0 x) * wi_1 x).
    width, hidden = 128, 192
    x = rng.standard_normal((7, width)).astype(np.float32)
    wi_0, a = quantize(rng.standard_normal((hidden, width)) / np.sqrt(width), bits)
    wi_1, b = quantize(rng.standard_normal((hidden, width)) / np.sqrt(width), bits)
    wo, c = quantize(rng.standard_normal((width, hidden)) / np.sqrt(hidden), bits)
    wide = x.astype(np.float64)
    name = f"t5.q{bits}"
    arrays |= {f"{name}.x": x, f"{name}.wi_0": wi_0, f"{name}.wi_1": wi_1, f"{name}.wo": wo}
    arrays[f"{name}.y"] = (gelu(wide @ a.T) * (wide @ b.T)) @ c.T

np.savez_compressed(Path(__file__).with_suffix(".npz"), **arrays)
