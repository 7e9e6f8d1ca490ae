"""The state of autocast, and the two updates of gradient scaling: what ``pytorchlike.amp`` is made of.

Which device types are being autocast, and to what, is part of the engine's mode, per thread; here are the dtypes of
those that are not, the nesting depth and the cache switch.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from ..engine import get_mode, set_mode
from . import dtype as d
from ._register import function
from ._tensor import Tensor
from .device import DEVICE_TYPES, device
from .recorded import record_update

#: Dtypes that autocast goes to by default, by device type; other types have no autocast.
_DEFAULTS = {
    "cpu": d.bfloat16, "cuda": d.float16, "tpu": d.bfloat16, "xla": d.bfloat16, "mps": d.float16, "xpu": d.float16,
    "hpu": d.bfloat16, "ipu": d.float16, "mtia": d.float16, "maia": d.bfloat16, "hip": d.float16,
    "privateuseone": d.float16,
}  # fmt: skip

#: Under which name the engine's mode holds a type: JAX's platform; "xla" is what PyTorch calls TPUs.
_KEYS = {"cuda": "gpu", "xla": "tpu"}


class _State(threading.local):
    def __init__(self) -> None:
        self.dtypes: dict[str, d.dtype] = {}
        self.nesting = 0
        self.cache = True


_state = _State()


def _key(device_type: str) -> str:
    return _KEYS.get(device_type, device_type)


def _checked(device_type: str) -> str:
    """The device type itself; RuntimeError if it is unknown or has no autocast."""
    if not is_autocast_available(device_type):
        raise RuntimeError(
            f"autocast does not know device type '{device_type}'; it treats {', '.join(_DEFAULTS)}"
        )
    return device_type


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast treats tensors of that device type; RuntimeError if there is no such type."""
    if not isinstance(device_type, str):
        raise TypeError(f"expected a device type as str, but got {type(device_type).__name__}")
    if device_type not in DEVICE_TYPES:
        device(device_type)  # raises, telling the types, unless it has an index
    return device_type in _DEFAULTS


def _active() -> dict[str, Any]:
    return dict(get_mode().autocast or ())


def _activate(table: dict[str, Any]) -> None:
    set_mode(get_mode().replace(autocast=tuple(sorted(table.items())) or None))


@function
def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether operations on tensors of ``device_type`` are being autocast in this thread."""
    return _key(_checked(device_type)) in _active()


@function
def set_autocast_enabled(device_type: str | bool, enabled: bool | None = None) -> None:
    """Switch autocast of a device type, "cuda" if only a bool is given, on or off in this thread."""
    if enabled is None:
        if not isinstance(device_type, bool):
            raise TypeError("set_autocast_enabled() expects (device_type, enabled), or enabled alone for 'cuda'")
        device_type, enabled = "cuda", device_type
    table = _active()
    if enabled:
        table[_key(_checked(device_type))] = get_autocast_dtype(device_type).numpy
    else:
        table.pop(_key(_checked(device_type)), None)
    _activate(table)


@function
def get_autocast_dtype(device_type: str) -> d.dtype:
    """The dtype that autocast goes to on a device type: bfloat16 on "cpu" and "tpu", float16 on "cuda" unless set."""
    return _state.dtypes.get(_key(_checked(device_type)), _DEFAULTS[device_type])


@function
def set_autocast_dtype(device_type: str, dtype: d.dtype) -> None:
    """Set the dtype that autocast goes to on a device type, in this thread."""
    if not isinstance(dtype, d.dtype):
        raise TypeError(f"set_autocast_dtype(): dtype must be a torch.dtype, not {type(dtype).__name__}")
    key = _key(_checked(device_type))
    _state.dtypes[key] = dtype
    table = _active()
    if key in table:
        _activate({**table, key: dtype.numpy})


def _for_one_type(name: str, device_type: str) -> None:
    """The older functions that have the type in their names."""

    def get_dtype() -> d.dtype:
        return get_autocast_dtype(device_type)

    def set_dtype(dtype: d.dtype) -> None:
        set_autocast_dtype(device_type, dtype)

    def is_enabled() -> bool:
        return is_autocast_enabled(device_type)

    def set_enabled(enabled: bool) -> None:
        set_autocast_enabled(device_type, enabled)

    made = {f"get_autocast_{name}_dtype": get_dtype, f"set_autocast_{name}_dtype": set_dtype}
    if name != "gpu":
        made |= {f"is_autocast_{name}_enabled": is_enabled, f"set_autocast_{name}_enabled": set_enabled}
    for public, fn in made.items():
        fn.__name__ = fn.__qualname__ = public
        fn.__doc__ = f"The same as the function without ``_{name}``, for device type '{device_type}'."
        function(fn)


for _name, _type in (("cpu", "cpu"), ("gpu", "cuda"), ("xla", "xla"), ("ipu", "ipu")):
    _for_one_type(_name, _type)


@function
def is_autocast_cache_enabled() -> bool:
    """The switch that ``autocast(cache_enabled=...)`` sets; a program casts each weight once either way."""
    return _state.cache


@function
def set_autocast_cache_enabled(enabled: bool) -> None:
    """Set what :func:`is_autocast_cache_enabled` answers in this thread; nothing else depends on it."""
    _state.cache = bool(enabled)


@function
def clear_autocast_cache() -> None:
    """Nothing to do: casts are part of the recorded program and outlive no region."""


@function
def autocast_increment_nesting() -> int:
    """Count one more autocast region around this thread's work; returns the depth."""
    _state.nesting += 1
    return _state.nesting


@function
def autocast_decrement_nesting() -> int:
    """Count one region less; returns the depth."""
    _state.nesting -= 1
    return _state.nesting


# ---- gradient scaling ----------------------------------------------------------------------------------------------


def _unscaled(static: None, lists: list[list[Any]], hyper: list[Any]) -> list[list[Any]]:
    """Gradients times ``inv_scale``, and whether one of them is not finite (added to what was found before)."""
    import jax.numpy as jnp

    grads, (found,), (inverse,) = lists
    bad = jnp.zeros((), bool)
    for g in grads:
        bad = bad | ~jnp.all(jnp.isfinite(g))
    inverse = inverse.reshape(())
    scaled = [jnp.where(inverse == 1, g, (g * inverse).astype(g.dtype)) for g in grads]
    return [scaled, [jnp.where(bad, jnp.ones_like(found), found)]]


@function(namespace="", name="_amp_foreach_non_finite_check_and_unscale_")
def unscale_(grads: Sequence[Tensor], found_inf: Tensor, inv_scale: Tensor) -> None:
    """Multiply ``grads`` in place by ``inv_scale`` () and set ``found_inf`` () to 1 if an entry is infinite or NaN.

    Recorded as one operation; nothing is read.
    """
    if grads:
        tensors = [list(grads), [found_inf], [inv_scale]]
        record_update("amp.unscale", _unscaled, None, tensors, [], tensors[:2])


def _rescaled(static: None, lists: list[list[Any]], hyper: list[Any]) -> list[list[Any]]:
    import jax.numpy as jnp

    (scale,), (tracker,), (found,) = lists
    growth, backoff, interval = (jnp.reshape(h, ()) for h in hyper)
    bad = found.reshape(()) > 0
    count = tracker + 1
    grows = count >= interval
    grown = (scale * growth).astype(scale.dtype)
    kept = jnp.where(grows & jnp.isfinite(grown), grown, scale)
    new_scale = jnp.where(bad, (scale * backoff).astype(scale.dtype), kept)
    return [[new_scale], [jnp.where(bad | grows, 0, count).astype(tracker.dtype)]]


@function(namespace="", name="_amp_update_scale_")
def update_scale_(self: Tensor, growth_tracker: Tensor, found_inf: Tensor, scale_growth_factor: float,
                  scale_backoff_factor: float, growth_interval: int) -> Tensor:  # fmt: skip
    """Adapt a scale () in place to whether overflow was found: times the backoff factor if so; else times the growth
    factor (unless that overflows) once ``growth_interval`` updates in a row, counted by ``growth_tracker``, found none.

    Recorded as one operation; nothing is read.
    """
    numbers = [float(scale_growth_factor), float(scale_backoff_factor), float(growth_interval)]
    tensors = [[self], [growth_tracker], [found_inf]]
    record_update("amp.update_scale", _rescaled, None, tensors, numbers, tensors[:2])
    return self


def is_castable(value: Any, device_type: str) -> bool:
    """Whether autocast of ``device_type`` may cast a value: a floating tensor there that is not float64."""
    return (
        isinstance(value, Tensor)
        and value.is_floating_point()
        and value.dtype is not d.float64
        and _key(value.device.type) == _key(device_type)
    )


