#!/usr/bin/env bash
# torch: the exact gelu of +Infinity depends on the CPU and on how many elements the tensor has.
#
# What: in float32, on a CPU with AVX-512, F.gelu(+Infinity) is Infinity for a tensor of one element and NaN from two on.
# On the same CPU held to AVX2 it is Infinity for every number of elements, and so it is in float64, for tensors that
# are not contiguous, with approximate='tanh', and with oneDNN turned off. So the NaN is that of oneDNN's AVX-512 kernel,
# which torch takes for contiguous tensors of more than one element. -Infinity gives NaN everywhere, where the limit is 0.
#
# Why it matters: gelu values made with torch are the usual reference for other tensor libraries. A reference made one
# number at a time contradicts one made as a tensor, and a test that passes on one machine fails on the next.
#
# Source: reported upstream as pytorch issue 185770 (the NaN, on a tensor of six elements); oneDNN's documentation of
# ONEDNN_MAX_CPU_ISA.
#
# Needs Linux on a CPU with AVX-512, python3 with venv and pip; torch is large. Exits 1 if the behaviour changes, 2 if
# something needed is missing.
set -euo pipefail

command -v python3 >/dev/null || { echo 'needs python3'; exit 2; }
grep -q avx512dq /proc/cpuinfo || { echo 'needs a CPU with AVX-512'; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.13.0

cat >try.py <<'PY'
import os
import sys

import torch
from torch.nn.functional import gelu

INFINITY = float("inf")
COUNTS = (1, 2, 3, 16, 64)
as_found = True


def show(title, expected, results):
    global as_found
    seen = [" or ".join(sorted({str(value) for value in result.tolist()})) for result in results]
    same = seen == expected
    as_found = as_found and same
    print(f"  {title:40} {' '.join(f'{value:>4}' for value in seen)}{'' if same else f'  CHANGED from {expected}'}")


def full(count, dtype=torch.float32, value=INFINITY):
    return torch.full((count,), value, dtype=dtype)


limit = os.environ.get("ONEDNN_MAX_CPU_ISA")
print(f"torch {torch.__version__}, oneDNN {'with all that the CPU has' if limit is None else f'held to {limit}'}")
print(f"  {'elements':40} {' '.join(f'{count:>4}' for count in COUNTS)}")
always, nan_from_two = ["inf"] * 5, ["inf"] + ["nan"] * 4
show("+Infinity, float32", nan_from_two if limit is None else always, [gelu(full(n)) for n in COUNTS])
show("+Infinity, float64", always, [gelu(full(n, torch.float64)) for n in COUNTS])
show("+Infinity, float32, every other element", always, [gelu(full(2 * n)[::2]) for n in COUNTS])
show("+Infinity, float32, tanh", always, [gelu(full(n), approximate="tanh") for n in COUNTS])
with torch.backends.mkldnn.flags(enabled=False):
    show("+Infinity, float32, without oneDNN", always, [gelu(full(n)) for n in COUNTS])
show("-Infinity, float32", ["nan"] * 5, [gelu(full(n, value=-INFINITY)) for n in COUNTS])
sys.exit(0 if as_found else 1)
PY
echo 'Expected: inf for +Infinity and 0 for -Infinity, the limits, for any number of elements.'
status=0
env -u ONEDNN_MAX_CPU_ISA venv/bin/python -W ignore try.py || status=1
ONEDNN_MAX_CPU_ISA=AVX2 venv/bin/python -W ignore try.py || status=1
[ "$status" = 0 ] && echo 'As found.' || echo 'Changed.'
exit "$status"
