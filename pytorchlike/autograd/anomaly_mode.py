"""Finding the operation whose gradient is NaN, and the line of the program that used it."""

from __future__ import annotations

import linecache
import threading
import warnings
from typing import Any

import numpy as np

from ..engine import Op, Value, get_mode, record, set_mode
from ..engine import grad as reverse
from ..engine.debug import debug
from ..engine.errors import describe, warn
from ..engine.meta import TRACED
from ..engine.trace import read
from ._node_names import CUSTOM, name_of

__all__ = ["detect_anomaly", "is_anomaly_check_nan_enabled", "is_anomaly_enabled", "set_detect_anomaly"]

_check_nan = True


def _any_nan(static: Any, args: tuple) -> Any:
    import jax.numpy as jnp

    return jnp.stack([jnp.isnan(a).any() for a in args])


_ANY_NAN = Op("any nan", _any_nan, differentiable=False)


class _Inspector:
    """Sees every step of the reverse passes; looks at the results before Python code runs, and at the end."""

    def __init__(self) -> None:
        self.seen = threading.local()

    def __call__(self, call: Any, positions: Any, grads: Any) -> None:
        if call is None:
            self.look()
            return
        name = call.op.name + "Backward" if call.op.info is CUSTOM else name_of(call)
        location = call.location if call.mode.located else None
        for k, g in zip(positions, grads, strict=True):
            self.note(name, location, k, g)

    def custom(self, name: str, location: Any, position: int, grad: Value) -> None:
        """A gradient that a custom function returned."""
        self.note(name, location, position, grad)

    def failed(self, name: str, location: Any) -> None:
        """A custom function raised."""
        _warn(name, location)

    def note(self, name: str, location: Any, position: int, grad: Any) -> None:
        if _check_nan and grad is not None and grad.meta.dtype.kind in "fcV" and grad.meta.place is not TRACED:
            self.seen.__dict__.setdefault("noted", []).append((name, location, position, grad))

    def look(self) -> None:
        noted = self.seen.__dict__.pop("noted", [])
        if not noted:
            return
        bad = np.asarray(read(record(_ANY_NAN, (), tuple(g for *_, g in noted))))
        for is_bad, (name, location, position, _) in zip(bad, noted, strict=True):
            if is_bad:
                _warn(name, location)
                at = f" (its forward is at {describe(location)})" if location else ""
                raise RuntimeError(f"Function '{name}' returned nan values in its {position}th output.{at}")


def _warn(name: str, location: Any) -> None:
    if location is None:
        warn(
            f"Error detected in {name}. No forward pass information available. Enable detect anomaly during forward "
            "pass for more information."
        )
        return
    file, line = location
    source = linecache.getline(file, line).strip()
    warn(
        f"Error detected in {name}. Traceback of forward call that caused the error:\n"
        f'  File "{file}", line {line}\n    {source}'
    )


def is_anomaly_enabled() -> bool:
    """Whether reverse passes are looked at."""
    return reverse.inspector is not None


def is_anomaly_check_nan_enabled() -> bool:
    """Whether they are searched for NaN."""
    return _check_nan


def set_anomaly_enabled(enabled: bool, check_nan: bool = True) -> None:
    """Switch it on or off for all threads; lines are noted from now on in this one."""
    global _check_nan
    _check_nan = check_nan
    if bool(enabled) != is_anomaly_enabled():
        reverse.inspector = _Inspector() if enabled else None
    located = bool(enabled) or debug.eager
    if get_mode().located != located:
        set_mode(get_mode().replace(located=located))


class set_detect_anomaly:
    """Switch the search for NaN in gradients on or off; as a context manager, until its end.

    A reverse pass then raises RuntimeError for the first operation whose gradient has a NaN, naming it and, if it was
    on in the forward pass too, the line that used the operation.  Much slower: for debugging.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.prev, self.prev_check_nan = is_anomaly_enabled(), is_anomaly_check_nan_enabled()
        set_anomaly_enabled(mode, check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        set_anomaly_enabled(self.prev, self.prev_check_nan)


class detect_anomaly:
    """Context in which reverse passes look for NaN, see :class:`set_detect_anomaly`.

    check_nan: False only tells where the forward of a custom function is whose backward raises.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.check_nan = check_nan
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for "
            "debugging.", stacklevel=2,
        )  # fmt: skip

    def __enter__(self) -> None:
        self.prev, self.prev_check_nan = is_anomaly_enabled(), is_anomaly_check_nan_enabled()
        set_anomaly_enabled(True, self.check_nan)

    def __exit__(self, *exc: object) -> None:
        set_anomaly_enabled(self.prev, self.prev_check_nan)
