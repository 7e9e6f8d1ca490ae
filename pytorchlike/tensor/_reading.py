"""How the elements of tensors are read: as numbers, arrays and text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine import flush, get_mode, local, read
from ..engine.errors import warn_once
from ..engine.meta import INTERIOR
from . import printing
from ._cell import Cell, part_of_tensor
from ._values import _peek_host, told_by_handle
from .device import place_for

if TYPE_CHECKING:
    from ._tensor import Tensor

#: Elements up to which an array for a part of a tensor shares memory, for which the whole tensor has to be copied.
_LENT_WITH_ALL = 1 << 14
#: Bytes of a vector that is held by NumPy once it is gone through one by one, and entries pending with it.
_SHORT, _FEW = 4096, 64


@part_of_tensor
class Readable(Cell):
    """The part of :class:`~._tensor.Tensor` that gives its elements away."""

    __slots__ = ()

    def item(self) -> Any:
        """The value of a tensor with one element, as a Python number."""
        if self.is_meta:
            raise RuntimeError("Tensor.item() cannot be called on meta tensors")
        if self._value.meta.size != 1:
            raise RuntimeError(
                f"a Tensor with {self._value.meta.size} elements cannot be converted to Scalar (shape "
                f"{list(self.shape)})"
            )
        return self._host().item()

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        return self._host().tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The data as a NumPy array that shares memory with the tensor: writes to either are seen by the other.

        As JAX's memory never changes, the array is a copy that the tensor looks at as long as the array exists.  A copy
        for itself is given of what the tape knows, whose values stay what they were, and of a part of a large tensor.
        A tensor made by ``from_numpy`` gives its own memory.
        Raises RuntimeError if the tensor requires gradients and these are on (not under ``no_grad``), TypeError if it
        is not on the CPU (unless ``force``).
        """
        self._check_numpy(force)
        if self.requires_grad:
            return self.detach().numpy(force=force)
        if self._borrowed:
            return self._lent()
        data = self._host()
        value = self._value
        if value.meta.grad == INTERIOR or value.meta.place is not place_for("cpu"):
            return data.copy()
        storage = self._shared().storage
        base = storage.value
        if base.meta.grad == INTERIOR or base.meta.size > max(data.size, _LENT_WITH_ALL):
            return data.copy()
        storage.lend(np.array(read(base), order="C"))
        return self._host_view()

    def _check_numpy(self, force: bool) -> None:
        if self.requires_grad and not force and get_mode().grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        if self.device.type != "cpu" and not (force and self.device.type != "meta"):
            raise TypeError(
                f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
                "memory first."
            )

    def _look(self) -> np.ndarray:
        """The elements on the host, to be looked at only: without a copy on the CPU."""
        return self._lent() if self._borrowed else self._host()

    def _lent(self) -> np.ndarray:
        """The memory that is the user's, too."""
        if local.trace.replayed:
            read(self._get())  # it is asked for its value
        return self._host_view()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if not copy and (dtype is None or np.dtype(dtype) == self._value.meta.dtype):
            return self.numpy()
        self._check_numpy(False)
        return self._look().astype(dtype or self._value.meta.dtype)

    def jax(self) -> Any:
        """The ``jax.Array`` behind the tensor (a tracer under a JAX transformation); no copy."""
        data = self._read()
        if type(data) is np.ndarray:
            import jax

            with jax.enable_x64(True):
                data = jax.device_put(data, self._value.meta.place)
            self._value.data = data
        return data

    def __jax_array__(self) -> Any:
        return self.jax()

    def __dlpack__(self, *, stream: Any = None, **kwargs: Any) -> Any:
        if self.requires_grad:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        return self.jax().__dlpack__(stream=stream, **kwargs)

    def __dlpack_device__(self) -> tuple:
        return self.jax().__dlpack_device__()

    def __bool__(self) -> bool:
        n = self._value.meta.size
        if n == 1:
            if self.is_meta:
                raise RuntimeError("the truth value of a meta tensor is not known, since it has no data")
            return bool(self._host().reshape(()))
        if n == 0:
            raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
        raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")

    def _one(self) -> Any:
        n = self._value.meta.size
        if n != 1:
            raise ValueError(
                f"only one element tensors can be converted to Python scalars, got one of shape {list(self.shape)}"
            )
        return self.item()

    def _real(self, kind: str) -> Any:
        number = self._one()
        if isinstance(number, complex):
            if number.imag:
                raise RuntimeError(f"value cannot be converted to type {kind} without overflow: {number}")
            return number.real
        return number

    def __int__(self) -> int:
        return int(self._real("int64_t"))

    def __float__(self) -> float:
        if self.requires_grad:
            warn_once(
                "Converting a tensor with requires_grad=True to a scalar may lead to unexpected behavior. Consider "
                "using tensor.detach() or tensor.item() first."
            )
        return float(self._real("double"))

    def __complex__(self) -> complex:
        return complex(self._one())

    def __index__(self) -> int:
        if self._value.meta.dtype.kind not in "iub" or self._value.meta.size != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __len__(self) -> int:
        shape = self._value.meta.shape
        if not shape:
            raise TypeError("len() of a 0-d tensor")
        return shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self._value.meta.shape:
            raise TypeError("iteration over a 0-d tensor")
        self._hold_numbers()
        return iter(self.unbind(0))

    def _hold_numbers(self) -> None:
        """Have a short vector that is gone through one by one held by NumPy, as one is that was made of numbers.

        The returns of an episode, normalised, have another length each time: whatever is recorded of the elements of a
        pending vector would be another program for each.
        """
        value = self._get()
        meta, trace = value.meta, local.trace
        if len(meta.shape) != 1 or meta.grad or meta.nbytes > _SHORT or type(value.data) is np.ndarray:
            return
        if meta.place != place_for("cpu") or told_by_handle():
            return
        if value.data is None and value.trace is trace and len(trace.values) <= _FEW:
            flush("a vector was gone through one by one")
        if value.data is not None:
            value.data = np.array(value.data)

    def __reversed__(self) -> Tensor:
        return self.flip(0) if self._value.meta.shape else self

    def __delitem__(self, index: Any) -> None:
        raise TypeError("Tensor does not support deleting items")

    def __contains__(self, element: Any) -> bool:
        if isinstance(element, (Cell, bool, int, float, complex)):
            return bool((self == element).any())
        raise RuntimeError(
            f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}."
        )

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        value = self._get()
        return printing.describe(self, _peek_host(value, printing.edge_indices(value.meta.shape)))

    def _repr_html_(self) -> str:
        from .rich import html_of

        return html_of(self)
