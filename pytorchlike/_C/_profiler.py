"""``torch._C._profiler``: a name that libraries import."""

from __future__ import annotations

from .._refused import Refused as _Refused

__all__ = ["_ExperimentalConfig"]


class _ExperimentalConfig(_Refused):
    """There are no such settings."""

    _instead = "profiles have no further settings here; leave experimental_config out"
