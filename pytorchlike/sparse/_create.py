"""Making sparse tensors: ``torch.sparse_coo_tensor`` and the functions for compressed layouts."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from ..engine import make_value
from ..tensor import Tensor, host_tensor, tensor
from ..tensor import dtype as d
from ..tensor._register import function
from ..tensor.composed import Composed
from ._pattern import Compressed, Coo, known
from ._tensor import BLOCKED, BY_ROWS, COMPRESSED, SPOKEN, SparseTensor

_state = threading.local()


class check_sparse_tensor_invariants:
    """Whether the invariants of new sparse tensors are checked in full: a switch, context manager and decorator.

    ``enable()``, ``disable()`` and ``is_enabled()`` work on the switch, which is off at first;
    ``with check_sparse_tensor_invariants(True):`` sets it for a block.  That indices lie inside the tensor is checked
    always, where they are known on the host.
    """

    @staticmethod
    def is_enabled() -> bool:
        """Whether the switch is on."""
        return getattr(_state, "checked", False)

    @staticmethod
    def enable() -> None:
        """Turn the switch on."""
        _state.checked = True

    @staticmethod
    def disable() -> None:
        """Turn the switch off."""
        _state.checked = False

    def __init__(self, enable: bool = True) -> None:
        self.state = enable
        self.saved: bool | None = None

    def __enter__(self) -> None:
        if self.saved is not None:
            raise RuntimeError("This context manager instance is already activated. Use a different instance for "
                               "nesting.")  # fmt: skip
        self.saved = self.is_enabled()
        _state.checked = self.state

    def __exit__(self, *exc: Any) -> None:
        _state.checked = self.saved
        self.saved = None

    def __call__(self, fn: Any) -> Any:
        import functools

        @functools.wraps(fn)
        def call(*args: Any, **kwargs: Any) -> Any:
            with type(self)(self.state):
                return fn(*args, **kwargs)

        return call


def _values(values: Any, dtype: Any, device: Any) -> Tensor:
    """A handle of its own on the values; gradients flow on, memory is not shared."""
    if isinstance(values, Composed):
        raise TypeError(f"values must be a dense tensor, got one of layout {values.layout}")
    t = values if isinstance(values, Tensor) else tensor(values, dtype=dtype)
    t = t.to(device=device, dtype=dtype)
    if t.requires_grad:
        return t.view_as(t)
    value = t._get()
    return Tensor._of(make_value(value.meta, value.data)) if value.data is not None else Tensor._of(value)


def _indices(indices: Any, kind: Any, device: Any) -> Tensor:
    if isinstance(indices, Composed):
        raise TypeError(f"indices must be a dense tensor, got one of layout {indices.layout}")
    t = indices if isinstance(indices, Tensor) else tensor(indices)
    if t.numel() == 0 and not isinstance(indices, Tensor):
        t = t.to(dtype=d.int64)
    return t.detach().to(device=device, dtype=kind)


def _leaf(made: SparseTensor, requires_grad: bool) -> SparseTensor:
    return made.detach().requires_grad_(True) if requires_grad else made


@function
def sparse_coo_tensor(
    indices: Any = None, values: Any = None, size: Any = None, *more: int, dtype: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False, check_invariants: bool | None = None,
    is_coalesced: bool | None = None, layout: Any = None,
) -> SparseTensor:  # fmt: skip
    """A COO tensor: ``values`` at coordinates ``indices``; coordinates that are there twice add up.

    Shapes:  indices (sparse_dim, nnz), values (nnz, *dense) -> size, inferred from the largest coordinates by default.
    ``sparse_coo_tensor(size)`` has no elements.
    Dtype:   that of the values; indices become int64.
    Raises:  RuntimeError for shapes that do not fit, and indices outside ``size`` (where they are known on the host, or
             with ``check_invariants``).
    """
    if layout is not None and layout is not d.sparse_coo:
        raise RuntimeError(f"sparse_coo_tensor: expected layout torch.sparse_coo, got {layout}")
    if values is None or isinstance(indices, int):
        if isinstance(indices, int):
            size = tuple(x for x in (indices, values, size, *more) if x is not None)
        elif size is None:
            size = indices
        return _leaf(_empty_coo(tuple(size), len(tuple(size)), (), dtype, device), requires_grad)
    values = _values(values, dtype, device)
    where = values.device
    found = _indices(indices, d.int64, where)
    if found.dim() != 2:
        if found.dim() == 1 and size is not None:
            raise RuntimeError(
                f"'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(tuple(size))}, sparse_dim = "
                f"{found.numel()}, dense_dim = {values.dim() - 1}; indices must be 2-D (sparse_dim, nnz)"
            )
        raise RuntimeError(f"indices must be sparse_dim x nnz, but got: {list(found.shape)}")
    m, nnz = found.shape
    if values.dim() == 0 and nnz != 1:
        raise RuntimeError(f"values must have at least one dimension, got a 0-dim tensor for {nnz} indices")
    values = values.reshape(1) if values.dim() == 0 else values
    if values.shape[0] != nnz:
        raise RuntimeError(
            f"indices and values must have same nnz, but got nnz from indices: {nnz}, nnz from values: "
            f"{values.shape[0]}"
        )
    dense = tuple(values.shape[1:])
    if size is None:
        host = found._host()
        if nnz and m and host.min() < 0:
            dim, at = np.argwhere(host < 0)[0]
            raise RuntimeError(f"found negative index {host[dim, at]} for dim {dim}")
        size = (*(int(n) + 1 for n in host.max(1)), *dense) if nnz else (*(0,) * m, *dense)
    size = tuple(int(n) for n in (size if not isinstance(size, int) else (size,)))
    if any(n < 0 for n in size):
        raise RuntimeError(f"sparse_coo_tensor: negative size in {list(size)}")
    if len(size) != m + len(dense):
        raise RuntimeError(
            f"'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(size)}, sparse_dim = {m}, "
            f"dense_dim = {len(dense)}"
        )
    if dense != size[m:]:
        raise RuntimeError(f"values has incorrect size, expected {[nnz, *size[m:]]}, got {list(values.shape)}")
    checked = check_sparse_tensor_invariants.is_enabled() if check_invariants is None else check_invariants
    pattern = Coo(found, size[:m])
    if nnz and (checked or known(found)):
        _check_coo(pattern.host, size)
    if is_coalesced:
        if checked and not (np.diff(pattern.flat) > 0).all():
            raise RuntimeError("cannot set is_coalesced to true if indices correspond to uncoalesced COO tensor")
        pattern.coalesced = True
    return _leaf(SparseTensor._make(pattern, values, size), requires_grad)


def _check_coo(host: np.ndarray, size: tuple[int, ...]) -> None:
    for dim in range(host.shape[0]):
        low, high = host[dim].min(), host[dim].max()
        if low < 0:
            raise RuntimeError(f"found negative index {low} for dim {dim}")
        if high >= size[dim]:
            raise RuntimeError(
                f"size is inconsistent with indices: for dim {dim}, size is {size[dim]} but found index {high}"
            )


def _empty_coo(size: tuple[int, ...], m: int, dense: tuple[int, ...], dtype: Any, device: Any) -> SparseTensor:
    """No elements."""
    kind = d.get_default_dtype() if dtype is None else d.as_dtype(dtype)
    indices = host_tensor(np.zeros((m, 0), np.int64), device)
    return SparseTensor._make(Coo(indices, size[:m], m == 0), host_tensor(np.zeros((0, *dense), kind.numpy), device),
                              size)  # fmt: skip


def empty_like(t: SparseTensor, size: tuple[int, ...] | None = None, dtype: Any = None) -> SparseTensor:
    """A tensor of the same layout without elements."""
    size = t._size if size is None else size
    if t._form is d.sparse_coo:
        m = t.sparse_dim()
        return _empty_coo(size, m, size[m:], dtype or t.dtype, t.device)
    p: Any = t._pattern
    starts = np.zeros(p.starts.shape, p.starts.dtype.numpy)
    plain = np.zeros((*p.batch, 0), p.plain.dtype.numpy)
    lead = len(p.batch)
    kind = t.dtype if dtype is None else d.as_dtype(dtype)
    values = np.zeros((*p.batch, 0, *t._carrier.shape[lead + 1 :]), kind.numpy)
    pattern = Compressed(host_tensor(starts, t.device), host_tensor(plain, t.device), p.rows, p.shape)
    return SparseTensor._make(pattern, host_tensor(values, t.device), size, t._form)


@function
def sparse_compressed_tensor(
    compressed_indices: Any, plain_indices: Any, values: Any, size: Any = None, *, dtype: Any = None,
    layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False,
    check_invariants: bool | None = None,
) -> SparseTensor:  # fmt: skip
    """A tensor of a compressed ``layout`` (CSR, CSC, BSR, BSC).

    compressed_indices:  where rows (columns) begin, and the end: (*batch, rows + 1).
    plain_indices:       the column (row) of each element or block: (*batch, nnz).
    values:              (*batch, nnz, *dense), with blocks (*batch, nnz, height, width, *dense).
    Raises:  RuntimeError for shapes that do not fit, and for indices outside ``size`` (where they are known on the
             host, or, with everything else, with ``check_invariants``).
    """
    if layout not in COMPRESSED:
        got = "none" if layout is None else SPOKEN.get(layout, layout)
        raise RuntimeError(f"sparse_compressed_tensor expected sparse compressed tensor layout but got {got}")
    values = _values(values, dtype, device)
    where = values.device
    kinds = [_kind_of(x) for x in (compressed_indices, plain_indices)]
    kind = d.int32 if all(k is d.int32 for k in kinds) else d.int64
    starts, plain = (_indices(x, kind, where) for x in (compressed_indices, plain_indices))
    return _compressed(starts, plain, values, size, layout, requires_grad, check_invariants)


def _kind_of(x: Any) -> Any:
    if not isinstance(x, Tensor):
        return d.int64
    if x.dtype not in (d.int32, d.int64):
        raise NotImplementedError(f"sparse compressed tensors need int32 or int64 indices, got {x.dtype}")
    return x.dtype


def _compressed(starts: Tensor, plain: Tensor, values: Tensor, size: Any, layout: Any, requires_grad: bool,
                check: bool | None) -> SparseTensor:  # fmt: skip
    rows, blocked = layout in BY_ROWS, layout in BLOCKED
    c, p = ("crow_indices", "col_indices") if rows else ("ccol_indices", "row_indices")
    lead = starts.dim() - 1
    if lead < 0 or plain.dim() != lead + 1:
        raise RuntimeError(f"dimensionality of {c} and {p} must be equal and at least 1, but got {starts.dim()} and "
                           f"{plain.dim()}")  # fmt: skip
    need = lead + (2 if blocked else 0)
    if values.dim() <= need:
        raise RuntimeError(f"values must have dimensionality > sum of batch and block dimensionalities (={lead} + "
                           f"{2 if blocked else 0}) but got {values.dim()}")  # fmt: skip
    batch = tuple(starts.shape[:-1])
    if tuple(plain.shape[:-1]) != batch or tuple(values.shape[:lead]) != batch:
        raise RuntimeError(f"all batch dimensions of {c} (={list(batch)}), {p} (={list(plain.shape[:-1])}) and values "
                           f"(={list(values.shape[:lead])}) must be equal to each other")  # fmt: skip
    nnz = plain.shape[-1]
    if values.shape[lead] != nnz:
        raise RuntimeError(f"number of specified elements: {p} has {nnz}, values has {values.shape[lead]}")
    h, w = values.shape[lead + 1 : lead + 3] if blocked else (1, 1)
    dense = tuple(values.shape[need + 1 :])
    if starts.shape[-1] < 1:
        raise RuntimeError(f"{c} must have at least one element in its last dimension")
    along = starts.shape[-1] - 1
    if size is None:
        host = plain._host()
        other = int(host.max()) + 1 if host.size else 0
        pair = (along * h, other * w) if rows else (other * h, along * w)
        size = (*batch, *pair, *dense)
    size = tuple(int(n) for n in size)
    if len(size) != lead + 2 + len(dense):
        raise RuntimeError(f"tensor dimensionality must be sum of batch, base, and dense dimensionalities (={lead} + "
                           f"2 + "
                           f"{len(dense)}) but got {len(size)}")  # fmt: skip
    n, m = size[lead : lead + 2]
    if h and w and (n % h or m % w):
        raise RuntimeError(f"tensor sparse size ({n},{m}) must be divisible by given blocksize ({h},{w})")
    shape = (n // max(h, 1), m // max(w, 1))
    if along != shape[0 if rows else 1]:
        raise RuntimeError(f"{c}.shape[-1] must be equal to the number of {'rows' if rows else 'columns'} + 1 "
                           f"(={shape[0 if rows else 1] + 1}), but got {along + 1}")  # fmt: skip
    pattern = Compressed(starts, plain, rows, shape)
    checked = check_sparse_tensor_invariants.is_enabled() if check is None else check
    if checked or pattern.known:
        _check_compressed(pattern, c, p, checked)
    return _leaf(SparseTensor._make(pattern, values, size, layout), requires_grad)


def _check_compressed(pattern: Compressed, c: str, p: str, whole: bool) -> None:
    """What PyTorch calls the invariants of a compressed tensor."""
    starts, plain = pattern.host
    other = pattern.shape[1 if pattern.rows else 0]
    n, bound = ("nrows", "ncols") if pattern.rows else ("ncols", "nrows")
    if (starts[..., 0] != 0).any():
        raise RuntimeError(f"`{c}[..., 0] == 0` is not satisfied.")
    if (starts[..., -1] != pattern.nnz).any():
        raise RuntimeError(f"`{c}[..., -1] == nnz` is not satisfied.")
    steps = np.diff(starts, axis=-1)
    if ((steps < 0) | (steps > other)).any() if whole else (steps < 0).any():
        raise RuntimeError(f"`0 <= {c}[..., 1:] - {c}[..., :-1] <= {bound}` is not satisfied.")
    if plain.size and (plain.min() < 0 or plain.max() >= other):
        raise RuntimeError(f"`0 <= {p} < {bound}` is not satisfied.")
    if whole:
        coo = pattern.coo.host
        first, second = (coo[-2], coo[-1]) if pattern.rows else (coo[-1], coo[-2])
        lines = np.zeros(coo.shape[1], np.int64)
        for size, row in zip(pattern.batch, coo[: len(pattern.batch)], strict=True):
            lines = lines * size + row
        lines = lines * max(pattern.shape[0 if pattern.rows else 1], 1) + first
        if not ((np.diff(lines) > 0) | (np.diff(second) > 0)).all():
            raise RuntimeError(
                f"`{p}[..., {c}[..., i - 1]:{c}[..., i]] for all i = 1, ..., {n} are sorted and distinct along the "
                "last dimension values` is not satisfied."
            )


def _of_layout(name: str, layout: Any, c: str, p: str) -> Any:
    def make(
        compressed: Any, plain: Any, values: Any, size: Any = None, *, dtype: Any = None, device: Any = None,
        pin_memory: bool = False, requires_grad: bool = False, check_invariants: bool | None = None,
        layout: Any = layout,
    ) -> SparseTensor:  # fmt: skip
        return sparse_compressed_tensor(
            compressed, plain, values, size, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad,
            check_invariants=check_invariants,
        )

    def renamed(*args: Any, **kwargs: Any) -> SparseTensor:
        for given, own in ((c, "compressed"), (p, "plain")):
            if given in kwargs:
                kwargs[own] = kwargs.pop(given)
        return make(*args, **kwargs)

    renamed.__name__ = renamed.__qualname__ = name
    renamed.__doc__ = f"A tensor of layout {layout} of ``{c}``, ``{p}`` and values; see sparse_compressed_tensor."
    return function(renamed)


sparse_csr_tensor = _of_layout("sparse_csr_tensor", d.sparse_csr, "crow_indices", "col_indices")
sparse_csc_tensor = _of_layout("sparse_csc_tensor", d.sparse_csc, "ccol_indices", "row_indices")
sparse_bsr_tensor = _of_layout("sparse_bsr_tensor", d.sparse_bsr, "crow_indices", "col_indices")
sparse_bsc_tensor = _of_layout("sparse_bsc_tensor", d.sparse_bsc, "ccol_indices", "row_indices")
