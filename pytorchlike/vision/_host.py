"""Pictures on the host: what data loading computes is not recorded, compiled or moved to an accelerator."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import host
from ..tensor import Tensor, host_tensor
from ..utils.data._random import draw_seed

__all__ = ["array_of", "hosted", "pillow", "random", "tensor_of"]


def pillow(module: str = "Image") -> Any:
    """A module of Pillow; ImportError naming the extra to install if it is missing."""
    try:
        return __import__(f"PIL.{module}", fromlist=[module])
    except ImportError as error:
        raise ImportError('pictures need Pillow: pip install "pytorchlike[vision]"') from error


def array_of(tensor: Tensor) -> np.ndarray | None:
    """The elements of a tensor that lies in host memory and needs no gradient, not to be written to; otherwise None."""
    if tensor.requires_grad:
        return None
    alias = tensor._alias
    if alias is not None and alias.storage.host is not None:
        return tensor._look()
    data = tensor._get().data
    return data if type(data) is np.ndarray and tensor.device.type == "cpu" else None


def tensor_of(array: np.ndarray) -> Tensor:
    """A tensor that keeps ``array``, which nobody else may write to."""
    return host_tensor(np.ascontiguousarray(array), "cpu")


def hosted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have a function of a tensor computed at once by NumPy if the tensor lies in host memory."""

    @functools.wraps(function)
    def call(img: Tensor, *args: Any, **kwargs: Any) -> Any:
        if array_of(img) is None:
            return function(img, *args, **kwargs)
        with host.apart():
            return function(img, *args, **kwargs)

    return call


def random() -> np.random.Generator:
    """NumPy's random numbers for one picture, seeded by the library's generator (``torch.manual_seed``)."""
    return np.random.Generator(np.random.PCG64(draw_seed(None)))
