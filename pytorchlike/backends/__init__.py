"""``torch.backends``: settings of libraries. Those that have a meaning for XLA act; the others are hints, and kept."""

from __future__ import annotations

from typing import Any

from ..tensor.functions_settings import get_float32_matmul_precision, set_float32_matmul_precision
from ._settings import Settings, use
from ._settings import freeze as disable_global_flags
from ._settings import frozen as flags_frozen
from ._settings import opened as __allow_nonbracketed_mutation  # noqa: F401 - MONAI opens the settings by it

__all__ = ["disable_global_flags", "flags_frozen"]

#: What programs may ask for, in PyTorch's spelling, and the precision of products that it stands for.
_PRECISIONS = {"ieee": "highest", "tf32": "high", "bf16": "medium"}


class _Backends(Settings):
    @property
    def fp32_precision(self) -> str:
        """Precision of float32 products: 'ieee', 'tf32' or 'bf16'; see ``torch.set_float32_matmul_precision``."""
        return next(k for k, v in _PRECISIONS.items() if v == get_float32_matmul_precision())

    @fp32_precision.setter
    def fp32_precision(self, value: str) -> None:
        set_precision(value)


def set_precision(value: Any) -> None:
    """``set_float32_matmul_precision`` by PyTorch's newer names."""
    if value not in _PRECISIONS:
        raise RuntimeError(f"Invalid precision: {value!r}; expected one of {', '.join(_PRECISIONS)}")
    set_float32_matmul_precision(_PRECISIONS[value])


use(__name__, _Backends)

from . import cpu as cpu
from . import cuda as cuda
from . import cudnn as cudnn
from . import mha as mha
from . import mkl as mkl
from . import mkldnn as mkldnn
from . import mps as mps
from . import nnpack as nnpack
from . import openmp as openmp
from . import opt_einsum as opt_einsum
from . import quantized as quantized
