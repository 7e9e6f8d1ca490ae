"""Tensors that know their shape, dtype and device, and hold no data: for trying a model that does not fit.

Within ``with FakeTensorMode():`` every tensor that is made is a :class:`FakeTensor`, of whatever device it was asked
for; operations on them compute shapes only. A tensor on 'meta' stands behind each.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Self

from .._dispatch import offers
from ..autograd.mode import no_grad
from ..tensor import Tensor, functions
from ..tensor.device import as_device
from ..tensor.wrapped import traits
from ..utils import _pytree as pytree
from ..utils._python_dispatch import TorchDispatchMode
from ..utils.weak import WeakIdKeyDictionary

__all__ = ["DataDependentOutputException", "DynamicOutputShapeException", "FakeTensor", "FakeTensorConverter",
           "FakeTensorMode", "UnsupportedFakeTensorException", "is_fake", "unset_fake_temporarily"]  # fmt: skip


class UnsupportedFakeTensorException(RuntimeError):
    """Something that tensors without data cannot do; ``reason`` says what."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _OfOperator(RuntimeError):
    def __init__(self, func: Any) -> None:
        super().__init__(f"{func}: the result depends on the data of a FakeTensor, which has none; take the step that "
                         "needs it out of the FakeTensorMode")  # fmt: skip
        self.func = func


class FakeTensorDeviceMismatchError(RuntimeError):
    """Tensors on two devices met in one operation."""


class DataDependentOutputException(_OfOperator):
    """An operator that gives a number was called, such as ``item``."""


class DynamicOutputShapeException(_OfOperator):
    """An operator was called whose result has a shape that depends on data, such as ``nonzero``."""


class FakeTensor(Tensor):
    """A tensor without data on a device that need not exist; see the module's text.

    fake_device: the device that it reports.   fake_mode: the mode that it was made in.
    """

    fake_device: Any
    fake_mode: FakeTensorMode
    _meta: Tensor

    @staticmethod
    def __new__(cls, fake_mode: FakeTensorMode, elem: Tensor, device: Any, **kwargs: Any) -> FakeTensor:
        """``elem``: a tensor on 'meta'."""
        t = Tensor._make_wrapper_subclass(
            cls, elem.shape, strides=elem.stride(), storage_offset=elem.storage_offset(), dtype=elem.dtype,
            device="meta", requires_grad=elem.requires_grad,
        )  # fmt: skip
        t._meta, t.fake_mode = elem.detach(), fake_mode
        t.fake_device = _numbered(as_device(device))
        return t

    @property
    def device(self) -> Any:
        """The device that it reports."""
        return self.fake_device

    is_meta = False

    @property
    def is_cuda(self) -> bool:
        return self.fake_device.type == "cuda"

    @property
    def is_cpu(self) -> bool:
        return self.fake_device.type == "cpu"

    @staticmethod
    def from_tensor(t: Tensor, fake_mode: FakeTensorMode) -> FakeTensor:
        """:meth:`FakeTensorMode.from_tensor`."""
        return fake_mode.from_tensor(t)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        parts = ["..."]
        if self.fake_device.type != "cpu":
            parts.append(f"device='{self.fake_device}'")
        parts += [f"size={tuple(self.shape)}", *traits(self)]
        return f"{'Parameter(' if getattr(self, '_is_param', False) else ''}FakeTensor({', '.join(parts)})" + (
            ")" if getattr(self, "_is_param", False) else "")  # fmt: skip

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        mode = next(t.fake_mode for t in offers.flat((args, kwargs)) if isinstance(t, FakeTensor))
        return mode.__torch_dispatch__(func, types, args, kwargs)


def _numbered(device: Any) -> Any:
    if device.index is None and device.type not in ("cpu", "meta"):
        return as_device(f"{device.type}:0")
    return device


class FakeTensorMode(TorchDispatchMode):
    """Within it tensors have no data; see the module's text.

    allow_non_fake_inputs: whether tensors with data may take part; they are looked at as fake ones then.   The other
    options of PyTorch's concern its compiler, and only their defaults are accepted.
    """

    def __init__(self, *, allow_fallback_kernels: bool = True, allow_non_fake_inputs: bool = False,
                 shape_env: Any = None, static_shapes: bool | None = None, export: bool = False) -> None:  # fmt: skip
        super().__init__()
        if shape_env is not None:
            raise NotImplementedError("FakeTensorMode: sizes are numbers here, without a shape_env; see "
                                      "torch.export's dynamic_shapes for sizes that vary")  # fmt: skip
        self.allow_fallback_kernels, self.static_shapes, self.export = allow_fallback_kernels, True, export
        self.allow_non_fake_inputs, self.shape_env = allow_non_fake_inputs, None

    def __enter__(self) -> Self:
        return super().__enter__()

    def from_tensor(self, tensor: Tensor, *, static_shapes: bool | None = None, **source: Any) -> FakeTensor:
        """A fake tensor like one with data: the same shape, dtype, strides and device; a leaf if that requires
        gradients.
        """
        if isinstance(tensor, FakeTensor):
            if tensor.fake_mode is not self:
                raise AssertionError("Mixing fake modes NYI")
            return tensor
        with offers.computing, no_grad():
            meta = functions.empty_strided(tuple(tensor.shape), tensor.stride(), dtype=tensor.dtype, device="meta")
        fake = FakeTensor(self, meta, tensor.device)
        if getattr(tensor, "_is_param", False) or type(tensor).__name__ == "Parameter":
            fake._is_param = True
        return fake.requires_grad_() if tensor.requires_grad else fake

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = dict(kwargs or {})
        name = func._opname
        if name == "lift_fresh":
            return self.from_tensor(args[0])
        if name == "_local_scalar_dense":
            raise DataDependentOutputException(func)
        device = self._device(func, args, kwargs)
        if kwargs.get("device") is not None:
            kwargs["device"] = "meta"
        given, named = pytree.tree_map(self._as_meta, (args, kwargs))
        try:
            with offers.computing, no_grad():
                if name == "_to_copy":
                    out = functions.empty_like(given[0], dtype=named.get("dtype"))
                else:
                    out = func.compute(*given, **named)
        except NotImplementedError as error:
            if "meta tensor" in str(error):
                raise DynamicOutputShapeException(func) from None
            raise
        if func._schema is not None and func._schema.is_mutable and isinstance(out, Tensor):
            return args[0]
        return pytree.tree_map_only(Tensor, lambda t: FakeTensor(self, t, device), out)

    def _as_meta(self, x: Any) -> Any:
        if isinstance(x, FakeTensor):
            return x._meta
        if isinstance(x, Tensor):
            if not (self.allow_non_fake_inputs or not x.ndim):
                raise AssertionError(
                    f"Please convert all Tensors to FakeTensors first or instantiate FakeTensorMode with "
                    f"'allow_non_fake_inputs'. Found a tensor of shape {list(x.shape)} with data"
                )
            return self.from_tensor(x)._meta
        return x

    def _device(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """The device of the result. RuntimeError where tensors are on several."""
        if kwargs.get("device") is not None:
            return kwargs["device"]
        found, scalar = None, True
        for t in offers.flat((args, kwargs)):
            here = t.device
            if found is None or (scalar and t.ndim):
                found, scalar = here, not t.ndim and here.type == "cpu"
            elif here != found and not (not t.ndim and here.type == "cpu"):
                raise FakeTensorDeviceMismatchError("Expected all tensors to be on the same device, but found at least "
                                                    f"two devices, {found} and {here}! ({func})")  # fmt: skip
        return "cpu" if found is None else found


class FakeTensorConverter:
    """Makes the fake tensors of tensors with data: one for each, as long as that lives."""

    def __init__(self) -> None:
        self.tensor_memo = WeakIdKeyDictionary()

    def from_real_tensor(self, fake_mode: FakeTensorMode, t: Tensor) -> FakeTensor:
        """:meth:`FakeTensorMode.from_tensor`; the one that was made of ``t`` before, if there is one."""
        if isinstance(t, FakeTensor):
            return fake_mode.from_tensor(t)
        if t not in self.tensor_memo:
            self.tensor_memo[t] = fake_mode.from_tensor(t)
        return self.tensor_memo[t]


@contextlib.contextmanager
def unset_fake_temporarily() -> Iterator[FakeTensorMode | None]:
    """Within it, the innermost fake mode is not asked."""
    modes = offers.state.modes
    fake = next((m for m in reversed(modes) if isinstance(m, FakeTensorMode)), None)
    offers.state.modes = tuple([m for m in modes if m is not fake])
    try:
        yield fake
    finally:
        offers.state.modes = modes


def _is_tensor_constructor(func: Any) -> bool:
    """Whether an inner operator makes a tensor of none."""
    schema = func._schema
    if schema is None or any(a.type.startswith("Tensor") for a in schema.arguments):
        return False
    return len(schema.returns) == 1 and schema.returns[0].type == "Tensor"


def is_fake(x: object) -> bool:
    """Whether it is a FakeTensor."""
    return isinstance(x, FakeTensor)
