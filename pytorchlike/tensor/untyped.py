"""``torch.UntypedStorage``: the bytes behind a tensor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .device import as_device, device

__all__ = ["UntypedStorage"]


class UntypedStorage:
    """The memory that a tensor and its views share, as bytes; what ``Tensor.untyped_storage()`` returns.

    A view of the present content: values cannot be written through it. Two storages are equal if they are the same
    memory. ``data_ptr()`` is the address of the first byte (of the host copy on accelerators).
    """

    __slots__ = ("_device", "_root", "__weakref__")

    _root: Any  # the Tensor that spans the storage, or a NumPy array of bytes

    def __init__(self, source: Any, device: device | None = None) -> None:
        if not isinstance(source, np.ndarray):
            source._get()
            alias = source._alias
            if alias is not None and alias.chain:
                source = source._base
        self._root, self._device = source, device

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
        return self._bytes().__array_interface__["data"][0]

    def _bytes(self) -> np.ndarray:
        """The content as a flat array of uint8, not to be written to."""
        if isinstance(self._root, np.ndarray):
            return self._root
        alias = self._root._alias
        host = self._root._host() if alias is None or alias.storage.host is None else alias.storage.host
        return np.ascontiguousarray(host).reshape(-1).view(np.uint8)

    def tolist(self) -> list[int]:
        """The bytes as a list of ints."""
        return self._bytes().tolist()

    def __getitem__(self, index: Any) -> Any:
        found = self._bytes()[index]
        return UntypedStorage(found, self._device) if isinstance(found, np.ndarray) else int(found)

    def __iter__(self) -> Iterator[int]:
        return iter(self.tolist())

    def __eq__(self, other: object) -> bool:
        return self._cdata == other._cdata if isinstance(other, UntypedStorage) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._cdata)

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
        return f"<torch.UntypedStorage of {self.nbytes()} bytes, device={self.device}>"
