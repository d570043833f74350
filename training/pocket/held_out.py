"""Prompts and clips for the evaluation, of combinations never trained on: `python -m pocket.held_out --output DIR`."""

import argparse
import gzip
import json
from pathlib import Path

import numpy as np

from .captions import caption_chunks
from .palette import DIRECTIONS
from .render import render
from .scenes import Scene, _sample, held_out

SEED = 20261
FRAMES = 96
CLIPS = 16
CLIP_FRAMES = 56


def scenes_where(rng: np.random.Generator, count: int, wanted) -> list[Scene]:
    chosen: list[Scene] = []
    while len(chosen) < count:
        scene = _sample(rng, FRAMES)
        if any(held_out(thing) for thing in scene.objects) and wanted(scene):
            chosen.append(scene)
    return chosen


def single(scene: Scene) -> bool:
    return len(scene.objects) == 1 and scene.change is None


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("--output", type=Path, required=True)
    folder = args.parse_args().output
    rng = np.random.default_rng(SEED)
    moving = lambda s: single(s) and s.objects[0].motions[0].kind in DIRECTIONS
    others = lambda s: single(s) and s.objects[0].motions[0].kind in ("bounce", "orbit", "grow", "shrink", "still")
    pairs = lambda s: len(s.objects) == 2
    scenes = scenes_where(rng, 160, moving) + scenes_where(rng, 40, others) + scenes_where(rng, 40, pairs)
    order = rng.permutation(len(scenes))
    prompts = []
    for i in order:
        scene = scenes[i]
        prompts.append(
            {
                "prompt": caption_chunks(rng, scene)[0],
                "background": scene.background,
                "objects": [
                    {"shape": o.shape, "color": o.color, "size": o.size, "kind": o.motions[0].kind} for o in scene.objects
                ],
            }
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prompts.json").write_text("[\n" + ",\n".join(json.dumps(p) for p in prompts) + "\n]\n")
    clips = render([scenes[i] for i in order[:CLIPS]], 0, CLIP_FRAMES).numpy()
    with gzip.GzipFile(folder / "clips.u8.gz", "wb", 9, mtime=0) as file:
        file.write(clips.tobytes())
    print(f"{len(prompts)} prompts; clips {clips.shape}: those of the first {CLIPS} prompts")


if __name__ == "__main__":
    main()
