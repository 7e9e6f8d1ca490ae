"""Stores that connect processes: one that a process keeps for the others, and one in a file."""

from __future__ import annotations

import atexit
import os
import socket
import struct
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from ._store import DistNetworkError, DistStoreError, HashStore, Store, _encoded

__all__ = ["FileStore", "TCPStore"]

_COUNT = struct.Struct("<I")
_LOCAL = ("127.0.0.1", "localhost")
_OK, _LATE, _BAD = b"ok", b"late", b"bad"


def receive(connection: socket.socket, size: int) -> bytearray:
    """Exactly `size` bytes; ConnectionError if the other side has closed before."""
    data = bytearray(size)
    fill(connection, memoryview(data))
    return data


def fill(connection: socket.socket, view: memoryview) -> None:
    """Fill a buffer of bytes; ConnectionError if the other side has closed before."""
    at = 0
    while at < view.nbytes:
        got = connection.recv_into(view[at:])
        if not got:
            raise ConnectionError("the connection was closed" + (" in the middle of a message" if at else ""))
        at += got


def _send(connection: socket.socket, parts: Sequence[bytes]) -> None:
    out = [_COUNT.pack(len(parts))]
    for part in parts:
        out += (_COUNT.pack(len(part)), part)
    connection.sendall(b"".join(out))


def _receive(connection: socket.socket) -> list[bytes]:
    (count,) = _COUNT.unpack(receive(connection, 4))
    return [bytes(receive(connection, _COUNT.unpack(receive(connection, 4))[0])) for _ in range(count)]


class _Server:
    """Keeps a HashStore for everybody who connects, in threads that end with the process."""

    def __init__(self, host: str, port: int, listener: socket.socket | None = None) -> None:
        self.store = HashStore()
        where = "127.0.0.1" if host in _LOCAL else ""  # what is meant for one machine is not offered to others
        self.socket = listener if listener is not None else socket.create_server((where, port), backlog=128)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._accept, name="pytorchlike-store", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return  # closed
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), name="pytorchlike-store", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while True:
                try:
                    command, *args = _receive(connection)
                    try:
                        answer = [_OK, *self._do(command.decode(), args)]
                    except DistStoreError as error:
                        answer = [_LATE, str(error).encode()]
                    except ValueError as error:
                        answer = [_BAD, str(error).encode()]
                    _send(connection, answer)
                except OSError:
                    return  # the client is gone

    def _do(self, command: str, args: list[bytes]) -> list[bytes]:
        store = self.store
        if command == "wait":
            keys = [k.decode() for k in args[1:]]
            store.wait(keys, timedelta(seconds=float(args[0])))
            return []
        if command == "check":
            return [b"1" if store.check([k.decode() for k in args]) else b""]
        if command == "num_keys":
            return [str(store.num_keys()).encode()]
        key, values = args[0].decode(), args[1:]
        if command == "add":
            return [str(store.add(key, int(values[0]))).encode()]
        if command == "delete_key":
            return [b"1" if store.delete_key(key) else b""]
        if command not in ("set", "get", "append", "compare_set"):
            raise ValueError(f"TCPStore: unknown command {command!r}")
        found = getattr(store, command)(key, *values)
        return [] if found is None else [found]


_servers: dict[int, _Server] = {}  # by port: a world that is made anew meets at the same place


class TCPStore(Store):
    """A store that one process keeps and the others ask.

    host_name, port: where it is; port 0 lets the system choose one (see ``port``).   is_master: keep it here.
    world_size: wait until so many processes have connected, unless wait_for_workers is False; None: do not wait.
    timeout: how long to look for the store and to wait for keys (300 s).   master_listen_fd: a socket to listen at.
    use_libuv: no effect. Raises DistNetworkError if the store is not found or the port is taken, DistStoreError if
    workers or keys do not come in time. Within a process a port is listened at once, whoever asks (multi_tenant).
    """

    def __init__(self, host_name: str, port: int = 0, world_size: int | None = None, is_master: bool = False,
                 timeout: timedelta = timedelta(seconds=300), wait_for_workers: bool = True,
                 multi_tenant: bool = False, master_listen_fd: int | None = None, use_libuv: bool = True) -> None:
        super().__init__()
        self.timeout, self.host = timeout, host_name
        self._lock = threading.RLock()
        if is_master:
            server = _keep(host_name, port, multi_tenant, master_listen_fd)
            port = server.port
            if not multi_tenant:
                weakref.finalize(self, server.socket.close)
        self.port = port
        self._connection = _connect(host_name, port, timeout)
        weakref.finalize(self, self._connection.close)
        if world_size is not None and world_size > 0 and wait_for_workers:
            number = self.add("init/count", 1)
            if number % world_size == 0:
                self.set(f"init/{number}", b"1")
            self.wait([f"init/{-(-number // world_size) * world_size}"])

    def _ask(self, command: str, *args: bytes, timeout: timedelta | None = None) -> list[bytes]:
        limit = None if timeout is None else timeout.total_seconds() + 30
        with self._lock:
            try:
                self._connection.settimeout(limit)
                _send(self._connection, [command.encode(), *args])
                status, *answer = _receive(self._connection)
            except OSError as error:
                raise DistNetworkError(f"TCPStore: lost the store at {self.host}:{self.port}, whose process may have "
                                       f"ended ({error})") from error
        if status == _LATE:
            raise DistStoreError(answer[0].decode())
        if status == _BAD:
            raise ValueError(answer[0].decode())
        return answer

    def set(self, key: str, value: str | bytes) -> None:
        """Set the value of `key`."""
        self._ask("set", key.encode(), _encoded(value))

    def get(self, key: str) -> bytes:
        """The value of `key`, waiting for it if need be; DistStoreError if it does not come in time."""
        self.wait([key])
        return self._ask("get", key.encode())[0]

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        """Wait until all `keys` are there; DistStoreError after `timeout` (None: the store's)."""
        timeout = self.timeout if timeout is None else timeout
        seconds = str(timeout.total_seconds()).encode()
        self._ask("wait", seconds, *(k.encode() for k in keys), timeout=timeout)

    def add(self, key: str, amount: int) -> int:
        """Add to a counter, which starts at 0, and return it."""
        return int(self._ask("add", key.encode(), str(amount).encode())[0])

    def append(self, key: str, value: str | bytes) -> None:
        """Add to the end of the value of `key`."""
        self._ask("append", key.encode(), _encoded(value))

    def compare_set(self, key: str, expected_value: str | bytes, desired_value: str | bytes) -> bytes:
        """As ``Store.compare_set``."""
        return self._ask("compare_set", key.encode(), _encoded(expected_value), _encoded(desired_value))[0]

    def check(self, keys: Sequence[str]) -> bool:
        """Whether all `keys` are there."""
        return bool(self._ask("check", *(k.encode() for k in keys))[0])

    def delete_key(self, key: str) -> bool:
        """Remove `key`; whether it was there."""
        return bool(self._ask("delete_key", key.encode())[0])

    def num_keys(self) -> int:
        """How many keys there are."""
        return int(self._ask("num_keys")[0])

    @property
    def own_address(self) -> str:
        """The address by which this process reaches the store, and others may reach this process."""
        return self._connection.getsockname()[0]

    @property
    def libuvBackend(self) -> bool:
        """False: threads serve."""
        return False


def _keep(host: str, port: int, again: bool, listen_fd: int | None) -> _Server:
    if again and port in _servers:
        return _servers[port]
    if listen_fd is not None:
        server = _Server(host, port, socket.socket(fileno=listen_fd))
    else:
        try:
            server = _Server(host, port)
        except OSError as error:
            raise DistNetworkError(f"TCPStore: cannot listen at port {port}: {error}. Choose a free one, for "
                                   "example by MASTER_PORT") from error
    if again:
        _servers[server.port] = server
        atexit.register(server.socket.close)
    return server


def _connect(host: str, port: int, timeout: timedelta) -> socket.socket:
    end = time.monotonic() + timeout.total_seconds()
    while True:
        try:
            connection = socket.create_connection((host, port), max(0.1, end - time.monotonic()))
        except socket.gaierror as error:
            raise DistNetworkError(f"TCPStore: the host {host!r} is not known: {error}") from error
        except OSError as error:
            if time.monotonic() >= end:
                raise DistNetworkError(
                    f"TCPStore: the client has timed out after {timeout.total_seconds():g} s while trying to connect "
                    f"to {host}:{port} ({error}). Has the process of rank 0 started?"
                ) from error
            time.sleep(0.05)
            continue
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


class FileStore(Store):
    """A store in a file that all processes can lock: one record for each change.

    world_size: how many processes use it; the last one to end removes the file. -1: it stays. It must not be left over
    from a run before.   Raises NotImplementedError where files cannot be locked (Windows).
    """

    _EVERY = 0.005  # seconds between looks at the file

    def __init__(self, file_name: str, world_size: int = -1) -> None:
        super().__init__()
        try:
            import fcntl
        except ImportError:
            raise NotImplementedError("FileStore needs fcntl's locks of files, which this system lacks; use TCPStore "
                                      "(init_method='tcp://127.0.0.1:29500')") from None
        self._fcntl: Any = fcntl
        self.path, self.world_size = os.fspath(file_name), world_size
        self._values: dict[str, bytes] = {}
        self._at = 0
        if world_size > 0:
            atexit.register(self.close)

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """The locked file, once its records have been read."""
        with open(self.path, "a+b") as file:
            self._fcntl.flock(file, self._fcntl.LOCK_EX)
            file.seek(self._at)
            while head := file.read(8):
                n, m = struct.unpack("<Ii", head)
                key = file.read(n).decode()
                if m < 0:
                    self._values.pop(key, None)
                else:
                    self._values[key] = file.read(m)
            self._at = file.tell()
            yield file

    def _write(self, file: Any, key: str, value: bytes | None) -> None:
        name = key.encode()
        file.write(struct.pack("<Ii", len(name), -1 if value is None else len(value)) + name + (value or b""))
        file.flush()
        self._at = file.tell()
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value

    def set(self, key: str, value: str | bytes) -> None:
        """Set the value of `key`."""
        with self._changed, self._open() as file:
            self._write(file, key, _encoded(value))

    def get(self, key: str) -> bytes:
        """The value of `key`, waiting for it if need be; DistStoreError if it does not come in time."""
        self.wait([key])
        return self._values[key]

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        """Wait until all `keys` are there; DistStoreError after `timeout` (None: the store's)."""
        timeout = self.timeout if timeout is None else timeout
        end = time.monotonic() + timeout.total_seconds()
        while not self.check(keys):
            if time.monotonic() >= end:
                missing = [k for k in keys if k not in self._values]
                raise DistStoreError(f"Wait timeout: {missing} not set after {timeout.total_seconds():g} s")
            time.sleep(self._EVERY)

    def add(self, key: str, amount: int) -> int:
        """Add to a counter, which starts at 0, and return it."""
        with self._changed, self._open() as file:
            value = int(self._values.get(key, b"0")) + amount
            self._write(file, key, str(value).encode())
        return value

    def append(self, key: str, value: str | bytes) -> None:
        """Add to the end of the value of `key`."""
        with self._changed, self._open() as file:
            self._write(file, key, self._values.get(key, b"") + _encoded(value))

    def compare_set(self, key: str, expected_value: str | bytes, desired_value: str | bytes) -> bytes:
        """As ``Store.compare_set``."""
        with self._changed, self._open() as file:
            value = self._values.get(key)
            if (value or b"") == _encoded(expected_value):
                value = _encoded(desired_value)
                self._write(file, key, value)
        return _encoded(expected_value) if value is None else value

    def check(self, keys: Sequence[str]) -> bool:
        """Whether all `keys` are there."""
        with self._changed, self._open():
            return all(k in self._values for k in keys)

    def delete_key(self, key: str) -> bool:
        """Remove `key`; whether it was there."""
        with self._changed, self._open() as file:
            there = key in self._values
            if there:
                self._write(file, key, None)
        return there

    def num_keys(self) -> int:
        """How many keys there are."""
        with self._changed, self._open():
            return len(self._values)

    def close(self) -> None:
        """This process is done with the file; the last one removes it."""
        atexit.unregister(self.close)
        if os.path.exists(self.path) and self.add("done", 1) >= self.world_size:
            os.unlink(self.path)
