"""``torch.onnx.operators``: sizes as tensors, which TorchScript's exporter could follow."""

from __future__ import annotations

from .._VF import _reshape_from_tensor as reshape_from_tensor_shape
from .._VF import _shape_as_tensor as shape_as_tensor

__all__ = ["reshape_from_tensor_shape", "shape_as_tensor"]
