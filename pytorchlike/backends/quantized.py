"""``torch.backends.quantized``: which library would compute in integers. XLA does here, whatever the name."""

from __future__ import annotations

from typing import Any

from ._settings import Settings, use

#: Names that programs may set, PyTorch's on x86.
_ENGINES = ["qnnpack", "onednn", "x86", "fbgemm"]
_engine = "x86"


class _Quantized(Settings):
    @property
    def engine(self) -> str:
        """A hint, kept and unused; RuntimeError for a name that PyTorch does not know."""
        return _engine

    @engine.setter
    def engine(self, value: Any) -> None:
        global _engine
        if value == "none":
            raise RuntimeError("quantized engine NoQEngine is not supported")
        if value not in _ENGINES:
            raise RuntimeError(f"{value} is not a valid value for quantized engine")
        _engine = value

    @property
    def supported_engines(self) -> list[str]:
        """All names that can be set."""
        return list(_ENGINES)

    @supported_engines.setter
    def supported_engines(self, value: Any) -> None:
        raise RuntimeError("Assignment not supported")


use(__name__, _Quantized)
