"""Captions in varied English for scenes of the data world."""

import re

import numpy as np

from .palette import SHAPES, SIZE_WORDS, SPEED_WORDS
from .scenes import Motion, Object, Scene, sample_scene

GOES = ("moves", "moves", "moves", "slides", "drifts", "goes", "travels", "glides")
TOWARDS = {
    "right": ("to the right", "right", "to the right side", "from left to right"),
    "left": ("to the left", "left", "to the left side", "from right to left"),
    "up": ("up", "upwards", "to the top"),
    "down": ("down", "downwards", "to the bottom"),
    "up-right": ("up and to the right", "diagonally to the upper right", "to the top right"),
    "up-left": ("up and to the left", "diagonally to the upper left", "to the top left"),
    "down-right": ("down and to the right", "diagonally to the lower right", "to the bottom right"),
    "down-left": ("down and to the left", "diagonally to the lower left", "to the bottom left"),
}
OTHERS = {
    "spin": ("spins", "spins around", "rotates", "turns in place"),
    "grow": ("grows", "gets bigger", "becomes larger"),
    "shrink": ("shrinks", "gets smaller", "becomes smaller"),
    "appear": ("appears", "fades in", "shows up"),
    "still": ("stands still", "does not move", "stays in place", "rests"),
}
BACKDROPS = ("on a {} background", "on {}", "against a {} backdrop", "in front of a {} background", "over a {} background")
PREFIXES = ("", "", "", "", "", "", "a video of ", "a clip of ", "an animation of ", "we see ")


def pick(rng: np.random.Generator, options) -> str:
    return str(options[int(rng.integers(len(options)))])


def article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def noun(rng: np.random.Generator, thing: Object) -> str:
    size = pick(rng, SIZE_WORDS[thing.size])
    words = f"{thing.color} {pick(rng, SHAPES[thing.shape])}"
    return f"{size} {words}" if size else words


def motion_phrase(rng: np.random.Generator, motion: Motion) -> str:
    how = pick(rng, SPEED_WORDS[motion.speed])
    if motion.kind in TOWARDS:
        phrase = f"{pick(rng, GOES)} {pick(rng, TOWARDS[motion.kind])}"
        if how and rng.random() < 0.5:
            verb, rest = phrase.split(" ", 1)
            return f"{verb} {how} {rest}"
    elif motion.kind == "bounce":
        sides = "up and down" if motion.axis == "vertical" else "left and right"
        phrase = pick(rng, (f"bounces {sides}", f"is bouncing {sides}", f"jumps {sides}"))
    elif motion.kind == "orbit":
        turn = pick(rng, ("", " clockwise" if motion.clockwise else " counterclockwise"))
        phrase = pick(rng, ("moves in a circle", "circles around the center", "orbits the center")) + turn
    elif motion.kind == "spin":
        phrase = pick(rng, OTHERS["spin"]) + pick(rng, ("", " clockwise" if motion.clockwise else " counterclockwise"))
    else:
        phrase = pick(rng, OTHERS[motion.kind])
    return f"{phrase} {how}" if how and motion.kind not in ("still", "appear") else phrase


def finish(rng: np.random.Generator, text: str) -> str:
    draw = rng.random()
    if draw < 0.4:
        return text[0].upper() + text[1:] + "."
    if draw < 0.6:
        return text[0].upper() + text[1:]
    return text


def caption_chunks(rng: np.random.Generator, scene: Scene) -> list[str]:
    """One caption per chunk of 24 frames. A motion that changes after one second may be told in one caption."""
    chunks = scene.frames // 24
    backdrop = f" {pick(rng, BACKDROPS).format(scene.background)}" if rng.random() < 0.6 else ""
    prefix = pick(rng, PREFIXES)
    subject = [article(noun(rng, thing)) for thing in scene.objects]

    def sentence(which: int) -> str:
        parts = [f"{s} {motion_phrase(rng, o.motions[min(which, len(o.motions) - 1)])}" for s, o in zip(subject, scene.objects)]
        joined = pick(rng, (" and ", ", ", " while ")).join(parts)
        if backdrop and rng.random() < 0.15:
            return f"{backdrop.strip()}, {joined}"
        return f"{prefix}{joined}{backdrop}"

    if scene.change is None:
        return [finish(rng, sentence(0))] * chunks
    if scene.change == 24 and rng.random() < 0.5:
        first, second = (motion_phrase(rng, m) for m in scene.objects[0].motions)
        link = pick(rng, (", then ", " and then ", " first, then "))
        return [finish(rng, f"{prefix}{subject[0]} {first}{link}{second}{backdrop}")] * chunks
    before, after = finish(rng, sentence(0)), finish(rng, sentence(1))
    return [before if (i * 24) < scene.change else after for i in range(chunks)]


def caption_words(captions: int = 20000) -> list[str]:
    """Every word that captions have, in small letters."""
    rng = np.random.default_rng(7)
    texts = (" ".join(caption_chunks(rng, sample_scene(rng, 48))) for _ in range(captions))
    return sorted({word for text in texts for word in re.findall(r"[a-z]+", text.lower())})
