"""Choosing how ``scaled_dot_product_attention`` is computed, as far as XLA leaves a choice, and flexible attention."""

from __future__ import annotations

import contextlib
import enum
import importlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from . import flex_attention, varlen

__all__ = [
    "SDPBackend", "WARN_FOR_UNFUSED_KERNELS", "activate_flash_attention_impl", "bias", "current_flash_attention_impl",
    "flex_attention", "list_flash_attention_impls", "register_flash_attention_impl", "restore_flash_attention_impl",
    "sdpa_kernel", "varlen",
]


def __getattr__(name: str) -> Any:
    if name == "bias":  # a class of tensors that is to be asked, which all functions would heed from its import on
        return importlib.import_module(".bias", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


#: Kept for programs that set it. XLA fuses attention itself and has no reason to warn.
WARN_FOR_UNFUSED_KERNELS = False


class SDPBackend(enum.IntEnum):
    """The kernels that PyTorch knows for attention. Here one formulation serves all of them."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


_ALL = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH, SDPBackend.CUDNN_ATTENTION,
        SDPBackend.OVERRIDEABLE)
_allowed: tuple[SDPBackend, ...] = _ALL


def _cur_sdpa_kernel_backends(with_priority: bool = False) -> list[SDPBackend]:
    """The backends allowed by the innermost ``sdpa_kernel``, in its order if that was asked for."""
    return list(_allowed) if with_priority else sorted(_allowed)


@contextlib.contextmanager
def sdpa_kernel(backends: list[SDPBackend] | SDPBackend, set_priority: bool = False) -> Iterator[dict]:
    """Within this context attention may use the given backends only, in that order with ``set_priority``.

    Differs:  all backends are the same formulation here, which XLA fuses, so results do not depend on the choice.
    Raises:  AssertionError for anything but SDPBackends.
    """
    global _allowed
    if not isinstance(backends, (list, SDPBackend)):
        raise AssertionError("Backend must be an instance of SDPBackend or a list of SDPBackend instances, got "
                             f"{type(backends).__name__}")
    chosen = tuple(dict.fromkeys([backends] if isinstance(backends, SDPBackend) else backends))
    for backend in chosen:
        if not isinstance(backend, SDPBackend):
            raise AssertionError(f"Backend must be an instance of SDPBackend, got {backend!r}")
    before = _allowed
    _allowed = chosen if set_priority else tuple(b for b in _ALL if b in chosen)
    try:
        yield {}
    finally:
        _allowed = before


class FlashAttentionHandle(Protocol):
    """What the registration function of an implementation returns: a way to take it back."""

    def remove(self) -> None:
        """Restore what was there before."""


_implementations: dict[str, Callable[[], FlashAttentionHandle | None]] = {}
_active: tuple[str, FlashAttentionHandle] | None = None


def register_flash_attention_impl(impl: str, *, register_fn: Callable[..., FlashAttentionHandle | None]) -> None:
    """Make ``register_fn``, which installs an implementation of attention and returns a handle, known by a name."""
    _implementations[impl] = register_fn


def activate_flash_attention_impl(impl: str) -> None:
    """Install a registered implementation in place of the one installed before.

    Raises:  ValueError for a name that was not registered.
    """
    global _active
    restore_flash_attention_impl(_raise_warn=False)
    if impl not in _implementations:
        raise ValueError(f"Unknown flash attention impl '{impl}'. Available implementations: "
                         f"{list_flash_attention_impls()}; add others by register_flash_attention_impl")
    handle = _implementations[impl]()
    _active = None if handle is None else (impl, handle)


def list_flash_attention_impls() -> list[str]:
    """The names of all registered implementations. None is built in."""
    return sorted(_implementations)


def current_flash_attention_impl() -> str | None:
    """The name of the implementation installed, or None."""
    return None if _active is None else _active[0]


def restore_flash_attention_impl(_raise_warn: bool = True) -> None:
    """Take the installed implementation back; warns if there is none."""
    global _active
    if _active is not None:
        _active[1].remove()
    elif _raise_warn:
        warnings.warn("restore_flash_attention_impl: no implementation was activated", stacklevel=2)
    _active = None

