"""What is installed and available: the text of ``python -m pytorchlike``."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
from pathlib import Path

__all__ = ["report"]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _requirements() -> dict[str, list[str]]:
    """Distributions of each optional extra, from the installed metadata, or from pyproject.toml beside a checkout."""
    try:
        lines = importlib.metadata.requires("pytorchlike") or []
    except importlib.metadata.PackageNotFoundError:
        file = Path(__file__).parent.parent / "pyproject.toml"
        if not file.exists():
            return {}
        import tomllib

        told = tomllib.loads(file.read_text())["project"].get("optional-dependencies", {})
        return {extra: [re.split(r"[^\w.-]", item)[0] for item in items] for extra, items in told.items()}
    out: dict[str, list[str]] = {}
    for line in lines:
        match = re.search(r"extra\s*==\s*['\"]([\w-]+)", line)
        if match:
            out.setdefault(match[1], []).append(re.split(r"[^\w.-]", line)[0])
    return out


def _size(path: Path) -> tuple[int, int]:
    """(files, bytes) below a directory; files that vanish meanwhile are not counted."""
    files = size = 0
    for at, _, names in os.walk(path):
        for name in names:
            try:
                size += os.stat(os.path.join(at, name)).st_size
            except FileNotFoundError:
                continue
            files += 1
    return files, size


def _cache() -> str:
    from .engine import config

    path = config.cache_dir()
    outer = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if path is None:
        return "off"
    if outer:
        return f"{outer} (JAX's own setting)"
    files, size = _size(path)
    return f"{path} ({files} files, {size / 2**20:.1f} MiB)"


def _devices() -> list[str]:
    import jax

    lines = []
    for device in jax.devices():
        limit = (device.memory_stats() or {}).get("bytes_limit")
        lines.append(f"{device.platform}:{device.id} {device.device_kind}"
                     f"{f', {limit / 2**30:.1f} GiB' if limit else ''}")  # fmt: skip
    return lines


def report() -> str:
    """Versions, devices, compilation cache and optional packages, for people and for bug reports."""
    from . import version

    lines = [
        f"pytorchlike  {version.pytorchlike} (follows PyTorch {version.torch})",
        f"Python       {platform.python_version()} on {platform.platform()}",
        *(f"{name:<12} {_version(name)}" for name in ("jax", "jaxlib", "numpy", "optax", "ml_dtypes")),
        f"CUDA         {version.cuda or 'no plugin of JAX is installed'}",
        f"executable   {sys.executable}",
        f"cache        {_cache()}",
        "devices",
        *(f"  {line}" for line in _devices()),
        "optional packages",
    ]
    for extra, names in sorted(_requirements().items()):
        told = ", ".join(f"{name} {_version(name)}" for name in names if name != "pytorchlike")
        lines.append(f"  {extra:<12} {told}")
    return "\n".join(lines)
