# Writes gguf-blocks.json beside it: numbers, what the Python package gguf makes of them as Q8_0 and Q4_0, and what it reads
# back. Run: python3 tests/files/gguf-blocks.py
import base64
import json
import pathlib

import numpy as np
from gguf import GGMLQuantizationType, quants

rng = np.random.default_rng(20)
rows = [
    rng.standard_normal(64),
    rng.standard_normal(64) * 1e-3,
    rng.uniform(-1, 1, 64) * 1000,
    rng.standard_t(3, 64),
    np.zeros(64),
    np.concatenate([np.full(32, 2.5), np.full(32, -2.5)]),
    # The two largest have opposite signs; scales that are subnormal in f16.
    np.where(np.arange(64) % 32 == 5, 1.0, np.where(np.arange(64) % 32 == 9, -0.999, 0.01)),
    rng.standard_normal(64) * 2e-6,
]
values = np.array(rows, dtype=np.float32)


def text(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


result = {"values": text(values)}
for name, qtype in [("q8", GGMLQuantizationType.Q8_0), ("q4", GGMLQuantizationType.Q4_0)]:
    blocks = quants.quantize(values, qtype)
    result[name] = {"blocks": text(blocks), "values": text(quants.dequantize(blocks, qtype).astype(np.float32))}
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(result, indent=1) + "\n")
