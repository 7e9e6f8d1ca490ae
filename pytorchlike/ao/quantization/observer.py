"""Observers: modules that note what range of values passes, and choose a scale and zero point for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor, nn

__all__ = [
    "FixedQParamsObserver", "HistogramObserver", "MinMaxObserver", "MovingAverageMinMaxObserver",
    "MovingAveragePerChannelMinMaxObserver", "NoopObserver", "ObserverBase", "PerChannelMinMaxObserver",
    "PlaceholderObserver", "RecordingObserver", "ReuseInputObserver", "default_debug_observer",
    "default_dynamic_quant_observer", "default_histogram_observer", "default_observer",
    "default_per_channel_weight_observer", "default_placeholder_observer", "default_weight_observer",
    "get_observer_state_dict", "load_observer_state_dict",
]  # fmt: skip

_PER_CHANNEL = (torch.per_channel_affine, torch.per_channel_symmetric)
_SYMMETRIC = (torch.per_tensor_symmetric, torch.per_channel_symmetric)
_RANGES = {torch.qint8: (-128, 127), torch.quint8: (0, 255), torch.int8: (-128, 127), torch.uint8: (0, 255),
           torch.qint32: (-(2**31), 2**31 - 1), torch.int32: (-(2**31), 2**31 - 1),
           torch.int16: (-(2**15), 2**15 - 1)}  # fmt: skip


class _WithArgs:
    @classmethod
    def with_args(cls, **kwargs: Any) -> Callable[..., Any]:
        """The class with some arguments given already."""
        return partial(cls, **kwargs)


class ObserverBase(nn.Module, _WithArgs):
    """``forward`` notes and returns its input; :meth:`calculate_qparams` gives scale and zero point."""

    def __init__(self, dtype: Any, is_dynamic: bool = False) -> None:
        super().__init__()
        self.dtype, self.is_dynamic = dtype, is_dynamic

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def calculate_qparams(self, **kwargs: Any) -> Any:
        """(scale, zero_point)."""
        raise NotImplementedError


class _Ranged(ObserverBase):
    def __init__(
        self, dtype: Any = torch.quint8, qscheme: Any = torch.per_tensor_affine, reduce_range: bool = False,
        quant_min: int | None = None, quant_max: int | None = None, factory_kwargs: Any = None,
        eps: float = float(np.finfo(np.float32).eps), is_dynamic: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(dtype, is_dynamic)
        if dtype not in _RANGES:
            raise AssertionError(f"Default Observer only works for quantised and integer dtypes, got {dtype}")
        self.qscheme, self.reduce_range = qscheme, reduce_range
        self.register_buffer("eps", torch.tensor([eps]))
        self.has_customized_qrange = quant_min is not None and quant_max is not None
        low, high = (quant_min, quant_max) if self.has_customized_qrange else _RANGES[dtype]
        if reduce_range:
            low, high = (low // 2, high // 2) if low < 0 or not self.has_customized_qrange else (0, high // 2)
        self.quant_min, self.quant_max = int(low), int(high)  # type: ignore[arg-type]

    def _params(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        low, high = low.clamp(max=0), high.clamp(min=0)
        least, most = self.quant_min, self.quant_max
        if self.qscheme in _SYMMETRIC:
            high = torch.maximum(-low, high)
            scale = torch.maximum(high / ((most - least) / 2), self.eps)
            middle = 0
            if self.dtype in (torch.quint8, torch.uint8):
                middle = (least + most) // 2 if self.has_customized_qrange else 128
            zero = torch.full(scale.shape, middle, dtype=torch.int64)
        else:
            scale = torch.maximum((high - low) / (most - least), self.eps)
            zero = (least - torch.round(low / scale)).clamp(least, most).to(torch.int64)
        return scale.reshape(-1), zero.reshape(-1)

    def calculate_qparams(self, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Scale (float32) and zero point (int64), one of each, or one for each channel."""
        if self.min_val.numel() == 0 or (self.min_val.numel() == 1 and float(self.min_val) > float(self.max_val)):
            warnings.warn("must run observer before calling calculate_qparams. Returning default scale and zero point",
                          stacklevel=2)  # fmt: skip
            return torch.ones(1), torch.zeros(1, dtype=torch.int64)
        return self._params(self.min_val, self.max_val)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"


class MinMaxObserver(_Ranged):
    """The least and the largest value seen."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.qscheme in _PER_CHANNEL:
            raise NotImplementedError("MinMaxObserver's qscheme only support torch.per_tensor_symmetric and "
                                      "torch.per_tensor_affine.")  # fmt: skip
        self.register_buffer("min_val", torch.tensor(float("inf")))
        self.register_buffer("max_val", torch.tensor(float("-inf")))

    def forward(self, x_orig: Tensor) -> Tensor:
        if x_orig.numel():
            x = x_orig.detach().to(self.min_val.dtype)
            self._note(x.min(), x.max())
        return x_orig

    def _note(self, low: Tensor, high: Tensor) -> None:
        self.min_val.copy_(torch.minimum(self.min_val, low))
        self.max_val.copy_(torch.maximum(self.max_val, high))

    def reset_min_max_vals(self) -> None:
        """Forget what was seen."""
        self.min_val.fill_(float("inf"))
        self.max_val.fill_(float("-inf"))


class MovingAverageMinMaxObserver(MinMaxObserver):
    """Averages of each batch's least and largest values: ``a + averaging_constant * (new - a)``."""

    def __init__(self, averaging_constant: float = 0.01, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.averaging_constant = averaging_constant

    def _note(self, low: Tensor, high: Tensor) -> None:
        first = torch.isinf(self.min_val) & torch.isinf(self.max_val)
        for kept, new in ((self.min_val, low), (self.max_val, high)):
            # inf - inf would be nan where nothing was seen before
            known = torch.where(first, new, kept)
            kept.copy_(torch.where(first, new, known + self.averaging_constant * (new - known)))


class PerChannelMinMaxObserver(_Ranged):
    """The least and the largest value of each index of dimension ``ch_axis``."""

    def __init__(self, ch_axis: int = 0, dtype: Any = torch.quint8, qscheme: Any = torch.per_channel_affine,
                 *args: Any, **kwargs: Any) -> None:  # fmt: skip
        super().__init__(dtype, qscheme, *args, **kwargs)
        if qscheme not in _PER_CHANNEL:
            raise NotImplementedError("PerChannelMinMaxObserver's qscheme only support torch.per_channel_symmetric and "
                                      "torch.per_channel_affine.")  # fmt: skip
        self.ch_axis = ch_axis
        self.register_buffer("min_val", torch.tensor([]))
        self.register_buffer("max_val", torch.tensor([]))

    def forward(self, x_orig: Tensor) -> Tensor:
        if x_orig.numel():
            x = x_orig.detach().to(torch.float32).transpose(0, self.ch_axis).flatten(1)
            self._note(x.amin(1), x.amax(1))
        return x_orig

    def _note(self, low: Tensor, high: Tensor) -> None:
        if self.min_val.numel() == 0:
            self.min_val, self.max_val = low, high
        else:
            self.min_val.copy_(self._mixed(self.min_val, low, torch.minimum))
            self.max_val.copy_(self._mixed(self.max_val, high, torch.maximum))

    def _mixed(self, kept: Tensor, new: Tensor, choose: Callable[..., Tensor]) -> Tensor:
        return choose(kept, new)

    def reset_min_max_vals(self) -> None:
        """Forget what was seen."""
        self.min_val, self.max_val = torch.tensor([]), torch.tensor([])

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        for name in ("min_val", "max_val"):  # as many channels as were seen when they were saved
            if prefix + name in state_dict:
                setattr(self, name, torch.zeros_like(state_dict[prefix + name]))
        super()._load_from_state_dict(state_dict, prefix, *args)


class MovingAveragePerChannelMinMaxObserver(PerChannelMinMaxObserver):
    """Averages of each batch's values for each channel."""

    def __init__(self, averaging_constant: float = 0.01, ch_axis: int = 0, *args: Any, **kwargs: Any) -> None:
        super().__init__(ch_axis, *args, **kwargs)
        self.averaging_constant = averaging_constant

    def _mixed(self, kept: Tensor, new: Tensor, choose: Callable[..., Tensor]) -> Tensor:
        return kept + self.averaging_constant * (new - kept)


class HistogramObserver(MinMaxObserver):
    """Counts values and chooses the range, within that of all values, whose rounding has the least squared error.

    The search is over ranges that cut off counts from either end; it is not PyTorch's, so that ranges may differ from
    its by a few bins. Reads values.
    """

    def __init__(self, bins: int = 2048, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bins = bins
        self.register_buffer("histogram", torch.zeros(bins))

    def forward(self, x_orig: Tensor) -> Tensor:
        if x_orig.numel():
            x = x_orig.detach().cpu().numpy().astype(np.float32).ravel()
            old = (float(self.min_val), float(self.max_val))
            low, high = min(float(x.min()), old[0]), max(float(x.max()), old[1])
            counts = np.histogram(x, self.bins, (low, high))[0].astype(np.float32)
            if np.isfinite(old[0]):
                middles = np.linspace(*old, self.bins * 2 + 1)[1::2]
                counts += np.histogram(middles, self.bins, (low, high), weights=self.histogram.numpy())[0]
            self.histogram.copy_(torch.from_numpy(counts.astype(np.float32)))
            self._note(torch.tensor(low), torch.tensor(high))
        return x_orig

    def calculate_qparams(self, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Scale and zero point of the chosen range."""
        low, high = float(self.min_val), float(self.max_val)
        if low >= high:
            return super().calculate_qparams()
        counts = self.histogram.numpy().astype(np.float64)
        edges = np.linspace(low, high, self.bins + 1)
        middles, width = (edges[1:] + edges[:-1]) / 2, (high - low) / self.bins
        total, best = np.cumsum(counts) / counts.sum(), None
        for share in (0.0, 1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2):
            for one_sided in (False, True):
                first = 0 if one_sided and low >= 0 else int(np.searchsorted(total, share, "right"))
                last = int(np.searchsorted(total, 1 - share))
                a, b = edges[min(first, self.bins - 1)], edges[min(last + 1, self.bins)]
                a, b = min(a, 0.0) if low < 0 else a, max(b, 0.0)
                step = max((b - a) / (self.quant_max - self.quant_min), width * 1e-3)
                cut = np.clip(middles, a, b)
                error = float((counts * ((middles - cut) ** 2 + np.where(middles == cut, step**2 / 12, 0))).sum())
                if best is None or error < best[0]:
                    best = (error, a, b)
        return self._params(torch.tensor(best[1], dtype=torch.float32), torch.tensor(best[2], dtype=torch.float32))  # type: ignore[index]


class PlaceholderObserver(ObserverBase):
    """Notes nothing; says which dtype is wanted."""

    def __init__(self, dtype: Any = torch.float32, custom_op_name: str = "", compute_dtype: Any = None,
                 quant_min: int | None = None, quant_max: int | None = None, qscheme: Any = None,
                 eps: float | None = None, is_dynamic: bool = False) -> None:  # fmt: skip
        super().__init__(dtype, is_dynamic)
        self.qscheme, self.quant_min, self.quant_max = qscheme or torch.per_tensor_affine, quant_min, quant_max
        self.custom_op, self.eps = custom_op_name, eps
        if compute_dtype:
            self.is_dynamic = True

    def forward(self, x: Tensor) -> Tensor:
        return x

    def calculate_qparams(self, **kwargs: Any) -> Any:
        raise RuntimeError("calculate_qparams should not be called for PlaceholderObserver")


class NoopObserver(PlaceholderObserver):
    """Notes nothing."""


class ReuseInputObserver(PlaceholderObserver):
    """Notes nothing: what passes keeps the scale that it has."""


class RecordingObserver(ObserverBase):
    """Keeps the tensors themselves."""

    def __init__(self, dtype: Any = torch.quint8) -> None:
        super().__init__(dtype)
        self.tensor_val: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.tensor_val.append(x.detach().clone())
        return x

    def get_tensor_value(self) -> list[Tensor]:
        """What was seen."""
        return self.tensor_val

    def calculate_qparams(self, **kwargs: Any) -> Any:
        raise RuntimeError("calculate_qparams should not be called for RecordingObserver")


class FixedQParamsObserver(ObserverBase):
    """Scale and zero point that are given."""

    def __init__(self, scale: float, zero_point: int, dtype: Any = torch.quint8, qscheme: Any = torch.per_tensor_affine,
                 quant_min: int = 0, quant_max: int = 255, is_dynamic: bool = False) -> None:  # fmt: skip
        super().__init__(dtype, is_dynamic)
        self.quant_min, self.quant_max, self.qscheme = quant_min, quant_max, qscheme
        self.register_buffer("scale", torch.tensor([scale]))
        self.register_buffer("zero_point", torch.tensor([zero_point], dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        return x

    def calculate_qparams(self, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """What was given."""
        return self.scale, self.zero_point


default_observer = MinMaxObserver.with_args(quant_min=0, quant_max=127)
default_weight_observer = MinMaxObserver.with_args(dtype=torch.qint8, qscheme=torch.per_tensor_symmetric)
default_per_channel_weight_observer = PerChannelMinMaxObserver.with_args(
    dtype=torch.qint8, qscheme=torch.per_channel_symmetric
)
default_histogram_observer = HistogramObserver.with_args(quant_min=0, quant_max=127)
default_placeholder_observer = PlaceholderObserver
default_debug_observer = RecordingObserver
default_dynamic_quant_observer = PlaceholderObserver.with_args(
    dtype=torch.quint8, quant_min=0, quant_max=255, is_dynamic=True
)


def get_observer_state_dict(mod: nn.Module) -> dict[str, Any]:
    """The part of a state_dict that belongs to observers."""
    return {k: v for k, v in mod.state_dict().items() if "activation_post_process" in k or "observer" in k}


def load_observer_state_dict(mod: nn.Module, obs_dict: dict[str, Any]) -> None:
    """Load what :func:`get_observer_state_dict` returned; other tensors stay."""
    mod.load_state_dict(obs_dict, strict=False)
