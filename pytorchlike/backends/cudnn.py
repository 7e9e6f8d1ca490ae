"""``torch.backends.cudnn``: settings of convolutions on GPUs.

``benchmark``, ``benchmark_limit`` and ``enabled`` say how to look for the quickest of equivalent algorithms, which XLA
does by itself. ``deterministic`` demands results that repeat (see ``torch.use_deterministic_algorithms``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from ..engine import get_mode, set_mode
from ..tensor.device import device_count
from ..tensor.functions_settings import use_deterministic_algorithms
from ._settings import Settings, checked_bool, hint, inside, use

_state = {"deterministic": False}


def is_available() -> bool:
    """Whether GPUs are here, for which JAX brings cuDNN."""
    return device_count("cuda") > 0


def version() -> int | None:
    """cuDNN's version as one number (9.10.2 is 91002), None without cuDNN."""
    import importlib.metadata

    for name in ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12"):
        try:
            major, minor, patch = (*importlib.metadata.version(name).split("."), "0", "0")[:3]
        except importlib.metadata.PackageNotFoundError:
            continue
        return int(major) * 10000 + int(minor) * 100 + int(patch)
    return None


def is_acceptable(tensor: Any) -> bool:
    """Whether cuDNN may serve operations on the tensor."""
    return tensor.is_cuda and is_available()


class _Cudnn(Settings):
    enabled = hint("enabled", True, bool, "cudnn")
    benchmark = hint("benchmark", False, bool, "cudnn")
    benchmark_limit = hint("benchmark_limit", 10, int, "cudnn")

    @property
    def deterministic(self) -> bool:
        """Whether convolutions must repeat bit for bit."""
        return _state["deterministic"]

    @deterministic.setter
    def deterministic(self, value: bool) -> None:
        if checked_bool("cudnn.deterministic", value) and is_available():
            use_deterministic_algorithms(True, warn_only=True)
        _state["deterministic"] = value

    @property
    def allow_tf32(self) -> bool:
        """Whether convolutions of float32 may use TF32 on a GPU, in what this thread records; products have a setting
        of their own, ``torch.set_float32_matmul_precision``.
        """
        return get_mode().precision[1] != "highest"

    @allow_tf32.setter
    def allow_tf32(self, value: bool) -> None:
        mode = get_mode()
        convolutions = "default" if checked_bool("cudnn.allow_tf32", value) else "highest"
        set_mode(mode.replace(precision=(mode.precision[0], convolutions)))


use(__name__, _Cudnn)


@contextlib.contextmanager
def flags(
    enabled: bool = False, benchmark: bool = False, benchmark_limit: int = 10, deterministic: bool = False,
    allow_tf32: bool = True, fp32_precision: str = "none",
) -> Iterator[None]:  # fmt: skip
    """The settings inside a block."""
    given = {"enabled": enabled, "benchmark": benchmark, "benchmark_limit": benchmark_limit,
             "deterministic": deterministic, "allow_tf32": allow_tf32}  # fmt: skip
    if fp32_precision != "none":
        raise NotImplementedError("cudnn.flags: fp32_precision is one setting here: torch.backends.fp32_precision")
    with inside(__name__, given):
        yield
