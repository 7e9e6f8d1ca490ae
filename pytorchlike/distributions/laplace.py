"""The Laplace distribution."""

from __future__ import annotations

from typing import Any

from ..tensor import Size, Tensor
from ..tensor import functions as T
from ..tensor.dtype import finfo
from . import constraints
from .distribution import Distribution
from .utils import broadcast_all, uniform_like

__all__ = ["Laplace"]


class Laplace(Distribution):
    """The double exponential distribution of mean ``loc`` and mean absolute deviation ``scale``."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True
    _parameters = ("loc", "scale")

    def __init__(self, loc: Tensor | float, scale: Tensor | float, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return 2 * self.scale.pow(2)

    @property
    def stddev(self) -> Tensor:
        return 2**0.5 * self.scale

    def rsample(self, sample_shape: Any = Size()) -> Tensor:
        u = uniform_like(self._extended_shape(sample_shape), self.loc)
        u = u * 2 - 1
        # log1p of what is never -1
        size = u.abs().clamp(max=1 - finfo(u.dtype).eps / 2)
        return self.loc - self.scale * u.sign() * T.log1p(-size)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return -T.log(2 * self.scale) - T.abs(value - self.loc) / self.scale

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        distance = value - self.loc
        return 0.5 - 0.5 * distance.sign() * T.expm1(-distance.abs() / self.scale)

    def icdf(self, value: Tensor) -> Tensor:
        term = value - 0.5
        return self.loc - self.scale * term.sign() * T.log1p(-2 * term.abs())

    def entropy(self) -> Tensor:
        return 1 + T.log(2 * self.scale)
