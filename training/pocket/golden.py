"""An end-to-end golden in the e2e kit's format from this side's own networks: `python -m pocket.golden --help`."""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from .dit import CHUNK, VideoDiT
from .files import load_weights, save_tensors
from .render import render
from .sampler import Settings, generate
from .scenes import sample_scene
from .t5 import T5Encoder
from .tokenizer import Tokenizer
from .vit_vae import ViTVAE, from_pixels, to_pixels

STORED_EVERY = 25


def load_model(folder: Path, distilled: bool):
    """A model folder written by export.py -> tokenizer, text encoder, transformer, VAE; f32."""
    text = folder / "t5/t5-v1_1-xxl"
    t5, dit, vae = T5Encoder(), VideoDiT(), ViTVAE()
    t5.load_state_dict(load_weights(text / "model.safetensors"))
    name = "inference_weight.distill" if distilled else "inference_weight"
    dit.load_state_dict(load_weights(folder / "magi" / name / "model.safetensors"))
    vae.load_state_dict(load_weights(folder / "vae/diffusion_pytorch_model.safetensors"))
    return Tokenizer(text / "spiece.model"), t5.eval(), dit.eval(), vae.eval()


def settings_of(config: dict) -> Settings:
    runtime, engine = config["runtime_config"], config["engine_config"]
    return Settings(
        steps=runtime["num_steps"],
        window=runtime["window_size"],
        reach=tuple(runtime["noise2clean_kvrange"]),
        clean_reach=runtime["clean_chunk_kvrange"],
        guided_from=tuple(runtime["cfg_t_range"]),
        chunk_scales=tuple(runtime["prev_chunk_scales"]),
        text_scales=tuple(runtime["text_scales"]),
        distilled=engine["distill"],
        nearly_clean=engine["distill_nearly_clean_chunk_threshold"],
    )


@torch.no_grad()
def run(folder: Path, config_name: str, prompt: str, seed: int, frames: int, steps: int | None = None, prefix_frames: int = 0):
    """Manifest and tensors of one case. `prefix_frames`: of a clip of the data world; 1 is image to video."""
    config = json.loads((folder / config_name).read_text())
    config["runtime_config"].update(num_frames=frames, seed=seed)
    if steps is not None:
        config["runtime_config"]["num_steps"] = steps
    model, runtime = config["model_config"], config["runtime_config"]
    tokenizer, t5, dit, vae = load_model(folder, config["engine_config"]["distill"])
    prefix, given = None, {}
    if prefix_frames > 0:
        pictures = render([sample_scene(np.random.default_rng(seed), 48)], 0, prefix_frames)
        prefix = vae.encode_tiled(from_pixels(pictures)) * runtime["scale_factor"]
        given = {"prefix_frames": pictures[0], "prefix_latents": prefix}
    prefix_length = 0 if prefix is None else prefix.shape[2]
    chunks = -(-(frames // 4 + prefix_length) // CHUNK)
    ids = torch.tensor([tokenizer.ids(prompt)])
    features = t5(ids, torch.ones_like(ids, dtype=torch.bool))[0]
    side = (runtime["video_size_h"] // 8, runtime["video_size_w"] // 8)
    noise = torch.randn(1, 16, chunks * CHUNK, *side, generator=torch.Generator().manual_seed(seed))
    latents = [z for _, z in generate(dit, [features] * chunks, noise, settings_of(config), prefix)]
    videos = [vae.decode_tiled(z / runtime["scale_factor"]) for z in latents]
    levels = torch.cat([to_pixels(v)[0] for v in videos])
    length = model["caption_max_length"]
    padded = torch.nn.functional.pad(ids, (0, length - ids.shape[1])).int()
    stored = torch.arange(0, len(levels), STORED_EVERY)
    flat = levels.flatten(1).float()
    tensors = {
        "input_ids": padded,
        "attention_mask": (torch.arange(length)[None] < ids.shape[1]).int(),
        "text_embeddings": features,
        "noise": noise,
        "text_rows_valid": torch.tensor(
            [[0 if c < prefix_length // CHUNK else ids.shape[1] for c in range(chunks)], [50] * chunks], dtype=torch.int32
        ),
        **given,
        **{f"chunk_{i}": z for i, z in enumerate(latents)},
        "frame_index": stored.int(),
        "frames": levels[stored],
        "frame_mean": flat.mean(1),
        "frame_std": flat.std(1),
    }
    manifest = {
        "mode": {0: "t2v", 1: "i2v"}.get(prefix_frames, "v2v"),
        "prompt": prompt,
        "cleaned_prompt": prompt.lower(),
        "env": {},
        "config": config,
        "provenance": "Made by training/pocket/golden.py: this project's own PyTorch networks, float32, CPU.",
    }
    return manifest, tensors, levels


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("--model", type=Path, required=True, help="folder with config.json")
    args.add_argument("--config", default="config.json")
    args.add_argument("--prompt", required=True)
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--frames", type=int, default=48)
    args.add_argument("--steps", type=int, help="default from the config")
    args.add_argument("--prefix-frames", type=int, default=0, help="1: image to video, more: video to video")
    args.add_argument("--case", type=Path, required=True, help="<folder>/cases/<name>; the config goes to <folder>/configs")
    args.add_argument("--model-from-configs", default="..", help="path of the model folder, from the folder above configs")
    args = args.parse_args()
    manifest, tensors, _ = run(args.model, args.config, args.prompt, args.seed, args.frames, args.steps, args.prefix_frames)
    name, root = args.case.name, args.case.parent.parent
    for key in ("load", "t5_pretrained", "vae_pretrained"):
        part = manifest["config"]["runtime_config"][key].removeprefix("./")
        manifest["config"]["runtime_config"][key] = f"{args.model_from_configs}/{part}"
    config_path = root / "configs" / f"{name}.json"
    config_path.parent.mkdir(parents=True, exist_ok=True)
    config_path.write_text(json.dumps(manifest["config"], indent=2) + "\n")
    manifest["config_file"] = f"../configs/{name}.json"
    manifest["file"] = f"{name}.safetensors"
    save_tensors(args.case.with_suffix(".safetensors"), tensors)
    args.case.with_suffix(".manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    main()
