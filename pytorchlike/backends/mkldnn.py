"""``torch.backends.mkldnn``: oneDNN is not used; XLA compiles for the CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Self

from ._settings import Settings, hint, inside, use

VERBOSE_OFF, VERBOSE_ON, VERBOSE_ON_CREATION = 0, 1, 2


def is_available() -> bool:
    """False."""
    return False


def is_acl_available() -> bool:
    """False."""
    return False


class verbose:
    """``with verbose(level)``: refused unless VERBOSE_OFF, since there is no oneDNN that could report."""

    def __init__(self, level: int) -> None:
        if level != VERBOSE_OFF:
            raise NotImplementedError("mkldnn.verbose: oneDNN is not used; see torch.compiler.log()")
        self.level = level

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        return None


class _Mkldnn(Settings):
    enabled = hint("enabled", True, bool, "mkldnn")
    deterministic = hint("deterministic", False, bool, "mkldnn")
    allow_tf32 = hint("allow_tf32", True, bool, "mkldnn")


use(__name__, _Mkldnn)


@contextlib.contextmanager
def flags(enabled: bool = False, deterministic: bool = False, allow_tf32: bool = True) -> Iterator[None]:
    """The hints inside a block."""
    given = {"enabled": enabled, "deterministic": deterministic, "allow_tf32": allow_tf32}
    with inside(__name__, given):
        yield
