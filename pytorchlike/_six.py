"""``torch._six``: names from the time of Python 2, which older programs import."""

from __future__ import annotations

import builtins
import collections.abc as container_abcs
import math
import queue

__all__ = ["container_abcs", "inf", "int_classes", "istuple", "nan", "queue", "string_classes"]

inf, nan = math.inf, math.nan
string_classes = (str, bytes)
int_classes = int
FileNotFoundError = builtins.FileNotFoundError
PY37, PY3, PY2 = True, True, False


def istuple(obj: object) -> bool:
    """Whether it is a tuple."""
    return isinstance(obj, tuple)


def with_metaclass(meta: type, *bases: type) -> type:
    """A class with these bases and metaclass, to be derived from."""
    return meta("_base", bases, {})
