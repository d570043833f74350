"""Trains the VAE on 12-frame tiles of the data world: `python -m pocket.train_vae --minutes 60`."""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from .curves import Log, total_steps
from .files import load_weights, save_weights
from .optimizer import Average, Optimizer
from .render import render
from .scenes import sample_scene
from .vit_vae import ViTVAE, from_pixels, to_pixels

POOL_FRAMES = 24
TILE = 12


def pool(seed: int, clips: int) -> torch.Tensor:
    """u8 [clips, 24, 64, 64, 3], each starting somewhere in a clip of 48."""
    out = torch.empty(clips, POOL_FRAMES, 64, 64, 3, dtype=torch.uint8)
    for first in range(0, clips, 50):
        rng = np.random.default_rng([seed, first])
        scenes = [sample_scene(rng, 48) for _ in range(min(50, clips - first))]
        start = int(rng.integers(0, 25))
        out[first : first + len(scenes)] = render(scenes, start, POOL_FRAMES)
    return out


def batch(frames: torch.Tensor, size: int) -> torch.Tensor:
    """Most tiles are whole; some are the short ones at the end of a prefix: 8 frames, or one."""
    length = int(np.random.choice([TILE, 8, 1], p=[0.84, 0.08, 0.08]))
    clips = torch.randint(len(frames), (size,))
    starts = torch.randint(POOL_FRAMES - length + 1, (size,))
    tiles = torch.stack([frames[c, s : s + length] for c, s in zip(clips.tolist(), starts.tolist())])
    return from_pixels(tiles[..., torch.randperm(3)] if np.random.rand() < 0.15 else tiles)


def psnr(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Of u8 clips [n, ...], one value per clip, in dB."""
    error = (a.float() - b.float()).square().flatten(1).mean(1)
    return 10 * torch.log10(255**2 / error.clamp_min(1e-3))


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("--minutes", type=float, required=True)
    args.add_argument("--weights", type=Path, required=True, help="read if it is there, written every few minutes")
    args.add_argument("--log", type=Path, default=Path("runs/vae.jsonl"))
    args.add_argument("--clips", type=int, default=3000)
    args.add_argument("--batch", type=int, default=24)
    args.add_argument("--rate", type=float, default=1.0, help="factor of both learning rates")
    args.add_argument("--kl", type=float, default=1e-4, help="weight of the KL divergence per latent value")
    args.add_argument("--seed", type=int, default=int(time.time()))
    args.add_argument("--device", default="cpu", help="cpu, cuda, ...")
    args = args.parse_args()
    torch.set_default_device(args.device)
    torch.set_flush_denormal(True)
    torch.manual_seed(args.seed)
    np.random.seed(args.seed % 2**32)

    model = ViTVAE()
    if args.weights.exists():
        model.load_state_dict(load_weights(args.weights))
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    frames = pool(args.seed, args.clips)
    held_out = pool(999, 32)[:, :TILE]
    average, log = Average(model), Log(args.log)
    hidden = lambda name: ".blocks." in name
    optimizer = Optimizer(model, args.minutes, 2e-3 * args.rate, 1.5e-3 * args.rate, hidden)
    before = total_steps(log)
    saved = time.monotonic()
    while not optimizer.done:
        x = batch(frames, args.batch)
        mean, logvar = model.encoder(x)
        z = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
        y = model.decoder(z)
        error = (y - x).square().mean()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        loss = error + args.kl * kl
        optimizer.step(loss)
        average.update(model)
        total = before + optimizer.steps
        if optimizer.steps % 50 == 0:
            values = {"total_steps": total, "mse": error.item(), "kl": kl.item(), "progress": optimizer.progress}
            if optimizer.steps % 200 == 0:
                values["psnr"] = evaluate(model, average, held_out)
            log.add(**values)
        if time.monotonic() - saved > 180:
            save_weights(args.weights, average.weights)
            saved = time.monotonic()
    save_weights(args.weights, average.weights)
    log.draw(args.log.with_suffix(".png"), "VAE", ("mse", "kl", "psnr"))


def evaluate(model: ViTVAE, average: Average, clips: torch.Tensor) -> float:
    kept = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(average.weights)
    with torch.no_grad():
        mean, _ = model.encoder(from_pixels(clips))
        value = psnr(to_pixels(model.decoder(mean)), clips).mean().item()
    print(f"latents: mean {mean.mean().item():.3f} std {mean.std().item():.3f}", flush=True)
    model.load_state_dict(kept)
    return value


if __name__ == "__main__":
    main()
