"""``autocast``, and the decorators that bring custom autograd functions under it."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import numpy as np

from ..tensor import dtype as d
from ..tensor import functions_amp as state
from ..tensor.device import device_count
from ..tensor.functions_amp import is_autocast_available as is_autocast_available
from ..tensor.functions_amp import is_castable

__all__ = ["autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]

_LOWER = (d.bfloat16, d.float16)


class autocast:
    """Within it, products and convolutions run in a lower precision, and what needs the range runs in float32.

    ``with autocast("cpu"): ...``, or as a decorator of a function.  It acts on operations on tensors of
    ``device_type`` ("cpu", "cuda", "tpu", also called "xla") recorded by this thread; regions nest, and one with
    ``enabled=False`` switches it off inside another.  Which operator goes where is PyTorch's (``ops/_autocast.py``).
    In-place and ``out=`` forms, and float64, are left as they are.  Backward takes the dtypes of the forward pass, so
    that gradients come in the parameters' dtype; it should be called outside.

    dtype: torch.bfloat16 or torch.float16; None means ``get_autocast_dtype(device_type)``, which is bfloat16 on the
    CPU and TPUs, float16 on GPUs.  cache_enabled is what ``is_autocast_cache_enabled`` answers inside: a program casts
    each weight once with or without it.

    Another dtype (on other devices than "cuda"), or "cuda" where JAX has no GPU, warns and leaves autocast off.
    Raises: ValueError if device_type is no str, RuntimeError if there is no such type or it has no autocast.
    """

    def __init__(
        self, device_type: str, dtype: d.dtype | None = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if not is_autocast_available(device_type):
            raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'")
        self.device = device_type
        self.fast_dtype = state.get_autocast_dtype(device_type) if dtype is None else dtype
        self._cache_enabled = state.is_autocast_cache_enabled() if cache_enabled is None else cache_enabled
        if enabled and device_type == "cuda":
            if not device_count("cuda"):
                warnings.warn("CUDA is not available. Disabling autocast.", UserWarning, stacklevel=2)
                enabled = False
        elif enabled and self.fast_dtype not in _LOWER:
            warnings.warn(
                f"{device_type.upper()} autocast goes to {' or '.join(map(str, _LOWER))}, not to {self.fast_dtype}. "
                "Disabling autocast.",
                UserWarning,
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled
        self._before: list[tuple[bool, d.dtype, bool]] = []

    def __enter__(self) -> Self:
        kind = self.device
        self._before.append(
            (state.is_autocast_enabled(kind), state.get_autocast_dtype(kind), state.is_autocast_cache_enabled())
        )
        state.set_autocast_dtype(kind, self.fast_dtype)
        state.set_autocast_enabled(kind, self._enabled)
        state.set_autocast_cache_enabled(self._cache_enabled)
        state.autocast_increment_nesting()
        return self

    def __exit__(self, *exc: object) -> None:
        enabled, dtype, cache = self._before.pop()
        state.autocast_decrement_nesting()
        state.set_autocast_enabled(self.device, enabled)
        state.set_autocast_dtype(self.device, dtype)
        state.set_autocast_cache_enabled(cache)

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:
        if not callable(func):
            raise TypeError(
                f"autocast()(func) requires a callable, but got {type(func).__name__}. For a region write "
                "`with torch.autocast(device_type=...):`"
            )

        @functools.wraps(func)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self:
                return func(*args, **kwargs)

        return wrapped


def _cast(value: Any, device_type: str, dtype: d.dtype) -> Any:
    """A value with the tensors in it that autocast may touch in ``dtype``; containers are made anew."""
    if is_castable(value, device_type):
        return value.to(dtype)
    if isinstance(value, Mapping):
        return {_cast(k, device_type, dtype): _cast(v, device_type, dtype) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        cast = [_cast(v, device_type, dtype) for v in value]
        return type(value)(*cast) if hasattr(value, "_fields") else type(value)(cast)
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, np.ndarray)) and not hasattr(value, "dtype"):
        return (_cast(v, device_type, dtype) for v in value)
    return value


def _checked(device_type: str) -> None:
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")


def custom_fwd(
    fwd: Callable[..., Any] | None = None, *, device_type: str, cast_inputs: d.dtype | None = None
) -> Callable[..., Any]:
    """Decorator of ``forward(ctx, ...)`` of an ``autograd.Function`` that is used under autocast.

    cast_inputs: within a region, floating arguments on ``device_type`` are cast to this dtype (float64 ones are not)
    and forward runs with autocast off.  None: forward runs under the autocast that is on, and so will backward, with
    :func:`custom_bwd`.  Outside of a region nothing changes.

    Raises: ValueError if device_type is no str.
    """
    _checked(device_type)
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        on = state.is_autocast_enabled(device_type)
        ctx._dtype = state.get_autocast_dtype(device_type)
        ctx._fwd_used_autocast = on and cast_inputs is None
        if not on or cast_inputs is None:
            return fwd(ctx, *args, **kwargs)
        args, kwargs = _cast(args, device_type, cast_inputs), _cast(kwargs, device_type, cast_inputs)
        with autocast(device_type, enabled=False):
            return fwd(ctx, *args, **kwargs)

    return forward


def custom_bwd(bwd: Callable[..., Any] | None = None, *, device_type: str) -> Callable[..., Any]:
    """Decorator of ``backward(ctx, ...)``: it runs under the autocast that its :func:`custom_fwd` forward ran under.

    Raises: ValueError if device_type is no str.
    """
    _checked(device_type)
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, enabled=ctx._fwd_used_autocast, dtype=ctx._dtype):
            return bwd(ctx, *args, **kwargs)

    return backward
