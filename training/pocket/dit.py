"""The MAGI-1 transformer with the checkpoint's names, in the form that trains: whole clips of chunks, batched."""

import math

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = {
    "model_name": "videodit_ardf",
    "num_layers": 5,
    "hidden_size": 192,
    "ffn_hidden_size": 448,
    "num_attention_heads": 6,
    "num_query_groups": 2,
    "kv_channels": 32,
    "layernorm_epsilon": 1e-06,
    "apply_layernorm_1p": True,
    "x_rescale_factor": 1,
    "half_channel_vae": False,
    "params_dtype": "torch.float32",
    "patch_size": 2,
    "t_patch_size": 1,
    "in_channels": 16,
    "out_channels": 16,
    "cond_hidden_ratio": 0.25,
    "caption_channels": 64,
    "caption_max_length": 128,
    "xattn_cond_hidden_ratio": 1.0,
    "cond_gating_ratio": 1.0,
    "gated_linear_unit": False,
}

CHUNK = 6  # latent frames
NULL_ROWS = 50
CLEAN_T = 0.9999
TRAINED_PATCHES = 256


class LayerNorm(nn.Module):
    """With scale (1 + weight) where `one_plus`, else weight."""

    def __init__(self, width: int, one_plus: bool, scale: float = 1.0):
        super().__init__()
        self.one_plus = one_plus
        self.weight = nn.Parameter(torch.full((width,), scale - 1.0 if one_plus else scale))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        weight = 1 + self.weight if self.one_plus else self.weight
        return F.layer_norm(x, x.shape[-1:], weight, self.bias, 1e-6)


class QKV(nn.Module):
    def __init__(self, width: int, inner: int, shared: int):
        super().__init__()
        self.layer_norm = LayerNorm(width, False)
        self.q = nn.Linear(width, inner, bias=False)
        self.qx = nn.Linear(width, inner, bias=False)
        self.k = nn.Linear(width, shared, bias=False)
        self.v = nn.Linear(width, shared, bias=False)


class SelfAttention(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        self.heads, self.groups, self.head_dim = c["num_attention_heads"], c["num_query_groups"], c["kv_channels"]
        inner, shared, width = self.heads * self.head_dim, self.groups * self.head_dim, c["hidden_size"]
        self.linear_qkv = QKV(width, inner, shared)
        self.linear_kv_xattn = nn.Linear(width, 2 * shared, bias=False)
        self.linear_proj = nn.Linear(2 * inner, width, bias=False)
        self.q_layernorm, self.k_layernorm, self.q_layernorm_xattn, self.k_layernorm_xattn = (
            LayerNorm(self.head_dim, True) for _ in range(4)
        )

    def forward(self, h, ctx):
        B, S, _ = h.shape
        n = self.linear_qkv.layer_norm(h)
        head = lambda x, count: x.view(B, S, count, self.head_dim)
        q = rotate(self.q_layernorm(head(self.linear_qkv.q(n), self.heads)), ctx.cos, ctx.sin)
        k = rotate(self.k_layernorm(head(self.linear_qkv.k(n), self.groups)), ctx.cos, ctx.sin)
        v = head(self.linear_qkv.v(n), self.groups)
        core = grouped_attention(q, k, v, ctx.mask)
        # Cross attention: every chunk looks at its own text.
        chunks = ctx.text.shape[1]
        qx = self.q_layernorm_xattn(head(self.linear_qkv.qx(n), self.heads)).view(B * chunks, -1, self.heads, self.head_dim)
        kv = self.linear_kv_xattn(ctx.text).view(B * chunks, -1, self.groups, 2 * self.head_dim)
        kx, vx = kv.chunk(2, -1)
        cross = grouped_attention(qx, self.k_layernorm_xattn(kx), vx, ctx.text_mask)
        both = torch.stack([core.reshape(B, S, 8, -1), cross.reshape(B, S, 8, -1)], 3)
        return self.linear_proj(both.flatten(2))


def grouped_attention(q, k, v, mask):
    """
    [B, S, heads, hd] with fewer key heads; mask true where a query sees a key. Written out, the query heads of a group as
    rows of one product: compiled, this is faster on a CPU than the fused operator.
    """
    B, S, heads, size = q.shape
    groups = k.shape[2]
    rows = q.view(B, S, groups, heads // groups, size).permute(0, 2, 3, 1, 4).reshape(B, groups, -1, size)
    keys, values = k.permute(0, 2, 3, 1), v.transpose(1, 2)
    scores = (rows @ keys).view(B, groups, heads // groups, S, -1).float() * size**-0.5
    weights = scores.masked_fill(~mask[..., None, :, :], float("-inf")).softmax(-1).to(v.dtype)
    out = weights.view(B, groups, -1, weights.shape[-1]) @ values
    return out.view(B, groups, heads // groups, S, size).permute(0, 3, 1, 2, 4).reshape(B, S, heads, size)


def rotate(x, cos, sin):
    """[B, S, heads, hd]: the first 2R features of a head as R pairs (i, R + i)."""
    R = cos.shape[-1]
    a, b, rest = x.split([R, R, x.shape[-1] - 2 * R], -1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos, rest], -1)


class Mlp(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        self.layer_norm = LayerNorm(c["hidden_size"], False)
        self.linear_fc1 = nn.Linear(c["hidden_size"], c["ffn_hidden_size"], bias=False)
        self.linear_fc2 = nn.Linear(c["ffn_hidden_size"], c["hidden_size"], bias=False)

    def forward(self, h):
        return self.linear_fc2(F.gelu(self.linear_fc1(self.layer_norm(h))))


class Modulation(nn.Module):
    def __init__(self, c: dict, condition: int):
        super().__init__()
        self.proj = nn.Sequential(nn.Linear(condition, 2 * c["hidden_size"]))
        # The norm behind a gate undoes its scale: gates start alike and learn to tell channels and times apart.
        nn.init.normal_(self.proj[0].weight, std=0.1 * condition**-0.5)
        nn.init.constant_(self.proj[0].bias, 0.8)


class Block(nn.Module):
    def __init__(self, c: dict, condition: int):
        super().__init__()
        self.ada_modulate_layer = Modulation(c, condition)
        self.self_attention = SelfAttention(c)
        scale = 1 / math.sqrt(2 * c["num_layers"])
        self.self_attn_post_norm = LayerNorm(c["hidden_size"], True, scale)
        self.mlp = Mlp(c)
        self.mlp_post_norm = LayerNorm(c["hidden_size"], True, scale)

    def forward(self, h, ctx):
        B, S, width = h.shape
        gates = torch.tanh(self.ada_modulate_layer.proj(F.silu(ctx.condition)))  # [B, chunks, 2 width]
        first, second = gates.repeat_interleave(S // gates.shape[1], 1).chunk(2, -1)
        h = h + self.self_attn_post_norm(first * self.self_attention(h, ctx))
        return h + self.mlp_post_norm(second * self.mlp(h))


class Context:
    """What all blocks of one forward share."""

    def __init__(self, cos, sin, condition, text, text_mask, mask):
        self.cos, self.sin, self.condition = cos, sin, condition
        self.text, self.text_mask, self.mask = text, text_mask, mask


class Blocks(nn.Module):
    def __init__(self, c: dict, condition: int):
        super().__init__()
        self.layers = nn.ModuleList(Block(c, condition) for _ in range(c["num_layers"]))
        self.final_layernorm = LayerNorm(c["hidden_size"], True)


class TimeEmbedder(nn.Module):
    def __init__(self, condition: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(256, condition), nn.SiLU(), nn.Linear(condition, condition))

    def forward(self, t):
        angle = t[..., None] * torch.exp(-math.log(10000) * torch.arange(128) / 128) * 1000
        return self.mlp(torch.cat([angle.cos(), angle.sin()], -1))


class CaptionEmbedder(nn.Module):
    def __init__(self, c: dict, condition: int):
        super().__init__()
        channels = c["caption_channels"]
        self.null_caption_embedding = nn.Parameter(torch.randn(c["caption_max_length"], channels))
        self.y_proj_xattn = nn.Sequential(nn.Linear(channels, c["hidden_size"]), nn.SiLU())
        self.y_proj_adaln = nn.Sequential(nn.Linear(channels, condition))


class Rope(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        n = c["kv_channels"] // 8
        # Fixed: their gradients are sums over all queries and keys of all layers, which take their time.
        self.bands = nn.Parameter(torch.exp(torch.linspace(math.log(0.8), math.log(0.04), n)), requires_grad=False)

    def forward(self, frames, height: int, width: int):
        """Tables [1, tokens, 1, 3 n] for absolute latent frames; space is centred and scaled to 256 patches."""
        scale = math.sqrt(height * width / TRAINED_PATCHES)
        side = lambda n: (torch.arange(n) - (n - 1) / 2) * ((n / scale - 1) / (n - 1))
        grid = torch.meshgrid(frames.float(), side(height), side(width), indexing="ij")
        angle = torch.cat([axis.flatten()[:, None] * self.bands for axis in grid], -1)[None, :, None]
        return angle.cos(), angle.sin()


class VideoDiT(nn.Module):
    def __init__(self, config: dict = CONFIG):
        super().__init__()
        width = config["hidden_size"]
        condition = int(width * config["cond_hidden_ratio"])
        self.x_embedder = nn.Conv3d(config["in_channels"], width, (1, 2, 2), (1, 2, 2), bias=False)
        self.t_embedder = TimeEmbedder(condition)
        self.y_embedder = CaptionEmbedder(config, condition)
        self.rope = Rope(config)
        self.videodit_blocks = Blocks(config, condition)
        self.final_linear = nn.ModuleDict({"linear": nn.Linear(width, 4 * config["out_channels"], bias=False)})
        nn.init.zeros_(self.final_linear["linear"].weight)

    def null_text(self):
        return self.y_embedder.null_caption_embedding[:NULL_ROWS]

    def forward(self, x, t, text, text_mask, mask, null_pass, frames=None, dt=None):
        """
        x [B, C, T, H, W], t [B, chunks], text [B, chunks, L, caption_channels], text_mask [B, chunks, L] bool,
        mask [S, S] bool: the tokens each token sees; null_pass [B, chunks] bool: the adaLN reading of the null-text
        passes; frames [T]: positions in time, from 0 by default. Returns the velocity, of the shape of x.
        """
        B, C, T, H, W = x.shape
        tokens = F.linear(patches(x), self.x_embedder.weight.flatten(1))
        rows = self.y_embedder.y_proj_adaln(self.y_embedder.null_caption_embedding[-2:])
        condition = self.t_embedder(t) + rows[null_pass.long()]
        if dt is not None:
            condition = condition + self.t_embedder(torch.as_tensor(dt, dtype=torch.float32))
        cos, sin = self.rope(torch.arange(T) if frames is None else frames, H // 2, W // 2)
        readings = self.y_embedder.y_proj_xattn(text)
        chunks = t.shape[1]
        ctx = Context(cos, sin, condition, readings, text_mask.view(B * chunks, 1, 1, -1), mask)
        for block in self.videodit_blocks.layers:
            tokens = block(tokens, ctx)
        out = self.final_linear["linear"](self.videodit_blocks.final_layernorm(tokens))
        out = out.view(B, T, H // 2, W // 2, 2, 2, C)
        return out.permute(0, 6, 1, 2, 4, 3, 5).reshape(B, C, T, H, W)


def patches(x):
    """[B, C, T, H, W] -> [B, T (H/2) (W/2), C 2 2]."""
    B, C, T, H, W = x.shape
    return x.view(B, C, T, H // 2, 2, W // 2, 2).permute(0, 2, 3, 5, 1, 4, 6).reshape(B, T * (H // 2) * (W // 2), C * 4)


def block_causal(ranges, tokens: int) -> torch.Tensor:
    """Mask [S, S] from the chunks [start, end) that each chunk sees, `tokens` in each."""
    n = len(ranges)
    mask = torch.zeros(n, n, dtype=torch.bool)
    for chunk, (start, end) in enumerate(ranges):
        mask[chunk, start:end] = True
    return mask.repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)
