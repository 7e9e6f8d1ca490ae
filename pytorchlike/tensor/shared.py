"""Memory shared between processes: what ``share_memory_`` makes, and how such tensors are sent.

The memory has no name: it is an open file, which travels with the tensor, so nothing is left when the processes end.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from multiprocessing import reduction
from typing import Any

import numpy as np

from ..engine import concrete
from ._tensor import Tensor
from .device import place_for
from .storage import Alias, Storage

__all__ = ["is_shared", "share"]


class _File:
    """An open file without a name, closed when nobody refers to it any more."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self, close: Any = os.close) -> None:  # modules may be gone when the interpreter ends
        close(self.descriptor)


def _new_file(size: int) -> _File:
    if hasattr(os, "memfd_create"):
        made = os.memfd_create("pytorchlike")
    else:
        made, name = tempfile.mkstemp(prefix="pytorchlike-")
        os.unlink(name)
    os.truncate(made, max(size, 1))
    return _File(made)


class _Memory(mmap.mmap):
    """Memory that is a file; all arrays over it lead to it by their ``base``."""

    file: _File


def _mapped(file: _File, size: int) -> np.ndarray:
    """The file's bytes."""
    memory = _Memory(file.descriptor, max(size, 1))
    memory.file = file
    return np.frombuffer(memory, np.uint8, size)


def _memory_of(t: Tensor) -> _Memory | None:
    alias = t._alias
    found: Any = None if alias is None else alias.storage.host if alias.storage.mirror is None else alias.storage.mirror
    while isinstance(found, (np.ndarray, memoryview)):
        found = found.base if isinstance(found, np.ndarray) else found.obj
    return found if isinstance(found, _Memory) else None


def share(t: Tensor) -> None:
    """Move the storage of a tensor to shared memory: writes to it are seen by all processes that it is sent to.

    Raises NotImplementedError for tensors on accelerators, RuntimeError for one that is the result of a computation
    which requires gradients.
    """
    if is_shared(t):
        return
    if os.name != "posix":
        raise NotImplementedError("share_memory_(): memory can be shared on POSIX systems only")
    if t._get().meta.place != place_for("cpu"):
        raise NotImplementedError(f"share_memory_(): the memory of {t.device} cannot be shared between processes; move "
                                  "the tensor to the CPU first, by .cpu()")
    if t.requires_grad and not t.is_leaf:
        raise RuntimeError("share_memory_(): the tensor is the result of a computation that requires gradients; share "
                           "its .detach()")
    storage = t._shared().storage
    if storage.host is not None:
        content = storage.host
    else:
        content = Tensor._of(storage.value)._host()
    array = _mapped(_new_file(content.nbytes), content.nbytes).view(content.dtype).reshape(content.shape)
    array[...] = content
    storage.host, storage.lent, storage.common = array, False, True
    storage.version += 1  # no write, but what tensors have seen last is not what they look at from now on
    storage.quiet += 1
    _register(Tensor)
    _register(type(t))


def is_shared(t: Tensor) -> bool:
    """Whether the tensor's storage is in shared memory."""
    return _memory_of(t) is not None


def _reduced(t: Tensor) -> Any:
    """How a tensor is pickled for another process."""
    memory = _memory_of(t)
    if memory is None or t.requires_grad and not t.is_leaf:
        return t.__reduce_ex__(4)
    view = t._host_view()
    start = view.__array_interface__["data"][0] - np.frombuffer(memory, np.uint8).__array_interface__["data"][0]
    return _rebuilt, (type(t), reduction.DupFd(memory.file.descriptor), len(memory), view.dtype, tuple(view.shape),
                      view.strides, start, t.requires_grad, dict(t.__dict__))


def _rebuilt(kind: type, descriptor: Any, size: int, dtype: np.dtype, shape: tuple, strides: tuple, start: int,
             requires_grad: bool, state: dict) -> Tensor:
    host = np.ndarray(shape, dtype, _mapped(_File(descriptor.detach()), size), start, strides)
    t = object.__new__(Tensor)
    t._value = concrete(host, place_for("cpu"))
    t._alias = Alias(Storage(t._value, host=host))
    t._alias.storage.common = True
    made = t if kind is Tensor and not requires_grad else Tensor._make_subclass(kind, t, requires_grad)
    made.__dict__.update(state)
    _register(kind)
    return made


def _register(kind: type) -> None:
    if kind not in _known:
        _known.add(kind)
        reduction.ForkingPickler.register(kind, _reduced)


_known: set[type] = set()
