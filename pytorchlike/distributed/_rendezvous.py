"""Who is in the world: rank, world size and store, from arguments, a URL or the environment."""

from __future__ import annotations

import os
from urllib.parse import parse_qs, urlsplit

from ._store import HashStore, Store

__all__ = ["rendezvous", "world_of"]


def world_of(init_method: str | None, world_size: int, rank: int, store: Store | None) -> tuple[Store, int, int]:
    """Store, rank and world size for ``init_process_group``.

    A world of one needs no meeting place, so none is opened for it. Raises ValueError for what is missing.
    """
    if store is not None:
        if world_size <= 0:
            raise AssertionError("world_size must be positive if using store")
        if rank < 0:
            raise AssertionError("rank must be non-negative if using store")
        return store, rank, world_size
    return rendezvous(init_method or "env://", rank, world_size)


def rendezvous(url: str, rank: int = -1, world_size: int = -1) -> tuple[Store, int, int]:
    """Store, rank and world size of ``env://``, ``tcp://host:port`` or ``file://path``.

    rank, world_size: -1 stands for those of the URL's query or, for ``env://``, of the variables RANK and WORLD_SIZE.
    Raises ValueError for what is missing, RuntimeError for another scheme, NotImplementedError for several processes.
    """
    parts = urlsplit(url)
    query = {key: int(values[-1]) for key, values in parse_qs(parts.query).items() if key in ("rank", "world_size")}
    found = {"rank": query.get("rank", rank), "world_size": query.get("world_size", world_size)}
    if parts.scheme == "env":
        for key, value in found.items():
            if value < 0:
                found[key] = int(_variable(key.upper()))
        _variable("MASTER_ADDR"), _variable("MASTER_PORT")
    elif parts.scheme not in ("tcp", "file"):
        raise RuntimeError(f"No rendezvous handler for {parts.scheme}://; use env://, tcp:// or file://")
    for key, value in found.items():
        if value < 0:
            raise ValueError(
                f"Error initializing torch.distributed using {parts.scheme}:// rendezvous: {key} parameter missing"
            )
    if found["world_size"] > 1:
        raise NotImplementedError(
            f"torch.distributed: no store connects {found['world_size']} processes; only a world of one process is "
            "there, which drives all its devices"
        )
    return HashStore(), found["rank"], found["world_size"]


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise ValueError(
            f"Error initializing torch.distributed using env:// rendezvous: environment variable {name} expected, "
            "but not set"
        )
    return value
