"""``gradcheck`` of functions of sparse tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ._tensor import SparseTensor


def as_sparse_gradcheck(gradcheck: Callable[..., bool]) -> Callable[..., bool]:
    """``gradcheck`` for functions with sparse arguments and results.

    Sparse arguments are taken apart into their values, with respect to which the function is differentiated, and sparse
    results are replaced by theirs.  ``masked`` is not among the keywords: elements that are not stored do not vary.
    """

    @functools.wraps(gradcheck)
    def check(func: Callable[..., Any], inputs: Any, **kwargs: Any) -> bool:
        kwargs.pop("masked", None)
        given = tuple(inputs) if isinstance(inputs, (list, tuple)) else (inputs,)
        sparse = [isinstance(x, SparseTensor) for x in given]
        plain = [
            x._carrier.detach().requires_grad_(x.requires_grad) if s else x for x, s in zip(given, sparse, strict=True)
        ]

        def on_values(*values: Any) -> Any:
            out = func(*[x._with(v) if s else v for x, v, s in zip(given, values, sparse, strict=True)])
            outs = out if isinstance(out, (list, tuple)) else (out,)
            outs = tuple(o._carrier if isinstance(o, SparseTensor) else o for o in outs)
            return outs if isinstance(out, (list, tuple)) else outs[0]

        return gradcheck(on_values, tuple(plain), **kwargs)

    return check
