"""The categorical distribution."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.mode import no_grad
from ..tensor import Size, Tensor, tensor
from ..tensor import functions as T
from ..tensor.dtype import finfo, int64
from . import constraints
from ._logits import ProbsOrLogits, either
from .constraints import host_array
from .distribution import Distribution
from .utils import enumerate_numbers

__all__ = ["Categorical"]


class Categorical(ProbsOrLogits, Distribution):
    """One of n categories, as a number from 0 to n - 1.

    Either ``probs`` (not negative; they are divided by their sum) or ``logits`` (log-probabilities up to a constant),
    of shape ``(*batch, n)``.  The attributes of these names are normalised.
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    has_enumerate_support = True
    _binary = False
    _parameters = ("probs", "logits", "_given", "_num_events")

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        self._given, value = either(probs, logits)
        if value.dim() < 1:
            raise ValueError(f"`{self._given}` parameter must be at least one-dimensional.")
        if probs is not None:
            self.probs = value / value.sum(-1, keepdim=True)
            host = host_array(value)
            if host is not None and host.dtype.kind == "f":
                with np.errstate(invalid="ignore", divide="ignore"):
                    self._given_values = {"probs": tensor(host / host.sum(-1, keepdims=True))}
        else:
            self.logits = value - value.logsumexp(dim=-1, keepdim=True)
        self._num_events = value.shape[-1]
        super().__init__(value.shape[:-1], validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> constraints.Constraint:
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def mean(self) -> Tensor:
        return T.full_like(self.probs[..., 0], float("nan"))

    @property
    def mode(self) -> Tensor:
        return self.probs.argmax(dim=-1)

    @property
    def variance(self) -> Tensor:
        return self.mean

    def sample(self, sample_shape: Any = Size()) -> Tensor:
        sample_shape = Size(sample_shape)
        shape = self._extended_shape(sample_shape)
        with no_grad():
            flat = self.probs.reshape(-1, self._num_events)
            drawn = T.multinomial(flat, sample_shape.numel(), True)
            return (drawn.T if sample_shape else drawn).reshape(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        value, logits = value.to(int64).unsqueeze(-1), self.logits
        if value.shape[:-1] != logits.shape[:-1]:
            value, logits = T.broadcast_tensors(value, logits)
            value = value[..., :1]
        return logits.gather(-1, value).squeeze(-1)

    def entropy(self) -> Tensor:
        logits = self.logits.clamp(min=finfo(self.logits.dtype).min)  # a category of probability 0 adds 0
        return -(logits * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return enumerate_numbers(self._num_events, self._batch_shape, self._param, expand, int64)
