"""The generalised Pareto distribution."""

from __future__ import annotations

import math
from typing import Any

from ..tensor import Size, Tensor
from ..tensor import functions as T
from . import constraints
from .distribution import Distribution
from .utils import broadcast_all, uniform_like

__all__ = ["GeneralizedPareto"]


class GeneralizedPareto(Distribution):
    """Excesses over a threshold: ``P(x > loc + scale z) = (1 + concentration z) ** (-1 / concentration)``.

    The exponential distribution at concentration 0; for a negative one the support ends at
    ``loc - scale / concentration``.

    Source: Hosking & Wallis, Parameter and quantile estimation for the generalized Pareto distribution, 1987.
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive, "concentration": constraints.real}
    has_rsample = True
    _parameters = ("loc", "scale", "concentration")

    def __init__(
        self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None
    ) -> None:
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        end = self.loc - self.scale / self._safe
        upper = T.where(self.concentration < 0, end, math.inf)
        return constraints.interval(self.loc, upper)

    @property
    def _is_zero(self) -> Tensor:
        return T.isclose(self.concentration, T.zeros_like(self.concentration))

    @property
    def _safe(self) -> Tensor:
        """The concentration, 1 in place of 0, so that branches that are not taken have finite gradients."""
        return T.where(self._is_zero, 1.0, self.concentration)

    def _z(self, x: Tensor) -> Tensor:
        return (x - self.loc) / self.scale

    def rsample(self, sample_shape: Any = Size()) -> Tensor:
        return self.icdf(uniform_like(self._extended_shape(sample_shape), self.loc))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        z, c = self._z(value), self._safe
        inner = T.where(self._is_zero, 0.0, c * z)
        tail = -(1 + 1 / c) * T.log1p(inner)
        return -T.log(self.scale) + T.where(self._is_zero, -z, tail)

    def log_survival_function(self, value: Tensor) -> Tensor:
        """Logarithm of the probability of values greater than ``value``."""
        if self._validate_args:
            self._validate_sample(value)
        z, c = self._z(value), self._safe
        inner = T.where(self._is_zero, 0.0, c * z)
        return T.where(self._is_zero, -z, -T.log1p(inner) / c)

    def log_cdf(self, value: Tensor) -> Tensor:
        """Logarithm of :meth:`cdf`."""
        return T.log1p(-T.exp(self.log_survival_function(value)))

    def cdf(self, value: Tensor) -> Tensor:
        return T.exp(self.log_cdf(value))

    def icdf(self, value: Tensor) -> Tensor:
        c = self._safe
        log_tail = T.log1p(-value)
        return self.loc + self.scale * T.where(self._is_zero, -log_tail, T.expm1(-c * log_tail) / c)

    @property
    def mean(self) -> Tensor:
        c = self.concentration
        valid = c < 1
        mean = self.loc + self.scale / (1 - T.where(valid, c, 0.5))
        return T.where(valid, mean, math.nan)

    @property
    def variance(self) -> Tensor:
        c = self.concentration
        valid = c < 0.5
        safe = T.where(valid, c, 0.25)
        variance = self.scale**2 / ((1 - safe) ** 2 * (1 - 2 * safe))
        return T.where(valid, variance, math.nan)

    def entropy(self) -> Tensor:
        return T.log(self.scale) + self.concentration + 1

    @property
    def mode(self) -> Tensor:
        return self.loc
