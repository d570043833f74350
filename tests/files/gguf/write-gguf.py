"""GGUF files with a tensor of every type that is read, written by the Python package gguf 0.19, and beside them
the values that this package decodes them to, as f32 in safetensors. Run it in this folder: python3 write-gguf.py"""

import gguf
import numpy as np
from gguf import GGMLQuantizationType as T
from safetensors.numpy import save_file

random = np.random.default_rng(7)


def blocks_k(rows: int, kind: T) -> np.ndarray:
    """Random codes and scales: the package decodes K types and does not encode them."""
    size = {T.Q4_K: 144, T.Q6_K: 210}[kind]
    raw = random.integers(0, 256, (rows, 2, size), dtype=np.uint8)
    scales = (random.standard_normal((rows, 2, 2)) * 0.01).astype(np.float16).view(np.uint8).reshape(rows, 2, 4)
    if kind == T.Q4_K:
        raw[:, :, 0:4] = scales
    else:
        raw[:, :, 208:210] = scales[:, :, :2]
    return raw.reshape(rows, 2 * size)


def write(path: str, alignment: int | None) -> dict[str, np.ndarray]:
    writer = gguf.GGUFWriter(path, "magi1")
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    writer.add_description("tensors of every type")
    writer.add_array("tokenizer.ggml.tokens", [f"t{i}" for i in range(50)])
    values: dict[str, np.ndarray] = {}

    def put(name: str, raw: np.ndarray, kind: T) -> None:
        writer.add_tensor(name, raw, raw_dtype=kind)
        values[name] = gguf.quants.dequantize(raw, kind).astype(np.float32)

    plain = (random.standard_normal((3, 96)) * 0.05).astype(np.float32)
    writer.add_tensor("f32", plain)
    values["f32"] = plain
    writer.add_tensor("f16", plain.astype(np.float16))
    values["f16"] = plain.astype(np.float16).astype(np.float32)
    writer.add_tensor("bias", plain[0])
    values["bias"] = plain[0]
    put("bf16", gguf.quants.quantize(plain, T.BF16), T.BF16)
    for kind in (T.Q8_0, T.Q4_0):
        weights = (random.standard_normal((5, 128)) * 0.05).astype(np.float32)
        put(f"{kind.name}.groups", gguf.quants.quantize(weights, kind), kind)
        put(f"{kind.name}.odd", gguf.quants.quantize(plain, kind), kind)
    for kind in (T.Q4_K, T.Q6_K):
        put(kind.name, blocks_k(3, kind), kind)
    # A tensor of five dimensions, flattened, as converters for ggml keep it.
    conv = gguf.quants.quantize((random.standard_normal((4, 64)) * 0.05).astype(np.float32), T.Q8_0)
    put("conv", conv, T.Q8_0)
    values["conv"] = values["conv"].reshape(4, 16, 1, 2, 2)
    writer.add_array("comfy.gguf.orig_shape.conv", [4, 16, 1, 2, 2])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return values


save_file(write("types.gguf", None), "types.gguf.safetensors")
save_file(write("aligned.gguf", 256), "aligned.gguf.safetensors")
