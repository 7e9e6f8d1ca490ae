"""``torch.version``: versions of this package, of the PyTorch it follows, and of what is installed beside it."""

from __future__ import annotations

from typing import Any

from .torch_version import TorchVersion

__all__ = ["cuda", "debug", "git_version", "hip", "pytorchlike", "rocm", "xpu"]

#: The version of this package.
pytorchlike: str = "0.1.0"
#: The version of PyTorch whose behaviour is followed.
torch: str = "2.13.0"
#: What programs that ask for PyTorch's version see.
__version__ = TorchVersion(f"{torch}+pytorchlike{pytorchlike}")

debug: bool = False
git_version: str = "unknown"
xpu: str | None = None
cuda: str | None
hip: str | None
rocm: str | None


def _plugin(*names: str) -> str | None:
    """Version of the first distribution of these that is installed, as 'major.minor'."""
    import importlib.metadata

    for name in names:
        try:
            return ".".join(importlib.metadata.version(name).split(".")[:2])
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def __getattr__(name: str) -> Any:
    """``cuda`` and ``hip``: the toolkits that JAX's plugins bring, None without such a plugin."""
    if name == "cuda":
        found = None
        for major in ("13", "12"):
            if _plugin(f"jax-cuda{major}-plugin") is not None:
                names = (f"nvidia-cuda-runtime-cu{major}", "nvidia-cuda-runtime")
                found = _plugin(*names) or f"{major}.0"
                break
    elif name in ("hip", "rocm"):
        found = _plugin("jax-rocm7-plugin", "jax-rocm60-plugin")
    else:
        raise AttributeError(f"module 'torch.version' has no attribute '{name}'")
    globals()[name] = found
    return found
