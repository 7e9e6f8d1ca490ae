"""Swin transformers of videos: Liu et al. 2021, arXiv:2106.13230."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

from ....tensor import host_tensor
from ..swin_transformer import PatchMerging, SwinTransformerBlock
from ._common import define

__all__ = ["SwinTransformer3d"]


def _relative_index(size: list[int]) -> np.ndarray:
    """Of each pair of a window's places, the number of their difference: (area, area)."""
    at = np.stack([g.ravel() for g in np.meshgrid(*map(np.arange, size), indexing="ij")])
    found = np.zeros((at.shape[1],) * 2, np.int64)
    for axis, n in zip(at, size, strict=True):
        found = found * (2 * n - 1) + axis[:, None] - axis[None] + n - 1
    return found


def _windows(x: Any, size: list[int]) -> Any:
    """(N, T, H, W, C) -> (N * windows, area, C); arrays or tensors."""
    n, t, h, w, c = x.shape
    a, b, d = size
    x = x.reshape(n, t // a, a, h // b, b, w // d, d, c)
    moved = x.transpose(0, 1, 3, 5, 2, 4, 6, 7) if isinstance(x, np.ndarray) else x.permute(0, 1, 3, 5, 2, 4, 6, 7)
    return moved.reshape(-1, a * b * d, c)


def _apart(whole: tuple[int, ...], size: list[int], shift: list[int]) -> np.ndarray:
    """-100 for pairs of a window that come from opposite edges of the video, else 0: (windows, area, area)."""
    region = np.zeros(whole, int)
    for axis, (n, s, moved) in enumerate(zip(whole, size, shift, strict=True)):
        part = np.zeros(n, int)
        if moved:
            part[n - s :], part[n - moved :] = 1, 2
        region = 3 * region + part.reshape([-1 if k == axis else 1 for k in range(3)])
    region = _windows(region[None, ..., None], size)[..., 0]
    return np.where(region[:, None] == region[:, :, None], 0.0, -100.0).astype(np.float32)


class ShiftedWindowAttention3d(nn.Module):
    """Attention within windows of (N, T, H, W, C), shifted cyclically. Windows are no larger than the video."""

    def __init__(
        self, dim: int, window_size: list[int], shift_size: list[int], num_heads: int, qkv_bias: bool = True,
        proj_bias: bool = True, attention_dropout: float = 0.0, dropout: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__()
        if len(window_size) != 3 or len(shift_size) != 3:
            raise ValueError("window_size and shift_size must be of length 2")
        self.window_size, self.shift_size, self.num_heads = window_size, shift_size, num_heads
        self.attention_dropout, self.dropout = attention_dropout, dropout
        self.qkv, self.proj = nn.Linear(dim, 3 * dim, bias=qkv_bias), nn.Linear(dim, dim, bias=proj_bias)
        table = torch.zeros(int(np.prod([2 * n - 1 for n in window_size])), num_heads)
        self.relative_position_bias_table = nn.Parameter(table)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", torch.tensor(_relative_index(window_size)))

    def forward(self, x: Tensor) -> Tensor:
        n, *whole, c = x.shape
        fits = [size > w for size, w in zip(whole, self.window_size, strict=True)]
        size = [w if fit else s for w, fit, s in zip(self.window_size, fits, whole, strict=True)]
        shift = [s if fit else 0 for s, fit in zip(self.shift_size, fits, strict=True)]
        x = F.pad(x, (0, 0, 0, -whole[2] % size[2], 0, -whole[1] % size[1], 0, -whole[0] % size[0]))
        padded = tuple(x.shape[1:4])
        if any(shift):
            x = torch.roll(x, tuple(-s for s in shift), (1, 2, 3))
        area, counts = int(np.prod(size)), [p // s for p, s in zip(padded, size, strict=True)]
        x = _windows(x, size)
        q, k, v = self.qkv(x).reshape(len(x), area, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        index = self.relative_position_index[:area, :area].reshape(-1)
        bias = self.relative_position_bias_table[index].reshape(area, area, -1).permute(2, 0, 1)
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + bias[None]
        if any(shift):
            apart = host_tensor(_apart(padded, size, shift), x.device, constant=True).to(x.dtype)
            scores = scores.reshape(n, len(apart), self.num_heads, area, area) + apart[:, None]
            scores = scores.reshape(-1, self.num_heads, area, area)
        weights = F.dropout(scores.softmax(-1), self.attention_dropout, self.training)
        x = F.dropout(self.proj((weights @ v).transpose(1, 2).reshape(len(x), area, c)), self.dropout, self.training)
        x = x.reshape(n, *counts, *size, c).permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(n, *padded, c)
        if any(shift):
            x = torch.roll(x, tuple(shift), (1, 2, 3))
        return x[:, : whole[0], : whole[1], : whole[2]]


class PatchEmbed3d(nn.Module):
    """(N, 3, T, H, W) -> (N, T', H', W', C), padded so that patches fit."""

    def __init__(self, patch_size: list[int], in_channels: int = 3, embed_dim: int = 96,
                 norm_layer: Callable[..., nn.Module] | None = None) -> None:  # fmt: skip
        super().__init__()
        self.tuple_patch_size = tuple(patch_size)
        self.proj = nn.Conv3d(in_channels, embed_dim, self.tuple_patch_size, self.tuple_patch_size)
        self.norm = nn.Identity() if norm_layer is None else norm_layer(embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        t, h, w = (-n % p for n, p in zip(x.shape[2:], self.tuple_patch_size, strict=True))
        return self.norm(self.proj(F.pad(x, (0, w, 0, h, 0, t))).permute(0, 2, 3, 4, 1))


class SwinTransformer3d(nn.Module):
    """Shapes: (N, 3, T, H, W) -> (N, num_classes)."""

    def __init__(
        self, patch_size: list[int], embed_dim: int, depths: list[int], num_heads: list[int], window_size: list[int],
        mlp_ratio: float = 4.0, dropout: float = 0.0, attention_dropout: float = 0.0,
        stochastic_depth_prob: float = 0.1, num_classes: int = 400,
        norm_layer: Callable[..., nn.Module] | None = None, block: Callable[..., nn.Module] | None = None,
        downsample_layer: Callable[..., nn.Module] = PatchMerging,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_classes = num_classes
        block = block or partial(SwinTransformerBlock, attn_layer=ShiftedWindowAttention3d)
        norm = norm_layer or partial(nn.LayerNorm, eps=1e-5)
        self.patch_embed = PatchEmbed3d(patch_size, 3, embed_dim, norm)
        self.pos_drop = nn.Dropout(dropout)
        drops = np.linspace(0, stochastic_depth_prob, sum(depths))
        starts = [0, *np.cumsum(depths).tolist()]
        layers: list[nn.Module] = []
        for i, (begin, end) in enumerate(pairwise(starts)):
            dim = embed_dim * 2**i
            layers.append(nn.Sequential(*(
                block(dim, num_heads[i], window_size, [0 if j % 2 == 0 else w // 2 for w in window_size], mlp_ratio,
                      dropout, attention_dropout, float(drop), norm) for j, drop in enumerate(drops[begin:end])
            )))  # fmt: skip
            if i + 1 < len(depths):
                layers.append(downsample_layer(dim, norm))
        self.features = nn.Sequential(*layers)
        self.num_features = embed_dim * 2 ** (len(depths) - 1)
        self.norm, self.avgpool = norm(self.num_features), nn.AdaptiveAvgPool3d(1)
        self.head = nn.Linear(self.num_features, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Linear) and m.bias is not None:
                nn.init.trunc_normal_(m.weight, std=0.02)
                nn.init.zeros_(m.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.features(self.pos_drop(self.patch_embed(x)))).permute(0, 4, 1, 2, 3)
        return self.head(self.avgpool(x).flatten(1))


def _define(name: str, title: str, dim: int, depths: list[int], heads: list[int], files: dict[str, str]) -> None:
    def make(**kwargs: Any) -> SwinTransformer3d:
        return SwinTransformer3d([2, 4, 4], dim, depths, heads, [8, 7, 7], **{"stochastic_depth_prob": 0.1, **kwargs})

    define(globals(), name, title, make, files, crop_size=(224, 224), resize_size=(256,), mean=(0.485, 0.456, 0.406),
           std=(0.229, 0.224, 0.225))  # fmt: skip


_define("swin3d_t", "Swin3D_T", 96, [2, 2, 6, 2], [3, 6, 12, 24], {"KINETICS400_V1": "swin3d_t-7615ae03.pth"})
_define("swin3d_s", "Swin3D_S", 96, [2, 2, 18, 2], [3, 6, 12, 24], {"KINETICS400_V1": "swin3d_s-da41c237.pth"})
_define("swin3d_b", "Swin3D_B", 128, [2, 2, 18, 2], [4, 8, 16, 32], {
    "KINETICS400_V1": "swin3d_b_1k-24f7c7c6.pth", "KINETICS400_IMAGENET22K_V1": "swin3d_b_22k-7c6ae6fa.pth"})
