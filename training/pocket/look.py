"""Clips of the data world as a picture, below each what a VAE makes of it: `python -m pocket.look --output world.png`."""

import argparse
from pathlib import Path

import numpy as np
import torch

from .files import load_weights
from .render import render
from .scenes import sample_scene
from .vit_vae import ViTVAE, from_pixels, to_pixels

FRAMES = 48


def sheet(clips: list[torch.Tensor], path: Path, columns: int) -> None:
    """clips: u8 [T, H, W, 3] each, a row for each; written as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = []
    for clip in clips:
        chosen = torch.linspace(0, len(clip) - 1, columns).round().long()
        framed = torch.nn.functional.pad(clip[chosen], (0, 0, 0, 1, 0, 1), value=255)
        rows.append(framed.permute(1, 0, 2, 3).reshape(framed.shape[1], -1, 3))
    plt.imsave(path, torch.cat(rows).numpy())


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("--output", type=Path, required=True, help="a PNG")
    args.add_argument("--vae", type=Path, help="weights of train_vae")
    args.add_argument("--clips", type=int, default=8)
    args.add_argument("--columns", type=int, default=12)
    args.add_argument("--seed", type=int, default=0)
    args = args.parse_args()
    rng = np.random.default_rng(args.seed)
    clips = render([sample_scene(rng, FRAMES) for _ in range(args.clips)])
    rows = list(clips)
    if args.vae:
        vae = ViTVAE()
        vae.load_state_dict(load_weights(args.vae))
        vae.eval()
        again = to_pixels(vae.decode_tiled(vae.encode_tiled(from_pixels(clips))))
        rows = [row for pair in zip(clips, again) for row in pair]
    sheet(rows, args.output, args.columns)


if __name__ == "__main__":
    main()
