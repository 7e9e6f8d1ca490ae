"""The base class of distributions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

from ..autograd.mode import no_grad
from ..tensor import Size, Tensor
from ..tensor import functions as T
from . import constraints
from ._validate import describe, require
from .utils import lazy_property

__all__ = ["Distribution"]


def _told(value: Any) -> str:
    return f"{type(value).__name__} of shape {tuple(value.shape)}"


class Distribution:
    """A probability distribution, or a batch of them of one family.

    Samples have the shape ``sample_shape + batch_shape + event_shape``; ``log_prob`` of them ``sample_shape +
    batch_shape``.

    Parameters and values are checked against their constraints if ``validate_args`` is true (the default, as long as
    Python runs with assertions; see :meth:`set_default_validate_args`).  What is known on the host is checked at once.
    For values that are not computed yet the check is recorded, and the ValueError is raised where a value is next read.
    """

    has_rsample = False
    has_enumerate_support = False
    _validate_args = __debug__
    #: What :meth:`expand` expands (tensors) or copies, of classes that leave it to this one.
    _parameters: ClassVar[tuple[str, ...]]
    #: Parameters that belong to another distribution inside, which has checked them.
    _checked_inside: ClassVar[tuple[str, ...]] = ()
    #: Set before ``__init__``: values known on the host of parameters that are computed, to check in their place.
    _given_values: dict[str, Tensor]

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions check their parameters and values unless told otherwise."""
        if value not in (True, False):
            raise ValueError(f"set_default_validate_args: expected True or False, got {value!r}")
        Distribution._validate_args = value

    def __init__(
        self,
        batch_shape: Sequence[int] = Size(),
        event_shape: Sequence[int] = Size(),
        validate_args: bool | None = None,
    ) -> None:
        self._batch_shape = Size(batch_shape)
        self._event_shape = Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._validate_parameters()
        super().__init__()

    def _validate_parameters(self) -> None:
        try:
            arg_constraints = self.arg_constraints
        except NotImplementedError:
            arg_constraints = {}
            warnings.warn(
                f"{self.__class__} does not define `arg_constraints`. Please set `arg_constraints = {{}}` or "
                "initialize the distribution with `validate_args=False` to turn off validation.",
                stacklevel=4,
            )
        given = self.__dict__.pop("_given_values", {})
        for name, constraint in arg_constraints.items():
            if constraints.is_dependent(constraint) or name in self._checked_inside:
                continue
            if name not in self.__dict__ and isinstance(getattr(type(self), name), lazy_property):
                continue  # follows from the parameters that were given
            value = given[name] if name in given else getattr(self, name)
            require(
                constraint,
                value,
                lambda n=name, c=constraint, v=value: (
                    f"Expected parameter {n} ({_told(v)}) of distribution {self!r} to satisfy the constraint {c!r}, "
                    f"but found invalid values:\n{v}"
                ),
                lambda n=name, c=constraint, v=value: (
                    f"Expected parameter {n} ({_told(v)}) of distribution {type(self).__name__} to satisfy the "
                    f"constraint {describe(c)}, but found invalid values"
                ),
            )

    # ---- shapes --------------------------------------------------------------------------------------------------

    @property
    def batch_shape(self) -> Size:
        """Shape of the batch of distributions."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """Shape of one sample of one distribution."""
        return self._event_shape

    def _extended_shape(self, sample_shape: Sequence[int] = Size()) -> Size:
        """Shape of a sample of that sample shape."""
        return Size((*sample_shape, *self._batch_shape, *self._event_shape))

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Any:
        """The distribution with its batch expanded to ``batch_shape``; its parameters are views, nothing is copied.

        Raises NotImplementedError for a subclass with an ``__init__`` of its own that does not define this method.
        """
        cls = next((c for c in type(self).__mro__ if "_parameters" in vars(c)), None)
        if cls is None:
            raise NotImplementedError(f"{type(self).__name__} does not define expand()")
        new = self._get_checked_instance(cls, _instance)
        batch_shape = Size(batch_shape)
        n = len(self._batch_shape)
        for name in cls._parameters:
            if name in self.__dict__:
                value = self.__dict__[name]
                if isinstance(value, Tensor):
                    value = value.expand(batch_shape + value.shape[n:])
                new.__dict__[name] = value
        return self._expanded(new, batch_shape)

    def _expanded(self, new: Any, batch_shape: Size) -> Any:
        """``new``, which has its parameters, with the attributes that all distributions have."""
        Distribution.__init__(new, batch_shape, self._event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def _get_checked_instance(self, cls: type, _instance: Any = None) -> Any:
        """An empty object to expand into, unless a subclass's ``expand`` hands over its own."""
        if _instance is None and type(self).__init__ != cls.__init__:
            raise NotImplementedError(
                f"Subclass {self.__class__.__name__} of {cls.__name__} that defines a custom __init__ method must also "
                "define a custom .expand() method."
            )
        return object.__new__(type(self)) if _instance is None else _instance

    # ---- what a distribution is ----------------------------------------------------------------------------------

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """The constraint of each parameter."""
        raise NotImplementedError(f"{type(self).__name__} does not define arg_constraints")

    @property
    def support(self) -> constraints.Constraint | None:
        """The region that samples are in."""
        raise NotImplementedError(f"{type(self).__name__} does not define support")

    @property
    def mean(self) -> Tensor:
        """The mean, ``batch_shape + event_shape``."""
        raise NotImplementedError(f"{type(self).__name__} does not define mean")

    @property
    def mode(self) -> Tensor:
        """The most probable value, ``batch_shape + event_shape``."""
        raise NotImplementedError(f"{self.__class__} does not implement mode")

    @property
    def variance(self) -> Tensor:
        """The variance, ``batch_shape + event_shape``."""
        raise NotImplementedError(f"{type(self).__name__} does not define variance")

    @property
    def stddev(self) -> Tensor:
        """The standard deviation, ``batch_shape + event_shape``."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Sequence[int] = Size()) -> Tensor:
        """Draw values, through which no gradient flows."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = Size()) -> Tensor:
        """Draw values that are differentiable by the parameters (by reparameterisation)."""
        raise NotImplementedError(f"{type(self).__name__} cannot be sampled with gradients (rsample); use sample()")

    def sample_n(self, n: int) -> Tensor:
        """``sample((n,))``, deprecated."""
        warnings.warn("`sample_n(n)` will be deprecated. Use `sample((n,))` instead.", FutureWarning, stacklevel=2)
        return self.sample(Size((n,)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Logarithm of the probability density, or of the probability, at ``value``."""
        raise NotImplementedError(f"{type(self).__name__} does not define log_prob()")

    def cdf(self, value: Tensor) -> Tensor:
        """Probability of values up to ``value``."""
        raise NotImplementedError(f"{type(self).__name__} does not define cdf()")

    def icdf(self, value: Tensor) -> Tensor:
        """Inverse of :meth:`cdf`."""
        raise NotImplementedError(f"{type(self).__name__} does not define icdf()")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a discrete distribution along a new first dimension: ``(n, *batch_shape, *event_shape)``.

        With ``expand=False`` the batch dimensions have size 1.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define enumerate_support()")

    def entropy(self) -> Tensor:
        """The entropy in nats, ``batch_shape``."""
        raise NotImplementedError(f"{type(self).__name__} does not define entropy()")

    def perplexity(self) -> Tensor:
        """The exponential of the entropy."""
        return T.exp(self.entropy())

    # ---- checks --------------------------------------------------------------------------------------------------

    def _validate_sample(self, value: Tensor) -> None:
        """Check shape and region of a value that ``log_prob``, ``cdf`` or ``icdf`` is asked for.

        Raises ValueError if it is no tensor, its shape does not go with the distribution's, or it is outside the
        support.
        """
        if not isinstance(value, Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        shape, event = value.shape, self._event_shape
        if len(event) and shape[max(len(shape) - len(event), 0) :] != event:
            raise ValueError(
                f"The right-most size of value must match event_shape: {shape} vs {event}."
            )
        expected = self._batch_shape + event
        for a, b in zip(reversed(shape), reversed(expected), strict=False):
            if a != 1 and b != 1 and a != b:
                raise ValueError(
                    f"Value is not broadcastable with batch_shape+event_shape: {shape} vs {Size(expected)}."
                )
        try:
            support = self.support
        except NotImplementedError:
            warnings.warn(
                f"{self.__class__} does not define `support` to enable sample validation. Please initialize the "
                "distribution with `validate_args=False` to turn off validation.",
                stacklevel=3,
            )
            return
        if support is None:
            raise AssertionError(f"{type(self).__name__}: support is None")
        require(
            support,
            value,
            lambda: (
                f"Expected value argument ({_told(value)}) to be within the support ({support!r}) of the distribution "
                f"{self!r}, but found invalid values:\n{value}"
            ),
            lambda: (
                f"Expected value argument ({_told(value)}) to be within the support ({describe(support)}) of the "
                f"distribution {type(self).__name__}, but found invalid values"
            ),
        )

    def __repr__(self) -> str:
        names = [k for k in self.arg_constraints if k in self.__dict__]
        told = ", ".join(
            f"{p}: {self.__dict__[p] if self.__dict__[p].numel() == 1 else self.__dict__[p].size()}" for p in names
        )
        return f"{self.__class__.__name__}({told})"
