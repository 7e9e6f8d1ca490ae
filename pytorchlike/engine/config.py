"""Settings of the engine; each has an environment variable, listed in ``docs/environment.md``."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

TIERS = ("auto", "fused", "ops", "interpret", "inline")


def processors() -> int:
    """The CPUs that this process may use: as many threads has XLA."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Config:
    """What the engine obeys.  Read at the time of use, so that tests and users may change an attribute."""

    def __init__(self) -> None:
        self.tier: str = os.environ.get("PYTORCHLIKE_TIER", "auto")
        if self.tier not in TIERS:
            raise ValueError(f"PYTORCHLIKE_TIER={self.tier!r} is not one of {', '.join(TIERS)}")
        self.max_pending: int = int(os.environ.get("PYTORCHLIKE_MAX_PENDING", "2500"))
        self.max_pending_bytes: int = int(os.environ.get("PYTORCHLIKE_MAX_PENDING_BYTES", str(16 << 30)))
        self.max_states: int = 60_000
        self.max_programs: int = 256
        self.max_kernels: int = 4096
        self._cache_ready = False

    def cache_dir(self) -> Path | None:
        """Directory of XLA's persistent cache, or None when it is switched off (``PYTORCHLIKE_CACHE_DIR=off``)."""
        asked = os.environ.get("PYTORCHLIKE_CACHE_DIR")
        if asked is not None:
            return None if asked.lower() in ("", "off", "0", "none") else Path(asked).expanduser()
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        return Path(base).expanduser() / "pytorchlike" / "xla"

    def prepare_cache(self) -> None:
        """Point JAX's compilation cache at our directory, once, before the first compilation.

        A cache that the user has configured in JAX is left alone.  Whoever can write there can run code in this
        process, so the directory is private, and one that others may write to is refused.
        """
        if self._cache_ready:
            return
        self._cache_ready = True
        import jax

        path = self.cache_dir()
        if path is None or jax.config.jax_compilation_cache_dir or os.environ.get("JAX_COMPILATION_CACHE_DIR"):
            return
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            info = path.stat()
        except OSError as error:
            import warnings

            warnings.warn(f"pytorchlike: no compilation cache at {path}: {error}", RuntimeWarning, stacklevel=2)
            return
        foreign = hasattr(os, "getuid") and info.st_uid != os.getuid()
        if foreign or (os.name == "posix" and stat.S_IMODE(info.st_mode) & 0o022):
            import warnings

            warnings.warn(
                f"pytorchlike: {path} can be written by others, so it is not used as a compilation cache; "
                "run `chmod 700` on it or set PYTORCHLIKE_CACHE_DIR",
                RuntimeWarning,
                stacklevel=2,
            )
            return
        jax.config.update("jax_compilation_cache_dir", str(path))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def quiet() -> None:
    """Keep JAX's notes out of a program's log, where each compilation would be two dozen lines at DEBUG.

    A level that somebody has set stays; ``JAX_LOGGING_LEVEL`` and ``jax.config`` set one at any time.
    """
    logger = logging.getLogger("jax")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)


config = Config()
quiet()
