"""Who is in the world: rank, world size and store, from arguments, a URL or the environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from urllib.parse import parse_qs, unquote, urlsplit

from ._meeting import FileStore, TCPStore
from ._store import HashStore, Store

__all__ = ["address_of", "register_rendezvous_handler", "rendezvous", "world_of"]

_KNOWN = ("env", "tcp", "file")
_handlers: dict[str, Callable[..., Iterator[tuple[Store, int, int]]]] = {}


def register_rendezvous_handler(scheme: str, handler: Callable[..., Iterator[tuple[Store, int, int]]]) -> None:
    """Let URLs of that scheme be answered by ``handler(url, timeout=...)``, which yields (store, rank, world size).

    RuntimeError if the scheme is known already.
    """
    if scheme in _handlers or scheme in _KNOWN:
        raise RuntimeError(f"Rendezvous handler for {scheme}:// already registered")
    _handlers[scheme] = handler


def world_of(init_method: str | None, world_size: int, rank: int, store: Store | None,
             timeout: timedelta) -> tuple[Store, int, int]:
    """Store, rank and world size for ``init_process_group``. Raises ValueError for what is missing."""
    if store is not None:
        if world_size <= 0:
            raise AssertionError("world_size must be positive if using store")
        if rank < 0:
            raise AssertionError("rank must be non-negative if using store")
        return store, rank, world_size
    return rendezvous(init_method or "env://", rank, world_size, timeout)


def address_of(store: Store) -> str:
    """The address under which this process can be reached by those who use the store, too."""
    while not isinstance(store, TCPStore) and hasattr(store, "underlying_store"):
        store = store.underlying_store
    return store.own_address if isinstance(store, TCPStore) else "127.0.0.1"


def rendezvous(url: str, rank: int = -1, world_size: int = -1,
               timeout: timedelta = timedelta(seconds=300)) -> tuple[Store, int, int]:
    """Store, rank and world size of ``env://``, ``tcp://host:port`` or ``file://path``.

    rank, world_size: -1 stands for those of the URL's query or, for ``env://``, of the variables RANK and WORLD_SIZE.
    A world of one needs no meeting place, so none is opened for it. Raises ValueError for what is missing,
    RuntimeError for another scheme, DistNetworkError if there is nobody at the host and port within `timeout`.
    """
    parts = urlsplit(url)
    query = {key: int(values[-1]) for key, values in parse_qs(parts.query).items() if key in ("rank", "world_size")}
    found = {"rank": query.get("rank", rank), "world_size": query.get("world_size", world_size)}
    host, port, path = parts.hostname, parts.port, parts.path
    if parts.scheme == "env":
        for key, value in found.items():
            if value < 0:
                found[key] = _number(key.upper())
        host, port = _variable("MASTER_ADDR"), _number("MASTER_PORT")
    elif parts.scheme in _handlers:
        return next(iter(_handlers[parts.scheme](url, timeout=timeout)))
    elif parts.scheme not in _KNOWN:
        raise RuntimeError(f"No rendezvous handler for {parts.scheme}://; use env://, tcp:// or file://")
    for key, value in found.items():
        if value < 0:
            raise _missing(parts.scheme, f"{key} parameter missing")
    rank, world_size = found["rank"], found["world_size"]
    if not 0 <= rank < world_size:
        raise RuntimeError(f"rank {rank} is not below the number of processes, {world_size}")
    if world_size == 1:
        return HashStore(), rank, world_size
    if parts.scheme == "file":
        path = unquote(parts.netloc + path)
        if not path:
            raise _missing("file", "path missing")
        return FileStore(path, world_size), rank, world_size
    if port is None:
        raise _missing(parts.scheme, "port number missing")
    store = TCPStore(host or "127.0.0.1", port, None, rank == 0, timeout, multi_tenant=True)
    return store, rank, world_size


def _missing(scheme: str, what: str) -> ValueError:
    return ValueError(f"Error initializing torch.distributed using {scheme}:// rendezvous: {what}")


def _variable(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise _missing("env", f"environment variable {name} expected, but not set")
    return value


def _number(name: str) -> int:
    value = _variable(name)
    try:
        return int(value)
    except ValueError:
        raise _missing("env", f"environment variable {name} is no number: {value!r}") from None
