"""DenseNet: Huang et al. 2017, arXiv:1608.06993."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F
from pytorchlike.utils.checkpoint import checkpoint

from ._api import builder, weights_enum

__all__ = ["DenseNet"]


class _DenseLayer(nn.Module):
    def __init__(self, inputs: int, growth_rate: int, bn_size: int, drop_rate: float, memory_efficient: bool) -> None:
        super().__init__()
        self.norm1, self.relu1 = nn.BatchNorm2d(inputs), nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(inputs, bn_size * growth_rate, 1, bias=False)
        self.norm2, self.relu2 = nn.BatchNorm2d(bn_size * growth_rate), nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(bn_size * growth_rate, growth_rate, 3, padding=1, bias=False)
        self.drop_rate, self.memory_efficient = float(drop_rate), memory_efficient

    def _bottleneck(self, *maps: Tensor) -> Tensor:
        return self.conv1(self.relu1(self.norm1(torch.cat(maps, 1))))

    def forward(self, maps: list[Tensor]) -> Tensor:
        if self.memory_efficient and any(m.requires_grad for m in maps):
            narrow = checkpoint(self._bottleneck, *maps, use_reentrant=False)
        else:
            narrow = self._bottleneck(*maps)
        new = self.conv2(self.relu2(self.norm2(narrow)))
        return F.dropout(new, self.drop_rate, self.training) if self.drop_rate > 0 else new


class _DenseBlock(nn.ModuleDict):
    def __init__(self, layers: int, inputs: int, growth_rate: int, *options: Any) -> None:
        super().__init__(OrderedDict(
            (f"denselayer{i + 1}", _DenseLayer(inputs + i * growth_rate, growth_rate, *options)) for i in range(layers)
        ))  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for layer in self.values():
            maps.append(layer(maps))
        return torch.cat(maps, 1)


class _Transition(nn.Sequential):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(OrderedDict(
            norm=nn.BatchNorm2d(inputs), relu=nn.ReLU(inplace=True), conv=nn.Conv2d(inputs, outputs, 1, bias=False),
            pool=nn.AvgPool2d(2, 2),
        ))  # fmt: skip


class DenseNet(nn.Module):
    """Blocks whose layers see all maps before them. Shapes: (N, 3, H, W) -> (N, num_classes).

    growth_rate: channels per layer.   bn_size: of a layer's narrow part, in growth rates.   memory_efficient: the
    concatenations are computed again in the backward pass.
    """

    def __init__(
        self, growth_rate: int = 32, block_config: tuple[int, ...] = (6, 12, 24, 16), num_init_features: int = 64,
        bn_size: int = 4, drop_rate: float = 0, num_classes: int = 1000, memory_efficient: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.features = nn.Sequential(OrderedDict(
            conv0=nn.Conv2d(3, num_init_features, 7, 2, 3, bias=False), norm0=nn.BatchNorm2d(num_init_features),
            relu0=nn.ReLU(inplace=True), pool0=nn.MaxPool2d(3, 2, 1),
        ))  # fmt: skip
        n = num_init_features
        for i, layers in enumerate(block_config, 1):
            block = _DenseBlock(layers, n, growth_rate, bn_size, drop_rate, memory_efficient)
            self.features.add_module(f"denseblock{i}", block)
            n += layers * growth_rate
            if i < len(block_config):
                self.features.add_module(f"transition{i}", _Transition(n, n // 2))
                n //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(n))
        self.classifier = nn.Linear(n, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.features(x), inplace=True)
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


def _renamed(state: Any) -> dict[str, Any]:
    """The published files say norm.1 for norm1."""
    return {re.sub(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)\.", r"\1\2.", key): v for key, v in state.items()}


def _define(depth: int, file: str, growth: int, blocks: tuple[int, ...], first: int) -> None:
    name, title = f"densenet{depth}", f"DenseNet{depth}_Weights"
    enum = weights_enum(title, __name__, {"IMAGENET1K_V1": f"{name}-{file}.pth"})
    globals()[title] = enum
    globals()[name] = builder(name, __name__, enum, lambda **kw: DenseNet(growth, blocks, first, **kw),
                              f"DenseNet-{depth}", adapt=_renamed)  # fmt: skip
    __all__.extend([title, name])


_define(121, "a639ec97", 32, (6, 12, 24, 16), 64)
_define(161, "8d451a50", 48, (6, 12, 36, 24), 96)
_define(169, "b2777c0a", 32, (6, 12, 32, 32), 64)
_define(201, "c1103571", 32, (6, 12, 48, 32), 64)
