"""``torch.__config__``: what the computations rest on."""

from __future__ import annotations

__all__ = ["parallel_info", "show"]


def show() -> str:
    """Versions, devices, cache and optional packages: what ``python -m pytorchlike`` prints."""
    from ._report import report

    return report()


def parallel_info() -> str:
    """How many CPU threads XLA may use."""
    import os

    from .tensor.functions_settings import get_num_threads

    return f"XLA threads: {get_num_threads()}\nCPUs: {os.cpu_count()}\nXLA_FLAGS: {os.environ.get('XLA_FLAGS', '')}\n"
