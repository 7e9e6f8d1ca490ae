"""``torch.backends.mha``: whether ``nn.TransformerEncoder`` may take its fast path: what is padded is zero then."""

from __future__ import annotations

from ..tensor.functions_settings import get_fastpath_enabled as get_fastpath_enabled
from ..tensor.functions_settings import set_fastpath_enabled as set_fastpath_enabled

__all__ = ["get_fastpath_enabled", "set_fastpath_enabled"]
