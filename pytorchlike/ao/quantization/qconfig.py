"""Which observers see a layer's results and its weights."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytorchlike as torch

from . import fake_quantize as f
from . import observer as o

__all__ = [
    "QConfig", "default_dynamic_qconfig", "default_per_channel_qconfig", "default_qat_qconfig", "default_qconfig",
    "default_weight_only_qconfig", "float16_dynamic_qconfig", "get_default_qat_qconfig", "get_default_qconfig",
    "per_channel_dynamic_qconfig",
]  # fmt: skip


class QConfig(NamedTuple):
    """activation, weight: functions that make observers (or fake quantisers) of results and weights."""

    activation: Any
    weight: Any


default_qconfig = QConfig(o.default_observer, o.default_weight_observer)
default_per_channel_qconfig = QConfig(o.default_observer, o.default_per_channel_weight_observer)
default_dynamic_qconfig = QConfig(o.default_dynamic_quant_observer, o.default_weight_observer)
per_channel_dynamic_qconfig = QConfig(o.default_dynamic_quant_observer, o.default_per_channel_weight_observer)
float16_dynamic_qconfig = QConfig(o.PlaceholderObserver.with_args(dtype=torch.float16, is_dynamic=True),
                                  o.PlaceholderObserver.with_args(dtype=torch.float16))  # fmt: skip
default_qat_qconfig = QConfig(f.default_fake_quant, f.default_weight_fake_quant)
default_weight_only_qconfig = QConfig(o.NoopObserver, f.default_weight_fake_quant)

_BACKENDS = ("x86", "fbgemm", "qnnpack", "onednn")


def _known(name: str, backend: str, version: int, only: int) -> bool:
    """Whether the backend's activations have seven bits."""
    if version != only:
        raise AssertionError(f"Version number: {version} in {name} is not supported. Version number must be {only}")
    if backend not in _BACKENDS:
        raise AssertionError(f"backend: {backend} not supported. backend must be one of {list(_BACKENDS)}")
    return backend in ("x86", "fbgemm")


def get_default_qconfig(backend: str = "x86", version: int = 0) -> QConfig:
    """For quantisation after training. AssertionError for unknown backends and versions other than 0."""
    reduced = _known("get_default_qconfig", backend, version, 0)
    weight = o.default_weight_observer if backend == "qnnpack" else o.default_per_channel_weight_observer
    return QConfig(o.HistogramObserver.with_args(reduce_range=reduced), weight)


def get_default_qat_qconfig(backend: str = "x86", version: int = 1) -> QConfig:
    """For training with quantisation in mind. AssertionError for unknown backends and versions other than 1."""
    reduced = _known("get_default_qat_qconfig", backend, version, 1)
    activation = f.FusedMovingAvgObsFakeQuantize.with_args(
        observer=o.MovingAverageMinMaxObserver, quant_min=0, quant_max=255, reduce_range=reduced
    )
    weight = (f.default_fused_wt_fake_quant if backend == "qnnpack" else f.default_fused_per_channel_wt_fake_quant)
    return QConfig(activation, weight)
