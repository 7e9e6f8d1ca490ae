"""What several models use."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from pytorchlike import nn

__all__ = ["IntermediateLayerGetter"]


def _make_divisible(v: float, divisor: int, min_value: int | None = None) -> int:
    """The multiple of ``divisor`` next to ``v``, but not less than 90 % of it."""
    rounded = max(min_value or divisor, int(v + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * v else rounded


def init_convs(model: nn.Module, mode: str = "fan_out", linear_std: float | None = None) -> None:
    """He's initialisation of convolutions; ones and zeros for norms; normal linear layers if a deviation is given."""
    for m in model.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode=mode, nonlinearity="relu" if mode == "fan_out" else "leaky_relu")
            if m.bias is not None:
                nn.init.zeros_(m.bias)
        elif isinstance(m, (nn.BatchNorm2d, nn.GroupNorm)):
            nn.init.ones_(m.weight)
            nn.init.zeros_(m.bias)
        elif isinstance(m, nn.Linear) and linear_std is not None:
            nn.init.normal_(m.weight, 0, linear_std)
            nn.init.zeros_(m.bias)


class IntermediateLayerGetter(nn.ModuleDict):
    """The layers of a model up to the last one named; returns the results of those named, under new names.

    return_layers: {"layer4": "out"}. The layers must be the model's own children, used one after the other.
    """

    def __init__(self, model: nn.Module, return_layers: dict[str, str]) -> None:
        if not set(return_layers) <= {name for name, _ in model.named_children()}:
            raise ValueError(f"return_layers are not present in model: {sorted(return_layers)}")
        wanted = {str(k): str(v) for k, v in return_layers.items()}
        layers: dict[str, nn.Module] = OrderedDict()
        left = set(wanted)
        for name, module in model.named_children():
            layers[name] = module
            left.discard(name)
            if not left:
                break
        super().__init__(layers)
        self.return_layers = wanted

    def forward(self, x: Any) -> dict[str, Any]:
        out = OrderedDict()
        for name, module in self.items():
            x = module(x)
            if name in self.return_layers:
                out[self.return_layers[name]] = x
        return out
