"""Teaches the tiny model to add: `37+85=` is continued by the digits of 122, the last one first, and a full stop.

A tenth of the sums is held out. Writes config.json, model.safetensors and, for comparison, logits.json.
"""

import argparse
import json
import pathlib
import time

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from .model import CONFIG, TinyModel

LETTERS = "0123456789+=."


def written(a: int, b: int) -> str:
    return f"{a}+{b}={str(a + b)[::-1]}."


def tokens(text: str) -> list[int]:
    return [LETTERS.index(letter) for letter in text]


def batch(pairs):
    """Padded tokens, and a mask of those that answer."""
    rows = [tokens(written(a, b)) for a, b in pairs]
    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    answers = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        answers[i, row.index(LETTERS.index("=")) + 1 : len(row)] = True
    return ids, answers


@torch.no_grad()
def right(model, pairs) -> float:
    """Share of sums whose every digit is the likeliest one."""
    ids, answers = batch(pairs)
    hit = (model(ids[:, :-1]).argmax(-1) == ids[:, 1:]) | ~answers[:, 1:]
    return hit.all(-1).float().mean().item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=1200)
    args = parser.parse_args()
    torch.manual_seed(0)
    order = torch.randperm(10_000, generator=torch.Generator().manual_seed(1))
    pairs = [(int(i) // 100, int(i) % 100) for i in order]
    held_out, known = pairs[:1000], pairs[1000:]
    ids, answers = batch(known)
    model = TinyModel()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=args.steps, pct_start=0.05)
    began = time.time()
    for step in range(args.steps):
        chosen = torch.randint(len(known), (256,))
        x, mask = ids[chosen], answers[chosen]
        logits = model(x[:, :-1])
        loss = F.cross_entropy(logits[mask[:, 1:]], x[:, 1:][mask[:, 1:]])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 500 == 499:
            print(f"{step + 1} steps, {time.time() - began:.0f} s: loss {loss.item():.4f}, right {right(model, held_out):.3f}", flush=True)
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, args.output / "model.safetensors")
    texts = [written(a, b) for a, b in held_out[:3]]
    with torch.no_grad():
        goldens = [{"text": text, "logits": model(torch.tensor(tokens(text))).tolist()} for text in texts]
    (args.output / "logits.json").write_text(json.dumps(goldens) + "\n")


main()
