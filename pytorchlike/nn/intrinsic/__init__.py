"""``torch.nn.intrinsic``: the older place of :mod:`torch.ao.nn.intrinsic`."""

from __future__ import annotations

from .._older import now_in_ao

__getattr__ = now_in_ao(__name__)
