"""Random functions in all their overloads, over the operators of ``ops/random.py``.

Arguments that are numbers are looked at here, so that a wrong one is told at once with its value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import flush, in_sight, local
from ..engine.meta import INTERIOR
from ._register import function
from ._tensor import Tensor
from ._values import told_by_handle
from ._views import lie_in
from .device import place_for
from .dtype import as_dtype, int64
from .functions_create import _like, _order_like, _plain, empty_like
from .lying import order_in_memory

_EMPTY = object()


def _range(low: int, high: int, kind: np.dtype) -> None:
    """The checks of ``randint`` and ``random_``."""
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    if kind.kind in "iub":
        least, most = (0, 1) if kind.kind == "b" else (np.iinfo(kind).min, np.iinfo(kind).max)
        for name, n in (("from", low), ("to - 1", high - 1)):
            if not least <= n <= most:
                raise RuntimeError(f"{name} is out of bounds for {kind.name}: {n}")


@function
def randint(*args: Any, low: int = 0, high: int | None = None, size: Any = None, **kwargs: Any) -> Tensor:
    """Uniform integers on [low, high): ``randint(high, size)`` or ``randint(low, high, size)``; int64 unless told.

    Raises RuntimeError unless low < high, both in the range of the dtype.
    """
    from .functions import _randint

    given = list(args)
    if size is None:
        if not given or not isinstance(given[-1], (tuple, list)):
            what = type(given[-1]).__name__ if given else "nothing"
            where = max(len(given), 2)
            raise TypeError(f"randint(): argument 'size' (position {where}) must be tuple of ints, not {what}")
        size = given.pop()
    if len(given) == 2:
        low, high = given
    elif len(given) == 1:
        if high is None:
            high = given[0]
        else:
            low = given[0]
    elif given:
        raise TypeError(f"randint() takes low, high and size, got {len(args)} positional arguments")
    if high is None:
        raise TypeError('randint() missing 1 required positional arguments: "high"')
    low, high = int(_plain(low)), int(_plain(high))
    dtype = kwargs.get("dtype")
    _range(low, high, np.dtype(np.int64) if dtype is None else as_dtype(dtype).numpy)
    return _randint(low, high, tuple(size), **kwargs)


def _drawn_like(input: Tensor, kwargs: dict[str, Any], make: Callable[[], Tensor], fill: str, *numbers: Any) -> Tensor:
    """What ``make`` gives; where ``input`` lies in memory in another order, filled in that order, as PyTorch's is."""
    order = _order_like(input, kwargs, order_in_memory)
    if order is None:
        return make()
    wanted, generator = kwargs.pop("requires_grad", False), kwargs.pop("generator", None)
    made = empty_like(input, **kwargs)
    lie_in(order, made)
    made = getattr(made, fill)(*numbers, generator=generator)
    return made.requires_grad_() if wanted else made


@function
def rand_like(input: Tensor, **kwargs: Any) -> Tensor:
    """``rand`` in the shape, dtype and device of ``input``."""
    from .functions import rand

    return _drawn_like(input, kwargs, lambda: rand(input.shape, **_like(input, kwargs)), "uniform_")


@function
def randn_like(input: Tensor, **kwargs: Any) -> Tensor:
    """``randn`` in the shape, dtype and device of ``input``."""
    from .functions import randn

    return _drawn_like(input, kwargs, lambda: randn(input.shape, **_like(input, kwargs)), "normal_")


@function
def randint_like(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """``randint`` in the shape, dtype and device of ``input``: ``randint_like(input, [low,] high)``."""
    if "high" in kwargs:
        args = (*(args or (kwargs.pop("low", 0),)), kwargs.pop("high"))
    if not 1 <= len(args) <= 2 or "low" in kwargs:
        raise TypeError("randint_like() takes high, or low and high, each of them once")
    low, high = (0, *args)[-2:]
    return _drawn_like(
        input, kwargs, lambda: randint(low, high, size=tuple(input.shape), **_like(input, kwargs)), "random_", low, high
    )


def _positive(name: str, what: str, value: float, least: float = 0.0, strict: bool = False) -> None:
    if not (value > least if strict else value >= least):
        raise RuntimeError(f"{name} expects {what} {'>' if strict else '>='} {least}, but found {what} {value:g}")


@function
def normal(
    mean: Any = _EMPTY,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Any = None,
    out: Tensor | None = None,
    **kwargs: Any,
) -> Tensor:
    """Normal numbers: ``normal(mean, std)`` of tensors (one may be a number), ``normal(mean, std, size)`` of numbers.

    Raises RuntimeError for a negative std.
    """
    from .functions import _normal_size, full_like

    if mean is _EMPTY:
        raise TypeError('normal() missing 1 required positional arguments: "mean"')
    if not isinstance(std, Tensor):
        _positive("normal", "std", std)
    if isinstance(mean, Tensor) or isinstance(std, Tensor):
        if size is not None:
            raise TypeError("normal(): size goes with a mean and a std that are numbers")
        if not isinstance(mean, Tensor):
            mean = full_like(std.detach(), mean)
        result = mean._normal_of(std, generator=generator)
        if out is None:
            return result
        from ._cell import write_out

        return write_out(out, result, "normal")
    if size is None:
        raise TypeError(
            "normal() received an invalid combination of arguments: with numbers as mean and std it needs size"
        )
    size = (size,) if isinstance(size, int) else tuple(size)
    return _normal_size(mean, std, size, generator=generator, out=out, **kwargs)


def _probability(p: Any, name: str = "bernoulli_") -> Any:
    if not isinstance(p, Tensor) and not 0 <= p <= 1:
        raise RuntimeError(f"{name} expects p to be in [0, 1], but got p={p:g}")
    return p


@function(method=True)
def bernoulli(input: Tensor, p: float | None = None, *, generator: Any = None, out: Tensor | None = None) -> Tensor:
    """1 with the probability that each element of ``input`` (or the number ``p``) tells, else 0, in its dtype.

    Its gradient is 0.  Raises RuntimeError for a probability outside [0, 1].
    """
    from .functions import _bernoulli

    if p is None:
        result = _bernoulli(input, generator=generator)
    else:
        result = input.detach()._fill_bernoulli(_probability(p), generator=generator)
    if out is None:
        return result
    from ._cell import write_out

    return write_out(out, result, "bernoulli")


@function(namespace=None, method=True)
def bernoulli_(input: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Fill with 1 with probability ``p`` (a number, or a tensor that broadcasts), else with 0."""
    return input._fill_bernoulli_(_probability(p), generator=generator)


@function(namespace=None, method=True)
def uniform_(input: Tensor, from_: float = 0, to: float = 1, *, generator: Any = None, **named: Any) -> Tensor:
    """Fill with uniform numbers on [from, to)."""
    from_ = _from(named, from_)
    if input.is_complex():
        uniform_(_parts(input), from_, to, generator=generator)
        return input
    if from_ > to:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={from_:g} > to={to:g}")
    return input._fill_uniform_(from_, to, generator=generator)


def _parts(input: Tensor) -> Tensor:
    from .functions import view_as_real

    return view_as_real(input)


@function(method=True)
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Any = None, out: Tensor | None = None
) -> Tensor:
    """Indices drawn with the weights in each row of ``input`` (which need not add up to 1).

    Shape (m, n) -> (m, num_samples), (n,) -> (num_samples,); int64.
    Raises RuntimeError for weights that are negative, infinite, NaN or all 0 (at once if the host knows them, else
    at the next read), or more samples than categories when none may repeat.
    """
    from ..ops import lookup
    from ._wrap import form

    if out is not None and out.dtype is not int64:
        raise RuntimeError(f"multinomial expects Long tensor out, got: {out.dtype}")
    if input.ndim and input.shape[-1] > 2**24:
        raise RuntimeError("number of categories cannot exceed 2^24")
    weights = input._get().data
    seen = type(weights) is np.ndarray and in_sight(input._value)
    if seen and weights.dtype.kind == "f" and weights.size and input.ndim in (1, 2):
        if not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
        if not (weights.sum(-1) > 0).all():
            raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    drawn = form(lookup("multinomial"))(input, num_samples, replacement, generator=generator, out=out)
    _hold(drawn)
    return drawn


#: What has a few draws executed: so many values pending before them, so many draws at most.
_LONG, _FEW = 64, 64


def _hold(drawn: Tensor) -> None:
    """Have a few numbers held by NumPy that were drawn by what a long recording makes: a model's next token.

    A text that grows by them is then joined on the host, and each token is one program, where a whole text would be
    recorded otherwise, whose rounds differ by its length.
    """
    value, trace = drawn._get(), local.trace
    if value.data is not None or value.trace is not trace or trace.nested or len(trace.values) < _LONG:
        return
    if value.meta.size > _FEW or value.meta.place is not place_for("cpu") or told_by_handle():
        return
    if any(v.meta.grad == INTERIOR for v in trace.values[-_LONG:] if v is not None):
        return  # an action, say, of a policy that is trained: more is drawn of what is pending, and goes back as one
    flush("a few numbers were drawn")
    if value.data is not None:
        value.data = np.array(value.data)


def _from(named: dict[str, Any], given: Any) -> Any:
    """``from`` cannot be the name of a parameter in Python, but of an entry of ``**kwargs`` it can."""
    given = named.pop("from", given)
    if named:
        raise TypeError(f"unexpected keyword argument '{next(iter(named))}'")
    return given


@function(namespace=None, method=True)
def normal_(input: Tensor, mean: float = 0, std: float = 1, *, generator: Any = None) -> Tensor:
    """Fill with normal numbers."""
    _positive("normal", "std", std)
    return input._fill_normal_(mean, std, generator=generator)


@function(namespace=None, method=True)
def log_normal_(input: Tensor, mean: float = 1, std: float = 2, *, generator: Any = None) -> Tensor:
    """Fill with numbers whose logarithm is normal with that mean and standard deviation."""
    _positive("log_normal_", "std", std, strict=True)
    return input._fill_log_normal_(mean, std, generator=generator)


@function(namespace=None, method=True)
def exponential_(input: Tensor, lambd: float = 1, *, generator: Any = None) -> Tensor:
    """Fill with exponential numbers of rate ``lambd``."""
    if not lambd > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd:g}")
    return input._fill_exponential_(lambd, generator=generator)


@function(namespace=None, method=True)
def cauchy_(input: Tensor, median: float = 0, sigma: float = 1, *, generator: Any = None) -> Tensor:
    """Fill with Cauchy numbers."""
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
    return input._fill_cauchy_(median, sigma, generator=generator)


@function(namespace=None, method=True)
def geometric_(input: Tensor, p: float, *, generator: Any = None) -> Tensor:
    """Fill with the number of trials of probability ``p`` up to and with the first success."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
    return input._fill_geometric_(p, generator=generator)


@function(namespace=None, method=True)
def random_(input: Tensor, from_: Any = _EMPTY, to: Any = _EMPTY, *, generator: Any = None, **named: Any) -> Tensor:
    """Fill with uniform integers: ``random_()`` over the dtype's range from 0, ``random_(to)``, ``random_(from, to)``.

    With ``to=None`` the range ends with the dtype's.  Raises RuntimeError for an empty range or one beyond the dtype.
    """
    from_ = _from(named, from_)
    if from_ is _EMPTY and to is _EMPTY:
        return input._fill_bits_(generator=generator)
    if to is _EMPTY:
        from_, to = 0, from_
    low = 0 if from_ is _EMPTY else int(_plain(from_))
    kind = input._value.meta.dtype
    if to is not None:
        high = int(_plain(to))
    elif low == 0:
        return input._fill_bits_(generator=generator)
    elif kind.kind == "i" and low == np.iinfo(kind).min:
        return input._fill_bits_(signed=True, generator=generator)
    elif kind.kind in "iu":
        high = min(int(np.iinfo(kind).max), 2**63 - 2) + 1
    else:
        high = 2 if kind.kind == "b" else 2**24 + 1
    _range(low, high, kind)
    return input._fill_integers_(low, high, generator=generator)
