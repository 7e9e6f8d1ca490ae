"""``torch.nn.intrinsic.qat``: the older place of :mod:`torch.ao.nn.intrinsic.qat`."""

from __future__ import annotations

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    home = importlib.import_module(f"{__name__.partition('.')[0]}.ao.nn.intrinsic.qat")
    return getattr(home, name)
