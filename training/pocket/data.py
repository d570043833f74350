"""Latents and captions of many clips, made from a seed and kept on disk while a training run lasts."""

import json
from pathlib import Path

import numpy as np
import torch

from .captions import caption_chunks
from .dit import CHUNK, NULL_ROWS
from .render import render
from .scenes import sample_scene
from .stages import Stage
from .tokenizer import Tokenizer
from .vit_vae import ViTVAE, from_pixels

FRAMES = 96
CHUNKS = FRAMES // 24
CAPTIONS = 3  # for each clip
GROUP = 50


class Clips:
    """
    latents f16 [clips, 16, 24, 8, 8], scaled; stills f16 [clips, 16, 1, 8, 8]: first frames alone, as image-to-video
    encodes them; ids i16 [clips, CAPTIONS, 4, 50], 0 where there is none; weights [clips]: how often each is drawn.
    """

    def __init__(self, latents, stills, ids, weights):
        self.latents, self.stills, self.ids, self.weights = latents, stills, ids, weights

    def batch(self, size: int, stage: Stage):
        """Latents and ids of the chunks of a stage; those of an image where the prefix is one."""
        chosen = torch.multinomial(self.weights, size, replacement=True)
        which = torch.randint(CAPTIONS, (size,), device="cpu")
        device = torch.get_default_device()
        x = self.latents[chosen, :, : stage.end * CHUNK].to(device).float()
        if stage.prefix == 1:
            x[:, :, :1] = self.stills[chosen].to(device).float()
        return x, self.ids[chosen, which, : stage.end].to(device).long()


def build(folder: Path, vae: ViTVAE, tokenizer: Tokenizer, seed: int, clips: int, scale: float, pairs: float) -> Clips:
    """
    Reads what an earlier call with the same arguments has written; goes on where it stopped. `pairs`: how often two
    objects are drawn for each time that one is; they are harder to get right.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mark = {"seed": seed, "clips": clips, "scale": scale, "vae": fingerprint(vae)}
    mark_path, shape = folder / "data.json", (clips, 16, FRAMES // 4, 8, 8)
    known = json.loads(mark_path.read_text()) if mark_path.exists() else {}
    mode = "r+" if all(known.get(k) == v for k, v in mark.items()) else "w+"
    latents = np.memmap(folder / "latents.f16", np.float16, mode, shape=shape)
    stills = np.memmap(folder / "stills.f16", np.float16, mode, shape=(clips, 16, 1, 8, 8))
    ids = np.memmap(folder / "ids.i16", np.int16, mode, shape=(clips, CAPTIONS, CHUNKS, NULL_ROWS))
    done = known.get("done", 0) if mode == "r+" else 0
    weights = torch.ones(clips, device="cpu")
    for first in range(0, clips, GROUP):
        rng = np.random.default_rng([seed, 1, first])
        count = min(GROUP, clips - first)
        scenes = [sample_scene(rng, FRAMES) for _ in range(count)]
        for i, scene in enumerate(scenes):
            weights[first + i] = pairs if len(scene.objects) == 2 else 1
        if first < done:
            continue
        for i, scene in enumerate(scenes):
            for j in range(CAPTIONS):
                for c, caption in enumerate(caption_chunks(rng, scene)):
                    row = tokenizer.ids(caption)
                    ids[first + i, j, c] = row + [0] * (NULL_ROWS - len(row))
        for kept, pictures in ((latents, render(scenes)), (stills, render(scenes, 0, 1))):
            kept[first : first + count] = (vae.encode_tiled(from_pixels(pictures)) * scale).half().cpu().numpy()
        mark_path.write_text(json.dumps({**mark, "done": first + count}))
        if first % 1000 == 0:
            print(f"latents of {first + count} of {clips} clips", flush=True)
    return Clips(*(torch.from_numpy(np.asarray(array)) for array in (latents, stills, ids)), weights)


def fingerprint(model: torch.nn.Module) -> float:
    return float(sum(p.detach().double().abs().sum() for p in model.parameters()))
