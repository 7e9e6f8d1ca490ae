"""The continuous Bernoulli distribution."""

from __future__ import annotations

import math
from typing import Any

from ..autograd.mode import no_grad
from ..nn import functional as F
from ..tensor import Size, Tensor
from ..tensor import functions as T
from . import constraints
from ._logits import ProbsOrLogits, either
from ._validate import require
from .exp_family import ExponentialFamily
from .utils import broadcast_all, clamp_probs, uniform_like

__all__ = ["ContinuousBernoulli"]


class ContinuousBernoulli(ProbsOrLogits, ExponentialFamily):
    """Numbers on [0, 1] of density ``C(p) p**x (1 - p)**(1 - x)``.

    Formulas divide by ``1 - 2 p``; where ``p`` lies between the ``lims``, Taylor series about 1/2 take their place.

    Source: Loaiza-Ganem & Cunningham, The continuous Bernoulli, arXiv:1907.06845.
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    _mean_carrier_measure = 0
    has_rsample = True
    _parameters = ("probs", "logits", "_given", "_lims")

    def __init__(
        self,
        probs: Tensor | float | None = None,
        logits: Tensor | float | None = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:
        self._given, value = either(probs, logits)
        (value,) = broadcast_all(value)
        if probs is not None:
            if validate_args is not None:
                self._validate_args = validate_args
            if self._validate_args:  # before they are clamped into the interval
                text = "The parameter probs has invalid values"
                require(constraints.unit_interval, value, lambda: text, lambda: text)
            value = clamp_probs(value)
        setattr(self, self._given, value)
        self._lims = lims
        super().__init__(value.shape, validate_args=validate_args)

    def _outside_unstable_region(self) -> Tensor:
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    def _cut_probs(self) -> Tensor:
        """The probabilities, those near 1/2 replaced by the lower limit, so that nothing divides by 0."""
        return T.where(self._outside_unstable_region(), self.probs, self._lims[0])

    def _cont_bern_log_norm(self) -> Tensor:
        """``log C(p) = log(2 artanh(1 - 2 p) / (1 - 2 p))``."""
        cut = self._cut_probs()
        low = T.where(cut <= 0.5, cut, 0.0)
        high = T.where(cut >= 0.5, cut, 1.0)
        log_norm = T.log(T.abs(T.log1p(-cut) - T.log(cut))) - T.where(
            cut <= 0.5, T.log1p(-2.0 * low), T.log(2.0 * high - 1.0)
        )
        x = (self.probs - 0.5) ** 2
        taylor = math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x) * x
        return T.where(self._outside_unstable_region(), log_norm, taylor)

    @property
    def mean(self) -> Tensor:
        cut = self._cut_probs()
        means = cut / (2.0 * cut - 1.0) + 1.0 / (T.log1p(-cut) - T.log(cut))
        x = self.probs - 0.5
        taylor = 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x**2) * x
        return T.where(self._outside_unstable_region(), means, taylor)

    @property
    def stddev(self) -> Tensor:
        return T.sqrt(self.variance)

    @property
    def variance(self) -> Tensor:
        cut = self._cut_probs()
        variances = cut * (cut - 1.0) / (1.0 - 2.0 * cut) ** 2 + 1.0 / (T.log1p(-cut) - T.log(cut)) ** 2
        x = (self.probs - 0.5) ** 2
        taylor = 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * x) * x
        return T.where(self._outside_unstable_region(), variances, taylor)

    def sample(self, sample_shape: Any = Size()) -> Tensor:
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = Size()) -> Tensor:
        return self.icdf(uniform_like(self._extended_shape(sample_shape), self.probs))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        entropy = F.binary_cross_entropy_with_logits(logits, value.to(logits.dtype), reduction="none")
        return self._cont_bern_log_norm() - entropy

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        cut = self._cut_probs()
        cdfs = (cut**value * (1.0 - cut) ** (1.0 - value) + cut - 1.0) / (2.0 * cut - 1.0)
        inside = T.where(self._outside_unstable_region(), cdfs, value)
        return T.where(value <= 0.0, 0.0, T.where(value >= 1.0, 1.0, inside))

    def icdf(self, value: Tensor) -> Tensor:
        cut = self._cut_probs()
        found = (T.log1p(-cut + value * (2.0 * cut - 1.0)) - T.log1p(-cut)) / (T.log(cut) - T.log1p(-cut))
        return T.where(self._outside_unstable_region(), found, value)

    def entropy(self) -> Tensor:
        log0 = T.log1p(-self.probs)
        log1 = T.log(self.probs)
        return self.mean * (log0 - log1) - self._cont_bern_log_norm() - log0

    @property
    def _natural_params(self) -> tuple[Tensor]:
        return (T.logit(self.probs),)

    def _log_normalizer(self, x: Tensor) -> Tensor:
        outside = (x <= self._lims[0] - 0.5) | (x > self._lims[1] - 0.5)
        cut = T.where(outside, x, self._lims[0] - 0.5)
        log_norm = T.log(T.abs(T.expm1(cut))) - T.log(T.abs(cut))
        taylor = 0.5 * x + x**2 / 24.0 - x**4 / 2880.0
        return T.where(outside, log_norm, taylor)
