"""Messages between processes: a connection between each two of them, and mailboxes for what has come.

A thread for each connection reads as long as there is something, so that sending never waits for the other side to
ask. Messages have a key, and are taken by it. When a process ends, its connections close, and whoever waits for it is
told at once.
"""

from __future__ import annotations

import secrets
import socket
import struct
import threading
import time
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np

from ..engine.memory import aligned_empty
from ._meeting import fill, receive
from ._store import DistBackendError, Store

__all__ = ["Key", "Wire"]

#: group, what is going on, tag, number of the message among those; length
_HEAD = struct.Struct("<QIqQQ")
_HELLO = struct.Struct("<16sI")


class Key(NamedTuple):
    """What a message belongs to: a group, a kind of collective or transfer, a tag, its number among those."""

    group: int
    kind: int
    tag: int
    number: int


class Wire:
    """Connections of this process, `rank` of `size`, with all others, who meet by a store.

    Raises DistBackendError or DistStoreError if somebody does not come within `timeout`.
    """

    def __init__(self, store: Store, rank: int, size: int, timeout: timedelta, address: str = "127.0.0.1") -> None:
        self.rank, self.size = rank, size
        self._came = threading.Condition()
        self._mail: dict[tuple[int, Key], np.ndarray] = {}
        self._gone: dict[int, str] = {}
        self._peers: dict[int, socket.socket] = {}
        self._locks = {i: threading.Lock() for i in range(size)}
        try:
            self._meet(store, timeout, address)
        except BaseException:
            self.close()
            raise
        for peer in self._peers:
            threading.Thread(target=self._read, args=(peer,), name=f"pytorchlike-from-{peer}", daemon=True).start()

    def _meet(self, store: Store, timeout: timedelta, address: str) -> None:
        if self.rank == 0:
            store.set("token", secrets.token_bytes(16))
        end = time.monotonic() + timeout.total_seconds()
        with socket.create_server((address, 0), backlog=self.size) as listener:
            store.set(f"address/{self.rank}", f"{address}:{listener.getsockname()[1]}")
            names = [f"address/{i}" for i in range(self.size)]
            store.wait(["token", *names], timeout)
            token = store.get("token")
            for i in range(self.rank):  # the later ones call
                host, _, port = store.get(names[i]).decode().rpartition(":")
                try:
                    connection = socket.create_connection((host, int(port)), max(0.1, end - time.monotonic()))
                except OSError as error:
                    raise DistBackendError(
                        f"rank {self.rank} cannot connect to rank {i} at {host}:{port}: {error}. Has it ended, or does "
                        "the file or port of the rendezvous stem from an earlier run?"
                    ) from error
                connection.sendall(_HELLO.pack(token, self.rank))
                self._add(i, connection)
            while len(self._peers) < self.size - 1:
                listener.settimeout(max(0.1, end - time.monotonic()))
                try:
                    connection, _ = listener.accept()
                    connection.settimeout(max(0.1, end - time.monotonic()))
                    given, who = _HELLO.unpack(receive(connection, _HELLO.size))
                except TimeoutError:
                    missing = [i for i in range(self.size) if i != self.rank and i not in self._peers]
                    raise DistBackendError(f"rank {self.rank}: the ranks {missing} did not connect within "
                                           f"{timeout.total_seconds():g} s") from None
                except ConnectionError:
                    continue  # somebody else, who has left again
                if not secrets.compare_digest(given, token):
                    connection.close()
                    continue
                self._add(who, connection)

    def _add(self, peer: int, connection: socket.socket) -> None:
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._peers[peer] = connection

    def _read(self, peer: int) -> None:
        connection = self._peers[peer]
        try:
            while True:
                *key, size = _HEAD.unpack(receive(connection, _HEAD.size))
                data = aligned_empty((size,), np.dtype(np.uint8))
                fill(connection, memoryview(data))
                with self._came:
                    self._mail[peer, Key(*key)] = data
                    self._came.notify_all()
        except OSError as error:
            with self._came:
                self._gone[peer] = str(error)
                self._came.notify_all()

    # ---------------------------------------------------------------------------------------------------- messages

    def send(self, peer: int, key: Key, data: Any, timeout: timedelta) -> None:
        """Send bytes (an array or what has a buffer) to the process `peer`."""
        data = np.ascontiguousarray(data).reshape(-1).view(np.uint8) if isinstance(data, np.ndarray) else data
        size = data.nbytes if isinstance(data, np.ndarray) else len(data)
        connection = self._peers[peer]
        seconds = min(timeout.total_seconds(), 2**31)
        with self._locks[peer]:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(seconds) or 1, 0))
            try:
                connection.sendall(_HEAD.pack(*key, size))
                if size:
                    connection.sendall(data)
            except BlockingIOError:
                raise DistBackendError(
                    f"rank {self.rank}: rank {peer} took nothing for {timeout.total_seconds():g} s; it may be stopped"
                ) from None
            except OSError as error:
                with self._came:
                    self._gone.setdefault(peer, str(error))
                raise self._lost(peer) from error

    def take(self, peer: int, key: Key, timeout: timedelta, what: str) -> np.ndarray:
        """The message of that key from `peer`, as bytes, once it is there.

        Raises DistBackendError if the process ends before it sends, if it does something else meanwhile, or after
        `timeout`.
        """
        end = time.monotonic() + timeout.total_seconds()
        with self._came:
            while (found := self._mail.pop((peer, key), None)) is None:
                self._check(peer, key, what)
                left = end - time.monotonic()
                if left <= 0:
                    raise DistBackendError(
                        f"{what}: rank {self.rank} timed out after {timeout.total_seconds():g} s waiting for rank "
                        f"{peer}, which is alive but has not called it"
                    )
                self._came.wait(left)
        return found

    def take_any(self, wanted: dict[int, Key], timeout: timedelta, what: str) -> tuple[int, np.ndarray]:
        """The first message to come of one wanted from each peer, and from whom."""
        end = time.monotonic() + timeout.total_seconds()
        with self._came:
            while True:
                for peer, key in wanted.items():
                    if (peer, key) in self._mail:
                        return peer, self._mail.pop((peer, key))
                if all(peer in self._gone for peer in wanted):
                    raise self._lost(min(wanted), what)
                left = end - time.monotonic()
                if left <= 0:
                    raise DistBackendError(f"{what}: rank {self.rank} timed out after {timeout.total_seconds():g} s "
                                           "waiting for anybody")
                self._came.wait(left)

    def here(self, peer: int, key: Key) -> bool:
        """Whether taking that message would not wait: it has come, or never will."""
        with self._came:
            return (peer, key) in self._mail or peer in self._gone

    def _check(self, peer: int, key: Key, what: str) -> None:
        if key.kind:  # collectives are called by all members in the same order
            for (who, other) in self._mail:
                if who == peer and other.kind and other[2:] == key[2:] and other.group == key.group:
                    raise DistBackendError(f"{what}: rank {peer} has called another collective of this group, while "
                                           f"rank {self.rank} called this one")
        if peer in self._gone:
            raise self._lost(peer, what)

    def _lost(self, peer: int, what: str = "send") -> DistBackendError:
        return DistBackendError(f"{what}: connection closed by rank {peer}, whose process has ended or given up its "
                                f"process group ({self._gone.get(peer, 'closed')})")

    def close(self) -> None:
        """Close all connections."""
        for connection in self._peers.values():
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other side was faster
            connection.close()
