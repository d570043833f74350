"""Distils the guided base model into one pass and few steps: `python -m pocket.distill --help`.

The student's step of 1/N of the way must land where the guided teacher lands in `--substeps` smaller steps. It is told
the length of its step as the original's distilled models are: dt = 2 N / 4.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from . import data, fast
from .curves import Log, total_steps
from .dit import CHUNK, CLEAN_T, VideoDiT, block_causal
from .files import load_weights, save_weights
from .optimizer import Average, Optimizer
from .sampler import Settings
from .stages import sample_stage, time_of
from .tokenizer import Tokenizer
from .train_dit import TOKENS, Model, cell_weights
from .vit_vae import ViTVAE

STEPS = (8, 16, 32, 64)
# The first quarter counts more than in training: what the noise will become is known here, the teacher decides it.
AGE_WEIGHTS = (1.0, 1.5, 1.5, 1.0)


@torch.no_grad()
def guided(teacher: VideoDiT, x, t, text, mask, null_text, null_mask, seen, clean: int, scales):
    """Velocity of the noisy frames: null text + s (caption - null text), s by time; scales [B, noisy chunks]."""
    B, n = t.shape
    twice = lambda a: torch.cat([a, a])
    texts, masks = torch.cat([text, null_text]), torch.cat([mask, null_mask])
    rows = torch.zeros(2 * B, n, dtype=torch.bool)
    rows[:, :clean] = True
    rows[B:] = True
    a, b = teacher(twice(x), twice(t), texts, masks, seen, rows)[:, :, clean * CHUNK :].chunk(2)
    s = scales.repeat_interleave(CHUNK, 1)[:, None, :, None, None]
    return b + s * (a - b)


def text_scale(settings: Settings, t: torch.Tensor) -> torch.Tensor:
    edges = torch.tensor(settings.guided_from) - 1e-7
    index = (edges[None, None] < t[..., None]).sum(-1) - 1
    return torch.tensor(settings.text_scales)[index]


def step_loss(student: VideoDiT, teacher: Model, clips: data.Clips, rng: np.random.Generator, chunks: int, substeps: int):
    stage = sample_stage(rng, AGE_WEIGHTS)
    size = round(chunks / stage.end)
    steps = int(rng.choice(STEPS, p=[0.7, 0.1, 0.1, 0.1]))
    x1, ids = clips.batch(size, stage)
    noise = torch.randn_like(x1)
    ages = 0.25 * torch.tensor(stage.ages, dtype=torch.float32)[None]
    per_stage = steps // 4
    u = ages + torch.tensor(rng.integers(per_stage, size=(size, 1))).float() / steps
    t = time_of(u)
    clean_t = torch.full((size, stage.clean), CLEAN_T)
    frame = lambda times: times.repeat_interleave(CHUNK, 1)[:, None, :, None, None]
    whole = frame(torch.cat([clean_t, t], 1))
    x = whole * x1 + (1 - whole) * noise
    kept = stage.clean * CHUNK
    x[:, :, :kept] += 0.1 * torch.rand(size, 1, 1, 1, 1) * torch.randn_like(x[:, :, :kept])
    x[:, :, : stage.prefix] = x1[:, :, : stage.prefix]
    null = torch.zeros(size, stage.end, dtype=torch.bool)
    null[:, : stage.clean] = True
    with torch.no_grad():
        text, mask = teacher.texts(ids, null)
        null_text, null_mask = teacher.texts(ids, torch.ones_like(null))
    seen = block_causal(stage.ranges(), TOKENS)

    small = 1 if steps == 64 else substeps
    moved = x.clone()
    for i in range(small):
        now, following = (time_of(u + (i + k) / (small * steps)) for k in (0, 1))
        scales = text_scale(Settings(), now)
        v = guided(teacher.dit, moved, torch.cat([clean_t, now], 1), text, mask, null_text, null_mask, seen, stage.clean, scales)
        moved[:, :, kept:] += v * frame(following - now)
        moved[:, :, : stage.prefix] = x1[:, :, : stage.prefix]
    target = (moved - x)[:, :, kept:] / frame(time_of(u + 1 / steps) - t)

    rows = torch.zeros(size, stage.end, dtype=torch.bool)
    v = student(x, torch.cat([clean_t, t], 1), text, mask, seen, rows, dt=torch.tensor(2 * steps / 4))
    weights = cell_weights(stage, AGE_WEIGHTS, whole, x1)
    return ((v[:, :, kept:] - target).square() * weights).sum() / (weights.sum() * x.shape[1])


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("--minutes", type=float, required=True)
    args.add_argument("--vae", type=Path, required=True)
    args.add_argument("--scale", type=float, required=True)
    args.add_argument("--spiece", type=Path, required=True)
    args.add_argument("--teacher", type=Path, required=True)
    args.add_argument("--t5", type=Path, required=True)
    args.add_argument("--student", type=Path, required=True, help="read if it is there, else the teacher starts it")
    args.add_argument("--runs", type=Path, default=Path("runs"))
    args.add_argument("--clips", type=int, default=9000)
    args.add_argument("--chunks", type=int, default=32, help="in a batch: fewer clips where they are longer")
    args.add_argument("--substeps", type=int, default=2)
    args.add_argument("--rate", type=float, default=0.6, help="factor of both learning rates")
    args.add_argument("--pairs", type=float, default=4, help="clips of two objects, for each of one")
    args.add_argument("--seed", type=int, default=1)
    args.add_argument("--device", default="cpu", help="cpu, cuda, ...")
    args.add_argument("--fast", action="store_true", help=fast.HELP)
    args = args.parse_args()
    torch.set_default_device(args.device)
    torch.set_flush_denormal(True)
    torch.manual_seed(time.time_ns())
    rng = np.random.default_rng()

    vae = ViTVAE()
    vae.load_state_dict(load_weights(args.vae))
    clips = data.build(args.runs / "data", vae, Tokenizer(args.spiece), args.seed, args.clips, args.scale, args.pairs)
    teacher, student = Model(), VideoDiT()
    teacher.dit.load_state_dict(load_weights(args.teacher))
    teacher.t5.load_state_dict(load_weights(args.t5))
    teacher.requires_grad_(False)
    student.load_state_dict(load_weights(args.student if args.student.exists() else args.teacher))
    # The text is read as the teacher reads it: both share the text encoder and the null text.
    student.y_embedder.null_caption_embedding.requires_grad_(False)
    average, log = Average(student, 0.998), Log(args.runs / "distill.jsonl")
    hidden = lambda name: ".layers." in name and "ada_modulate" not in name
    optimizer = Optimizer(student, args.minutes, 2e-3 * args.rate, 1.5e-3 * args.rate, hidden, args.fast)
    if args.fast:
        fast.compiled(teacher.dit, student)
    before, saved, recent = total_steps(log), time.monotonic(), []
    while not optimizer.done:
        with fast.products(args):
            loss = step_loss(student, teacher, clips, rng, args.chunks, args.substeps)
        optimizer.step(loss)
        average.update(student)
        recent.append(loss.item())
        if optimizer.steps % 25 == 0:
            log.add(total_steps=before + optimizer.steps, loss=float(np.mean(recent)), progress=optimizer.progress)
            recent = []
        if time.monotonic() - saved > 180:
            save_weights(args.student, average.weights)
            saved = time.monotonic()
    save_weights(args.student, average.weights)
    log.draw(args.runs / "distill.png", "distilled", ("loss",))


if __name__ == "__main__":
    main()
