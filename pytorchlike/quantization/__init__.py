"""``torch.quantization``: the older place of :mod:`torch.ao.quantization` and its modules."""

import sys as _sys

from ..ao.quantization import *  # noqa: F403
from ..ao.quantization import fake_quantize as fake_quantize
from ..ao.quantization import observer as observer
from ..ao.quantization import qconfig as qconfig
from ..ao.quantization import stubs as stubs

for _name in ("fake_quantize", "fuse_modules", "observer", "qconfig", "quantize", "stubs"):
    # functions stand before modules of their names, which are found by import alone
    _sys.modules[f"{__name__}.{_name}"] = _sys.modules[f"{__name__.replace('quantization', 'ao.quantization')}.{_name}"]
