"""``torch.backends.mps``: Apple's GPUs, for which there is no device type here."""

from __future__ import annotations

__all__ = ["get_core_count", "get_name", "is_available", "is_built", "is_macos13_or_newer", "is_macos_or_newer"]


def is_built() -> bool:
    """False."""
    return False


def is_available() -> bool:
    """False."""
    return False


def is_macos_or_newer(major: int, minor: int = 0) -> bool:
    """Whether this is macOS of at least that version."""
    import platform

    told = platform.mac_ver()[0]
    return bool(told) and tuple(int(n) for n in told.split(".")[:2]) >= (major, minor)


def is_macos13_or_newer(minor: int = 0) -> bool:
    """Whether this is macOS 13 or later."""
    return is_macos_or_newer(13, minor)


def get_name() -> str:
    """The GPU's name; RuntimeError, as none is used."""
    raise RuntimeError("MPS is not available: JAX finds no GPU of Apple's in this process")


def get_core_count() -> int:
    """The GPU's number of cores; RuntimeError, as none is used."""
    raise RuntimeError("MPS is not available: JAX finds no GPU of Apple's in this process")
