"""Constraints: regions that the parameters of a distribution must be in, and that its samples are in.

``constraint.check(value)`` tells, event by event, whether a value is inside.  The checks of this module use only what
tensors and NumPy arrays have in common, so that values that are known on the host can be looked at without recording
anything (see ``_validate.py``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import linalg
from ..tensor import Tensor
from ..tensor import functions as T
from ..tensor.dtype import bool_, finfo

__all__ = [
    "Constraint", "MixtureSameFamilyConstraint", "boolean", "cat", "corr_cholesky", "dependent", "dependent_property",
    "greater_than", "greater_than_eq", "half_open_interval", "independent", "integer_interval", "interval",
    "is_dependent", "less_than", "lower_cholesky", "lower_triangular", "multinomial", "nonnegative",
    "nonnegative_integer", "one_hot", "positive", "positive_definite", "positive_integer", "positive_semidefinite",
    "real", "real_vector", "simplex", "square", "stack", "symmetric", "unit_interval",
]  # fmt: skip


class Constraint:
    """A region of values.  ``is_discrete``: whether it has gaps; ``event_dim``: dimensions of one value in it."""

    is_discrete = False
    event_dim = 0

    def check(self, value: Any) -> Any:
        """For each event whether it is inside: bools of shape ``sample_shape + batch_shape``."""
        raise NotImplementedError

    def __repr__(self) -> str:
        told = ", ".join(f"{k}={v}" for k, v in self._shown().items())
        return f"{type(self).__name__.removeprefix('_')}({told})"

    def _shown(self) -> dict[str, Any]:
        """The bounds that ``repr`` tells."""
        return {}


def host_array(value: Any) -> np.ndarray | None:
    """The values of a tensor that are known on the host (it was made there and nothing was computed on it), or None."""
    data = value._get().data if isinstance(value, Tensor) else None
    return data if type(data) is np.ndarray else None


def _bounded(value: Any, bound: Any) -> Any:
    """A bound to compare ``value`` with: for an array, an array."""
    return host_array(bound) if isinstance(value, np.ndarray) and isinstance(bound, Tensor) else bound


def _whole(value: Any) -> bool:
    """Whether the dtype leaves nothing but whole numbers."""
    if isinstance(value, Tensor):
        return not (value.dtype.is_floating_point or value.dtype.is_complex)
    return np.asarray(value).dtype.kind in "biu"


def _join(values: list, dim: int, how: str) -> Any:
    if isinstance(values[0], (np.ndarray, np.generic)):
        return np.concatenate(values, dim) if how == "cat" else np.stack(values, dim)
    return getattr(T, how)(values, dim)


# ---- constraints that depend on others ---------------------------------------------------------------------------


class _Dependent(Constraint):
    """Stands for a region that depends on other variables; it cannot check anything."""

    def __init__(self, *, is_discrete: Any = NotImplemented, event_dim: Any = NotImplemented) -> None:
        self._is_discrete, self._event_dim = is_discrete, event_dim
        super().__init__()

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        if self._is_discrete is NotImplemented:
            raise NotImplementedError(".is_discrete cannot be determined statically")
        return self._is_discrete

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        if self._event_dim is NotImplemented:
            raise NotImplementedError(".event_dim cannot be determined statically")
        return self._event_dim

    def __call__(self, *, is_discrete: Any = NotImplemented, event_dim: Any = NotImplemented) -> _Dependent:
        """The same with what is known of the region."""
        return _Dependent(
            is_discrete=self._is_discrete if is_discrete is NotImplemented else is_discrete,
            event_dim=self._event_dim if event_dim is NotImplemented else event_dim,
        )

    def check(self, value: Any) -> Any:
        raise ValueError("Cannot determine validity of dependent constraint")


def is_dependent(constraint: Any) -> bool:
    """Whether a constraint depends on other variables, so that only an instance of the distribution knows it."""
    return isinstance(constraint, _Dependent)


class _DependentProperty(property, _Dependent):
    """A property of a distribution that is a constraint: on the class a dependent one, on an instance the real one.

    A decorator: ``@constraints.dependent_property(is_discrete=False, event_dim=0)``.
    """

    def __init__(
        self,
        fn: Callable[..., Any] | None = None,
        *,
        is_discrete: Any = NotImplemented,
        event_dim: Any = NotImplemented,
    ) -> None:
        super().__init__(fn)
        self._is_discrete, self._event_dim = is_discrete, event_dim

    def __call__(self, fn: Callable[..., Any]) -> _DependentProperty:  # type: ignore[override]
        return _DependentProperty(fn, is_discrete=self._is_discrete, event_dim=self._event_dim)


class _IndependentConstraint(Constraint):
    """``base_constraint`` with that many batch dimensions made event dimensions: it holds if it holds everywhere."""

    def __init__(self, base_constraint: Constraint, reinterpreted_batch_ndims: int) -> None:
        if not isinstance(base_constraint, Constraint):
            raise AssertionError(f"independent: expected a Constraint, got {type(base_constraint).__name__}")
        if not isinstance(reinterpreted_batch_ndims, int) or reinterpreted_batch_ndims < 0:
            raise AssertionError(f"independent: expected a number of dimensions, got {reinterpreted_batch_ndims!r}")
        self.base_constraint = base_constraint
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        return self.base_constraint.is_discrete

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        return self.base_constraint.event_dim + self.reinterpreted_batch_ndims

    def check(self, value: Any) -> Any:
        result = self.base_constraint.check(value)
        n = self.reinterpreted_batch_ndims
        if result.ndim < n:
            expected = self.base_constraint.event_dim + n
            raise ValueError(f"Expected value.dim() >= {expected} but got {value.ndim}")
        return _all_last(result, n)

    def __repr__(self) -> str:
        return f"{type(self).__name__[1:]}({self.base_constraint!r}, {self.reinterpreted_batch_ndims})"


def _all_last(ok: Any, n: int) -> Any:
    """Whether all are true along the last ``n`` dimensions."""
    return ok.reshape((*ok.shape[: ok.ndim - n], -1)).all(-1) if n else ok


class MixtureSameFamilyConstraint(Constraint):
    """The region of a mixture of distributions of one family: a value must be in that of every component."""

    def __init__(self, base_constraint: Constraint) -> None:
        if not isinstance(base_constraint, Constraint):
            raise AssertionError(f"expected a Constraint, got {type(base_constraint).__name__}")
        self.base_constraint = base_constraint

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        return self.base_constraint.is_discrete

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        return self.base_constraint.event_dim

    def check(self, value: Any) -> Any:
        n = self.event_dim
        if value.ndim < n:
            raise ValueError(f"Expected value.dim() >= {n} but got {value.ndim}")
        shape = value.shape
        # a dimension of size 1 for the components, before those of the event
        spread = value.reshape((*shape[: len(shape) - n], 1, *shape[len(shape) - n :]))
        # the base reduces the dimensions of the event; the last one left is that of the components
        return self.base_constraint.check(spread).all(-1)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_constraint!r})"


# ---- numbers -----------------------------------------------------------------------------------------------------


class _Bounded(Constraint):
    """Values on one or between two bounds, which may be tensors."""

    def _shown(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k in ("lower_bound", "upper_bound")}


class _Boolean(Constraint):
    """0 or 1."""

    is_discrete = True

    def check(self, value: Any) -> Any:
        return (value == 0) | (value == 1)


class _IntegerInterval(_Bounded):
    """Integers from ``lower_bound`` to ``upper_bound``, both included."""

    is_discrete = True

    def __init__(self, lower_bound: Any, upper_bound: Any) -> None:
        self.lower_bound, self.upper_bound = lower_bound, upper_bound
        super().__init__()

    def check(self, value: Any) -> Any:
        low, high = _bounded(value, self.lower_bound), _bounded(value, self.upper_bound)
        inside = (value >= low) & (value <= high)
        return inside if _whole(value) else inside & (value % 1 == 0)


class _IntegerLessThan(_Bounded):
    """Integers up to ``upper_bound``."""

    is_discrete = True

    def __init__(self, upper_bound: Any) -> None:
        self.upper_bound = upper_bound
        super().__init__()

    def check(self, value: Any) -> Any:
        return (value % 1 == 0) & (value <= _bounded(value, self.upper_bound))


class _IntegerGreaterThan(_Bounded):
    """Integers from ``lower_bound`` on."""

    is_discrete = True

    def __init__(self, lower_bound: Any) -> None:
        self.lower_bound = lower_bound
        super().__init__()

    def check(self, value: Any) -> Any:
        return (value % 1 == 0) & (value >= _bounded(value, self.lower_bound))


class _Real(Constraint):
    """Any number but NaN."""

    def check(self, value: Any) -> Any:
        return value == value


class _GreaterThan(_Bounded):
    """Numbers greater than ``lower_bound``."""

    def __init__(self, lower_bound: Any) -> None:
        self.lower_bound = lower_bound
        super().__init__()

    def check(self, value: Any) -> Any:
        return value > _bounded(value, self.lower_bound)


class _GreaterThanEq(_Bounded):
    """Numbers from ``lower_bound`` on."""

    def __init__(self, lower_bound: Any) -> None:
        self.lower_bound = lower_bound
        super().__init__()

    def check(self, value: Any) -> Any:
        return value >= _bounded(value, self.lower_bound)


class _LessThan(_Bounded):
    """Numbers less than ``upper_bound``."""

    def __init__(self, upper_bound: Any) -> None:
        self.upper_bound = upper_bound
        super().__init__()

    def check(self, value: Any) -> Any:
        return value < _bounded(value, self.upper_bound)


class _Interval(_Bounded):
    """Numbers from ``lower_bound`` to ``upper_bound``, both included."""

    def __init__(self, lower_bound: Any, upper_bound: Any) -> None:
        self.lower_bound, self.upper_bound = lower_bound, upper_bound
        super().__init__()

    def check(self, value: Any) -> Any:
        return (value >= _bounded(value, self.lower_bound)) & (value <= _bounded(value, self.upper_bound))


class _HalfOpenInterval(_Bounded):
    """Numbers from ``lower_bound``, included, to ``upper_bound``, not included."""

    def __init__(self, lower_bound: Any, upper_bound: Any) -> None:
        self.lower_bound, self.upper_bound = lower_bound, upper_bound
        super().__init__()

    def check(self, value: Any) -> Any:
        return (value >= _bounded(value, self.lower_bound)) & (value < _bounded(value, self.upper_bound))


# ---- vectors -----------------------------------------------------------------------------------------------------


class _OneHot(Constraint):
    """Vectors of zeros and a single one."""

    is_discrete = True
    event_dim = 1

    def check(self, value: Any) -> Any:
        return ((value == 0) | (value == 1)).all(-1) & (value.sum(-1) == 1)


class _Simplex(Constraint):
    """Vectors of numbers that are not negative and add up to 1 (within 1e-6)."""

    event_dim = 1

    def check(self, value: Any) -> Any:
        return (value >= 0).all(-1) & (abs(value.sum(-1) - 1) < 1e-6)


class _Multinomial(Constraint):
    """Vectors of counts that are not negative and add up to at most ``upper_bound``.

    That is what partial observations have; those that do not add up to it have no probability.
    """

    is_discrete = True
    event_dim = 1

    def __init__(self, upper_bound: Any) -> None:
        self.upper_bound = upper_bound

    def check(self, x: Any) -> Any:
        return (x >= 0).all(-1) & (x.sum(-1) <= _bounded(x, self.upper_bound))


# ---- matrices ----------------------------------------------------------------------------------------------------


def _is_lower(value: Any) -> Any:
    lower = np.tril(value) if isinstance(value, np.ndarray) else value.tril()
    return _all_last(lower == value, 2)


def _is_cholesky(value: Any) -> Any:
    return _is_lower(value) & (value.diagonal(0, -2, -1) > 0).all(-1)


class _LowerTriangular(Constraint):
    """Matrices that are 0 above the diagonal."""

    event_dim = 2

    def check(self, value: Any) -> Any:
        return _is_lower(value)


class _LowerCholesky(Constraint):
    """Lower triangular matrices of positive diagonal."""

    event_dim = 2

    def check(self, value: Any) -> Any:
        return _is_cholesky(value)


class _CorrCholesky(Constraint):
    """Lower triangular matrices of positive diagonal whose rows have length 1: Cholesky factors of correlations."""

    event_dim = 2

    def check(self, value: Any) -> Any:
        tolerance = _eps(value) * value.shape[-1] * 10  # 10 is a margin for the rounding of the sums
        length = (value * value).sum(-1) ** 0.5
        return (abs(length - 1) <= tolerance).all(-1) & _is_cholesky(value)


def _eps(value: Any) -> float:
    if isinstance(value, np.ndarray):
        from ..tensor.dtype import from_numpy_dtype

        return finfo(from_numpy_dtype(value.dtype)).eps
    return finfo(value.dtype).eps


class _Square(Constraint):
    """Square matrices."""

    event_dim = 2

    def check(self, value: Any) -> Any:
        ok = bool(value.shape[-2] == value.shape[-1])
        if isinstance(value, np.ndarray):
            return np.full(value.shape[:-2], ok)
        return T.full(tuple(value.shape[:-2]), ok, dtype=bool_, device=value.device)


class _Symmetric(_Square):
    """Symmetric matrices, within 1e-6 and the rounding of float32."""

    def check(self, value: Any) -> Any:
        if value.shape[-2] != value.shape[-1]:
            return super().check(value)
        other = value.swapaxes(-2, -1)
        return _all_last(abs(value - other) <= 1e-6 + 1e-5 * abs(other), 2)


class _PositiveSemidefinite(_Symmetric):
    """Symmetric matrices without negative eigenvalue."""

    def check(self, value: Any) -> Any:
        ok = super().check(value)
        if value.shape[-2] != value.shape[-1]:
            return ok
        if isinstance(value, np.ndarray):
            return ok & (np.linalg.eigvalsh(value) >= 0).all(-1)
        return ok & (linalg.eigvalsh(value) >= 0).all(-1)


class _PositiveDefinite(_Symmetric):
    """Symmetric matrices of which all eigenvalues are positive: they have a Cholesky factor."""

    def check(self, value: Any) -> Any:
        ok = super().check(value)
        if value.shape[-2] != value.shape[-1]:
            return ok
        if isinstance(value, np.ndarray):
            return ok & _has_factor(value)
        return ok & (linalg.cholesky_ex(value).info == 0)


def _has_factor(value: np.ndarray) -> np.ndarray:
    ok = np.empty(value.shape[:-2], bool)
    for at in np.ndindex(ok.shape):
        try:
            ok[at] = np.isfinite(np.linalg.cholesky(value[at])).all()
        except np.linalg.LinAlgError:
            ok[at] = False
    return ok


# ---- several in one ----------------------------------------------------------------------------------------------


class _Several(Constraint):
    """Parts of a value along ``dim``, each with a constraint of its own."""

    cseq: list[Constraint]
    dim: int

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        return any(c.is_discrete for c in self.cseq)


def _constraints(cseq: Sequence[Constraint]) -> list[Constraint]:
    if not all(isinstance(c, Constraint) for c in cseq):
        raise AssertionError("All elements of cseq must be instances of Constraint")
    return list(cseq)


class _Cat(_Several):
    """Consecutive parts of given lengths (1 each by default) along ``dim``, each with a constraint of its own."""

    def __init__(self, cseq: Sequence[Constraint], dim: int = 0, lengths: Sequence[int] | None = None) -> None:
        self.cseq = _constraints(cseq)
        self.lengths = [1] * len(self.cseq) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.cseq):
            raise AssertionError(f"cat: {len(self.lengths)} lengths for {len(self.cseq)} constraints")
        self.dim = dim

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        return max(c.event_dim for c in self.cseq)

    def check(self, value: Any) -> Any:
        if not -value.ndim <= self.dim < value.ndim:
            raise AssertionError(f"cat: dim {self.dim} is out of range for a value of {value.ndim} dimensions")
        before = (slice(None),) * (self.dim % value.ndim)
        checks, start = [], 0
        for constraint, length in zip(self.cseq, self.lengths, strict=True):
            checks.append(constraint.check(value[(*before, slice(start, start + length))]))
            start += length
        return _join(checks, self.dim, "cat")


class _Stack(_Several):
    """Slices along ``dim``, each with a constraint of its own."""

    def __init__(self, cseq: Sequence[Constraint], dim: int = 0) -> None:
        self.cseq = _constraints(cseq)
        self.dim = dim

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        dim = max(c.event_dim for c in self.cseq)
        return dim + 1 if self.dim + dim < 0 else dim

    def check(self, value: Any) -> Any:
        if not -value.ndim <= self.dim < value.ndim:
            raise AssertionError(f"stack: dim {self.dim} is out of range for a value of {value.ndim} dimensions")
        before = (slice(None),) * (self.dim % value.ndim)
        checks = [c.check(value[(*before, i)]) for i, c in enumerate(self.cseq)]
        return _join(checks, self.dim, "stack")


# ---- public names ------------------------------------------------------------------------------------------------

dependent = _Dependent()
dependent_property = _DependentProperty
independent = _IndependentConstraint
boolean = _Boolean()
one_hot = _OneHot()
nonnegative_integer = _IntegerGreaterThan(0)
positive_integer = _IntegerGreaterThan(1)
integer_interval = _IntegerInterval
real = _Real()
real_vector = independent(real, 1)
positive = _GreaterThan(0.0)
nonnegative = _GreaterThanEq(0.0)
greater_than = _GreaterThan
greater_than_eq = _GreaterThanEq
less_than = _LessThan
multinomial = _Multinomial
unit_interval = _Interval(0.0, 1.0)
interval = _Interval
half_open_interval = _HalfOpenInterval
simplex = _Simplex()
lower_triangular = _LowerTriangular()
lower_cholesky = _LowerCholesky()
corr_cholesky = _CorrCholesky()
square = _Square()
symmetric = _Symmetric()
positive_semidefinite = _PositiveSemidefinite()
positive_definite = _PositiveDefinite()
cat = _Cat
stack = _Stack


# ---- what the checks of parameters and samples ask ----------------------------------------------------------------


def known_on_host(constraint: Constraint) -> bool:
    """Whether all bounds of a constraint, and of those that it is made of, are numbers or known on the host."""

    def known(x: Any) -> bool:
        if isinstance(x, Tensor):
            return host_array(x) is not None
        if isinstance(x, Constraint):
            return known_on_host(x)
        return all(known(y) for y in x) if isinstance(x, (list, tuple)) else True

    return all(known(x) for x in vars(constraint).values())


@functools.cache
def _ours(check: Any) -> bool:
    return getattr(check, "__globals__", None) is globals()  # its ``__module__`` is copied by who replaces it


def takes_arrays(constraint: Constraint) -> bool:
    """Whether ``check`` is of this module, here and in all parts, so that it takes NumPy arrays."""
    parts = [getattr(constraint, "base_constraint", None), *getattr(constraint, "cseq", ())]
    return _ours(type(constraint).check) and all(takes_arrays(p) for p in parts if p is not None)
