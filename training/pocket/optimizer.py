"""Muon for the matrices of the blocks, AdamW for everything else; learning rates follow the time budget."""

import math
import time

import torch


class Optimizer:
    """Steps both optimizers; `minutes` is the length of the run, after which `done` is true."""

    def __init__(self, model: torch.nn.Module, minutes: float, muon_rate: float, adam_rate: float, hidden=lambda name: True):
        matrices, others = [], []
        for name, p in model.named_parameters():
            if not p.requires_grad:
                continue
            (matrices if p.ndim == 2 and hidden(name) else others).append(p)
        self.parameters = matrices + others
        self.parts = [
            (torch.optim.Muon(matrices, lr=muon_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"), muon_rate),
            (torch.optim.AdamW(others, lr=adam_rate, betas=(0.9, 0.98), weight_decay=0.0), adam_rate),
        ]
        self.seconds = minutes * 60
        self.began = time.monotonic()
        self.steps = 0

    @property
    def progress(self) -> float:
        return min(1.0, (time.monotonic() - self.began) / self.seconds)

    @property
    def done(self) -> bool:
        return self.progress >= 1

    def step(self, loss: torch.Tensor) -> None:
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        warm = min(1.0, (self.steps + 1) / 100)
        scale = warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * self.progress)))
        for part, rate in self.parts:
            for group in part.param_groups:
                group["lr"] = rate * scale
            part.step()
            part.zero_grad(set_to_none=True)
        self.steps += 1


class Average:
    """Exponential moving average of the weights."""

    def __init__(self, model: torch.nn.Module, decay: float = 0.998):
        self.decay = decay
        self.weights = {k: v.detach().clone() for k, v in model.state_dict().items()}
        self.updates = 0

    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 10))
        for k, v in model.state_dict().items():
            self.weights[k].lerp_(v, 1 - decay)
