"""Rounding in training as integers would round it: the gradient passes where nothing is cut off."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor, nn

from .observer import (
    _PER_CHANNEL,
    FixedQParamsObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    _WithArgs,
)  # fmt: skip

__all__ = [
    "FakeQuantize", "FakeQuantizeBase", "FixedQParamsFakeQuantize", "FusedMovingAvgObsFakeQuantize",
    "default_fake_quant", "default_fused_act_fake_quant", "default_fused_per_channel_wt_fake_quant",
    "default_fused_wt_fake_quant", "default_per_channel_weight_fake_quant", "default_weight_fake_quant",
    "disable_fake_quant", "disable_observer", "enable_fake_quant", "enable_observer",
]  # fmt: skip


class FakeQuantizeBase(nn.Module, _WithArgs):
    """Can be switched on and off, as can its observer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("fake_quant_enabled", torch.tensor([1], dtype=torch.uint8))
        self.register_buffer("observer_enabled", torch.tensor([1], dtype=torch.uint8))
        self._fakes = self._observes = True  # the same, known without reading the buffers

    def enable_fake_quant(self, enabled: bool = True) -> None:
        """Round, or pass everything through."""
        self._fakes = bool(enabled)
        self.fake_quant_enabled.fill_(1 if enabled else 0)

    def disable_fake_quant(self) -> None:
        """Pass everything through."""
        self.enable_fake_quant(False)

    def enable_observer(self, enabled: bool = True) -> None:
        """Follow what passes with scale and zero point, or leave them."""
        self._observes = bool(enabled)
        self.observer_enabled.fill_(1 if enabled else 0)

    def disable_observer(self) -> None:
        """Leave scale and zero point as they are."""
        self.enable_observer(False)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        for name in ("scale", "zero_point"):
            if prefix + name in state_dict:
                setattr(self, name, torch.zeros_like(state_dict[prefix + name]))
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._fakes, self._observes = bool(self.fake_quant_enabled[0]), bool(self.observer_enabled[0])


class FakeQuantize(FakeQuantizeBase):
    """observer: a class; its other arguments follow. Buffers: scale, zero_point, and the two switches."""

    def __init__(self, observer: Any = MovingAverageMinMaxObserver, quant_min: int | None = None,
                 quant_max: int | None = None, is_dynamic: bool = False, **observer_kwargs: Any) -> None:  # fmt: skip
        super().__init__()
        if quant_min is not None and quant_max is not None:
            if quant_min > quant_max:
                raise AssertionError("quant_min must be less than or equal to quant_max")
            observer_kwargs.update(quant_min=quant_min, quant_max=quant_max)
        self.activation_post_process = observer(**observer_kwargs)
        its = self.activation_post_process
        self.quant_min, self.quant_max, self.is_dynamic = its.quant_min, its.quant_max, is_dynamic
        self.dtype, self.qscheme, self.ch_axis = its.dtype, its.qscheme, getattr(its, "ch_axis", -1)
        self.register_buffer("scale", torch.tensor([1.0]))
        self.register_buffer("zero_point", torch.tensor([0], dtype=torch.int32))

    @property
    def is_per_channel(self) -> bool:
        """Whether each channel has a scale of its own."""
        return self.qscheme in _PER_CHANNEL

    def calculate_qparams(self) -> Any:
        """Scale and zero point of what was observed."""
        return self.activation_post_process.calculate_qparams()

    def forward(self, X: Tensor) -> Tensor:
        its = self.activation_post_process
        if self._observes:
            with torch.no_grad():
                its(X.detach())
                scale, zero = its._params(its.min_val, its.max_val)
                if self.scale.shape != scale.shape:
                    self.scale, self.zero_point = torch.ones_like(scale), torch.zeros(scale.shape, dtype=torch.int32)
                self.scale.copy_(scale)
                self.zero_point.copy_(zero)
        if not self._fakes:
            return X
        if self.is_per_channel:
            return torch.fake_quantize_per_channel_affine(
                X, self.scale, self.zero_point, self.ch_axis, self.quant_min, self.quant_max
            )
        return torch.fake_quantize_per_tensor_affine(X, self.scale, self.zero_point, self.quant_min, self.quant_max)

    def extra_repr(self) -> str:
        return (f"fake_quant_enabled={self.fake_quant_enabled}, observer_enabled={self.observer_enabled}, "
                f"scale={self.scale}, zero_point={self.zero_point}, dtype={self.dtype}, quant_min={self.quant_min}, "
                f"quant_max={self.quant_max}, qscheme={self.qscheme}")  # fmt: skip


class FusedMovingAvgObsFakeQuantize(FakeQuantize):
    """The same: XLA fuses observing and rounding by itself."""


class FixedQParamsFakeQuantize(FakeQuantize):
    """With a FixedQParamsObserver: scale and zero point are given."""

    def __init__(self, observer: Callable[..., FixedQParamsObserver]) -> None:
        super().__init__(observer=observer)
        self.scale.copy_(self.activation_post_process.scale)
        self.zero_point.copy_(self.activation_post_process.zero_point)
        self.disable_observer()


_symmetric = {"quant_min": -128, "quant_max": 127, "dtype": torch.qint8}
default_fake_quant = FakeQuantize.with_args(
    observer=MovingAverageMinMaxObserver, quant_min=0, quant_max=255, dtype=torch.quint8,
    qscheme=torch.per_tensor_affine, reduce_range=True,
)  # fmt: skip
default_weight_fake_quant = FakeQuantize.with_args(
    observer=MovingAverageMinMaxObserver, qscheme=torch.per_tensor_symmetric, reduce_range=False, **_symmetric
)
default_per_channel_weight_fake_quant = FakeQuantize.with_args(
    observer=MovingAveragePerChannelMinMaxObserver, qscheme=torch.per_channel_symmetric, reduce_range=False, ch_axis=0,
    **_symmetric,
)  # fmt: skip
default_fused_act_fake_quant = FusedMovingAvgObsFakeQuantize.with_args(
    observer=MovingAverageMinMaxObserver, quant_min=0, quant_max=255, dtype=torch.quint8
)
default_fused_wt_fake_quant = FusedMovingAvgObsFakeQuantize.with_args(
    observer=MovingAverageMinMaxObserver, qscheme=torch.per_tensor_symmetric, **_symmetric
)
default_fused_per_channel_wt_fake_quant = FusedMovingAvgObsFakeQuantize.with_args(
    observer=MovingAveragePerChannelMinMaxObserver, qscheme=torch.per_channel_symmetric, **_symmetric
)


def _on_all(mod: nn.Module, name: str) -> None:
    if isinstance(mod, FakeQuantizeBase):
        getattr(mod, name)()


enable_fake_quant = partial(_on_all, name="enable_fake_quant")
disable_fake_quant = partial(_on_all, name="disable_fake_quant")
enable_observer = partial(_on_all, name="enable_observer")
disable_observer = partial(_on_all, name="disable_observer")
