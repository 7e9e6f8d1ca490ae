"""``torch.onnx``: there is no exporter; programs that only import it, or ask whether an export is under way, run."""

from __future__ import annotations

import types
from typing import Any, NoReturn

__all__ = [
    "ExportableModule", "InputObserver", "ONNXProgram", "OnnxExporterError", "errors", "export", "is_in_onnx_export",
    "register_custom_op_symbolic", "unregister_custom_op_symbolic",
]  # fmt: skip

_NO_EXPORT = (
    "there is no ONNX exporter: programs are recorded for XLA, not as a graph of ATen operators. Save the state_dict "
    "with torch.save and export it where PyTorch is installed."
)


def is_in_onnx_export() -> bool:
    """False: no export is ever under way."""
    return False


def export(model: Any, *args: Any, **kwargs: Any) -> NoReturn:
    """Raises NotImplementedError: see the module."""
    raise NotImplementedError(f"torch.onnx.export: {_NO_EXPORT}")


def register_custom_op_symbolic(symbolic_name: str, symbolic_fn: Any, opset_version: int,
                                custom_opsets: Any = None) -> None:  # fmt: skip
    """Accepted, since libraries register their operators while they are imported; no export will ever ask."""


def unregister_custom_op_symbolic(symbolic_name: str, opset_version: int) -> None:
    """Accepted, as :func:`register_custom_op_symbolic`."""


class OnnxExporterError(RuntimeError):
    """Something went wrong in an export. Nothing raises it here."""


class UnsupportedOperatorError(OnnxExporterError):
    """An operator is not there in ONNX. Nothing raises it here."""


class SymbolicValueError(OnnxExporterError):
    """A value could not be exported. Nothing raises it here."""


#: Where PyTorch keeps the errors.
errors = types.SimpleNamespace(OnnxExporterError=OnnxExporterError, SymbolicValueError=SymbolicValueError,
                               UnsupportedOperatorError=UnsupportedOperatorError)  # fmt: skip


class _Refused:
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(f"torch.onnx.{type(self).__name__}: {_NO_EXPORT}")


class ONNXProgram(_Refused):
    """Nothing is one: there is no exporter."""


class ExportableModule(_Refused):
    """Nothing is one: there is no exporter."""


class InputObserver(_Refused):
    """Nothing is one: there is no exporter."""


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module 'torch.onnx' has no attribute '{name}': {_NO_EXPORT}")
