"""Parameters that are given as probabilities or as logits."""

from __future__ import annotations

from typing import Any

from ..tensor import Size, Tensor
from .utils import lazy_property, logits_to_probs, probs_to_logits


def either(probs: Any, logits: Any) -> tuple[str, Any]:
    """Name and value of the one that is given; ValueError unless it is exactly one."""
    if (probs is None) == (logits is None):
        raise ValueError("Either `probs` or `logits` must be specified, but not both.")
    return ("logits", logits) if probs is None else ("probs", probs)


class ProbsOrLogits:
    """Either parameter of a distribution, computed from the other if it was not given.

    ``_binary``: probabilities of one event each; otherwise of the categories along the last axis.
    """

    _binary = True

    @lazy_property
    def logits(self) -> Tensor:
        """Log-odds, or normalised log-probabilities of categories."""
        return probs_to_logits(self.probs, is_binary=self._binary)

    @lazy_property
    def probs(self) -> Tensor:
        """Probabilities."""
        return logits_to_probs(self.logits, is_binary=self._binary)

    @property
    def _param(self) -> Tensor:
        """The parameter that was given."""
        return self.__dict__["probs" if self._is_probs else "logits"]

    @property
    def _is_probs(self) -> bool:
        return self.__dict__["_given"] == "probs"

    @property
    def param_shape(self) -> Size:
        """Shape of the parameter that was given."""
        return self._param.size()

    def _new(self, *args: Any, **kwargs: Any) -> Tensor:
        """A new tensor of the parameter's dtype and device."""
        return self._param.new(*args, **kwargs)
