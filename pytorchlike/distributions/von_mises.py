"""The von Mises distribution."""

from __future__ import annotations

import math
from typing import Any

from .. import special
from ..autograd.mode import no_grad
from ..tensor import Size, Tensor
from ..tensor import functions as T
from . import constraints
from .distribution import Distribution
from .utils import broadcast_all, lazy_property

__all__ = ["VonMises"]


def _log_modified_bessel_fn(x: Tensor, order: int = 0) -> Tensor:
    """``log I_order(x)`` for positive x and order 0 or 1."""
    if order not in (0, 1):
        raise AssertionError(f"order must be 0 or 1, got {order}")
    scaled = special.i0e(x) if order == 0 else special.i1e(x)
    return scaled.log() + x


class VonMises(Distribution):
    """Angles on [-pi, pi) about ``loc``, in radians: the circular normal distribution of that ``concentration``."""

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real
    has_rsample = False
    _parameters = ("loc", "concentration")

    def __init__(self, loc: Tensor, concentration: Tensor, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, Size(), validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        # cos - 1, and the scaled Bessel function, are exact where the concentration is large
        return (
            self.concentration * (T.cos(value - self.loc) - 1)
            - math.log(2 * math.pi)
            - special.i0e(self.concentration).log()
        )

    def sample(self, sample_shape: Any = Size()) -> Tensor:
        """Draw angles, by rejection from a wrapped Cauchy distribution in double precision."""
        shape = self._extended_shape(sample_shape)
        with no_grad():
            return T._von_mises(self.loc.expand(shape), self.concentration.expand(shape))

    @property
    def mean(self) -> Tensor:
        """The circular mean."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @lazy_property
    def variance(self) -> Tensor:  # type: ignore[override]
        """The circular variance, 1 - I1 / I0."""
        return 1 - special.i1e(self.concentration) / special.i0e(self.concentration)
