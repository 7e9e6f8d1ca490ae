"""Pictures on the host: what data loading computes is not recorded, compiled or moved to an accelerator."""

from __future__ import annotations

import functools
import math
import random as python_random
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import host
from ..tensor import Tensor, host_tensor
from ..tensor.random import default_generator
from ..utils.data._random import draw_seed, numpy_generator

__all__ = ["array_of", "hosted", "order", "picked", "pillow", "random", "tensor_of"]


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
    if tensor._borrowed:
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


def random() -> Any:
    """Random numbers for one picture, from the library's generator (``torch.manual_seed``): NumPy's ``Generator``.

    Where PyTorch's numbers are followed, something with those of its methods that transforms use, which draws what
    torchvision draws, as long as it is asked in the same order.
    """
    if default_generator.follows():
        return _Torchvisions()
    return numpy_generator(draw_seed(None))


def order(n: int) -> list[int]:
    """The integers below ``n`` in random order: Python's, where torchvision is followed."""
    if default_generator.follows():
        found = list(range(n))
        python_random.shuffle(found)
        return found
    return random().permutation(n).tolist()


def picked(p: np.ndarray) -> int:
    """A place of ``p``, with these probabilities: by ``multinomial``, where torchvision is followed."""
    if default_generator.follows():
        return int(default_generator.draw(lambda twister: twister.race(p.astype(np.float32), 1))[0])
    return int(random().choice(len(p), p=p))


class _Torchvisions:
    """Draws of torchvision's transforms: one tensor for each number; choices are Python's."""

    def random(self) -> float:
        return float(default_generator.draw(lambda twister: twister.uniform(1, np.float32))[0])

    def uniform(self, low: float, high: float, size: tuple[int, ...] = ()) -> Any:
        n = math.prod(size)
        return default_generator.draw(lambda twister: twister.between(n, np.float32, low, high)).reshape(size)

    def integers(self, low: int, high: int | None = None) -> int:
        low, high = (0, low) if high is None else (low, high)
        return int(default_generator.draw(lambda twister: twister.integers(1, low, high))[0])

    def permutation(self, n: int) -> np.ndarray:
        return default_generator.draw(lambda twister: twister.permutation(n))

    def standard_normal(self, size: tuple[int, ...]) -> np.ndarray:
        return self.normal(0.0, 1.0, size)

    def normal(self, mean: float, std: float, size: tuple[int, ...]) -> np.ndarray:
        n = math.prod(size)
        return default_generator.draw(lambda twister: twister.normal(n, np.float32, mean, std)).reshape(size)

    def choice(self, n: int, p: Any = None) -> int:
        return python_random.choices(range(n), weights=None if p is None else list(p))[0]

    def beta(self, a: float, b: float) -> float:
        return numpy_generator(draw_seed(None)).beta(a, b)

    def dirichlet(self, alpha: Any) -> np.ndarray:
        return numpy_generator(draw_seed(None)).dirichlet(alpha)
