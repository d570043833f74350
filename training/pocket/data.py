"""Latents and captions of many clips, made from a seed and kept on disk while a training run lasts."""

import json
from pathlib import Path

import numpy as np
import torch

from .captions import caption_chunks
from .dit import NULL_ROWS
from .render import render
from .scenes import sample_scene
from .tokenizer import Tokenizer
from .vit_vae import ViTVAE, from_pixels

FRAMES = 96
CHUNKS = FRAMES // 24
CAPTIONS = 3  # for each clip
GROUP = 50


class Clips:
    """latents f16 [clips, 16, 24, 8, 8], scaled; ids i16 [clips, CAPTIONS, 4, 50], 0 where there is none."""

    def __init__(self, latents, ids):
        self.latents, self.ids = latents, ids

    def batch(self, size: int):
        chosen = torch.randint(len(self.latents), (size,), device="cpu")
        which = torch.randint(CAPTIONS, (size,), device="cpu")
        device = torch.get_default_device()
        return self.latents[chosen].to(device).float(), self.ids[chosen, which].to(device).long()


def build(folder: Path, vae: ViTVAE, tokenizer: Tokenizer, seed: int, clips: int, scale: float) -> Clips:
    """Reads what an earlier call with the same arguments has written; goes on where it stopped."""
    folder.mkdir(parents=True, exist_ok=True)
    mark = {"seed": seed, "clips": clips, "scale": scale, "vae": fingerprint(vae)}
    mark_path, shape = folder / "data.json", (clips, 16, FRAMES // 4, 8, 8)
    known = json.loads(mark_path.read_text()) if mark_path.exists() else {}
    mode = "r+" if all(known.get(k) == v for k, v in mark.items()) else "w+"
    latents = np.memmap(folder / "latents.f16", np.float16, mode, shape=shape)
    ids = np.memmap(folder / "ids.i16", np.int16, mode, shape=(clips, CAPTIONS, CHUNKS, NULL_ROWS))
    done = known.get("done", 0) if mode == "r+" else 0
    for first in range(done, clips, GROUP):
        rng = np.random.default_rng([seed, 1, first])
        count = min(GROUP, clips - first)
        scenes = [sample_scene(rng, FRAMES) for _ in range(count)]
        for i, scene in enumerate(scenes):
            for j in range(CAPTIONS):
                for c, caption in enumerate(caption_chunks(rng, scene)):
                    row = tokenizer.ids(caption)
                    ids[first + i, j, c] = row + [0] * (NULL_ROWS - len(row))
        latents[first : first + count] = (vae.encode_tiled(from_pixels(render(scenes))) * scale).half().cpu().numpy()
        mark_path.write_text(json.dumps({**mark, "done": first + count}))
        if first % 1000 == 0:
            print(f"latents of {first + count} of {clips} clips", flush=True)
    return Clips(torch.from_numpy(np.asarray(latents)), torch.from_numpy(np.asarray(ids)))


def fingerprint(model: torch.nn.Module) -> float:
    return float(sum(p.detach().double().abs().sum() for p in model.parameters()))
