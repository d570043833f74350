#!/usr/bin/env bash
# gguf: of weights below about 1e-5, eight bits (Q8_0) keep less than four bits (Q4_0), in the end nothing at all.
#
# What: a block of 32 weights has one scale in float16. In Q8_0 it is the largest magnitude over 127, in Q4_0 over 8, so the
# scale of Q8_0 leaves float16's normal numbers (6.1e-5) sixteen times earlier. Codes are made with the exact scale and read
# with the rounded one. Normal weights of deviation 1e-4 come back with twice the usual error of Q8_0, at 1e-5 with 18 times
# that error, which is more than Q4_0's, and at 1e-6 99 of 100 values are zero. Above 65504 x 127 values come back as NaN. There
# is no message. bfloat16 keeps all of them.
#
# Why it matters: "Q8_0 is as good as lossless" holds by the size of the weights, not by their number of bits. Layers that
# begin at zero (gates, modulation, low-rank updates, last projections) have such weights, and are what diffusion models
# are full of; a converter that compares no error ships them as zeros.
#
# Source: the package's quantize and dequantize (gguf.quants), which follow the format's reference.
#
# Needs python3 with venv and pip. Exits 1 if the behaviour changes.
set -euo pipefail

command -v python3 >/dev/null || { echo 'needs python3'; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check gguf==0.19.0 numpy==2.3.5

cat >try.py <<'PY'
import sys
from importlib.metadata import version

import numpy as np
from gguf import GGMLQuantizationType as Kind
from gguf import quants

kinds = (Kind.Q8_0, Kind.Q4_0, Kind.BF16)
base = np.random.default_rng(0).standard_normal((64, 256))


def error(deviation, kind):
    """Root mean square error of what comes back, over the deviation; and the share of values that are zero or NaN."""
    weights = (base * deviation).astype(np.float32)
    with np.errstate(all="ignore"):
        back = quants.dequantize(quants.quantize(weights, kind), kind)
        return (
            float(np.sqrt(np.mean((back - weights) ** 2)) / deviation),
            float(np.mean(back == 0)),
            float(np.mean(np.isnan(back))),
        )


print(f"gguf {version('gguf')}, numpy {np.__version__}")
print("Expected: the relative error of a format does not depend on the weights' deviation; 8 bits beat 4.")
print("deviation   " + "".join(f"{kind.name:>10}" for kind in kinds) + "   zeros, NaN of Q8_0")
seen = {}
for deviation in (1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e7):
    seen[deviation] = [error(deviation, kind) for kind in kinds]
    _, zeros, nans = seen[deviation][0]
    errors = "".join(f"{value:10.4f}" for value, _, _ in seen[deviation])
    print(f"{deviation:<12g}{errors}   {zeros:.2f}, {nans:.2f}")

q8 = {deviation: errors[0] for deviation, errors in seen.items()}
q4 = {deviation: errors[1] for deviation, errors in seen.items()}
bf16 = {deviation: errors[2] for deviation, errors in seen.items()}
as_found = (
    q8[1][0] < 0.006
    and 1.5 < q8[1e-4][0] / q8[1][0] < 3
    and q8[1e-5][0] > q4[1e-5][0]
    and q8[1e-6][1] > 0.98
    and q4[1e-6][0] < 0.12
    and q8[1e7][2] > 0
    and all(value < 0.002 for value, _, _ in bf16.values())
)
print("As found." if as_found else "Changed.")
sys.exit(0 if as_found else 1)
PY
venv/bin/python try.py
