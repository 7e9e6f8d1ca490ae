"""Vision transformer: Dosovitskiy et al. 2020, arXiv:2010.11929."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytorchlike as torch
from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

from ..ops.misc import MLP, Conv2dNormActivation
from ._api import builder, swag, weights_enum

__all__ = ["VisionTransformer"]


class ConvStemConfig(NamedTuple):
    """One of the convolutions that make patches (Xiao et al. 2021, arXiv:2106.14881)."""

    out_channels: int
    kernel_size: int
    stride: int
    norm_layer: Callable[..., nn.Module] = nn.BatchNorm2d
    activation_layer: Callable[..., nn.Module] = nn.ReLU


class MLPBlock(MLP):
    """Two linear layers with GELU and dropout."""

    def __init__(self, in_dim: int, mlp_dim: int, dropout: float) -> None:
        super().__init__(in_dim, [mlp_dim, in_dim], activation_layer=nn.GELU, dropout=dropout)
        for m in self:
            if isinstance(m, nn.Linear):
                nn.init.xavier_uniform_(m.weight)
                nn.init.normal_(m.bias, std=1e-6)


class EncoderBlock(nn.Module):
    """Self-attention and an MLP, each with a norm before and a short cut beside it."""

    def __init__(
        self, num_heads: int, hidden_dim: int, mlp_dim: int, dropout: float, attention_dropout: float,
        norm_layer: Callable[..., nn.Module],
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_heads = num_heads
        self.ln_1 = norm_layer(hidden_dim)
        self.self_attention = nn.MultiheadAttention(hidden_dim, num_heads, dropout=attention_dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.ln_2 = norm_layer(hidden_dim)
        self.mlp = MLPBlock(hidden_dim, mlp_dim, dropout)

    def forward(self, input: Tensor) -> Tensor:
        x = self.ln_1(input)
        x = self.dropout(self.self_attention(x, x, x, need_weights=False)[0]) + input
        return x + self.mlp(self.ln_2(x))


class Encoder(nn.Module):
    """Learned positions, blocks and a last norm."""

    def __init__(
        self, seq_length: int, num_layers: int, num_heads: int, hidden_dim: int, mlp_dim: int, dropout: float,
        attention_dropout: float, norm_layer: Callable[..., nn.Module],
    ) -> None:  # fmt: skip
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.empty(1, seq_length, hidden_dim).normal_(std=0.02))
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.Sequential(OrderedDict(
            (f"encoder_layer_{i}", EncoderBlock(num_heads, hidden_dim, mlp_dim, dropout, attention_dropout, norm_layer))
            for i in range(num_layers)
        ))  # fmt: skip
        self.ln = norm_layer(hidden_dim)

    def forward(self, input: Tensor) -> Tensor:
        return self.ln(self.layers(self.dropout(input + self.pos_embedding)))


def _patches(hidden_dim: int, patch_size: int, stem: list[ConvStemConfig] | None) -> nn.Module:
    """Makes a word of each patch."""
    layers: dict[str, nn.Module] = OrderedDict()
    channels = 3
    for i, conf in enumerate(stem or ()):
        layers[f"conv_bn_relu_{i}"] = Conv2dNormActivation(
            channels, conf.out_channels, conf.kernel_size, conf.stride, norm_layer=conf.norm_layer,
            activation_layer=conf.activation_layer,
        )  # fmt: skip
        channels = conf.out_channels
    last = nn.Conv2d(channels, hidden_dim, 1) if layers else nn.Conv2d(3, hidden_dim, patch_size, patch_size)
    if layers:
        nn.init.normal_(last.weight, std=math.sqrt(2 / hidden_dim))
    else:
        nn.init.trunc_normal_(last.weight, std=math.sqrt(1 / (3 * patch_size**2)))
    nn.init.zeros_(last.bias)
    return nn.Sequential(OrderedDict(layers, conv_last=last)) if layers else last


class VisionTransformer(nn.Module):
    """Patches as words. Shapes: (N, 3, image_size, image_size) -> (N, num_classes).

    conv_stem_configs: small convolutions that make the patches, instead of one; their strides multiply to patch_size.
    """

    def __init__(
        self, image_size: int, patch_size: int, num_layers: int, num_heads: int, hidden_dim: int, mlp_dim: int,
        dropout: float = 0.0, attention_dropout: float = 0.0, num_classes: int = 1000,
        representation_size: int | None = None, norm_layer: Callable[..., nn.Module] = partial(nn.LayerNorm, eps=1e-6),
        conv_stem_configs: list[ConvStemConfig] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if image_size % patch_size:
            raise ValueError(f"Input shape indivisible by patch size: {image_size} by {patch_size}")
        self.image_size, self.patch_size, self.hidden_dim, self.mlp_dim = image_size, patch_size, hidden_dim, mlp_dim
        self.num_classes, self.representation_size, self.norm_layer = num_classes, representation_size, norm_layer
        self.attention_dropout, self.dropout = attention_dropout, dropout
        self.conv_proj = _patches(hidden_dim, patch_size, conv_stem_configs)
        self.seq_length = (image_size // patch_size) ** 2 + 1
        self.class_token = nn.Parameter(torch.zeros(1, 1, hidden_dim))
        self.encoder = Encoder(self.seq_length, num_layers, num_heads, hidden_dim, mlp_dim, dropout, attention_dropout,
                               norm_layer)  # fmt: skip
        heads: dict[str, nn.Module] = OrderedDict()
        if representation_size is not None:
            heads["pre_logits"], heads["act"] = nn.Linear(hidden_dim, representation_size), nn.Tanh()
            nn.init.trunc_normal_(heads["pre_logits"].weight, std=math.sqrt(1 / hidden_dim))
            nn.init.zeros_(heads["pre_logits"].bias)
        heads["head"] = nn.Linear(representation_size or hidden_dim, num_classes)
        self.heads = nn.Sequential(heads)
        nn.init.zeros_(self.heads.head.weight)
        nn.init.zeros_(self.heads.head.bias)

    def _process_input(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        if h != self.image_size or w != self.image_size:
            size = self.image_size
            raise AssertionError(f"Wrong image size! Expected {size} by {size} but got {h} by {w}!")
        return self.conv_proj(x).reshape(n, self.hidden_dim, -1).permute(0, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self._process_input(x)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], 1)
        return self.heads(self.encoder(x)[:, 0])


def interpolate_embeddings(
    image_size: int, patch_size: int, model_state: OrderedDict[str, Tensor], interpolation_mode: str = "bicubic",
    reset_heads: bool = False,
) -> OrderedDict[str, Tensor]:  # fmt: skip
    """A state dict for pictures of another size: the embeddings of places are interpolated.

    reset_heads: leave those of the heads out. ``model_state`` itself is changed, as torchvision does, unless they are.
    Raises ValueError if the embeddings are not those of a square.
    """
    embedding = model_state["encoder.pos_embedding"]
    if embedding.shape[0] != 1:
        raise ValueError(f"Unexpected position embedding shape: {embedding.shape}")
    length, new = embedding.shape[1] - 1, image_size // patch_size  # the first is the class's
    if length == new**2:
        return model_state
    old = math.isqrt(length)
    if old**2 != length:
        raise ValueError(f"seq_length is not a perfect square! Instead got {old} * {old} = {old**2}, not {length}")
    places = embedding[:, 1:].transpose(1, 2).reshape(1, -1, old, old)
    places = F.interpolate(places, size=new, mode=interpolation_mode, align_corners=True)
    model_state["encoder.pos_embedding"] = torch.cat([embedding[:, :1], places.flatten(2).transpose(1, 2)], 1)
    if not reset_heads:
        return model_state
    return OrderedDict((k, v) for k, v in model_state.items() if not k.startswith("heads"))


def _define(name: str, patch: int, layers: int, heads: int, width: int, mlp: int, file: str | None,
            resize: int = 256, large: tuple[int, str, str] | None = None) -> None:  # fmt: skip
    """large: the arguments of ``swag`` for weights that were trained for larger pictures."""
    title = f"ViT_{name[4].upper()}_{patch}_Weights"
    files: dict[str, Any] = {} if file is None else {"IMAGENET1K_V1": f"{name}-{file}.pth"}
    if large is not None:
        files |= swag(name, *large)
    enum = weights_enum(title, __name__, files, 224, resize, default=[*files][0])

    def make(**kw: Any) -> VisionTransformer:
        return VisionTransformer(kw.pop("image_size", 224), patch, layers, heads, width, mlp, **kw)

    globals()[title] = enum
    globals()[name] = builder(name, __name__, enum, make, f"ViT {name[4:]}", sized=True)
    __all__.extend([title, name])


_define("vit_b_16", 16, 12, 12, 768, 3072, "c867db91", large=(384, "9ac1b537", "4e70ced5"))
_define("vit_b_32", 32, 12, 12, 768, 3072, "d86f8d99")
_define("vit_l_16", 16, 24, 16, 1024, 4096, "852ce7e3", 242, large=(512, "4f3808c9", "4d563306"))
_define("vit_l_32", 32, 24, 16, 1024, 4096, "c7638314")
_define("vit_h_14", 14, 32, 16, 1280, 5120, None, large=(518, "80465313", "c1eb923e"))
