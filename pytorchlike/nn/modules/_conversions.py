"""How a module moves between devices and dtypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from ...autograd.mode import no_grad
from ...tensor import Tensor
from ...tensor import functions as T
from ...tensor.device import device as Device
from ...tensor.dtype import dtype as DType
from ..parameter import Parameter, is_lazy


def _parse_to(*args: Any, **kwargs: Any) -> tuple[Any, Any, bool, Any]:
    """(device, dtype, non_blocking, memory_format) of the overloaded arguments of ``to``."""
    if kwargs.get("copy"):
        raise RuntimeError(".to() does not accept copy argument")
    known = {"device", "dtype", "non_blocking", "copy", "memory_format", "tensor", "other"}
    for name in kwargs:
        if name not in known:
            raise TypeError(f"to() got an unexpected keyword argument '{name}'; it takes device, dtype, non_blocking "
                            "and memory_format, or a tensor whose device and dtype are wanted")
    device, dtype, rest = kwargs.get("device"), kwargs.get("dtype"), list(args)
    other = kwargs.get("tensor", kwargs.get("other"))
    if rest and isinstance(rest[0], Tensor):
        other = rest.pop(0)
    if other is not None:
        device, dtype = other.device, other.dtype
    elif rest and isinstance(rest[0], DType):
        dtype = rest.pop(0)
    elif rest:
        device = rest.pop(0)
        if rest:
            dtype = rest.pop(0)  # what is no dtype, a flag for instance, is refused below
    non_blocking = rest.pop(0) if rest else kwargs.get("non_blocking", False)
    if rest or dtype is not None and not isinstance(dtype, DType) or not isinstance(non_blocking, (bool, int)):
        raise TypeError(f"to() received an invalid combination of arguments: {args!r}, {kwargs!r}; expected "
                        "(device, dtype, non_blocking), (dtype, non_blocking) or (tensor, non_blocking)")
    if isinstance(device, (str, int)):
        device = Device(device)
    elif device is not None and not isinstance(device, Device):
        raise TypeError(f"to() received {device!r} of type {type(device).__name__} where a device, a dtype or a "
                        "tensor was expected")
    return device, dtype, bool(non_blocking), kwargs.get("memory_format")


class conversion:
    """What ``torch.__future__`` says about :meth:`Module._apply`."""

    overwrite = swap = False


class Conversions:
    """The part of :class:`~.module.Module` by which its tensors are replaced by others."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replace every parameter's data, its gradient, and every buffer by ``fn`` of it.

        Parameters stay the same objects (an optimizer may hold them), except when they leave the meta device.
        """
        if recurse:
            for module in self.children():
                module._apply(fn)
        for name, param in self._parameters.items():
            if param is None:
                continue
            grad = param.grad
            with no_grad():
                # A parameter without a shape is moved by way of the empty tensor that it holds.
                new = fn(Tensor._make_subclass(Tensor, param, False) if is_lazy(param) else param)
                new_grad = None if grad is None else fn(grad)
            if new is param:
                continue
            if new.is_meta == param.is_meta and not conversion.overwrite:
                param.grad = None  # for a moment the gradient's dtype or device would not be the parameter's
                param.data = new
            else:
                param = (type(param)(param.requires_grad, new.device, new.dtype) if is_lazy(param)
                         else Parameter(new, param.requires_grad))
                self._parameters[name] = param
            if new_grad is not None:
                if new_grad.is_meta == grad.is_meta and not conversion.overwrite:
                    grad.data = new_grad
                else:
                    grad = new_grad.requires_grad_(grad.requires_grad)
                param.grad = grad
        for name, buf in self._buffers.items():
            if is_lazy(buf):
                buf.data = fn(Tensor._make_subclass(Tensor, buf, False))
            elif buf is not None:
                self._buffers[name] = fn(buf)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move all parameters and buffers to a device and (those of floating point or complex type) to a dtype.

        ``to(device=None, dtype=None, non_blocking=False)``, ``to(dtype, non_blocking=False)``,
        ``to(tensor, non_blocking=False)`` or ``to(memory_format=...)``; works in place and returns self.

        Raises:  TypeError if dtype is neither floating point nor complex; NotImplementedError if a parameter is on the
                 meta device and another one is asked for (use to_empty).
        """
        device, dtype, non_blocking, memory_format = _parse_to(*args, **kwargs)
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError("nn.Module.to only accepts floating point or complex dtypes, but got desired "
                            f"dtype={dtype}")

        def convert(t: Tensor) -> Tensor:
            wanted: dict[str, Any] = {} if device is None else {"device": device}
            if dtype is not None and (t.is_floating_point() or t.is_complex()):
                wanted["dtype"] = dtype
            if memory_format is not None and t.dim() in (4, 5):
                wanted["memory_format"] = memory_format
            if not wanted:
                return t
            if t.is_meta and device is not None and device.type != "meta" and not is_lazy(t):
                raise NotImplementedError("Cannot copy out of meta tensor; no data! Please use "
                                          "torch.nn.Module.to_empty() instead of torch.nn.Module.to() when moving "
                                          "module from meta to a different device.")
            return t.to(non_blocking=non_blocking, **wanted)

        return self._apply(convert)

    def to_empty(self, *, device: Any, recurse: bool = True) -> Self:
        """Move all parameters and buffers to ``device`` without their values (uninitialised memory); returns self."""
        return self._apply(lambda t: T.empty_like(t, device=device) if t._spread is None
                           else t.new_empty(t.shape, device=device), recurse=recurse)

    def cpu(self) -> Self:
        """Move all parameters and buffers to the CPU; returns self."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device: Any = None) -> Self:
        """Move all parameters and buffers to a GPU; returns self."""
        return self._apply(lambda t: t.cuda(device))

    def xpu(self, device: Any = None) -> Self:
        """Move all parameters and buffers to an "xpu" device; returns self."""
        return self._to_kind("xpu", device)

    def ipu(self, device: Any = None) -> Self:
        """Move all parameters and buffers to an "ipu" device; returns self."""
        return self._to_kind("ipu", device)

    def mtia(self, device: Any = None) -> Self:
        """Move all parameters and buffers to an "mtia" device; returns self."""
        return self._to_kind("mtia", device)

    def _to_kind(self, kind: str, device: Any) -> Self:
        if device is None or isinstance(device, int):
            device = Device(kind) if device is None else Device(kind, device)
        return self.to(device=device)

    def type(self, dst_type: Any) -> Self:
        """Cast all parameters and buffers to ``dst_type``; returns self."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self) -> Self:
        """Cast all floating point parameters and buffers to float32; returns self."""
        return self._apply(lambda t: t.float() if t.is_floating_point() else t)

    def double(self) -> Self:
        """Cast all floating point parameters and buffers to float64; returns self."""
        return self._apply(lambda t: t.double() if t.is_floating_point() else t)

    def half(self) -> Self:
        """Cast all floating point parameters and buffers to float16; returns self."""
        return self._apply(lambda t: t.half() if t.is_floating_point() else t)

    def bfloat16(self) -> Self:
        """Cast all floating point parameters and buffers to bfloat16; returns self."""
        return self._apply(lambda t: t.bfloat16() if t.is_floating_point() else t)

    def share_memory(self) -> Self:
        """Put all parameters and buffers into memory that other processes can share; returns self."""
        for tensor in (*self.parameters(), *self.buffers()):
            if is_lazy(tensor):
                tensor.share_memory_()  # says that its shape is not known
        return self._apply(lambda t: t.share_memory_())
