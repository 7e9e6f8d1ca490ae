"""MaxViT: Tu et al. 2022, arXiv:2204.01697."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor, nn

from ..ops.misc import Conv2dNormActivation, SqueezeExcitation, StochasticDepth
from ._api import BICUBIC, builder, weights_enum
from .swin_transformer import _relative_index

__all__ = ["MaxVit", "MaxVit_T_Weights", "maxvit_t"]


class MBConv(nn.Module):
    """An inverted bottleneck with squeeze and excitation, and a way around it."""

    def __init__(self, in_channels: int, out_channels: int, expansion_ratio: float, squeeze_ratio: float, stride: int,
                 activation_layer: Callable[..., nn.Module], norm_layer: Callable[..., nn.Module],
                 p_stochastic_dropout: float = 0.0) -> None:  # fmt: skip
        super().__init__()
        way: list[nn.Module] = [nn.AvgPool2d(3, stride, 1)] if stride == 2 else []
        if stride != 1 or in_channels != out_channels:
            way.append(nn.Conv2d(in_channels, out_channels, 1))
        self.proj = nn.Sequential(*way) if way else nn.Identity()
        wide, narrow = int(out_channels * expansion_ratio), int(out_channels * squeeze_ratio)
        self.stochastic_depth = StochasticDepth(p_stochastic_dropout, "row")
        conv = partial(Conv2dNormActivation, activation_layer=activation_layer, norm_layer=norm_layer, inplace=None)
        self.layers = nn.Sequential(OrderedDict(
            pre_norm=norm_layer(in_channels), conv_a=conv(in_channels, wide, 1, 1, 0),
            conv_b=conv(wide, wide, 3, stride, 1, groups=wide),
            squeeze_excitation=SqueezeExcitation(wide, narrow, activation=nn.SiLU),
            conv_c=nn.Conv2d(wide, out_channels, 1),
        ))  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x) + self.stochastic_depth(self.layers(x))


class RelativePositionalMultiHeadAttention(nn.Module):
    """Attention within groups of (N, groups, places, features), with a bias for each distance."""

    def __init__(self, feat_dim: int, head_dim: int, max_seq_len: int) -> None:
        super().__init__()
        if feat_dim % head_dim:
            raise ValueError(f"feat_dim: {feat_dim} must be divisible by head_dim: {head_dim}")
        side = math.isqrt(max_seq_len)
        self.n_heads, self.scale_factor = feat_dim // head_dim, feat_dim**-0.5
        self.to_qkv, self.merge = nn.Linear(feat_dim, 3 * feat_dim), nn.Linear(feat_dim, feat_dim)
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * side - 1) ** 2, self.n_heads))
        index = torch.tensor(_relative_index(side, side).reshape(max_seq_len, -1))
        self.register_buffer("relative_position_index", index)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        n, groups, places, width = x.shape
        q, k, v = self.to_qkv(x).reshape(n, groups, places, 3, self.n_heads, -1).permute(3, 0, 1, 4, 2, 5).unbind(0)
        bias = self.relative_position_bias_table[self.relative_position_index.reshape(-1)]
        bias = bias.reshape(places, places, -1).permute(2, 0, 1)
        weights = (q @ (k * self.scale_factor).transpose(-2, -1) + bias).softmax(-1)
        return self.merge((weights @ v).permute(0, 1, 3, 2, 4).reshape(n, groups, places, width))


class PartitionAttentionLayer(nn.Module):
    """Attention within windows ("window"), or among the places at which windows have their corners ("grid")."""

    def __init__(self, in_channels: int, head_dim: int, partition_size: int, partition_type: str,
                 grid_size: tuple[int, int], mlp_ratio: int, activation_layer: Callable[..., nn.Module],
                 norm_layer: Callable[..., nn.Module], attention_dropout: float, mlp_dropout: float,
                 p_stochastic_dropout: float) -> None:  # fmt: skip
        super().__init__()
        if partition_type not in ("grid", "window"):
            raise ValueError("partition_type must be either 'grid' or 'window'")
        self.swapped = partition_type == "grid"
        self.p = grid_size[0] // partition_size if self.swapped else partition_size
        self.attn_layer = nn.Sequential(
            norm_layer(in_channels), RelativePositionalMultiHeadAttention(in_channels, head_dim, partition_size**2),
            nn.Dropout(attention_dropout),
        )  # fmt: skip
        self.mlp_layer = nn.Sequential(
            nn.LayerNorm(in_channels), nn.Linear(in_channels, in_channels * mlp_ratio), activation_layer(),
            nn.Linear(in_channels * mlp_ratio, in_channels), nn.Dropout(mlp_dropout),
        )  # fmt: skip
        self.stochastic_dropout = StochasticDepth(p_stochastic_dropout, "row")

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        p = self.p
        if h % p or w % p:
            raise ValueError(f"MaxVit: a map of {h} x {w} cannot be cut into parts of {p} x {p}")
        x = x.reshape(n, c, h // p, p, w // p, p).permute(0, 2, 4, 3, 5, 1).reshape(n, -1, p * p, c)
        x = x.transpose(1, 2) if self.swapped else x
        x = x + self.stochastic_dropout(self.attn_layer(x))
        x = x + self.stochastic_dropout(self.mlp_layer(x))
        x = x.transpose(1, 2) if self.swapped else x
        return x.reshape(n, h // p, w // p, p, p, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)


class MaxVitLayer(nn.Module):
    """A convolution, attention in windows, and on the grid."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, squeeze_ratio: float, expansion_ratio: float,
                 head_dim: int, partition_size: int, grid_size: tuple[int, int], p_stochastic_dropout: float,
                 norm_layer: Callable[..., nn.Module], activation_layer: Callable[..., nn.Module], mlp_ratio: int,
                 mlp_dropout: float, attention_dropout: float) -> None:  # fmt: skip
        super().__init__()
        conv = MBConv(in_channels, out_channels, expansion_ratio, squeeze_ratio, stride, activation_layer, norm_layer,
                      p_stochastic_dropout)  # fmt: skip
        layers: dict[str, nn.Module] = OrderedDict(MBconv=conv)
        for kind in ("window", "grid"):
            layers[f"{kind}_attention"] = PartitionAttentionLayer(
                out_channels, head_dim, partition_size, kind, grid_size, mlp_ratio, activation_layer, nn.LayerNorm,
                attention_dropout, mlp_dropout, p_stochastic_dropout,
            )  # fmt: skip
        self.layers = nn.Sequential(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class MaxVitBlock(nn.Module):
    """Layers of one resolution."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class MaxVit(nn.Module):
    """Shapes: (N, 3, *input_size) -> (N, num_classes). ValueError if windows do not fit into the maps."""

    def __init__(
        self, input_size: tuple[int, int], stem_channels: int, partition_size: int, block_channels: list[int],
        block_layers: list[int], head_dim: int, stochastic_depth_prob: float,
        norm_layer: Callable[..., nn.Module] | None = None, activation_layer: Callable[..., nn.Module] = nn.GELU,
        squeeze_ratio: float = 0.25, expansion_ratio: float = 4, mlp_ratio: int = 4, mlp_dropout: float = 0.0,
        attention_dropout: float = 0.0, num_classes: int = 1000,
    ) -> None:  # fmt: skip
        super().__init__()
        norm = norm_layer or partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)
        self.stem = nn.Sequential(
            Conv2dNormActivation(3, stem_channels, 3, 2, norm_layer=norm, activation_layer=activation_layer, bias=False,
                                 inplace=None),
            Conv2dNormActivation(stem_channels, stem_channels, 3, 1, norm_layer=None, activation_layer=None, bias=True),
        )  # fmt: skip
        size = tuple(-(-s // 2) for s in input_size)
        drop = iter(np.linspace(0, stochastic_depth_prob, sum(block_layers)).tolist())
        self.blocks, before = nn.ModuleList(), stem_channels
        for channels, depth in zip(block_channels, block_layers, strict=True):
            size = tuple(-(-s // 2) for s in size)
            if size[0] % partition_size or size[1] % partition_size:
                raise ValueError(f"Input size {input_size} gives a map of {size}, which is no multiple of "
                                 f"partition_size={partition_size}")  # fmt: skip
            layers: list[nn.Module] = []
            for k in range(depth):
                layers.append(MaxVitLayer(before if k == 0 else channels, channels, 2 if k == 0 else 1, squeeze_ratio,
                                          expansion_ratio, head_dim, partition_size, size, next(drop), norm,  # type: ignore[arg-type]
                                          activation_layer, mlp_ratio, mlp_dropout, attention_dropout))  # fmt: skip
            self.blocks.append(MaxVitBlock(layers))
            before = channels
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(before), nn.Linear(before, before), nn.Tanh(),
            nn.Linear(before, num_classes, bias=False),
        )  # fmt: skip
        for m in self.modules():
            if isinstance(m, (nn.Conv2d, nn.Linear)):
                nn.init.normal_(m.weight, std=0.02)
                if m.bias is not None:
                    nn.init.zeros_(m.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.classifier(x)


def _maxvit_t(input_size: tuple[int, int] = (224, 224), **kwargs: Any) -> MaxVit:
    fixed = {"stem_channels": 64, "block_channels": [64, 128, 256, 512], "block_layers": [2, 2, 5, 2], "head_dim": 32,
             "stochastic_depth_prob": 0.2, "partition_size": 7}  # fmt: skip
    return MaxVit(input_size, **{**fixed, **kwargs})


MaxVit_T_Weights = weights_enum(
    "MaxVit_T_Weights", __name__, {"IMAGENET1K_V1": ("maxvit_t-bc5ab103.pth", BICUBIC)}, resize=224,
)  # fmt: skip
maxvit_t = builder("maxvit_t", __name__, MaxVit_T_Weights, _maxvit_t, "MaxViT, tiny")
