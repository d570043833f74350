"""Scenes of the data world: what is in a clip and how it moves, drawn from a seed."""

from dataclasses import dataclass
from zlib import crc32

import numpy as np

from .palette import BACKGROUNDS, COLORS, DIRECTIONS, OTHER_MOTIONS, SHAPES, SIZES, SPEEDS

SIDE = 64
FPS = 24
CHUNK = 24
MARGIN = 3.0


@dataclass
class Motion:
    kind: str  # a direction or one of OTHER_MOTIONS
    speed: str = "normal"
    clockwise: bool = True
    axis: str = "vertical"  # of a bounce


@dataclass
class Object:
    shape: str
    color: str
    size: str
    motions: list[Motion]  # one, or two if the motion changes
    x: float
    y: float
    angle: float


@dataclass
class Scene:
    frames: int
    background: str
    objects: list[Object]
    change: int | None = None  # frame at which every object with two motions changes to its second


def held_out(thing: Object) -> bool:
    """A tenth of the combinations of colour, shape and motion are never trained on."""
    return any(crc32(f"{thing.color} {thing.shape} {m.kind}".encode()) % 10 == 0 for m in thing.motions)


def sample_scene(rng: np.random.Generator, frames: int) -> Scene:
    """A scene to train on: one or two objects; a third of the single ones change their motion at the start of a chunk."""
    while True:
        scene = _sample(rng, frames)
        if not any(held_out(thing) for thing in scene.objects):
            return scene


def _sample(rng: np.random.Generator, frames: int) -> Scene:
    background = str(rng.choice(list(BACKGROUNDS)))
    if rng.random() < 0.22:
        return _pair(rng, frames, background)
    change = None
    shape = str(rng.choice(list(SHAPES)))
    motions = [_motion(rng, shape)]
    if frames > CHUNK and rng.random() < 0.33:
        change = int(rng.integers(1, frames // CHUNK)) * CHUNK
        while (second := _motion(rng, shape, changing=True)).kind == motions[0].kind:
            pass
        if motions[0].kind in ("appear", "grow", "shrink", "orbit"):
            motions[0] = _motion(rng, shape, changing=True)
            while motions[0].kind == second.kind:
                motions[0] = _motion(rng, shape, changing=True)
        motions.append(second)
    thing = _object(rng, shape, str(rng.choice(list(COLORS))), str(rng.choice(list(SIZES))), motions)
    return Scene(frames, background, [thing], change)


def _pair(rng: np.random.Generator, frames: int, background: str) -> Scene:
    """Two objects of different colours, one in the upper and one in the lower half."""
    colors = rng.choice(list(COLORS), 2, replace=False)
    objects = []
    for row, color in enumerate(colors):
        shape = str(rng.choice(list(SHAPES)))
        kind = str(rng.choice(["left", "right", "still", "spin"], p=[0.35, 0.35, 0.2, 0.1]))
        if kind == "spin" and shape in ("circle", "ring"):
            kind = "still"
        motion = Motion(kind, _speed(rng), bool(rng.random() < 0.5))
        size = str(rng.choice(["small", "medium"]))
        thing = _object(rng, shape, str(color), size, [motion])
        thing.y = (15.5 if row == 0 else 48.5) + rng.uniform(-1, 1)
        objects.append(thing)
    return Scene(frames, background, objects)


def _speed(rng: np.random.Generator) -> str:
    return str(rng.choice(list(SPEEDS), p=[0.2, 0.6, 0.2]))


def _motion(rng: np.random.Generator, shape: str, changing: bool = False) -> Motion:
    straight = ["left", "right", "up", "down"]
    draw = rng.random()
    if draw < 0.5:
        kind = str(rng.choice(straight))
    elif draw < 0.64:
        kind = str(rng.choice([d for d in DIRECTIONS if "-" in d]))
    elif changing:
        kind = str(rng.choice(["still", "spin"]))
    else:
        kind = str(rng.choice(OTHER_MOTIONS))
    if kind == "spin" and shape in ("circle", "ring"):
        kind = "still"
    axis = "vertical" if rng.random() < 0.6 else "horizontal"
    return Motion(kind, _speed(rng), bool(rng.random() < 0.5), axis)


def _object(rng: np.random.Generator, shape: str, color: str, size: str, motions: list[Motion]) -> Object:
    """Starts where its first motion has room: at the far side of a direction, in the middle for most others."""
    low, high = SIZES[size] + MARGIN, SIDE - SIZES[size] - MARGIN
    first = motions[0].kind
    x, y = rng.uniform(low, high, 2)
    if first in DIRECTIONS:
        dx, dy = DIRECTIONS[first]
        x = _start(rng, low, high, dx) if dx else x
        y = _start(rng, low, high, dy) if dy else y
    elif first in ("spin", "grow", "shrink"):
        x, y = rng.uniform(24, 40, 2)
    elif first == "bounce" and motions[0].axis == "vertical":
        x = rng.uniform(low, high)
    tilt = rng.uniform(0, 360) if first == "spin" else 0.0
    return Object(shape, color, size, motions, float(x), float(y), float(tilt))


def _start(rng: np.random.Generator, low: float, high: float, sign: int) -> float:
    near = rng.uniform(low, low + 0.3 * (high - low))
    return near if sign > 0 else low + high - near


def track(thing: Object, frames: int, change: int | None) -> dict[str, np.ndarray]:
    """Centre, radius, angle (degrees) and opacity per frame, each [frames]."""
    radius = SIZES[thing.size]
    low, high = radius + MARGIN, SIDE - radius - MARGIN
    out = {name: np.zeros(frames) for name in ("x", "y", "radius", "angle", "opacity")}
    x, y, angle = thing.x, thing.y, thing.angle
    began = 0
    motion = thing.motions[0]
    for i in range(frames):
        if change is not None and i == change and len(thing.motions) > 1:
            motion, began = thing.motions[1], i
        seconds = (i - began) / FPS
        speed = SPEEDS[motion.speed]
        r, opacity = radius, 1.0
        if motion.kind in DIRECTIONS:
            dx, dy = DIRECTIONS[motion.kind]
            norm = np.hypot(dx, dy)
            if i > began:
                x = float(np.clip(x + dx / norm * speed / FPS, low, high))
                y = float(np.clip(y + dy / norm * speed / FPS, low, high))
        elif motion.kind == "bounce":
            period = 60.0 / speed  # seconds from wall to wall and back
            phase = abs(((seconds / period + 0.0) % 1.0) * 2 - 1)  # 1 at a wall, 0 at the other
            if motion.axis == "vertical":
                fall = 1 - (1 - phase) ** 2 if phase < 1 else 1.0
                y = low + (high - low) * (1 - fall)
            else:
                x = low + (high - low) * (1 - phase)
        elif motion.kind == "orbit":
            turn = 2 * np.pi * seconds / (60.0 / speed) * (1 if motion.clockwise else -1)
            reach = SIDE / 2 - radius - 4
            start = np.deg2rad(thing.x / SIDE * 360)
            x, y = SIDE / 2 + reach * np.cos(start + turn), SIDE / 2 + reach * np.sin(start + turn)
        elif motion.kind == "spin":
            if i > began:
                angle += speed * 7 / FPS * (1 if motion.clockwise else -1)
        elif motion.kind == "grow":
            r = radius * (0.5 + 0.9 * min(1.0, seconds * speed / 40))
        elif motion.kind == "shrink":
            r = radius * (1.4 - 0.9 * min(1.0, seconds * speed / 40))
        elif motion.kind == "appear":
            opacity = float(np.clip((i - 10) / 6, 0, 1))
        for name, value in (("x", x), ("y", y), ("radius", r), ("angle", angle), ("opacity", opacity)):
            out[name][i] = value
    return out
