"""What trainings of a transformer share: arguments, data, the loop."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .curves import Log, total_steps
from .data import Clips, build
from .files import load_weights
from .optimizer import Average, Optimizer
from .tokenizer import Tokenizer
from .vit_vae import ViTVAE

SAVE_SECONDS = 180
LOG_STEPS = 50


def arguments(chunks: int, rate: float, pairs: float) -> argparse.ArgumentParser:
    """Those that every training has, with its own defaults."""
    args = argparse.ArgumentParser()
    args.add_argument("--minutes", type=float, required=True)
    args.add_argument("--vae", type=Path, required=True)
    args.add_argument("--scale", type=float, required=True, help="scale_factor: latents are multiplied by it")
    args.add_argument("--spiece", type=Path, required=True)
    args.add_argument("--t5", type=Path, required=True)
    args.add_argument("--runs", type=Path, default=Path("runs"))
    args.add_argument("--clips", type=int, default=9000)
    args.add_argument("--chunks", type=int, default=chunks, help="in a batch: fewer clips where they are longer")
    args.add_argument("--rate", type=float, default=rate, help="factor of both learning rates")
    args.add_argument("--pairs", type=float, default=pairs, help="clips of two objects, for each of one")
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--device", default="cpu", help="cpu, cuda, ...")
    args.add_argument("--fast", action="store_true", help="bfloat16 products, compiled blocks (needs a C++ compiler)")
    return args


def prepare(args: argparse.Namespace) -> Clips:
    torch.set_default_device(args.device)
    torch.set_flush_denormal(True)
    torch.manual_seed(time.time_ns())
    vae = ViTVAE()
    vae.load_state_dict(load_weights(args.vae))
    return build(args.runs / "data", vae, Tokenizer(args.spiece), args.seed, args.clips, args.scale, args.pairs)


def train(
    args: argparse.Namespace,
    name: str,
    model: nn.Module,
    transformers: list[nn.Module],
    step_loss: Callable[[np.random.Generator], torch.Tensor],
    save: Callable[[dict[str, torch.Tensor]], None],
    decay: float,
) -> None:
    """
    Until the minutes are over. `save` gets the averaged weights, every few minutes and at the end; `transformers` are
    those that a step runs. The curve is <runs>/<name>.png.
    """
    average, log = Average(model, decay), Log(args.runs / f"{name}.jsonl")
    optimizer = Optimizer(model, args.minutes, 2e-3 * args.rate, 1.5e-3 * args.rate, hidden, args.fast)
    if args.fast:
        torch._dynamo.config.recompile_limit = 64  # one for each size of batch
        for block in (block for transformer in transformers for block in transformer.videodit_blocks.layers):
            block.compile(dynamic=False)
    rng = np.random.default_rng()
    before, saved, recent = total_steps(log), time.monotonic(), []
    while not optimizer.done:
        with torch.autocast(torch.device(args.device).type, torch.bfloat16, enabled=args.fast):
            loss = step_loss(rng)
        optimizer.step(loss)
        average.update(model)
        recent.append(loss.item())
        if optimizer.steps % LOG_STEPS == 0:
            log.add(total_steps=before + optimizer.steps, loss=float(np.mean(recent)), progress=optimizer.progress)
            recent = []
        if time.monotonic() - saved > SAVE_SECONDS:
            save(average.weights)
            saved = time.monotonic()
    save(average.weights)
    log.draw(args.runs / f"{name}.png", name, ("loss",))


def hidden(name: str) -> bool:
    """Whether a matrix is one of the blocks of the transformer or the text encoder."""
    return ".layers." in name and "ada_modulate" not in name or ".block." in name
