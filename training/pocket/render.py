"""Draws scenes: signed distances to the shapes, one pixel of antialiasing."""

import numpy as np
import torch

from .palette import BACKGROUNDS, COLORS
from .scenes import SIDE, Scene, track

KINDS = {"circle": 0, "square": 1, "triangle": 2, "star": 3, "ring": 4}


def render(scenes: list[Scene], start: int = 0, frames: int | None = None) -> torch.Tensor:
    """u8 [len(scenes), frames, 64, 64, 3]: frames from `start` on of each scene; all of the same length."""
    count = frames if frames is not None else scenes[0].frames - start
    canvas = torch.tensor([BACKGROUNDS[s.background] for s in scenes], dtype=torch.float32)
    canvas = canvas[:, None, None, None, :].expand(-1, count, SIDE, SIDE, -1).clone()
    for layer in range(max(len(s.objects) for s in scenes)):
        drawn = [i for i, s in enumerate(scenes) if len(s.objects) > layer]
        kinds = torch.tensor([KINDS[scenes[i].objects[layer].shape] for i in drawn])
        color = torch.tensor([COLORS[scenes[i].objects[layer].color] for i in drawn], dtype=torch.float32)
        tracks = [track(scenes[i].objects[layer], start + count, scenes[i].change) for i in drawn]
        at = {k: torch.tensor(np.stack([t[k][start:] for t in tracks]), dtype=torch.float32) for k in tracks[0]}
        alpha = coverage(kinds, at) * at["opacity"][:, :, None, None]
        index = torch.tensor(drawn)
        mixed = canvas[index]
        canvas[index] = mixed + (color[:, None, None, None, :] - mixed) * alpha[..., None]
    return canvas.round().to(torch.uint8)


def coverage(kinds: torch.Tensor, at: dict[str, torch.Tensor]) -> torch.Tensor:
    """Share of each pixel inside the shape, [n, frames, 64, 64]; x to the right, y down, pixel centres at .5."""
    grid = torch.arange(SIDE) + 0.5
    px = grid[None, None, None, :] - at["x"][:, :, None, None]
    py = grid[None, None, :, None] - at["y"][:, :, None, None]
    angle = torch.deg2rad(at["angle"])[:, :, None, None]
    x = px * torch.cos(angle) + py * torch.sin(angle)
    y = py * torch.cos(angle) - px * torch.sin(angle)
    r = at["radius"][:, :, None, None]
    distance = torch.empty_like(x)
    for kind, measure in enumerate((_circle, _square, _triangle, _star, _ring)):
        chosen = kinds == kind
        if chosen.any():
            distance[chosen] = measure(x[chosen], y[chosen], r[chosen])
    return (0.5 - distance).clamp(0, 1)


def _circle(x, y, r):
    return torch.hypot(x, y) - r


def _square(x, y, r):
    return torch.maximum(x.abs(), y.abs()) - 0.88 * r


def _triangle(x, y, r):
    """Equilateral, tip up, circumradius 1.2 r."""
    slope = 3**0.5 / 2
    return torch.maximum(torch.maximum(y, slope * x - 0.5 * y), -slope * x - 0.5 * y) - 0.6 * r


def _star(x, y, r):
    """Five tips at 1.25 r, first one up, inner corners at 0.5 r."""
    sector = 2 * torch.pi / 5
    a = torch.atan2(x, -y)
    a = (a - sector * torch.round(a / sector)).abs()
    length = torch.hypot(x, y)
    u, v = length * torch.cos(a), length * torch.sin(a)  # tip on the u axis
    tip, inner = 1.25, 0.5
    ix, iy = inner * np.cos(sector / 2), inner * np.sin(sector / 2)
    nx, ny = iy, tip - ix
    norm = float(np.hypot(nx, ny))
    return ((u - tip * r) * nx + v * ny) / norm


def _ring(x, y, r):
    return (torch.hypot(x, y) - 0.8 * r).abs() - 0.27 * r
