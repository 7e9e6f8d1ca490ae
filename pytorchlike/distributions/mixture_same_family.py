"""Mixtures of distributions of one family."""

from __future__ import annotations

from typing import Any

from ..autograd.mode import no_grad
from ..tensor import Size, Tensor
from ..tensor import functions as T
from . import constraints
from .categorical import Categorical
from .constraints import MixtureSameFamilyConstraint
from .distribution import Distribution

__all__ = ["MixtureSameFamily"]


class MixtureSameFamily(Distribution):
    """A mixture: ``mixture_distribution`` (a :class:`Categorical`) draws which of the components a value is of.

    The components are the last batch dimension of ``component_distribution``.  Raises ValueError if the two do not go
    together.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    has_rsample = False

    def __init__(
        self,
        mixture_distribution: Categorical,
        component_distribution: Distribution,
        validate_args: bool | None = None,
    ) -> None:
        self._mixture_distribution = mixture_distribution
        self._component_distribution = component_distribution
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError("The Mixture distribution needs to be an instance of torch.distributions.Categorical")
        if not isinstance(component_distribution, Distribution):
            raise ValueError("The Component distribution needs to be an instance of torch.distributions.Distribution")
        mixture, batch = mixture_distribution.batch_shape, component_distribution.batch_shape
        if not batch:
            raise IndexError("MixtureSameFamily: the component distribution has no batch dimension for the components")
        for a, b in zip(reversed(mixture), reversed(batch[:-1]), strict=False):
            if a != 1 and b != 1 and a != b:
                raise ValueError(
                    f"`mixture_distribution.batch_shape` ({mixture}) is not compatible with "
                    f"`component_distribution.batch_shape`({batch[:-1]})"
                )
        components = mixture_distribution.param_shape[-1]
        if components != batch[-1]:
            raise ValueError(
                f"`mixture_distribution component` ({components}) does not equal "
                f"`component_distribution.batch_shape[-1]` ({batch[-1]})"
            )
        self._num_component = components
        self._event_ndims = len(component_distribution.event_shape)
        super().__init__(batch[:-1], component_distribution.event_shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        batch_shape = Size(batch_shape)
        new = self._get_checked_instance(MixtureSameFamily, _instance)
        new._component_distribution = self._component_distribution.expand(batch_shape + (self._num_component,))
        new._mixture_distribution = self._mixture_distribution.expand(batch_shape)
        new._num_component = self._num_component
        new._event_ndims = self._event_ndims
        return self._expanded(new, batch_shape)

    @constraints.dependent_property
    def support(self) -> constraints.Constraint:
        return MixtureSameFamilyConstraint(self._component_distribution.support)

    @property
    def mixture_distribution(self) -> Categorical:
        """The distribution of the component."""
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Distribution:
        """The distributions of the values."""
        return self._component_distribution

    @property
    def mean(self) -> Tensor:
        probs = self._pad_mixture_dimensions(self.mixture_distribution.probs)
        return (probs * self.component_distribution.mean).sum(-1 - self._event_ndims)

    @property
    def variance(self) -> Tensor:
        """The mean of the variances plus the variance of the means."""
        probs = self._pad_mixture_dimensions(self.mixture_distribution.probs)
        components, at = self.component_distribution, -1 - self._event_ndims
        spread = (components.mean - self._pad(self.mean)).pow(2)
        return (probs * components.variance).sum(at) + (probs * spread).sum(at)

    def cdf(self, x: Tensor) -> Tensor:
        """Probability of values up to ``x``."""
        cdf = self.component_distribution.cdf(self._pad(x))
        return (cdf * self.mixture_distribution.probs).sum(-1)

    def log_prob(self, x: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(x)
        log_prob = self.component_distribution.log_prob(self._pad(x))
        return T.logsumexp(log_prob + T.log_softmax(self.mixture_distribution.logits, dim=-1), dim=-1)

    def sample(self, sample_shape: Any = Size()) -> Tensor:
        sample_shape = Size(sample_shape)
        with no_grad():
            at = len(sample_shape) + len(self.batch_shape)
            mixture = self.mixture_distribution
            if mixture.batch_shape != self.batch_shape:
                mixture = mixture.expand(self.batch_shape)
            which = mixture.sample(sample_shape)
            values = self.component_distribution.sample(sample_shape)
            which = which.reshape(which.shape + (1,) * (self._event_ndims + 1))
            shape = values.shape[:at] + (1,) + self.event_shape
            return T.gather(values, at, which.expand(shape)).squeeze(at)

    def _pad(self, x: Tensor) -> Tensor:
        """``x`` with a dimension for the components."""
        return x.unsqueeze(-1 - self._event_ndims)

    def _pad_mixture_dimensions(self, x: Tensor) -> Tensor:
        """Probabilities of the components with the dimensions of an event."""
        return x.reshape(x.shape + (1,) * self._event_ndims)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(\n  {self.mixture_distribution!r},\n  {self.component_distribution!r})"
        )
