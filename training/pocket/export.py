"""Writes a model folder in the original's layout from trained weights: `python -m pocket.export --help`."""

import argparse
import copy
import json
import shutil
from pathlib import Path

from . import dit, t5, vit_vae
from .captions import caption_words
from .data import FRAMES
from .files import load_tensors, save_tensors
from .palette import BACKGROUNDS, COLORS, SHAPES
from .scenes import SIDE

CONFIG = {
    "model_config": dit.CONFIG,
    "runtime_config": {
        "cfg_number": 3,
        "cfg_t_range": [0.0, 0.0217, 0.1, 0.3, 0.999],
        "prev_chunk_scales": [1.0, 1.0, 1.0, 1.0, 1.0],
        "text_scales": [3.0, 3.0, 3.0, 1.5, 0.0],
        "noise2clean_kvrange": [5, 4, 3, 2],
        "clean_chunk_kvrange": 1,
        "clean_t": 0.9999,
        "seed": 1234,
        "num_frames": 48,
        "video_size_h": 64,
        "video_size_w": 64,
        "num_steps": 64,
        "window_size": 4,
        "fps": 24,
        "chunk_width": 6,
        "load": "./magi",
        "t5_pretrained": "./t5",
        "t5_device": "cpu",
        "vae_pretrained": "./vae",
        "scale_factor": 1.0,
        "temporal_downsample_factor": 4,
    },
    "engine_config": {
        "distributed_backend": "nccl",
        "distributed_timeout_minutes": 15,
        "pp_size": 1,
        "cp_size": 1,
        "cp_strategy": "cp_ulysses",
        "ulysses_overlap_degree": 1,
        "fp8_quant": False,
        "distill_nearly_clean_chunk_threshold": 0.3,
        "shortcut_mode": "8,16,16",
        "distill": False,
        "kv_offload": False,
        "enable_cuda_graph": False,
    },
}

def one_of(words) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}"


TRAINED = {
    "knows": (
        f"one or two objects, each a {one_of(SHAPES)} in {one_of(COLORS)}, on {one_of(BACKGROUNDS)}, that go in a "
        f"direction, bounce, orbit, spin, grow, shrink, appear or stand still, slowly or fast"
    ),
    "height": SIDE,
    "width": SIDE,
    "numFrames": FRAMES,
    "fps": CONFIG["runtime_config"]["fps"],
    "chunkWidth": CONFIG["runtime_config"]["chunk_width"],
    "windowSize": CONFIG["runtime_config"]["window_size"],
    "words": caption_words(),
}


def base_config(scale: float) -> dict:
    config = copy.deepcopy(CONFIG)
    config["runtime_config"]["scale_factor"] = scale
    return config


def distilled_config(scale: float, steps: int = 8) -> dict:
    config = base_config(scale)
    config["runtime_config"].update(cfg_number=1, num_steps=steps)
    config["engine_config"]["distill"] = True
    return config


def export(folder: Path, vae: Path, spiece: Path, t5_weights: Path, base: Path, distilled: Path | None, scale: float) -> None:
    """config.json runs the distilled model where there is one, config.base.json the base model."""
    write_json(folder / "trained.json", TRAINED)
    write_json(folder / "config.base.json", base_config(scale))
    write_json(folder / "config.json", distilled_config(scale) if distilled else base_config(scale))
    copy_weights(base, folder / "magi/inference_weight/model.safetensors")
    if distilled:
        copy_weights(distilled, folder / "magi/inference_weight.distill/model.safetensors")
    text = folder / "t5/t5-v1_1-xxl"
    write_json(text / "config.json", t5.CONFIG)
    copy_weights(t5_weights, text / "model.safetensors")
    shutil.copyfile(spiece, text / "spiece.model")
    write_json(folder / "vae/config.json", {"_class_name": "ViTVAE", "ddconfig": vit_vae.CONFIG, "model_type": "vit"})
    copy_weights(vae, folder / "vae/diffusion_pytorch_model.safetensors")


def copy_weights(source: Path, target: Path) -> None:
    save_tensors(target, load_tensors(source), {"format": "pt"})


def write_json(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n")


if __name__ == "__main__":
    args = argparse.ArgumentParser()
    args.add_argument("--output", type=Path, required=True)
    for name in ("vae", "spiece", "t5", "base"):
        args.add_argument(f"--{name}", type=Path, required=True)
    args.add_argument("--distilled", type=Path)
    args.add_argument("--scale", type=float, required=True)
    args = args.parse_args()
    export(args.output, args.vae, args.spiece, args.t5, args.base, args.distilled, args.scale)
