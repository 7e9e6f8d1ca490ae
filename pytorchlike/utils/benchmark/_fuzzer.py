"""Random sizes and tensors for benchmarks, reproducible from a seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ...tensor import Tensor
from ...tensor import dtype as d
from ...tensor import functions as T
from ...tensor.random import manual_seed

__all__ = ["FuzzedParameter", "FuzzedSparseTensor", "FuzzedTensor", "Fuzzer", "ParameterAlias"]

#: Draws after which a Fuzzer gives up meeting its constraints.
_TRIES = 1000


class ParameterAlias:
    """In a custom distribution: the value of another parameter."""

    def __init__(self, alias_to: str) -> None:
        self.alias_to = alias_to

    def __repr__(self) -> str:
        return f"ParameterAlias[alias_to: {self.alias_to}]"


class FuzzedParameter:
    """A random number of a name.

    minval, maxval: its range, both ends included.   distribution: "uniform", "loguniform", or {value: probability},
    where a value may be a :class:`ParameterAlias`.   strict: refuse probabilities that do not add up to 1, which are
    scaled otherwise. Whole numbers come of whole ends. Raises ValueError for a distribution or range that is none.
    """

    def __init__(self, name: str, minval: float | None = None, maxval: float | None = None,
                 distribution: str | dict[Any, float] | None = None, strict: bool = False) -> None:  # fmt: skip
        self._name, self._minval, self._maxval = name, minval, maxval
        if distribution is None:
            raise ValueError("`distribution` must be specified.")
        self._values: list[Any] = []
        if isinstance(distribution, dict):
            if minval is not None or maxval is not None:
                raise ValueError("a custom distribution takes no minval and maxval")
            total = sum(distribution.values())
            if strict and abs(total - 1) > 1e-6:
                raise ValueError(f"the probabilities add up to {total}, not 1")
            self._values = list(distribution)
            self._weights = [p / total for p in distribution.values()]
        elif distribution not in ("uniform", "loguniform"):
            raise ValueError(f"unknown distribution: {distribution}; choose uniform, loguniform or give a dict")
        elif minval is None or maxval is None or minval > maxval or (distribution == "loguniform" and minval <= 0):
            raise ValueError(f"{distribution} needs minval <= maxval" + (" above 0" * (distribution == "loguniform")))
        self._distribution = distribution

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    def sample(self, state: np.random.RandomState) -> Any:
        """A number, or a :class:`ParameterAlias`."""
        if self._values:
            return self._values[int(state.choice(len(self._values), p=self._weights))]
        low, high = self._minval, self._maxval
        assert low is not None and high is not None
        whole = isinstance(low, int) and isinstance(high, int)
        if self._distribution == "uniform":
            return int(state.randint(int(low), int(high) + 1)) if whole else float(state.uniform(low, high))
        found = 2 ** float(state.uniform(math.log2(low), math.log2(high)))
        return round(found) if whole else found


class FuzzedTensor:
    """A random tensor of a name.

    size: numbers, or names of parameters.   steps: as ``size``: of each dimension, every such element is taken out of a
    larger tensor.   probability_contiguous: of the dimensions' lying in memory in their order.   min_elements,
    max_elements, max_allocation_bytes: what is drawn anew if it does not keep to it.   dim_parameter: a parameter that
    says how many of the dimensions there are.   roll_parameter: one by which the dimensions are rotated.
    tensor_constructor: ``f(size=, dtype=, **parameters)`` in place of random numbers.
    """

    def __init__(
        self, name: str, size: tuple[str | int, ...], steps: tuple[str | int, ...] | None = None,
        probability_contiguous: float = 0.5, min_elements: int | None = None, max_elements: int | None = None,
        max_allocation_bytes: int | None = None, dim_parameter: str | None = None, roll_parameter: str | None = None,
        dtype: Any = None, cuda: bool = False, tensor_constructor: Callable[..., Tensor] | None = None,
    ) -> None:  # fmt: skip
        self._name, self._size, self._steps = name, size, steps
        self._contiguous = probability_contiguous
        self._min_elements, self._max_elements, self._max_bytes = min_elements, max_elements, max_allocation_bytes
        self._dim_parameter, self._roll = dim_parameter, roll_parameter
        self._dtype, self._cuda = d.float32 if dtype is None else dtype, cuda
        self._constructor = tensor_constructor or self.default_tensor_constructor

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @staticmethod
    def default_tensor_constructor(size: Sequence[int], dtype: Any, **parameters: Any) -> Tensor:
        """Normal numbers, or integers in [0, 127)."""
        if dtype.is_floating_point or dtype.is_complex:
            return T.randn(tuple(size)).to(dtype)
        if dtype is d.bool_:
            return T.randint(0, 2, tuple(size)).to(dtype)
        return T.randint(0, 127, tuple(size)).to(dtype)

    def _resolved(self, values: dict[str, Any], what: Sequence[str | int] | None) -> tuple[int, ...]:
        if what is None:
            return ()
        dim = len(self._size) if self._dim_parameter is None else int(values[self._dim_parameter])
        return tuple(int(values.get(n, n)) for n in what[:dim])  # type: ignore[arg-type]

    def _sizes(self, values: dict[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        size = self._resolved(values, self._size)
        steps = self._resolved(values, self._steps) or (1,) * len(size)
        return size, steps, tuple(n * k for n, k in zip(size, steps, strict=True))

    def satisfies_constraints(self, values: dict[str, Any]) -> bool:
        """Whether a tensor of these parameters is of the size that was asked for."""
        size, _, allocated = self._sizes(values)
        n, nbytes = math.prod(size), math.prod(allocated) * self._dtype.itemsize
        return not (
            (self._max_bytes is not None and nbytes > self._max_bytes)
            or (self._min_elements is not None and n < self._min_elements)
            or (self._max_elements is not None and n > self._max_elements)
        )

    def _make_tensor(self, values: dict[str, Any], state: np.random.RandomState) -> tuple[Tensor, dict[str, Any]]:
        size, steps, allocated = self._sizes(values)
        order = np.arange(len(size))
        if state.rand() > self._contiguous:
            while len(size) > 1 and np.all(order == np.arange(len(size))):
                order = state.permutation(order)
        raw = self._constructor(size=tuple(allocated[k] for k in order), dtype=self._dtype, **values)
        if self._cuda:
            raw = raw.cuda()
        raw = raw.permute(tuple(int(k) for k in np.argsort(order)))
        raw = raw[tuple(slice(None, None, k) for k in steps)]
        if self._roll is not None and len(size) > 1:
            turn = int(values[self._roll]) % len(size)
            raw = raw.permute(tuple(np.roll(np.arange(len(size)), turn).tolist()))
        told = {"numel": raw.numel(), "order": order, "steps": steps, "is_contiguous": raw.is_contiguous(),
                "dtype": str(self._dtype)}  # fmt: skip
        return raw, told


class FuzzedSparseTensor(FuzzedTensor):
    """A random tensor in coordinate layout.

    sparse_dim: a parameter, how many dimensions are sparse.   nnz, density: parameters, one of which says how many
    elements there are.   coalesced: a parameter, whether each place occurs once.
    """

    def __init__(
        self, name: str, size: tuple[str | int, ...], min_elements: int | None = None,
        max_elements: int | None = None, dim_parameter: str | None = None, sparse_dim: str | None = None,
        nnz: str | None = None, density: str | None = None, coalesced: str | None = None, dtype: Any = None,
        cuda: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(name, size, None, 1.0, min_elements, max_elements, None, dim_parameter, None, dtype, cuda)
        self._sparse_dim, self._nnz, self._density, self._coalesced = sparse_dim, nnz, density, coalesced

    @staticmethod
    def sparse_tensor_constructor(size: Sequence[int], dtype: Any, sparse_dim: int, nnz: int,
                                  is_coalesced: bool) -> Tensor:  # fmt: skip
        """``nnz`` random elements; coalesced: fewer, where places coincide."""
        size = tuple(size)
        values = FuzzedTensor.default_tensor_constructor((nnz, *size[sparse_dim:]), dtype)
        places = T.stack([T.randint(0, n, (nnz,)) for n in size[:sparse_dim]])
        found = T.sparse_coo_tensor(places, values, size)
        return found.coalesce() if is_coalesced else found

    def _make_tensor(self, values: dict[str, Any], state: np.random.RandomState) -> tuple[Tensor, dict[str, Any]]:
        size, _, _ = self._sizes(values)
        density = None
        if self._nnz is not None:
            nnz = int(values[self._nnz])
        else:
            if self._density is None:
                raise ValueError("a FuzzedSparseTensor needs the name of a parameter as nnz or density")
            density = values[self._density]
            nnz = math.ceil(math.prod(size) * density)
        is_coalesced = bool(values[self._coalesced]) if self._coalesced else False
        dim = min(int(values[self._sparse_dim]), len(size)) if self._sparse_dim else len(size)
        tensor = self.sparse_tensor_constructor(size, self._dtype, dim, nnz, is_coalesced)
        if self._cuda:
            tensor = tensor.cuda()
        told = {"numel": tensor.numel(), "shape": tensor.size(), "is_coalesced": tensor.is_coalesced(),
                "density": density, "sparsity": None if density is None else 1 - density, "sparse_dim": dim,
                "dense_dim": len(size) - dim, "is_hybrid": dim < len(size), "dtype": str(self._dtype)}  # fmt: skip
        return tensor, told


def _flat(items: Sequence[Any]) -> list[Any]:
    return [x for item in items for x in (item if isinstance(item, (list, tuple)) else [item])]


class Fuzzer:
    """Draws parameters and tensors: ``for tensors, told, parameters in fuzzer.take(n)``.

    parameters, tensors: :class:`FuzzedParameter` s and :class:`FuzzedTensor` s, or lists of them.   constraints:
    functions of the parameters by name, all of which must be true. Raises ValueError for names given twice.
    """

    def __init__(self, parameters: list[Any], tensors: list[Any], constraints: list[Callable[..., Any]] | None = None,
                 seed: int | None = None) -> None:  # fmt: skip
        self._parameters: list[FuzzedParameter] = _flat(parameters)
        self._tensors: list[FuzzedTensor] = _flat(tensors)
        names = [x.name for x in (*self._parameters, *self._tensors)]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"Name overlap of parameters or tensors: {twice}")
        self._seed = int(np.random.default_rng().integers(2**32 - 1)) if seed is None else seed
        self._constraints = tuple(constraints or ())
        self._rejections = self._generated = 0

    @property
    def rejection_rate(self) -> float | None:
        """The part of the draws that did not keep to the constraints; None before the first."""
        return self._rejections / self._generated if self._generated else None

    def take(self, n: int) -> Iterator[tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]]:
        """``n`` times: tensors by name, what is told of them by name, the parameters by name."""
        state = np.random.RandomState(self._seed)
        manual_seed(int(state.randint(0, 2**32 - 1, dtype=np.int64)))
        for _ in range(n):
            values = self._drawn(state)
            made = {t.name: t._make_tensor(values, state) for t in self._tensors}
            yield ({name: t for name, (t, _) in made.items()}, {name: told for name, (_, told) in made.items()}, values)

    def _drawn(self, state: np.random.RandomState) -> dict[str, Any]:
        for _ in range(_TRIES):
            self._generated += 1
            values = {p.name: p.sample(state) for p in self._parameters}
            for name, value in values.items():
                seen = {name}
                while isinstance(value, ParameterAlias):
                    if value.alias_to in seen or value.alias_to not in values:
                        raise ValueError(f"the alias of the parameter {name!r} leads nowhere: {value!r}")
                    seen.add(value.alias_to)
                    value = values[value.alias_to]
                values[name] = value
            if all(f(**values) for f in self._constraints) and all(
                t.satisfies_constraints(values) for t in self._tensors
            ):
                return values
            self._rejections += 1
        raise ValueError(f"in {_TRIES} draws, no parameters met the constraints")
