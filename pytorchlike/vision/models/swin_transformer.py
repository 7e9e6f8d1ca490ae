"""Swin transformers: Liu et al. 2021, arXiv:2103.14030; the second version: Liu et al. 2022, arXiv:2111.09883."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

from ...tensor import host_tensor
from ..ops.misc import MLP, Permute, StochasticDepth
from ._api import BICUBIC, builder, weights_enum

__all__ = ["SwinTransformer"]


def _merged(x: Tensor) -> Tensor:
    """Squares of four places side by side: (N, H / 2, W / 2, 4 C)."""
    h, w = x.shape[-3:-1]
    x = F.pad(x, (0, 0, 0, w % 2, 0, h % 2))
    return torch.cat([x[..., i::2, j::2, :] for j in (0, 1) for i in (0, 1)], -1)


class PatchMerging(nn.Module):
    """(N, H, W, C) -> (N, H / 2, W / 2, 2 C)."""

    def __init__(self, dim: int, norm_layer: Callable[..., nn.Module] = nn.LayerNorm) -> None:
        super().__init__()
        self.dim = dim
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = norm_layer(4 * dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.reduction(self.norm(_merged(x)))


class PatchMergingV2(nn.Module):
    """(N, H, W, C) -> (N, H / 2, W / 2, 2 C), with the norm at the end."""

    def __init__(self, dim: int, norm_layer: Callable[..., nn.Module] = nn.LayerNorm) -> None:
        super().__init__()
        self.dim = dim
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = norm_layer(2 * dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.reduction(_merged(x)))


def _relative_index(rows: int, cols: int) -> np.ndarray:
    """Of each pair of a window's places, the number of their difference."""
    y, x = (g.ravel() for g in np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij"))
    dy, dx = y[:, None] - y[None] + rows - 1, x[:, None] - x[None] + cols - 1
    return (dy * (2 * cols - 1) + dx).ravel()


class ShiftedWindowAttention(nn.Module):
    """Attention within windows of (N, H, W, C), which are shifted cyclically by ``shift_size``."""

    def __init__(
        self, dim: int, window_size: list[int], shift_size: list[int], num_heads: int, qkv_bias: bool = True,
        proj_bias: bool = True, attention_dropout: float = 0.0, dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.window_size, self.shift_size, self.num_heads = window_size, shift_size, num_heads
        self.attention_dropout, self.dropout = attention_dropout, dropout
        self.qkv, self.proj = nn.Linear(dim, 3 * dim, bias=qkv_bias), nn.Linear(dim, dim, bias=proj_bias)
        self._positions(*window_size)

    def _positions(self, rows: int, cols: int) -> None:
        table = torch.zeros((2 * rows - 1) * (2 * cols - 1), self.num_heads)
        self.relative_position_bias_table = nn.Parameter(table)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", torch.tensor(_relative_index(rows, cols)))

    def _bias(self) -> Tensor:
        """Of each pair of a window's places: (area * area, heads)."""
        return self.relative_position_bias_table[self.relative_position_index]

    def _project(self, x: Tensor) -> Tensor:
        return self.qkv(x)

    def _scores(self, q: Tensor, k: Tensor) -> Tensor:
        return (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)

    def forward(self, x: Tensor) -> Tensor:
        n, h, w, c = x.shape
        rows, cols = self.window_size
        x = F.pad(x, (0, 0, 0, -w % cols, 0, -h % rows))
        ph, pw = x.shape[1:3]
        # a window as large as the picture is not shifted
        sizes = zip(self.shift_size, (rows, cols), (ph, pw), strict=True)
        shift = [0 if size >= whole else s for s, size, whole in sizes]
        if any(shift):
            x = torch.roll(x, (-shift[0], -shift[1]), (1, 2))
        windows, area = (ph // rows) * (pw // cols), rows * cols
        x = x.reshape(n, ph // rows, rows, pw // cols, cols, c).permute(0, 1, 3, 2, 4, 5).reshape(n * windows, area, c)
        q, k, v = self._project(x).reshape(n * windows, area, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        scores = self._scores(q, k) + self._bias().reshape(area, area, -1).permute(2, 0, 1)[None]
        if any(shift):
            apart = host_tensor(_apart(ph, pw, rows, cols, shift), x.device, constant=True).to(x.dtype)
            scores = scores.reshape(n, windows, self.num_heads, area, area) + apart[:, None]
            scores = scores.reshape(-1, self.num_heads, area, area)
        weights = F.dropout(scores.softmax(-1), self.attention_dropout, self.training)
        x = (weights @ v).transpose(1, 2).reshape(n * windows, area, c)
        x = F.dropout(self.proj(x), self.dropout, self.training)
        x = x.reshape(n, ph // rows, pw // cols, rows, cols, c).permute(0, 1, 3, 2, 4, 5).reshape(n, ph, pw, c)
        if any(shift):
            x = torch.roll(x, (shift[0], shift[1]), (1, 2))
        return x[:, :h, :w]


class ShiftedWindowAttentionV2(ShiftedWindowAttention):
    """Cosines instead of products, and a bias that a small network finds for each distance (arXiv:2111.09883)."""

    def _positions(self, rows: int, cols: int) -> None:
        self.logit_scale = nn.Parameter(torch.full((self.num_heads, 1, 1), math.log(10.0)))
        self.cpb_mlp = nn.Sequential(
            nn.Linear(2, 512), nn.ReLU(inplace=True), nn.Linear(512, self.num_heads, bias=False)
        )
        if self.qkv.bias is not None:
            third = self.qkv.bias.numel() // 3
            with torch.no_grad():
                self.qkv.bias[third : 2 * third].zero_()
        places = np.stack(np.meshgrid(np.arange(1 - rows, rows), np.arange(1 - cols, cols), indexing="ij"), -1)
        places = 8.0 * places / np.array([rows - 1, cols - 1])
        spaced = np.sign(places) * np.log2(np.abs(places) + 1.0) / 3.0
        self.register_buffer("relative_coords_table", torch.tensor(spaced[None].astype(np.float32)))
        self.register_buffer("relative_position_index", torch.tensor(_relative_index(rows, cols)))

    def _bias(self) -> Tensor:
        table = self.cpb_mlp(self.relative_coords_table).reshape(-1, self.num_heads)
        return 16 * torch.sigmoid(table[self.relative_position_index])

    def _project(self, x: Tensor) -> Tensor:
        bias = self.qkv.bias
        if bias is not None:  # keys have none
            third = bias.numel() // 3
            bias = torch.cat([bias[:third], torch.zeros_like(bias[:third]), bias[2 * third :]])
        return F.linear(x, self.qkv.weight, bias)

    def _scores(self, q: Tensor, k: Tensor) -> Tensor:
        cosines = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
        return cosines * self.logit_scale.clamp(max=math.log(100.0)).exp()


def _apart(height: int, width: int, rows: int, cols: int, shift: list[int]) -> np.ndarray:
    """-100 for pairs of a window that come from opposite edges of the picture, 0 for others; (windows, area, area)."""
    def regions(n: int, size: int, moved: int) -> np.ndarray:
        part = np.zeros(n, int)
        if moved:
            part[n - size :], part[n - moved :] = 1, 2
        return part

    region = 3 * regions(height, rows, shift[0])[:, None] + regions(width, cols, shift[1])[None]
    region = region.reshape(height // rows, rows, width // cols, cols).transpose(0, 2, 1, 3).reshape(-1, rows * cols)
    return np.where(region[:, None] == region[:, :, None], 0.0, -100.0).astype(np.float32)


class SwinTransformerBlock(nn.Module):
    """Attention in windows and an MLP, each with a norm before and a short cut beside it."""

    def __init__(
        self, dim: int, num_heads: int, window_size: list[int], shift_size: list[int], mlp_ratio: float = 4.0,
        dropout: float = 0.0, attention_dropout: float = 0.0, stochastic_depth_prob: float = 0.0,
        norm_layer: Callable[..., nn.Module] = nn.LayerNorm,
        attn_layer: Callable[..., nn.Module] = ShiftedWindowAttention,
    ) -> None:  # fmt: skip
        super().__init__()
        self.norm1 = norm_layer(dim)
        self.attn = attn_layer(dim, window_size, shift_size, num_heads, attention_dropout=attention_dropout,
                               dropout=dropout)  # fmt: skip
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob, "row")
        self.norm2 = norm_layer(dim)
        self.mlp = MLP(dim, [int(dim * mlp_ratio), dim], activation_layer=nn.GELU, inplace=None, dropout=dropout)
        for m in self.mlp:
            if isinstance(m, nn.Linear):
                nn.init.xavier_uniform_(m.weight)
                nn.init.normal_(m.bias, std=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.stochastic_depth(self.attn(self.norm1(x)))
        return x + self.stochastic_depth(self.mlp(self.norm2(x)))


class SwinTransformerBlockV2(SwinTransformerBlock):
    """With the norms after attention and MLP."""

    def __init__(
        self, dim: int, num_heads: int, window_size: list[int], shift_size: list[int], mlp_ratio: float = 4.0,
        dropout: float = 0.0, attention_dropout: float = 0.0, stochastic_depth_prob: float = 0.0,
        norm_layer: Callable[..., nn.Module] = nn.LayerNorm,
        attn_layer: Callable[..., nn.Module] = ShiftedWindowAttentionV2,
    ) -> None:  # fmt: skip
        super().__init__(dim, num_heads, window_size, shift_size, mlp_ratio, dropout, attention_dropout,
                         stochastic_depth_prob, norm_layer, attn_layer)  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.stochastic_depth(self.norm1(self.attn(x)))
        return x + self.stochastic_depth(self.norm2(self.mlp(x)))


class SwinTransformer(nn.Module):
    """Shapes: (N, 3, H, W) -> (N, num_classes)."""

    def __init__(
        self, patch_size: list[int], embed_dim: int, depths: list[int], num_heads: list[int], window_size: list[int],
        mlp_ratio: float = 4.0, dropout: float = 0.0, attention_dropout: float = 0.0,
        stochastic_depth_prob: float = 0.1, num_classes: int = 1000,
        norm_layer: Callable[..., nn.Module] | None = None, block: Callable[..., nn.Module] | None = None,
        downsample_layer: Callable[..., nn.Module] = PatchMerging,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_classes = num_classes
        block = block or SwinTransformerBlock
        norm = norm_layer or partial(nn.LayerNorm, eps=1e-5)
        size = (patch_size[0], patch_size[1])
        layers: list[nn.Module] = [
            nn.Sequential(nn.Conv2d(3, embed_dim, size, size), Permute([0, 2, 3, 1]), norm(embed_dim))
        ]
        done, last = 0, sum(depths) - 1
        for i, (depth, heads) in enumerate(zip(depths, num_heads, strict=True)):
            dim = embed_dim * 2**i
            layers.append(nn.Sequential(*(
                block(
                    dim, heads, window_size, [0 if j % 2 == 0 else w // 2 for w in window_size], mlp_ratio, dropout,
                    attention_dropout, stochastic_depth_prob * (done + j) / last, norm,
                ) for j in range(depth)
            )))  # fmt: skip
            done += depth
            if i + 1 < len(depths):
                layers.append(downsample_layer(dim, norm))
        self.features = nn.Sequential(*layers)
        width = embed_dim * 2 ** (len(depths) - 1)
        self.norm, self.permute = norm(width), Permute([0, 3, 1, 2])
        self.avgpool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten(1)
        self.head = nn.Linear(width, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Linear) and m.bias is not None:
                nn.init.trunc_normal_(m.weight, std=0.02)
                nn.init.zeros_(m.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.flatten(self.avgpool(self.permute(self.norm(self.features(x))))))


def _define(name: str, dim: int, depths: list[int], heads: list[int], drop: float, file: str, resize: int) -> None:
    second, size = "_v2_" in name, name[-1].upper()
    title = f"Swin_{'V2_' if second else ''}{size}_Weights"
    crop = 256 if second else 224
    enum = weights_enum(title, __name__, {"IMAGENET1K_V1": (f"{name}-{file}.pth", BICUBIC)}, crop, resize)
    window = [8, 8] if second else [7, 7]
    fixed = {"block": SwinTransformerBlockV2, "downsample_layer": PatchMergingV2} if second else {}
    globals()[title] = enum
    globals()[name] = builder(name, __name__, enum, lambda **kw: SwinTransformer(
        [4, 4], dim, depths, heads, window, **{"stochastic_depth_prob": drop, **kw, **fixed}), name)  # fmt: skip
    __all__.extend([title, name])


_define("swin_t", 96, [2, 2, 6, 2], [3, 6, 12, 24], 0.2, "704ceda3", 232)
_define("swin_s", 96, [2, 2, 18, 2], [3, 6, 12, 24], 0.3, "5e29d889", 246)
_define("swin_b", 128, [2, 2, 18, 2], [4, 8, 16, 32], 0.5, "68c6b09e", 238)
_define("swin_v2_t", 96, [2, 2, 6, 2], [3, 6, 12, 24], 0.2, "b137f0e2", 260)
_define("swin_v2_s", 96, [2, 2, 18, 2], [3, 6, 12, 24], 0.3, "637d8ceb", 260)
_define("swin_v2_b", 128, [2, 2, 18, 2], [4, 8, 16, 32], 0.5, "781e5279", 272)
