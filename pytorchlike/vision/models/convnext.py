"""ConvNeXt: Liu et al. 2022, arXiv:2201.03545."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pytorchlike as torch
from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

from ..ops.misc import Conv2dNormActivation, Permute, StochasticDepth
from ._api import builder, weights_enum

__all__ = ["CNBlockConfig", "ConvNeXt"]


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation of the channels of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class CNBlock(nn.Module):
    """A 7 x 7 depthwise convolution and two linear layers, beside a short cut."""

    def __init__(
        self, dim: int, layer_scale: float, stochastic_depth_prob: float,
        norm_layer: Callable[..., nn.Module] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        norm = norm_layer or partial(nn.LayerNorm, eps=1e-6)
        self.block = nn.Sequential(
            nn.Conv2d(dim, dim, 7, padding=3, groups=dim, bias=True), Permute([0, 2, 3, 1]), norm(dim),
            nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim), Permute([0, 3, 1, 2]),
        )  # fmt: skip
        self.layer_scale = nn.Parameter(torch.ones(dim, 1, 1) * layer_scale)
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob, "row")

    def forward(self, input: Tensor) -> Tensor:
        return self.stochastic_depth(self.layer_scale * self.block(input)) + input


class CNBlockConfig:
    """A stage: ``num_layers`` blocks of ``input_channels``, and a step down to ``out_channels`` if that is not None."""

    def __init__(self, input_channels: int, out_channels: int | None, num_layers: int) -> None:
        self.input_channels, self.out_channels, self.num_layers = input_channels, out_channels, num_layers

    def __repr__(self) -> str:
        told = (f"{name}={value}" for name, value in vars(self).items())
        return f"{type(self).__name__}({', '.join(told)})"


class ConvNeXt(nn.Module):
    """block_setting: a config for each stage.   stochastic_depth_prob: of the last block; it grows linearly.

    Shapes: (N, 3, H, W) -> (N, num_classes).   Raises ValueError without stages, TypeError for what is no config.
    """

    def __init__(
        self, block_setting: Sequence[CNBlockConfig], stochastic_depth_prob: float = 0.0, layer_scale: float = 1e-6,
        num_classes: int = 1000, block: Callable[..., nn.Module] | None = None,
        norm_layer: Callable[..., nn.Module] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if not block_setting:
            raise ValueError("The block_setting should not be empty")
        if not isinstance(block_setting, Sequence) or not all(isinstance(s, CNBlockConfig) for s in block_setting):
            raise TypeError("The block_setting should be List[CNBlockConfig]")
        make, norm = block or CNBlock, norm_layer or partial(LayerNorm2d, eps=1e-6)
        first = block_setting[0].input_channels
        layers: list[nn.Module] = [
            Conv2dNormActivation(3, first, 4, 4, 0, norm_layer=norm, activation_layer=None, bias=True)
        ]
        done, last = 0, max(sum(s.num_layers for s in block_setting) - 1, 1)
        for stage in block_setting:
            drops = [stochastic_depth_prob * (done + j) / last for j in range(stage.num_layers)]
            layers.append(nn.Sequential(*(make(stage.input_channels, layer_scale, p) for p in drops)))
            done += stage.num_layers
            if stage.out_channels is not None:
                down = nn.Conv2d(stage.input_channels, stage.out_channels, 2, 2)
                layers.append(nn.Sequential(norm(stage.input_channels), down))
        end = block_setting[-1].out_channels or block_setting[-1].input_channels
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(norm(end), nn.Flatten(1), nn.Linear(end, num_classes))
        for m in self.modules():
            if isinstance(m, (nn.Conv2d, nn.Linear)):
                nn.init.trunc_normal_(m.weight, std=0.02)
                nn.init.zeros_(m.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)))


def _define(kind: str, widths: tuple[int, ...], depths: tuple[int, ...], drop: float, resize: int, file: str) -> None:
    name, title = f"convnext_{kind}", f"ConvNeXt_{kind.capitalize()}_Weights"
    enum = weights_enum(title, __name__, {"IMAGENET1K_V1": f"{name}-{file}.pth"}, 224, resize)
    globals()[title] = enum
    stages = [CNBlockConfig(*s) for s in zip(widths, (*widths[1:], None), depths, strict=True)]
    globals()[name] = builder(name, __name__, enum, lambda **kw: ConvNeXt(
        stages, **{"stochastic_depth_prob": drop, **kw}), f"ConvNeXt {kind}")  # fmt: skip
    __all__.extend([title, name])


_define("tiny", (96, 192, 384, 768), (3, 3, 9, 3), 0.1, 236, "983f1562")
_define("small", (96, 192, 384, 768), (3, 3, 27, 3), 0.4, 230, "0c510722")
_define("base", (128, 256, 512, 1024), (3, 3, 27, 3), 0.5, 232, "6075fbad")
_define("large", (192, 384, 768, 1536), (3, 3, 27, 3), 0.5, 232, "ea097f82")
