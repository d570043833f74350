"""Generates clips as the original's sampler does: chunk by chunk in a window, guidance by three passes or distilled."""

from dataclasses import dataclass

import torch

from .dit import CHUNK, CLEAN_T, VideoDiT, block_causal
from .stages import plan


@dataclass
class Settings:
    steps: int = 64
    window: int = 4
    reach: tuple[int, ...] = (5, 4, 3, 2)
    clean_reach: int = 1
    guided_from: tuple[float, ...] = (0.0, 0.0217, 0.1, 0.3, 0.999)
    chunk_scales: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)
    text_scales: tuple[float, ...] = (3.0, 3.0, 3.0, 1.5, 0.0)
    distilled: bool = False
    nearly_clean: float = 0.3
    previous_scale: float = 0.7


def times(steps: int) -> torch.Tensor:
    """steps + 1 points from 0 to 1 in float32; 12 steps are split unevenly."""
    if steps == 12:
        u = torch.tensor([k / 4 + f for k in range(5) for f in (0, 1 / 8, 3 / 16)][:13], dtype=torch.float32)
    else:
        u = torch.arange(steps + 1, dtype=torch.float32) / steps
    u = u * u
    third = torch.tensor(1 / 3, dtype=torch.float32)
    return third * u / (1 + (third - 1) * u)


def scales(settings: Settings, t: float) -> tuple[float, float]:
    """(previous chunk, text) scale at t."""
    edges = torch.tensor(settings.guided_from, dtype=torch.float32) - 1e-7
    index = int((edges < torch.tensor(t)).sum()) - 1
    return settings.chunk_scales[index], settings.text_scales[index]


@torch.no_grad()
def generate(dit: VideoDiT, texts: list[torch.Tensor], noise: torch.Tensor, settings: Settings, prefix=None):
    """
    texts: caption features [rows, channels] of each chunk; noise [1, C, 6 chunks, h, w]; prefix [1, C, P, h, w] scaled
    latents. Yields (chunk, latents [1, C, frames, h, w]) as each is finished.

    Keys and values of finished chunks are computed again in each forward from what they were when they were cached
    (clean, null text), which gives the same numbers.
    """
    chunks = noise.shape[2] // CHUNK
    given = 0 if prefix is None else prefix.shape[2]
    per_stage = settings.steps // settings.window
    t_all, x = times(settings.steps), noise.clone()
    for stage in plan(chunks, given):
        for step in range(per_stage):
            if given:
                x[:, :, :given] = prefix
            indices = [a * per_stage + step for a in stage.ages]
            now, following = t_all[indices], t_all[[i + 1 for i in indices]]
            v = velocity(dit, texts, x, stage, indices, now, settings, step)
            active = slice(stage.clean * CHUNK, stage.end * CHUNK)
            delta = (following - now).repeat_interleave(CHUNK)[None, None, :, None, None]
            x[:, :, active] = x[:, :, active] + v * delta
        if stage.ages[0] == settings.window - 1:
            chunk = stage.clean
            start = chunk * CHUNK if given == 1 else max(chunk * CHUNK, given)
            yield chunk, x[:, :, start : (chunk + 1) * CHUNK].clone()


def velocity(dit, texts, x, stage, indices, now, settings, step):
    ranges = len(settings.reach)
    reach = [settings.clean_reach] * stage.clean + [settings.reach[i // (settings.steps // ranges)] for i in indices]
    seen = [(max(0, c + 1 - r), c + 1) for c, r in enumerate(reach)]
    t = torch.cat([torch.full((stage.clean,), CLEAN_T), now])[None]
    null = dit.null_text()
    clean_null = [null] * stage.clean
    captions = clean_null + texts[stage.clean : stage.end]
    shape = x[:, :, : stage.end * CHUNK]
    count = stage.end - stage.clean

    def run(rows, null_row, dt=None, latents=shape, times_=t, ranges_=seen, frames=None):
        length = max(r.shape[0] for r in rows)
        text = torch.stack([torch.nn.functional.pad(r, (0, 0, 0, length - r.shape[0])) for r in rows])[None]
        mask = torch.tensor([[i < r.shape[0] for i in range(length)] for r in rows])[None]
        tokens = CHUNK * (x.shape[3] // 2) * (x.shape[4] // 2)
        return dit(latents, times_, text, mask, block_causal(ranges_, tokens), null_row[None], frames, dt)

    new = slice(stage.clean * CHUNK, None)
    if settings.distilled:
        return distilled(run, x, stage, t, seen, captions, indices, settings, step)
    # Finished chunks were cached by the null-text pass, except the one that has just moved out of the window.
    row_a = torch.zeros(stage.end, dtype=torch.bool)
    row_a[: stage.clean] = True
    fresh = step == 0 and stage.clean > stage.prefix // CHUNK
    if fresh:
        row_a[stage.clean - 1] = False
    a = run(captions, row_a)[:, :, new]
    b = run([null] * stage.end, torch.ones(stage.end, dtype=torch.bool))[:, :, new]
    out = torch.empty_like(b)
    for i in range(count):
        p, s = scales(settings, float(now[i]))
        part = slice(i * CHUNK, (i + 1) * CHUNK)
        u = 0.0
        if p != 1:
            alone = x[:, :, (stage.clean + i) * CHUNK : (stage.clean + i + 1) * CHUNK]
            u = run([null], torch.ones(1, dtype=torch.bool), latents=alone, times_=now[None, i : i + 1], ranges_=[(0, 1)])
        out[:, :, part] = (1 - p) * u + (p - s) * b[:, :, part] + s * a[:, :, part]
    return out


def distilled(run, x, stage, t, seen, captions, indices, settings, step):
    """One pass; a chunk that is nearly clean is mixed with itself seen alone, at the next positions in time."""
    interval = [2, 1, 1][step % 3] if settings.steps % 3 == 0 else 1
    dt = 2 * (4 / interval if settings.steps == 12 else settings.steps / 4)
    oldest = stage.clean
    end = stage.end
    nearly = float(t[0, oldest]) > settings.nearly_clean
    latents, ranges, rows, times_ = x[:, :, : end * CHUNK], list(seen), list(captions), t
    if nearly:
        latents = torch.cat([latents, x[:, :, oldest * CHUNK : (oldest + 1) * CHUNK]], 2)
        ranges.append((end, end + 1))
        rows.append(captions[oldest])
        times_ = torch.cat([t, t[:, oldest : oldest + 1]], 1)
    v = run(rows, torch.zeros(len(rows), dtype=torch.bool), dt, latents, times_, ranges)
    out = v[:, :, oldest * CHUNK : end * CHUNK].clone()
    if nearly:
        mixed = settings.previous_scale * out[:, :, :CHUNK] + (1 - settings.previous_scale) * v[:, :, end * CHUNK :]
        out[:, :, :CHUNK] = mixed
    return out
