"""The Kumaraswamy distribution."""

from __future__ import annotations

import math
from typing import Any

from ..tensor import Size, Tensor
from ..tensor import functions as T
from . import constraints
from .transformed_distribution import TransformedDistribution
from .transforms import AffineTransform, PowerTransform
from .uniform import Uniform
from .utils import broadcast_all, euler_constant

__all__ = ["Kumaraswamy"]


def _moments(a: Tensor, b: Tensor, n: int) -> Tensor:
    """The mean of ``x ** n``: ``b B(1 + n / a, b)``."""
    first = 1 + n / a
    log_value = T.lgamma(first) + T.lgamma(b) - T.lgamma(first + b)
    return b * T.exp(log_value)


class Kumaraswamy(TransformedDistribution):
    """Numbers on [0, 1] with ``P(x > t) = (1 - t ** concentration1) ** concentration0``, much like the beta's.

    Source: Kumaraswamy 1980, doi:10.1016/0022-1694(80)90036-0.
    """

    arg_constraints = {"concentration1": constraints.positive, "concentration0": constraints.positive}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(
        self, concentration1: Tensor | float, concentration0: Tensor | float, validate_args: bool | None = None
    ) -> None:
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        like = self.concentration0.detach()
        base = Uniform(T.zeros_like(like), T.ones_like(like), validate_args=False)
        super().__init__(base, self._steps(), validate_args=validate_args)

    def _steps(self) -> list:
        return [
            PowerTransform(exponent=self.concentration0.reciprocal()),
            AffineTransform(loc=1.0, scale=-1.0),
            PowerTransform(exponent=self.concentration1.reciprocal()),
        ]

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(Kumaraswamy, _instance)
        batch_shape = Size(batch_shape)
        new.concentration1 = self.concentration1.expand(batch_shape)
        new.concentration0 = self.concentration0.expand(batch_shape)
        new.base_dist = self.base_dist.expand(batch_shape)
        new.transforms = new._steps()
        return self._expanded(new, batch_shape)

    @property
    def mean(self) -> Tensor:
        return _moments(self.concentration1, self.concentration0, 1)

    @property
    def mode(self) -> Tensor:
        """The mode; NaN where a concentration is less than 1 or both are 1."""
        a, b = self.concentration1, self.concentration0
        inner = ((a - 1) / (a * b - 1)) ** a.reciprocal()
        return T.where((a < 1) | (b < 1), math.nan, inner)

    @property
    def variance(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        return _moments(a, b, 2) - self.mean.pow(2)

    def entropy(self) -> Tensor:
        t1, t0 = 1 - self.concentration1.reciprocal(), 1 - self.concentration0.reciprocal()
        harmonic = T.digamma(self.concentration0 + 1) + euler_constant
        return t0 + t1 * harmonic - T.log(self.concentration1) - T.log(self.concentration0)
