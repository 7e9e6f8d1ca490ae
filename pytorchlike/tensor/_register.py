"""Functions written in Python over Tensors, registered beside the operators of the table."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

#: (namespace, name) -> function.
FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {}
#: method name -> function.
METHODS: dict[str, Callable[..., Any]] = {}
#: Tensor classes that are made of several tensors (sparse, nested): see composed.py.
KINDS: list[type] = []
#: Functions and methods that a package brings when one of them is first asked for.
LATE: dict[str, str] = {}
_SPARSE = """_nnz _indices _values _coalesced_ ccol_indices coalesce col_indices crow_indices dense_dim hspmm indices
    is_coalesced resize_as_sparse_ row_indices smm sparse_bsc_tensor sparse_bsr_tensor sparse_compressed_tensor
    sparse_coo_tensor sparse_csc_tensor sparse_csr_tensor sparse_dim sparse_mask sparse_resize_
    sparse_resize_and_clear_ spmm dsmm hsmm saddmm sspaddmm to_sparse to_sparse_bsc to_sparse_bsr to_sparse_coo
    to_sparse_csc to_sparse_csr values"""
LATE.update(dict.fromkeys(_SPARSE.split(), "sparse"))
LATE["to_padded_tensor"] = "nested"
LATE.update(dict.fromkeys(("quantize_per_tensor", "quantize_per_channel", "quantize_per_tensor_dynamic", "dequantize",
                           "int_repr"), "tensor.quantized"))  # fmt: skip
#: Composite functions that some kind of composed tensor has a version of.
BY_KIND = frozenset(
    """empty_like zeros_like ones_like full_like rand_like randn_like select unbind narrow chunk split
    split_with_sizes nonzero is_same_size resize_as_ detach zero_ equal allclose masked_select squeeze
    where""".split()
)


def _by_kind(name: str, fn: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which hands calls that meet a composed tensor to the version of its kind."""

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        if KINDS:
            from . import composed

            kind = composed.kind_among(args, kwargs)
            if kind is not None:
                return composed.call_function(kind, name, args, kwargs)
        return fn(*args, **kwargs)

    return call


def function(
    fn: Callable[..., Any] | None = None, *, method: bool = False, namespace: str | tuple[str, ...] | None = "torch",
    name: str | None = None, aliases: tuple[str, ...] = (),
) -> Any:  # fmt: skip
    """Register a function of a namespace, and as a method if ``method``."""

    def enter(fn: Callable[..., Any]) -> Callable[..., Any]:
        spaces = (namespace,) if isinstance(namespace, str) else tuple(namespace or ())
        for each in (name or fn.__name__, *aliases):
            for space in spaces:
                FUNCTIONS[space, each] = _by_kind(each, fn) if space == "torch" and each in BY_KIND else fn
            if method:
                METHODS[each] = fn
        return fn

    return enter if fn is None else enter(fn)
