"""``torch.storage``: the memory behind tensors."""

from __future__ import annotations

from .tensor.typed_storage import TYPED as _TYPED
from .tensor.typed_storage import TypedStorage as TypedStorage
from .tensor.untyped import UntypedStorage as UntypedStorage

globals().update(_TYPED)
#: ``torch.Storage``, the storage class of float32.
Storage = _TYPED["FloatStorage"]

__all__ = ["TypedStorage", "UntypedStorage"]
