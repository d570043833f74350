"""T5 v1.1 encoder with the checkpoint's names."""

import math

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = {
    "d_model": 64,
    "d_kv": 16,
    "num_heads": 4,
    "d_ff": 160,
    "num_layers": 2,
    "vocab_size": 384,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "layer_norm_epsilon": 1e-6,
    "feed_forward_proj": "gated-gelu",
    "architectures": ["T5EncoderModel"],
    "model_type": "t5",
    "eos_token_id": 1,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}


class RMSNorm(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6))


class SelfAttention(nn.Module):
    def __init__(self, c: dict, first: bool):
        super().__init__()
        inner = c["num_heads"] * c["d_kv"]
        self.heads = c["num_heads"]
        self.q, self.k, self.v = (nn.Linear(c["d_model"], inner, bias=False) for _ in range(3))
        self.o = nn.Linear(inner, c["d_model"], bias=False)
        if first:
            self.relative_attention_bias = nn.Embedding(c["relative_attention_num_buckets"], c["num_heads"])

    def forward(self, x, bias):
        q, k, v = (part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.q, self.k, self.v))
        return self.o(F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0).transpose(1, 2).flatten(2))


class GatedGelu(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        self.wi_0 = nn.Linear(c["d_model"], c["d_ff"], bias=False)
        self.wi_1 = nn.Linear(c["d_model"], c["d_ff"], bias=False)
        self.wo = nn.Linear(c["d_ff"], c["d_model"], bias=False)

    def forward(self, x):
        return self.wo(F.gelu(self.wi_0(x), approximate="tanh") * self.wi_1(x))


class AttentionLayer(nn.Module):
    def __init__(self, c: dict, first: bool):
        super().__init__()
        self.SelfAttention = SelfAttention(c, first)
        self.layer_norm = RMSNorm(c["d_model"])


class FeedForwardLayer(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        self.DenseReluDense = GatedGelu(c)
        self.layer_norm = RMSNorm(c["d_model"])


class Block(nn.Module):
    def __init__(self, c: dict, first: bool):
        super().__init__()
        self.layer = nn.ModuleList([AttentionLayer(c, first), FeedForwardLayer(c)])

    def forward(self, x, bias):
        attention, feed_forward = self.layer
        x = x + attention.SelfAttention(attention.layer_norm(x), bias)
        return x + feed_forward.DenseReluDense(feed_forward.layer_norm(x))


class Stack(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        self.block = nn.ModuleList(Block(c, i == 0) for i in range(c["num_layers"]))
        self.final_layer_norm = RMSNorm(c["d_model"])


class T5Encoder(nn.Module):
    def __init__(self, config: dict = CONFIG):
        super().__init__()
        self.shared = nn.Embedding(config["vocab_size"], config["d_model"])
        self.encoder = Stack(config)
        for p in self.parameters():
            if p.ndim == 2:
                nn.init.normal_(p, std=p.shape[-1] ** -0.5)
        nn.init.normal_(self.shared.weight, std=1.0)

    def forward(self, ids, mask):
        """ids, mask [B, L] -> features [B, L, d_model]."""
        x = self.shared(ids)
        table = self.encoder.block[0].layer[0].SelfAttention.relative_attention_bias
        bias = table(buckets(ids.shape[1])).permute(2, 0, 1)[None]
        bias = bias + (~mask[:, None, None, :]).float() * -1e9
        for block in self.encoder.block:
            x = block(x, bias)
        return self.encoder.final_layer_norm(x)


def buckets(n: int) -> torch.Tensor:
    """[query, key] -> bucket of key - query: exact below 8, logarithmic up to 128, both signs."""
    d = torch.arange(n)[None, :] - torch.arange(n)[:, None]
    far = 8 + (8 * torch.log(d.abs().clamp_min(1) / 8) / math.log(16)).floor().long()
    return 16 * (d > 0) + torch.where(d.abs() < 8, d.abs(), far.clamp(max=15))
