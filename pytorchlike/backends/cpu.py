"""``torch.backends.cpu``."""

from __future__ import annotations

import platform

__all__ = ["get_cpu_capability"]


def get_cpu_capability() -> str:
    """The widest vectors that the CPU says it has: 'AVX512', 'AVX2', 'DEFAULT'; XLA uses what there is."""
    try:
        with open("/proc/cpuinfo") as file:
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        flags = ""
    if platform.machine() not in ("x86_64", "AMD64"):
        return "DEFAULT"
    return "AVX512" if " avx512f" in flags else "AVX2" if " avx2" in flags else "DEFAULT"
