"""What several models use."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from pytorchlike import nn

__all__ = ["IntermediateLayerGetter", "handle_legacy_interface"]

V = TypeVar("V")


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


def _ovewrite_named_param(kwargs: dict[str, Any], param: str, new_value: Any) -> None:
    """Set a keyword that weights determine. ValueError if it was given otherwise."""
    kwargs[param] = _ovewrite_value_param(param, kwargs.get(param, new_value), new_value)


def _ovewrite_value_param(param: str, actual: V | None, expected: V) -> V:
    """``expected``. ValueError if ``actual`` is something else that is not None."""
    if actual is not None and actual != expected:
        raise ValueError(f"The parameter '{param}' expected value {expected} but got {actual} instead.")
    return expected


def handle_legacy_interface(**weights: tuple[str, Any]) -> Callable[[Callable[..., V]], Callable[..., V]]:
    """A decorator for builders of models: ``pretrained=True``, or True in the place of weights, means weights.

    weights: for each parameter for weights the name that it had, and what True means: weights, or a function of the
    keywords that gives them (None: there are none, ValueError).
    """

    def outer(build: Callable[..., V]) -> Callable[..., V]:
        @functools.wraps(build)
        def inner(*args: Any, **kwargs: Any) -> V:
            if args:  # old programs gave `pretrained` and others by position
                kwargs = dict(zip(inspect.signature(build).parameters, args, strict=False)) | kwargs
            for param, (old, default) in weights.items():
                if old not in kwargs and not isinstance(kwargs.get(param), bool):
                    continue
                value = kwargs.pop(old) if old in kwargs else kwargs[param]
                warnings.warn(f"The parameter '{old}' is deprecated since 0.13, please use '{param}' instead.",
                              UserWarning, stacklevel=2)  # fmt: skip
                kwargs[param] = (default(kwargs) if callable(default) else default) if value else None
                if value and kwargs[param] is None:
                    raise ValueError(f"No weights are available for model {build.__name__}")
            return build(**kwargs)

        return inner

    return outer
