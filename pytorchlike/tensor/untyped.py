"""``torch.UntypedStorage``: the bytes behind a tensor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from ._addresses import address
from .device import as_device, device

__all__ = ["UntypedStorage"]


class UntypedStorage:
    """The memory that a tensor and its views share, as bytes; what ``Tensor.untyped_storage()`` returns.

    ``UntypedStorage(8)`` is one of 8 zero bytes, ``UntypedStorage([1, 2])`` one of these bytes. Two storages are equal
    if they are the same memory. ``data_ptr()`` is the address of the first byte (of the host copy on accelerators).
    """

    __slots__ = ("_device", "_mapped", "_root", "__weakref__")

    _root: Any  # the Tensor that spans the storage, or a NumPy array of bytes
    _mapped: bool  # a private map of a file, which nobody writes to

    def __init__(self, source: Any = 0, device: device | str | None = None) -> None:
        if isinstance(source, int):
            source = np.zeros(source, np.uint8)
        elif isinstance(source, (list, tuple, bytes, bytearray)):
            source = np.array(list(source), np.uint8)
        if isinstance(device, str):
            device = as_device(device)
        if not isinstance(source, np.ndarray):
            source._get()
            alias = source._alias
            if alias is not None and alias.chain:
                source = source._spanning()
        self._root, self._device, self._mapped = source, device, False

    @classmethod
    def from_file(cls, filename: str, shared: bool = False, nbytes: int | None = None) -> UntypedStorage:
        """The bytes of a file, by a memory map: read when they are used; writes go to the file if ``shared``.

        nbytes: how many; all if None. Raises RuntimeError if the file is shorter.
        """
        found = os.path.getsize(filename)
        if nbytes is None:
            nbytes = found
        elif found < nbytes:
            raise RuntimeError(f"file {filename} has {found} bytes, fewer than the {nbytes} to be mapped")
        made = cls(np.memmap(filename, np.uint8, "r+" if shared else "c", shape=(nbytes,)) if nbytes else 0)
        made._mapped = not shared
        return made

    @property
    def device(self) -> device:
        """Where the bytes are."""
        if self._device is None:
            return as_device("cpu") if isinstance(self._root, np.ndarray) else self._root.device
        return self._device

    @property
    def is_cuda(self) -> bool:
        """Whether the bytes are on a GPU."""
        return self.device.type == "cuda"

    @property
    def _cdata(self) -> int:
        alias = getattr(self._root, "_alias", None)
        return id(self._root if alias is None else alias.storage)

    def nbytes(self) -> int:
        """Number of bytes."""
        return int(self._root.nbytes)

    def size(self) -> int:
        """Number of bytes."""
        return self.nbytes()

    def __len__(self) -> int:
        return self.nbytes()

    def element_size(self) -> int:
        """Bytes of one element: 1."""
        return 1

    def data_ptr(self) -> int:
        """Address of the first byte; 0 if there is none."""
        if not self.nbytes() or self.device.type == "meta":
            return 0
        if isinstance(self._root, np.ndarray):
            return self._root.__array_interface__["data"][0]
        return address(self._root)

    def _bytes(self) -> np.ndarray:
        """The content as a flat array of uint8, not to be written to."""
        if isinstance(self._root, np.ndarray):
            return self._root
        root = self._root
        host = root._alias.storage.host if root._borrowed else root.detach()._in_order()._host()
        return np.ascontiguousarray(host).reshape(-1).view(np.uint8)

    def tolist(self) -> list[int]:
        """The bytes as a list of ints."""
        return self._bytes().tolist()

    def __getitem__(self, index: Any) -> Any:
        found = self._bytes()[index]
        if not isinstance(found, np.ndarray):
            return int(found)
        made = UntypedStorage(found, self._device)
        made._mapped = self._mapped
        return made

    def __iter__(self) -> Iterator[int]:
        return iter(self.tolist())

    def __eq__(self, other: object) -> bool:
        return self._cdata == other._cdata if isinstance(other, UntypedStorage) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._cdata)

    # ---- writing -----------------------------------------------------------------------------------------------

    def _write(self, content: np.ndarray) -> None:
        """Replace all bytes."""
        if isinstance(self._root, np.ndarray):
            if self._mapped or not self._root.flags.writeable:
                self._root, self._mapped = np.array(self._root), False
            self._root[...] = content
            return
        from ..engine import concrete  # late: bytes alone need no engine
        from ._tensor import Tensor
        from .device import place_for

        root = self._root
        new = concrete(content.view(root.dtype.numpy).reshape(tuple(root.shape)), place_for("cpu"))
        root.data.copy_(Tensor._of(new))

    def __setitem__(self, index: Any, value: Any) -> None:
        """Set bytes; tensors of the storage see it."""
        content = np.array(self._bytes())
        content[index] = value._bytes() if isinstance(value, UntypedStorage) else value
        self._write(content)

    def fill_(self, value: int) -> UntypedStorage:
        """Set every byte."""
        self[:] = value
        return self

    def copy_(self, source: UntypedStorage, non_blocking: bool = False) -> UntypedStorage:
        """Take over the bytes of another storage of the same size."""
        if source.nbytes() != self.nbytes():
            raise RuntimeError(f"copy_: storages of {source.nbytes()} and {self.nbytes()} bytes differ in size")
        self._write(np.array(source._bytes()))
        return self

    def byteswap(self, dtype: Any) -> None:
        """Reverse the bytes of each element of ``dtype``."""
        width = dtype.itemsize // (2 if dtype.is_complex else 1)
        self._write(np.array(self._bytes()).view(f"u{width}").byteswap().view(np.uint8) if width > 1 else self._bytes())

    def untyped(self) -> UntypedStorage:
        """The storage itself."""
        return self

    def get_device(self) -> int:
        """Index of the device; -1 on the CPU."""
        return -1 if self.device.index is None else self.device.index

    def is_pinned(self, device: Any = None) -> bool:
        """False: transfers need no pinned memory."""
        return False

    def is_shared(self) -> bool:
        """Whether the memory is shared with other processes: a file's, or by ``share_memory_``."""
        if isinstance(self._root, np.ndarray):
            return isinstance(self._root, np.memmap) and not self._mapped
        return self._root.is_shared()

    def share_memory_(self) -> UntypedStorage:
        """Move the bytes to memory that is shared with the processes that tensors over them are sent to, see
        ``Tensor.share_memory_``; the storage itself.

        NotImplementedError for a storage that no tensor is over.
        """
        if isinstance(self._root, np.ndarray):
            if not self.is_shared():
                raise NotImplementedError("UntypedStorage.share_memory_: no tensor is over these bytes; make one by "
                                          "torch.as_tensor and call its share_memory_()")
        else:
            self._root.share_memory_()
        return self

    def resizable(self) -> bool:
        """False: ``Tensor.resize_`` gives a tensor another storage."""
        return False

    def resize_(self, size: int) -> UntypedStorage:
        """Refused unless the size stays: tensors own their memory through JAX."""
        if size != self.nbytes():
            raise RuntimeError(f"Trying to resize storage that is not resizable (from {self.nbytes()} to {size} bytes)")
        return self

    def __copy__(self) -> UntypedStorage:
        return self.clone()

    def __deepcopy__(self, memo: dict) -> UntypedStorage:
        if id(self) not in memo:
            memo[id(self)] = self.clone()
        return memo[id(self)]

    def __reduce__(self) -> tuple:
        return UntypedStorage, (np.array(self._bytes()), str(self.device))

    # ---- other devices -----------------------------------------------------------------------------------------

    def to(self, device: device | str | int) -> UntypedStorage:
        """The bytes on another device; they move when a tensor is made of them (as ``torch.load`` does)."""
        where = as_device(device).canonical()
        if where.type not in ("cpu", "meta"):
            where.jax()  # raises if it is not available
        return self if where == self.device else UntypedStorage(self._root, where)

    def cpu(self) -> UntypedStorage:
        """The bytes on the CPU."""
        return self.to("cpu")

    def cuda(self, device: int | str | device | None = None) -> UntypedStorage:
        """The bytes on a GPU: the current one, or the one of that index."""
        return self.to("cuda" if device is None else f"cuda:{device}" if isinstance(device, int) else device)

    def clone(self) -> UntypedStorage:
        """A copy of the bytes."""
        return UntypedStorage(self._bytes().copy(), self._device)

    def __repr__(self) -> str:
        return f"[torch.storage.UntypedStorage(device={self.device}) of size {self.nbytes()}]"
