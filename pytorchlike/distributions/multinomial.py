"""The multinomial distribution."""

from __future__ import annotations

import math
from typing import Any

from ..autograd.mode import no_grad
from ..tensor import Size, Tensor
from ..tensor import functions as T
from . import constraints
from .binomial import Binomial
from .categorical import Categorical
from .distribution import Distribution
from .utils import broadcast_all

__all__ = ["Multinomial"]


class Multinomial(Distribution):
    """How often each category occurs in ``total_count`` (an int) draws of a :class:`Categorical`.

    Either ``probs`` or ``logits``, ``(*batch, n)``.  ``log_prob`` takes the number of draws from the value, so that
    any is allowed with ``validate_args=False``.
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    _checked_inside = ("probs", "logits")
    total_count: int

    def __init__(
        self,
        total_count: int = 1,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        self._categorical = Categorical(probs=probs, logits=logits, validate_args=validate_args)
        super().__init__(self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(Multinomial, _instance)
        batch_shape = Size(batch_shape)
        new.total_count = self.total_count
        new._categorical = self._categorical.expand(batch_shape)
        return self._expanded(new, batch_shape)

    @property
    def _binomial(self) -> Binomial:
        return Binomial(total_count=self.total_count, probs=self.probs, validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.probs * self.total_count

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> constraints.Constraint:
        return constraints.multinomial(self.total_count)

    @property
    def logits(self) -> Tensor:
        """Normalised log-probabilities."""
        return self._categorical.logits

    @property
    def probs(self) -> Tensor:
        """Probabilities."""
        return self._categorical.probs

    @property
    def param_shape(self) -> Size:
        """Shape of the parameter that was given."""
        return self._categorical.param_shape

    def sample(self, sample_shape: Any = Size()) -> Tensor:
        sample_shape = Size(sample_shape)
        with no_grad():
            drawn = self._categorical.sample(Size((self.total_count,)) + sample_shape)
            drawn = drawn.movedim(0, -1)  # to be counted into the categories
            counts = drawn.new_zeros(self._extended_shape(sample_shape))
            return counts.scatter_add(-1, drawn, T.ones_like(drawn)).type_as(self.probs)

    def entropy(self) -> Tensor:
        n, binomial = self.total_count, self._binomial
        counts = binomial.enumerate_support(expand=False)[1:]
        expected = (T.exp(binomial.log_prob(counts)) * T.lgamma(counts + 1)).sum((0, -1))  # of log(counts!)
        return n * self._categorical.entropy() - math.lgamma(n + 1) + expected

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        ways = T.lgamma(value.sum(-1) + 1) - T.lgamma(value + 1).sum(-1)
        # nothing was drawn of a category of probability 0: 0 * -inf is 0 here
        logits = logits.masked_fill((value == 0) & (logits == -float("inf")), 0)
        return ways + (logits * value).sum(-1)
