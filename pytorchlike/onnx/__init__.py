"""``torch.onnx``: models as ONNX files, and ONNX files as models.

:func:`export` runs a model as :func:`torch.export.export` does and writes each operator call as ONNX operators;
:class:`ONNXProgram` saves, runs and checks the result. :func:`load`, an addition, makes a module of an ONNX file. The
package ``onnx`` is needed when one of these is used (the extra ``onnx``), onnxruntime only to run models quickly.
"""

from __future__ import annotations

import importlib
import threading
from typing import Any

from .._refused import Refused
from . import errors as errors
from .errors import OnnxExporterError as OnnxExporterError

__all__ = [
    "ExportableModule", "InputObserver", "ONNXProgram", "OnnxExporterError", "OperatorExportTypes", "TrainingMode",
    "errors", "export", "is_in_onnx_export", "load", "register_custom_op_symbolic",
    "unregister_custom_op_symbolic",
]  # fmt: skip

#: running: whether this thread runs a model for an export
_state = threading.local()
_LATE = {"export": "_export", "TrainingMode": "_export",
         "OperatorExportTypes": "_export", "ONNXProgram": "_program", "load": "_load"}  # fmt: skip


def is_in_onnx_export() -> bool:
    """Whether a model is being run for :func:`export`."""
    return getattr(_state, "running", False)


def register_custom_op_symbolic(symbolic_name: str, symbolic_fn: Any, opset_version: int,
                                custom_opsets: Any = None) -> None:  # fmt: skip
    """Accepted, since libraries register TorchScript operators while they are imported; there are none here.

    Rules of one's own are given by ``export(custom_translation_table=...)``.
    """


def unregister_custom_op_symbolic(symbolic_name: str, opset_version: int) -> None:
    """Accepted, as :func:`register_custom_op_symbolic`."""


class ExportableModule(Refused):
    """Not there: give the module itself to :func:`export`."""

    _instead = "give the module itself to torch.onnx.export, or an exported program"


class InputObserver(Refused):
    """Not there: tell ``dynamic_shapes`` to :func:`export`."""

    _instead = "tell torch.onnx.export its dynamic_shapes, which are not found by looking at inputs"


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(f"{__name__}.{_LATE[name]}"), name)
    raise AttributeError(f"module 'torch.onnx' has no attribute '{name}'")
