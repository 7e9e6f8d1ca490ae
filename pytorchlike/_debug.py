"""``torch.set_debug``: operations executed one by one, and a search for NaN and infinities; see docs/debugging.md."""

from __future__ import annotations

from typing import Any, Self

from .autograd import anomaly_mode
from .engine import get_mode, set_mode
from .engine.debug import debug

__all__ = ["get_debug", "set_debug"]

_KNOWN = ("eager", "nan", "inf")


class set_debug:
    """Switch debugging on or off; as a context manager, until its end.

    what: any of
        'eager'  every operation is executed when it is called, so that every error is raised at its line, where a
                 debugger finds it;
        'nan'    that too, and RuntimeError at the first operation whose result has a NaN, forward or in ``backward``,
                 naming the operation, its inputs' ranges and the line;
        'inf'    that too, for infinities that did not go into the operation;
    or nothing (or None) to switch it off.

    Numbers passed on purpose, as in ``masked_fill(mask, -inf)``, are not objected to.  It replaces what was set before;
    other threads follow after their next execution.  Slow: for debugging.  The environment variable
    ``PYTORCHLIKE_DEBUG=eager,nan`` sets it for a whole process.

    Raises:  ValueError for another name.

    >>> with torch.set_debug("nan"):
    ...     torch.tensor([-1.0]).log()
    Traceback (most recent call last):
    RuntimeError: log returned 1 nan among 1 values of float32[1], the first at [0]. None of its inputs has nan. ...
    """

    def __init__(self, *what: str | None) -> None:
        names = [w for w in what if w is not None]
        unknown = [w for w in names if w not in _KNOWN]
        if unknown:
            raise ValueError(f"set_debug: unknown {unknown[0]!r}; choose from {', '.join(map(repr, _KNOWN))}")
        self.prev = get_debug()
        self._anomaly = anomaly_mode.is_anomaly_enabled(), anomaly_mode.is_anomaly_check_nan_enabled()
        _apply(names)
        if "nan" in names:
            anomaly_mode.set_anomaly_enabled(True)
        elif "nan" in self.prev:
            anomaly_mode.set_anomaly_enabled(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        _apply(self.prev)
        anomaly_mode.set_anomaly_enabled(*self._anomaly)


def _apply(names: Any) -> None:
    debug.set("eager" in names, "nan" in names, "inf" in names)
    located = debug.eager or anomaly_mode.is_anomaly_enabled()
    if get_mode().located != located:
        set_mode(get_mode().replace(located=located))


def get_debug() -> tuple[str, ...]:
    """What :func:`set_debug` has switched on, in the order 'eager', 'nan', 'inf'."""
    return tuple(name for name in _KNOWN if getattr(debug, name))


def from_environment(text: str) -> None:
    """Obey ``PYTORCHLIKE_DEBUG``."""
    try:
        set_debug(*[w.strip() for w in text.split(",") if w.strip() and w.strip() != "0"])
    except ValueError as error:
        raise ValueError(f"PYTORCHLIKE_DEBUG={text!r}: {error}") from None
