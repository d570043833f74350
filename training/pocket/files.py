"""safetensors files, read and written without a dependency: an 8 byte length, a JSON header, the tensors."""

import json
import struct
from pathlib import Path

import torch

TYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "I32": torch.int32, "U8": torch.uint8}
NAMES = {v: k for k, v in TYPES.items()}


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    header: dict = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for name, x in sorted(tensors.items()):
        size = x.numel() * x.element_size()
        header[name] = {"dtype": NAMES[x.dtype], "shape": list(x.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with open(partial, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, x in sorted(tensors.items()):
            file.write(x.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    partial.replace(path)


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    data = bytearray(Path(path).read_bytes())
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    body = torch.frombuffer(data, dtype=torch.uint8)[8 + length :]
    return {
        name: body[slice(*entry["data_offsets"])].clone().view(TYPES[entry["dtype"]]).view(entry["shape"])
        for name, entry in header.items()
    }


def save_weights(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """As bf16, vectors included: what a run resumes from is what users get."""
    save_tensors(path, {k: v.to(torch.bfloat16) for k, v in weights.items()})


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    return {k: v.float() for k, v in load_tensors(path).items()}
