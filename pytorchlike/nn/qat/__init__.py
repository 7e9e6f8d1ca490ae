"""``torch.nn.qat``: the older place of :mod:`torch.ao.nn.qat`."""

from __future__ import annotations

from .._older import now_in_ao

__getattr__ = now_in_ao(__name__)
