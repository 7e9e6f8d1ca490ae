"""The binomial distribution."""

from __future__ import annotations

from typing import Any

from ..autograd.mode import no_grad
from ..tensor import Size, Tensor
from ..tensor import functions as T
from . import constraints
from ._logits import ProbsOrLogits, either
from .constraints import host_array
from .distribution import Distribution
from .utils import broadcast_all, enumerate_numbers

__all__ = ["Binomial"]


def _clamp_by_zero(x: Tensor) -> Tensor:
    """``max(x, 0)`` with gradient 1/2 at 0."""
    return (x.clamp(min=0) + x - x.clamp(max=0)) / 2


class Binomial(ProbsOrLogits, Distribution):
    """How many of ``total_count`` trials of probability ``probs`` (or log-odds ``logits``) succeed.

    ``total_count``: an int or a tensor of them, which broadcasts with the other parameter.
    """

    arg_constraints = {
        "total_count": constraints.nonnegative_integer, "probs": constraints.unit_interval, "logits": constraints.real,
    }  # fmt: skip
    has_enumerate_support = True
    _parameters = ("total_count", "probs", "logits", "_given")

    def __init__(
        self,
        total_count: Tensor | int = 1,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._given, value = either(probs, logits)
        self.total_count, value = broadcast_all(total_count, value)
        self.total_count = self.total_count.type_as(value)
        setattr(self, self._given, value)
        super().__init__(value.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> constraints.Constraint:
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.probs

    @property
    def mode(self) -> Tensor:
        return ((self.total_count + 1) * self.probs).floor().clamp(max=self.total_count)

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = Size()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with no_grad():
            return T.binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        n, logits = self.total_count, self.logits
        ways = T.lgamma(n + 1) - T.lgamma(value + 1) - T.lgamma(n - value + 1)
        # value * log p + (n - value) * log(1 - p) in terms of logits, with the exponential of -|logits| only
        normalizer = n * _clamp_by_zero(logits) + n * T.log1p(T.exp(-T.abs(logits)))
        return value * logits + ways - normalizer

    def _common_count(self) -> int:
        """The number of trials if it is the same for all; reads it."""
        counts = host_array(self.total_count)
        counts = self.total_count.detach().numpy() if counts is None else counts
        n = int(counts.max())
        if counts.min() != n:
            raise NotImplementedError("Inhomogeneous total count not supported by `entropy` and `enumerate_support`.")
        return n

    def entropy(self) -> Tensor:
        self._common_count()
        log_prob = self.log_prob(self.enumerate_support(False))
        return -(T.exp(log_prob) * log_prob).sum(0)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return enumerate_numbers(1 + self._common_count(), self._batch_shape, self._param, expand)
