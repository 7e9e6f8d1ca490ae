"""Layers of quantised models (``torch.ao.nn``)."""

from . import intrinsic as intrinsic
from . import qat as qat
from . import quantized as quantized
