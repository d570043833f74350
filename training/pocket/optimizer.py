"""Muon for the matrices of the blocks, AdamW for everything else; learning rates follow the time budget."""

import math
import time

import torch


class Muon(torch.optim.Optimizer):
    """
    Momentum whose matrices are made orthogonal (https://kellerjordan.github.io/posts/muon, its five iterations), scaled
    to the size of AdamW's updates. As torch.optim.Muon, but with equal shapes at once.
    """

    MOMENTUM = 0.95
    COEFFICIENTS = (3.4445, -4.775, 2.0315)

    def __init__(self, matrices, lr: float, weight_decay: float, dtype: torch.dtype):
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            alike: dict[torch.Size, list[torch.Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    alike.setdefault(p.shape, []).append(p)
            for shape, matrices in alike.items():
                averages = torch.stack([self.momentum(p) for p in matrices]).to(self.dtype)
                updates = orthogonal(averages, self.COEFFICIENTS)
                for p, update in zip(matrices, updates):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.sub_(update, alpha=group["lr"] * 0.2 * math.sqrt(max(shape)))

    def momentum(self, p: torch.Tensor) -> torch.Tensor:
        """The gradient with Nesterov momentum."""
        state = self.state[p]
        if not state:
            state["average"] = torch.zeros_like(p)
        state["average"].lerp_(p.grad, 1 - self.MOMENTUM)
        return p.grad.lerp(state["average"], self.MOMENTUM)


def orthogonal(x: torch.Tensor, coefficients: tuple[float, float, float], iterations: int = 5) -> torch.Tensor:
    """[n, rows, columns] -> about the nearest matrices with singular values 1."""
    a, b, c = coefficients
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(iterations):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x


class Optimizer:
    """Steps both optimizers until `minutes` have passed, when `done` is true. `fast`: Muon in bfloat16."""

    def __init__(self, model: torch.nn.Module, minutes: float, muon_rate: float, adam_rate: float, hidden, fast=False):
        matrices, others = [], []
        for name, p in model.named_parameters():
            if not p.requires_grad:
                continue
            (matrices if p.ndim == 2 and hidden(name) else others).append(p)
        self.parameters = matrices + others
        dtype = torch.bfloat16 if fast else torch.float32
        self.parts = [
            (Muon(matrices, lr=muon_rate, weight_decay=0.01, dtype=dtype), muon_rate),
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
