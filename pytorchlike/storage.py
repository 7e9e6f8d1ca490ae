"""``torch.storage``: the memory behind tensors."""

from __future__ import annotations

from io import BytesIO as _BytesIO
from typing import Any as _Any

from .tensor.typed_storage import TYPED as _TYPED
from .tensor.typed_storage import TypedStorage as TypedStorage
from .tensor.untyped import UntypedStorage as UntypedStorage

globals().update(_TYPED)
#: The class that PyTorch's storages are derived from, for questions.
StorageBase = UntypedStorage
#: ``torch.Storage``, the storage class of float32.
Storage = _TYPED["FloatStorage"]



def _load_from_bytes(b: bytes) -> _Any:
    """The storage within an ordinary pickle that PyTorch has written: it names this function."""
    from .serialization import load

    return load(_BytesIO(b))


__all__ = ["TypedStorage", "UntypedStorage"]
