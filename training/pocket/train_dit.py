"""Trains transformer and text encoder together: flow matching on velocity over the stages of the sampler."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from .data import Clips
from .dit import CHUNK, CLEAN_T, VideoDiT, block_causal
from .files import load_weights, save_weights
from .run import arguments, prepare, train
from .stages import Stage, sample_stage
from .t5 import T5Encoder

TOKENS = CHUNK * 16
DROP_CAPTION = 0.12
# By a chunk's age. Outlines appear while t goes from 0.02 to 0.3, in the middle quarters; of the first little is known.
AGE_WEIGHTS = (0.5, 1.5, 2.0, 1.0)
# Objects are all that is hard about a frame; the weight comes in while t tells where they are.
OBJECT_WEIGHT = 4.0
OBJECT_FROM = (0.04, 0.14)
OBJECT_AWAY = 0.05  # squared distance from the background; background cells have 0.002


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.t5 = T5Encoder()
        self.dit = VideoDiT()

    def texts(self, ids, null):
        """ids [B, chunks, 50], null [B, chunks] -> features and mask, the learned null text where null is true."""
        B, n, L = ids.shape
        flat = ids.reshape(B * n, L)
        distinct, place = torch.unique(flat, dim=0, return_inverse=True)
        used = int((distinct > 0).sum(1).max())
        short = self.t5(distinct[:, :used], distinct[:, :used] > 0)
        features = nn.functional.pad(short, (0, 0, 0, L - used))[place].view(B, n, L, -1)
        features = torch.where(null[..., None, None], self.dit.null_text(), features)
        return features, null[..., None] | (ids > 0)


def step_loss(model: Model, clips: Clips, rng: np.random.Generator, chunks: int):
    """Weighted squared error of the velocity over the noisy frames of a random stage, for about `chunks` chunks."""
    stage = sample_stage(rng, AGE_WEIGHTS)
    size = round(chunks / stage.end)
    x1, ids = clips.batch(size, stage)
    noise = torch.randn_like(x1)
    noisy_t = stage.times(torch.rand(size) * 0.25)
    t = torch.cat([torch.full((size, stage.clean), CLEAN_T), noisy_t], 1)
    frame_t = t.repeat_interleave(CHUNK, 1)[:, None, :, None, None]
    x = frame_t * x1 + (1 - frame_t) * noise
    # Finished chunks come from the model itself: slightly wrong ones are practised.
    blur = 0.15 * torch.rand(size, 1, 1, 1, 1) * (torch.rand(size, 1, 1, 1, 1) < 0.5)
    kept = stage.clean * CHUNK
    x[:, :, :kept] += blur * torch.randn_like(x[:, :, :kept])
    x[:, :, : stage.prefix] = x1[:, :, : stage.prefix]
    dropped = torch.rand(size, 1) < DROP_CAPTION
    null = dropped.expand(-1, stage.end).clone()
    null[:, : stage.clean] = True
    text, text_mask = model.texts(ids, null)
    row = dropped.expand(-1, stage.end).clone()
    # Chunks that finished earlier were cached by a null-text pass.
    row[:, : stage.clean] |= torch.rand(size, 1) < 0.8
    v = model.dit(x, t, text, text_mask, block_causal(stage.ranges(), TOKENS), row)
    weights = cell_weights(stage, AGE_WEIGHTS, frame_t, x1)
    return ((v - (x1 - noise))[:, :, kept:].square() * weights).sum() / (weights.sum() * x1.shape[1])


def cell_weights(stage: Stage, age_weights: tuple[float, ...], frame_t, x1):
    """Of the noisy frames, [B, 1, frames, h, w]: by age, and more for objects; given frames have none."""
    kept = stage.clean * CHUNK
    ages = torch.tensor([age_weights[age] for age in stage.ages]).repeat_interleave(CHUNK)
    ages[: max(0, stage.prefix - kept)] = 0
    low, high = OBJECT_FROM
    known = ((frame_t[:, :, kept:] - low) / (high - low)).clamp(0, 1)
    background = x1.flatten(2).median(2).values[:, :, None, None, None]
    objects = ((x1 - background).square().mean(1, keepdim=True) > OBJECT_AWAY)[:, :, kept:]
    return ages[:, None, None] * (1 + OBJECT_WEIGHT * known * objects)


def main() -> None:
    args = arguments(chunks=48, rate=1.0, pairs=2)
    args.add_argument("--dit", type=Path, required=True, help="read, with --t5, if it is there, and written")
    args = args.parse_args()
    clips, model = prepare(args), Model()
    if args.dit.exists():
        model.dit.load_state_dict(load_weights(args.dit))
        model.t5.load_state_dict(load_weights(args.t5))
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)

    def save(weights) -> None:
        for part, path in (("dit", args.dit), ("t5", args.t5)):
            save_weights(path, {k.removeprefix(f"{part}."): v for k, v in weights.items() if k.startswith(f"{part}.")})

    train(args, "dit", model, [model.dit], lambda rng: step_loss(model, clips, rng, args.chunks), save, decay=0.999)


if __name__ == "__main__":
    main()
