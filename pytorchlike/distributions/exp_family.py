"""Exponential families."""

from __future__ import annotations

from typing import Any

from .. import autograd
from ..tensor import Tensor
from .distribution import Distribution

__all__ = ["ExponentialFamily"]


class ExponentialFamily(Distribution):
    """Distributions of density ``exp(<t(x), theta> - F(theta) + k(x))``.

    A subclass tells its natural parameters ``theta`` (``_natural_params``), the log normalizer ``F``
    (``_log_normalizer``) and the mean of the carrier measure ``k`` (``_mean_carrier_measure``); then :meth:`entropy`
    and the divergence of two of one class need no more.
    """

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        raise NotImplementedError(f"{type(self).__name__} does not define _natural_params")

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not define _log_normalizer")

    @property
    def _mean_carrier_measure(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define _mean_carrier_measure")

    def entropy(self) -> Tensor:
        """The entropy, by the gradient of the log normalizer: ``F - <theta, grad F> - E[k]``.

        Source: Nielsen & Nock, Entropies and cross-entropies of exponential families, 2010.
        """
        natural = [p.detach().requires_grad_() for p in self._natural_params]
        normalizer = self._log_normalizer(*natural)
        gradients = autograd.grad(normalizer.sum(), natural, create_graph=True)
        result = normalizer - self._mean_carrier_measure
        for theta, g in zip(natural, gradients, strict=True):
            product = theta * g
            result = result - product.reshape(self._batch_shape + (-1,)).sum(-1)
        return result
