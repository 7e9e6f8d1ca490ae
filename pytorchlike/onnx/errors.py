"""``torch.onnx.errors``: what exporting to ONNX, and reading it, raises."""

from __future__ import annotations

__all__ = ["OnnxExporterError", "OnnxExporterWarning", "SymbolicValueError", "UnsupportedOperatorError"]


class OnnxExporterWarning(UserWarning):
    """Something about an export that may not be what was meant."""


class OnnxExporterError(RuntimeError):
    """Something went wrong in an export."""


class UnsupportedOperatorError(OnnxExporterError):
    """An operator, or a use of it, that cannot be written as ONNX operators of the chosen version."""


class SymbolicValueError(OnnxExporterError):
    """A value that cannot be told. PyTorch's older exporter raises it; nothing here does."""
