"""What the sampler's stages look like to the model: which chunks are clean, which are noisy, and how much."""

from dataclasses import dataclass

import numpy as np
import torch

WINDOW = 4
# Chunks that a noisy chunk sees, by its age in the window; a clean one sees itself.
REACH = (5, 4, 3, 2)
CLEAN_REACH = 1


def time_of(u):
    """Progress through the steps, 0 to 1, to t."""
    return (u * u / 3) / (1 - 2 * u * u / 3)


@dataclass
class Stage:
    """Chunks [0, clean) are finished, [clean, end) noisy; ages[i] of chunk clean + i counts quarters of the way."""

    clean: int
    end: int
    ages: list[int]
    prefix: int  # latent frames that are given

    def ranges(self) -> list[tuple[int, int]]:
        """Chunks that each chunk sees."""
        reach = [CLEAN_REACH] * self.clean + [REACH[a] for a in self.ages]
        return [(max(0, c + 1 - r), c + 1) for c, r in enumerate(reach)]

    def times(self, u0):
        """u0 [B] in [0, 1/4) -> t of the noisy chunks [B, end - clean]."""
        return time_of(u0[:, None] + 0.25 * torch.tensor(self.ages, dtype=torch.float32))


def plan(chunks: int, prefix: int) -> list[Stage]:
    """All stages of a run, as the sampler orders them."""
    offset = prefix // 6
    stages = []
    for i in range(offset, chunks + WINDOW - 1):
        start, end = max(offset, i - WINDOW + 1), min(chunks, i + 1)
        newest = max(0, i - chunks + 1)
        stages.append(Stage(start, end, [newest + end - 1 - c for c in range(start, end)], prefix))
    return stages


def sample_stage(rng: np.random.Generator, weights: tuple[float, ...] = (1, 1, 1, 1)) -> Stage:
    """
    A stage of a run over 1 to 4 chunks, mostly one or two; a quarter of the runs have a prefix. `weights` of the ages:
    a stage is as likely as the mean of its chunks'.
    """
    n = int(rng.choice([1, 2, 3, 4], p=[0.35, 0.35, 0.1, 0.2]))
    prefix = 0
    if rng.random() < 0.25:
        prefix = 1 if rng.random() < 0.5 else int(rng.integers(2, 6 * n)) if n > 1 else int(rng.integers(1, 6))
    stages = plan(n, prefix)
    share = np.array([np.mean([weights[age] for age in stage.ages]) for stage in stages])
    return stages[int(rng.choice(len(stages), p=share / share.sum()))]
