"""Distils the guided base model into one pass and few steps: `python -m pocket.distill --help`.

The student's step of 1/N of the way must land where the guided teacher lands in `--substeps` smaller steps. It is told
the length of its step as the original's distilled models are: dt = 2 N / 4.
"""

from pathlib import Path

import numpy as np
import torch

from .data import Clips
from .dit import CHUNK, CLEAN_T, VideoDiT, block_causal
from .files import load_weights, save_weights
from .run import arguments, prepare, train
from .sampler import Settings
from .stages import sample_stage, time_of
from .train_dit import TOKENS, Model, cell_weights

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


def step_loss(student: VideoDiT, teacher: Model, clips: Clips, rng: np.random.Generator, chunks: int, substeps: int):
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
    args = arguments(chunks=32, rate=0.6, pairs=4)
    args.add_argument("--teacher", type=Path, required=True)
    args.add_argument("--student", type=Path, required=True, help="read if it is there, else the teacher starts it")
    args.add_argument("--substeps", type=int, default=2)
    args = args.parse_args()
    clips, teacher, student = prepare(args), Model(), VideoDiT()
    teacher.dit.load_state_dict(load_weights(args.teacher))
    teacher.t5.load_state_dict(load_weights(args.t5))
    teacher.requires_grad_(False)
    student.load_state_dict(load_weights(args.student if args.student.exists() else args.teacher))
    # The text is read as the teacher reads it: both share the text encoder and the null text.
    student.y_embedder.null_caption_embedding.requires_grad_(False)
    loss = lambda rng: step_loss(student, teacher, clips, rng, args.chunks, args.substeps)
    save = lambda weights: save_weights(args.student, weights)
    train(args, "distill", student, [teacher.dit, student], loss, save, decay=0.998)


if __name__ == "__main__":
    main()
