"""ViTVAE with the checkpoint's names: video <-> latents through a plain vision transformer over space-time patches."""

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = {
    "conv_last_layer": True,
    "depth": 3,
    "double_z": True,
    "embed_dim": 160,
    "in_chans": 3,
    "ln_in_attn": True,
    "mlp_ratio": 2.5,
    "norm_code": False,
    "num_heads": 5,
    "patch_length": 4,
    "patch_size": 8,
    "qkv_bias": True,
    "use_final_proj": True,
    "video_length": 12,
    "video_size": 64,
    "with_cls_token": True,
    "z_chans": 16,
}

EPS = 1e-5
CHANNELS = 4  # in front of the last convolution


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):  # [B, n, width]
        B, n, width = x.shape
        qkv = self.qkv(x).view(B, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = self.normalize(qkv).unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, n, width))

    def normalize(self, x):
        """Per head, v too; eps is added to the biased standard deviation. Training takes what is nearly that and fast."""
        if self.training:
            return F.layer_norm(x, x.shape[-1:], eps=1e-10)
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True).sqrt() + EPS)


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int):
        super().__init__()
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, EPS)
        self.mlp = Mlp(width, hidden)

    def forward(self, x):
        x = x + self.attn(x)
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """Class token, position embedding (resized where the grid differs), blocks, norm."""

    def __init__(self, config: dict):
        super().__init__()
        width = config["embed_dim"]
        side = config["video_size"] // config["patch_size"]
        self.grid = (config["video_length"] // config["patch_length"], side, side)
        tokens = self.grid[0] * side * side + 1
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, tokens, width))
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        hidden = int(width * config["mlp_ratio"])
        self.blocks = nn.ModuleList(Block(width, config["num_heads"], hidden) for _ in range(config["depth"]))
        self.norm = nn.LayerNorm(width, EPS)

    def positions(self, grid):
        if tuple(grid) == self.grid:
            return self.pos_embed
        rows = self.pos_embed[:, 1:].view(1, *self.grid, -1).permute(0, 4, 1, 2, 3)
        rows = F.interpolate(rows, size=tuple(grid), mode="trilinear", align_corners=False)
        return torch.cat([self.pos_embed[:, :1], rows.permute(0, 2, 3, 4, 1).flatten(1, 3)], 1)

    def run(self, x, grid):  # [B, t h w, width]
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1) + self.positions(grid)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, 1:]


class PatchEmbed(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        self.patch = (config["patch_length"], config["patch_size"], config["patch_size"])
        self.proj = nn.Conv3d(3, config["embed_dim"], self.patch, self.patch)

    def forward(self, video):
        """The convolution as a Linear over patches, which is faster on a CPU: tokens [B, t h w, width] and the grid."""
        grid = [n // p for n, p in zip(video.shape[2:], self.patch)]
        x = video.view(*video.shape[:2], *(n for pair in zip(grid, self.patch) for n in pair))
        x = x.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4).flatten(1, 3)
        return F.linear(x, self.proj.weight.flatten(1), self.proj.bias), grid


class Encoder(Transformer):
    def __init__(self, config: dict):
        super().__init__(config)
        self.patch_embed = PatchEmbed(config)
        self.last_layer = nn.Linear(config["embed_dim"], 2 * config["z_chans"])

    def forward(self, video):  # [B, 3, T, H, W] in [-1, 1] -> mean, logvar [B, z, t, h, w]
        single = video.shape[2] == 1
        if single:
            video = video.expand(-1, -1, 4, -1, -1)
        x, grid = self.patch_embed(video.contiguous())
        moments = self.last_layer(self.run(x, grid))
        moments = moments.transpose(1, 2).unflatten(2, grid)
        mean, logvar = (moments[:, :, :1] if single else moments).chunk(2, 1)
        return mean, logvar.clamp(-30, 20)


class Decoder(Transformer):
    def __init__(self, config: dict):
        super().__init__(config)
        self.patch = (config["patch_length"], config["patch_size"], config["patch_size"])
        volume = self.patch[0] * self.patch[1] * self.patch[2]
        self.proj_in = nn.Linear(config["z_chans"], config["embed_dim"])
        self.final_proj = nn.Linear(config["embed_dim"], CHANNELS * volume)
        self.final_norm = nn.LayerNorm(CHANNELS * volume, EPS)
        self.last_layer = nn.Conv3d(CHANNELS, 3, 3, padding=1)

    def forward(self, z):  # [B, z, t, h, w] -> [B, 3, T, H, W]
        B, _, t, h, w = z.shape
        x = self.run(self.proj_in(z.flatten(2).transpose(1, 2)), (t, h, w))
        x = self.final_norm(self.final_proj(x)).view(B, t, h, w, *self.patch, CHANNELS)
        x = x.permute(0, 7, 1, 4, 2, 5, 3, 6).reshape(B, CHANNELS, t * self.patch[0], h * self.patch[1], w * self.patch[2])
        video = convolve(x, self.last_layer)
        return video[:, :, :1] if t == 1 else video


def convolve(x, layer: nn.Conv3d):
    """A 3x3x3 convolution as one over images of three times the channels, which is faster on a CPU."""
    B, C, T, H, W = x.shape
    padded = F.pad(x, (0, 0, 0, 0, 1, 1))
    images = torch.cat([padded[:, :, i : i + T] for i in range(3)], 1).transpose(1, 2).reshape(B * T, 3 * C, H, W)
    weight = layer.weight.transpose(1, 2).flatten(1, 2)
    return F.conv2d(images, weight, layer.bias, padding=1).view(B, T, 3, H, W).transpose(1, 2)


class ViTVAE(nn.Module):
    def __init__(self, config: dict = CONFIG):
        super().__init__()
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02 if module.out_features > 1000 else module.in_features**-0.5)
                nn.init.zeros_(module.bias)

    @torch.no_grad()
    def encode_tiled(self, video, tile: int = 12):
        """Modes of 12-frame tiles put together: [B, 3, T, H, W] -> [B, z, t, h, w], as the original encodes 64x64 clips."""
        return torch.cat([self.encoder(part)[0] for part in video.split(tile, 2)], 2)

    @torch.no_grad()
    def decode_tiled(self, z, tile: int = 3):
        return torch.cat([self.decoder(part) for part in z.split(tile, 2)], 2)


def to_pixels(video):
    """[B, 3, T, H, W] in [-1, 1] -> u8 [B, T, H, W, 3], truncated as the original does."""
    return (video * 127.5 + 127.5).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 4, 1)


def from_pixels(frames):
    """u8 [B, T, H, W, 3] -> [B, 3, T, H, W] in [-1, 1]."""
    return frames.permute(0, 4, 1, 2, 3).float() / 127.5 - 1
