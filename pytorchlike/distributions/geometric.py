"""The geometric distribution."""

from __future__ import annotations

from typing import Any

from ..autograd.mode import no_grad
from ..nn import functional as F
from ..tensor import Size, Tensor
from ..tensor import functions as T
from ..tensor.dtype import finfo
from . import constraints
from ._logits import ProbsOrLogits, either
from ._validate import require
from .distribution import Distribution
from .utils import broadcast_all, uniform_like

__all__ = ["Geometric"]


class Geometric(ProbsOrLogits, Distribution):
    """How many trials of probability ``probs`` (or log-odds ``logits``) fail before the first that succeeds."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.nonnegative_integer
    _parameters = ("probs", "logits", "_given")

    def __init__(
        self,
        probs: Tensor | float | None = None,
        logits: Tensor | float | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._given, value = either(probs, logits)
        (value,) = broadcast_all(value)
        setattr(self, self._given, value)
        super().__init__(value.shape, validate_args=validate_args)
        if self._validate_args and probs is not None:

            def told() -> str:
                return (
                    f"Expected parameter probs ({type(value).__name__} of shape {tuple(value.shape)}) of distribution "
                    f"{type(self).__name__} to be positive but found invalid values"
                )

            require(constraints.positive, value, lambda: f"{told()}:\n{value}", told)

    @property
    def mean(self) -> Tensor:
        return 1.0 / self.probs - 1.0

    @property
    def mode(self) -> Tensor:
        return T.zeros_like(self.probs)

    @property
    def variance(self) -> Tensor:
        return (1.0 / self.probs - 1.0) / self.probs

    def sample(self, sample_shape: Any = Size()) -> Tensor:
        with no_grad():
            u = uniform_like(self._extended_shape(sample_shape), self.probs)
            return (u.clamp(min=finfo(u.dtype).tiny).log() / (-self.probs).log1p()).floor()

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        value, probs = broadcast_all(value, self.probs)
        # 0 * log(0) for the trial that succeeds at once
        probs = T.where((probs == 1) & (value == 0), 0.0, probs)
        return value * (-probs).log1p() + self.probs.log()

    def entropy(self) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none") / self.probs
