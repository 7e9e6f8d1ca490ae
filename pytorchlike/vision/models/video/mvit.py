"""Multiscale vision transformers: Fan et al. 2021, arXiv:2104.11227; second version: Li et al., arXiv:2112.01526."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

from ...ops.misc import MLP, StochasticDepth
from ._common import define

__all__ = ["MViT"]


@dataclass
class MSBlockConfig:
    """One block: widths, heads, and how queries (q), keys and values (kv) are pooled; () for not at all."""

    num_heads: int
    input_channels: int
    output_channels: int
    kernel_q: tuple[int, ...]
    kernel_kv: tuple[int, ...]
    stride_q: tuple[int, ...]
    stride_kv: tuple[int, ...]


class Pool(nn.Module):
    """Pools (N, heads, 1 + places, C), the first place of which is the class; returns the new (T, H, W), too."""

    def __init__(self, pool: nn.Module, norm: nn.Module | None) -> None:
        super().__init__()
        self.pool = pool
        self.norm_act = None if norm is None else nn.Sequential(norm)

    def forward(self, x: Tensor, thw: tuple[int, int, int]) -> tuple[Tensor, tuple[int, int, int]]:
        n, heads, _, c = x.shape
        places = x[:, :, 1:].transpose(2, 3).reshape(n * heads, c, *thw)
        places = self.pool(places)
        size = tuple(places.shape[2:])
        x = torch.cat([x[:, :, :1], places.reshape(n, heads, c, -1).transpose(2, 3)], 2)
        return (x if self.norm_act is None else self.norm_act(x)), size  # type: ignore[return-value]


def _distances(q: int, k: int, table: Tensor) -> Tensor:
    """The rows of a table of distances for each pair of places along one axis: (q, k, C)."""
    length = 2 * max(q, k) - 1
    if table.shape[0] != length:
        table = F.interpolate(table.t()[None], size=length, mode="linear")[0].t()
    rows, cols = torch.arange(q)[:, None], torch.arange(k)[None]
    return table[(rows * max(k / q, 1.0) - (cols + (1.0 - k)) * max(q / k, 1.0)).long()]


class MultiscaleAttention(nn.Module):
    """Attention with pooled queries, keys and values."""

    def __init__(self, input_size: list[int], embed_dim: int, output_dim: int, cnf: MSBlockConfig,
                 residual_pool: bool, residual_with_cls_embed: bool, rel_pos_embed: bool, dropout: float,
                 norm_layer: Callable[..., nn.Module]) -> None:  # fmt: skip
        super().__init__()
        self.output_dim, self.num_heads = output_dim, cnf.num_heads
        self.head_dim = output_dim // cnf.num_heads
        self.residual_pool, self.residual_with_cls_embed = residual_pool, residual_with_cls_embed
        self.qkv = nn.Linear(embed_dim, 3 * output_dim)
        self.project = nn.Sequential(nn.Linear(output_dim, output_dim), *([nn.Dropout(dropout)] if dropout else []))
        self.pool_q = self._pool(cnf.kernel_q, cnf.stride_q, norm_layer)
        self.pool_k = self._pool(cnf.kernel_kv, cnf.stride_kv, norm_layer)
        self.pool_v = self._pool(cnf.kernel_kv, cnf.stride_kv, norm_layer)
        self.rel_pos_h = self.rel_pos_w = self.rel_pos_t = None
        if rel_pos_embed:
            side = max(input_size[1:])
            most = max(side // stride[1] if stride else side for stride in (cnf.stride_q, cnf.stride_kv))
            for name, length in (("h", most), ("w", most), ("t", input_size[0])):
                table = nn.Parameter(torch.zeros(2 * length - 1, self.head_dim))
                nn.init.trunc_normal_(table, std=0.02)
                setattr(self, f"rel_pos_{name}", table)

    def _pool(self, kernel: tuple[int, ...], stride: tuple[int, ...], norm: Callable[..., nn.Module]) -> Pool | None:
        if math.prod(kernel) <= 1 and math.prod(stride) <= 1:
            return None
        conv = nn.Conv3d(self.head_dim, self.head_dim, kernel, stride, [k // 2 for k in kernel], groups=self.head_dim,
                         bias=False)  # fmt: skip
        return Pool(conv, norm(self.head_dim))

    def forward(self, x: Tensor, thw: tuple[int, int, int]) -> tuple[Tensor, tuple[int, int, int]]:
        n, places, _ = x.shape
        q, k, v = self.qkv(x).reshape(n, places, 3, self.num_heads, self.head_dim).transpose(1, 3).unbind(2)
        its = thw
        if self.pool_k is not None:
            k, its = self.pool_k(k, thw)
        if self.pool_v is not None:
            v = self.pool_v(v, thw)[0]
        if self.pool_q is not None:
            q, thw = self.pool_q(q, thw)
        scores = (q * self.head_dim**-0.5) @ k.transpose(2, 3)
        if self.rel_pos_h is not None:
            scores = scores + F.pad(self._positions(q, thw, its), (1, 0, 1, 0))
        x = scores.softmax(-1) @ v
        if self.residual_pool:
            x = x + (q if self.residual_with_cls_embed else F.pad(q[:, :, 1:], (0, 0, 1, 0)))
        return self.project(x.transpose(1, 2).reshape(n, -1, self.output_dim)), thw

    def _positions(self, q: Tensor, qs: tuple[int, int, int], ks: tuple[int, int, int]) -> Tensor:
        """A bias for each pair of places, of their distances along each axis: (N, heads, places q, places k)."""
        n, heads, _, c = q.shape
        q = q[:, :, 1:].reshape(n, heads, *qs, c)
        t, h, w = (_distances(a, b, table) for a, b, table in zip(qs, ks, (self.rel_pos_t, self.rel_pos_h,
                                                                            self.rel_pos_w), strict=True))  # type: ignore[arg-type]  # fmt: skip
        along_h = torch.einsum("nythwc,hkc->nythwk", q, h)[..., None, :, None]
        along_w = torch.einsum("nythwc,wkc->nythwk", q, w)[..., None, None, :]
        along_t = torch.einsum("nythwc,tkc->nythwk", q, t)[..., :, None, None]
        return (along_h + along_w + along_t).reshape(n, heads, math.prod(qs), math.prod(ks))


class MultiscaleBlock(nn.Module):
    """Attention and an MLP; the way around is pooled and widened as they are."""

    def __init__(self, input_size: list[int], cnf: MSBlockConfig, residual_pool: bool, residual_with_cls_embed: bool,
                 rel_pos_embed: bool, proj_after_attn: bool, dropout: float, stochastic_depth_prob: float,
                 norm_layer: Callable[..., nn.Module]) -> None:  # fmt: skip
        super().__init__()
        self.proj_after_attn, self.pool_skip = proj_after_attn, None
        if math.prod(cnf.stride_q) > 1:
            kernel = [s + 1 if s > 1 else s for s in cnf.stride_q]
            self.pool_skip = Pool(nn.MaxPool3d(kernel, cnf.stride_q, [k // 2 for k in kernel]), None)
        inner = cnf.output_channels if proj_after_attn else cnf.input_channels
        self.norm1, self.norm2 = norm_layer(cnf.input_channels), norm_layer(inner)
        self.attn = MultiscaleAttention(input_size, cnf.input_channels, inner, cnf, residual_pool,
                                        residual_with_cls_embed, rel_pos_embed, dropout, norm_layer)  # fmt: skip
        self.mlp = MLP(inner, [4 * inner, cnf.output_channels], activation_layer=nn.GELU, dropout=dropout)
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob, "row")
        wider = cnf.input_channels != cnf.output_channels
        self.project = nn.Linear(cnf.input_channels, cnf.output_channels) if wider else None

    def forward(self, x: Tensor, thw: tuple[int, int, int]) -> tuple[Tensor, tuple[int, int, int]]:
        first = self.norm1(x)
        found, new = self.attn(first, thw)
        if self.project is not None and self.proj_after_attn:
            x = self.project(first)
        if self.pool_skip is not None:
            x = self.pool_skip(x[:, None], thw)[0][:, 0]
        x = x + self.stochastic_depth(found)
        second = self.norm2(x)
        if self.project is not None and not self.proj_after_attn:
            x = self.project(second)
        return x + self.stochastic_depth(self.mlp(second)), new


class PositionalEncoding(nn.Module):
    """A token for the class, and, unless distances are encoded, a vector for each place."""

    def __init__(self, embed_size: int, spatial_size: tuple[int, int], temporal_size: int, rel_pos_embed: bool) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.zeros(embed_size))
        self.spatial_pos = self.temporal_pos = self.class_pos = None
        if not rel_pos_embed:
            self.spatial_pos = nn.Parameter(torch.zeros(math.prod(spatial_size), embed_size))
            self.temporal_pos = nn.Parameter(torch.zeros(temporal_size, embed_size))
            self.class_pos = nn.Parameter(torch.zeros(embed_size))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.class_token.expand(len(x), 1, -1), x], 1)
        if self.spatial_pos is None:
            return x
        places = (self.temporal_pos[:, None] + self.spatial_pos[None]).reshape(-1, x.shape[-1])  # type: ignore[index]
        return x + torch.cat([self.class_pos[None], places])[None]  # type: ignore[index]


class MViT(nn.Module):
    """Shapes: (N, 3, temporal_size, *spatial_size) -> (N, num_classes)."""

    def __init__(
        self, spatial_size: tuple[int, int], temporal_size: int, block_setting: list[MSBlockConfig],
        residual_pool: bool, residual_with_cls_embed: bool, rel_pos_embed: bool, proj_after_attn: bool,
        dropout: float = 0.5, attention_dropout: float = 0.0, stochastic_depth_prob: float = 0.0,
        num_classes: int = 400, norm_layer: Callable[..., nn.Module] | None = None,
        patch_embed_kernel: tuple[int, ...] = (3, 7, 7), patch_embed_stride: tuple[int, ...] = (2, 4, 4),
        patch_embed_padding: tuple[int, ...] = (1, 3, 3),
    ) -> None:  # fmt: skip
        super().__init__()
        if not block_setting:
            raise ValueError("The configuration parameter can't be empty.")
        norm = norm_layer or partial(nn.LayerNorm, eps=1e-6)
        self.conv_proj = nn.Conv3d(3, block_setting[0].input_channels, patch_embed_kernel, patch_embed_stride,
                                   patch_embed_padding)  # fmt: skip
        whole = (temporal_size, *spatial_size)
        size = [n // s for n, s in zip(whole, patch_embed_stride, strict=True)]
        self.pos_encoding = PositionalEncoding(block_setting[0].input_channels, (size[1], size[2]), size[0],
                                               rel_pos_embed)  # fmt: skip
        self.blocks = nn.ModuleList()
        for k, cnf in enumerate(block_setting):
            drop = stochastic_depth_prob * k / max(len(block_setting) - 1, 1)
            self.blocks.append(MultiscaleBlock(size, cnf, residual_pool, residual_with_cls_embed, rel_pos_embed,
                                               proj_after_attn, attention_dropout, drop, norm))  # fmt: skip
            if cnf.stride_q:
                size = [n // s for n, s in zip(size, cnf.stride_q, strict=True)]
        width = block_setting[-1].output_channels
        self.norm = norm(width)
        self.head = nn.Sequential(nn.Dropout(dropout, inplace=True), nn.Linear(width, num_classes))
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.trunc_normal_(m.weight, std=0.02)
                nn.init.zeros_(m.bias)
            elif isinstance(m, PositionalEncoding):
                for weights in m.parameters():
                    nn.init.trunc_normal_(weights, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_proj(x[:, :, None] if x.ndim == 4 else x)
        thw = tuple(x.shape[2:])
        x = self.pos_encoding(x.flatten(2).transpose(1, 2))
        for block in self.blocks:
            x, thw = block(x, thw)
        return self.head(self.norm(x)[:, 0])


def _blocks(inputs: list[int], outputs: list[int], queries: bool) -> list[MSBlockConfig]:
    """16 blocks; queries are pooled where the width grows, or (``queries``) by kernels of 3 everywhere."""
    heads = [1, 2, 2, *[4] * 11, 8, 8]
    sides = [8, 4, 4, *[2] * 11, 1, 1]
    made = []
    for k in range(16):
        step = (1, 2, 2) if k in (1, 3, 14) else (1, 1, 1) if queries else ()
        made.append(MSBlockConfig(heads[k], inputs[k], outputs[k], (3, 3, 3) if step else (), (3, 3, 3), step,
                                  (1, sides[k], sides[k])))  # fmt: skip
    return made


def _v1(**kwargs: Any) -> MViT:
    blocks = _blocks([96, 192, 192, *[384] * 11, 768, 768], [192, 192, *[384] * 11, 768, 768, 768], False)
    usual = {"spatial_size": (224, 224), "temporal_size": 16, "residual_pool": False, "residual_with_cls_embed": True,
             "rel_pos_embed": False, "proj_after_attn": False, "stochastic_depth_prob": 0.2}  # fmt: skip
    return MViT(block_setting=blocks, **{**usual, **kwargs})


def _v2(**kwargs: Any) -> MViT:
    blocks = _blocks([96, 96, 192, 192, *[384] * 11, 768], [96, 192, 192, *[384] * 11, 768, 768], True)
    usual = {"spatial_size": (224, 224), "temporal_size": 16, "residual_pool": True, "residual_with_cls_embed": False,
             "rel_pos_embed": True, "proj_after_attn": True, "stochastic_depth_prob": 0.2}  # fmt: skip
    return MViT(block_setting=blocks, **{**usual, **kwargs})


_HOW = {"crop_size": (224, 224), "resize_size": (256,), "mean": (0.45,) * 3, "std": (0.225,) * 3}
define(globals(), "mvit_v1_b", "MViT_V1_B", _v1, {"KINETICS400_V1": "mvit_v1_b-dbeb1030.pth"}, **_HOW)
define(globals(), "mvit_v2_s", "MViT_V2_S", _v2, {"KINETICS400_V1": "mvit_v2_s-ae3be167.pth"}, **_HOW)
