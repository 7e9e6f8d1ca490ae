"""Key-value stores by which processes find each other. Those between processes are in ``_meeting.py``."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from datetime import timedelta

__all__ = ["DistBackendError", "DistError", "DistNetworkError", "DistStoreError", "HashStore", "PrefixStore",
           "QueueEmptyError", "Store"]


class DistError(RuntimeError):
    """Something between processes went wrong."""


class DistBackendError(DistError):
    """A collective went wrong."""


class DistNetworkError(DistError):
    """A connection went wrong."""


class DistStoreError(DistError):
    """A key did not come in time."""


class QueueEmptyError(DistStoreError):
    """A queue of a store had nothing. No store has queues here."""


class Store:
    """Keys and values, both bytes; a value that is set as a string is encoded as UTF-8.

    ``get`` and ``wait`` wait for a key until the timeout (300 s unless set), then raise DistStoreError. Subclasses
    implement ``_get``, ``_put`` and ``_delete``, called with the lock ``_changed`` held.
    """

    def __init__(self) -> None:
        self.timeout = timedelta(seconds=300)
        self._changed = threading.Condition()

    def _get(self, key: str) -> bytes | None:
        raise NotImplementedError

    def _put(self, key: str, value: bytes) -> None:
        raise NotImplementedError

    def _delete(self, key: str) -> bool:
        raise NotImplementedError

    def num_keys(self) -> int:
        """How many keys there are."""
        raise NotImplementedError

    def set_timeout(self, timeout: timedelta) -> None:
        """How long ``get`` and ``wait`` wait for a key."""
        self.timeout = timeout

    def set(self, key: str, value: str | bytes) -> None:
        """Set the value of `key`."""
        with self._changed:
            self._put(key, _encoded(value))
            self._changed.notify_all()

    def get(self, key: str) -> bytes:
        """The value of `key`, waiting for it if need be; DistStoreError if it does not come in time."""
        with self._changed:
            self._await([key], self.timeout)
            value = self._get(key)
        assert value is not None
        return value

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        """Wait until all `keys` are there; DistStoreError after `timeout` (None: the store's)."""
        with self._changed:
            self._await(keys, self.timeout if timeout is None else timeout)

    def _await(self, keys: Sequence[str], timeout: timedelta) -> None:
        end = time.monotonic() + timeout.total_seconds()
        while missing := [k for k in keys if self._get(k) is None]:
            if not self._changed.wait(max(0.0, end - time.monotonic())) and time.monotonic() >= end:
                raise DistStoreError(f"Wait timeout: {missing} not set after {timeout.total_seconds():g} s")

    def add(self, key: str, amount: int) -> int:
        """Add to a counter, which starts at 0, and return it."""
        with self._changed:
            value = int(self._get(key) or b"0") + amount
            self._put(key, str(value).encode())
            self._changed.notify_all()
        return value

    def append(self, key: str, value: str | bytes) -> None:
        """Add to the end of the value of `key`."""
        with self._changed:
            self._put(key, (self._get(key) or b"") + _encoded(value))
            self._changed.notify_all()

    def compare_set(self, key: str, expected_value: str | bytes, desired_value: str | bytes) -> bytes:
        """Set `key` if its value is the expected one, or if it is missing and '' is expected; the value it has then."""
        with self._changed:
            value = self._get(key)
            if (value or b"") == _encoded(expected_value):
                value = _encoded(desired_value)
                self._put(key, value)
                self._changed.notify_all()
        return _encoded(expected_value) if value is None else value

    def check(self, keys: Sequence[str]) -> bool:
        """Whether all `keys` are there."""
        with self._changed:
            return all(self._get(k) is not None for k in keys)

    def delete_key(self, key: str) -> bool:
        """Remove `key`; whether it was there."""
        with self._changed:
            return self._delete(key)

    def multi_get(self, keys: Sequence[str]) -> list[bytes]:
        """The values of several keys."""
        return [self.get(k) for k in keys]

    def multi_set(self, keys: Sequence[str], values: Sequence[str | bytes]) -> None:
        """Set several keys."""
        for key, value in zip(keys, values, strict=True):
            self.set(key, value)

    def has_extended_api(self) -> bool:
        """Whether ``append``, ``multi_get`` and ``multi_set`` exist: yes."""
        return True


class HashStore(Store):
    """A store for the threads of one process."""

    def __init__(self) -> None:
        super().__init__()
        self._values: dict[str, bytes] = {}

    def _get(self, key: str) -> bytes | None:
        return self._values.get(key)

    def _put(self, key: str, value: bytes) -> None:
        self._values[key] = value

    def _delete(self, key: str) -> bool:
        return self._values.pop(key, None) is not None

    def num_keys(self) -> int:
        """How many keys there are."""
        return len(self._values)


class PrefixStore(Store):
    """The keys of another store that begin with ``prefix/``, without that."""

    def __init__(self, prefix: str, store: Store) -> None:
        super().__init__()
        self.prefix, self.underlying_store = prefix, store
        self.timeout = store.timeout

    def _key(self, key: str) -> str:
        return f"{self.prefix}/{key}"

    def set(self, key: str, value: str | bytes) -> None:
        """Set the value of `key`."""
        self.underlying_store.set(self._key(key), value)

    def get(self, key: str) -> bytes:
        """The value of `key`, waiting for it if need be; DistStoreError if it does not come in time."""
        self.wait([key])
        return self.underlying_store.get(self._key(key))

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        """Wait until all `keys` are there; DistStoreError after `timeout` (None: the store's)."""
        self.underlying_store.wait([self._key(k) for k in keys], self.timeout if timeout is None else timeout)

    def add(self, key: str, amount: int) -> int:
        """Add to a counter, which starts at 0, and return it."""
        return self.underlying_store.add(self._key(key), amount)

    def append(self, key: str, value: str | bytes) -> None:
        """Add to the end of the value of `key`."""
        self.underlying_store.append(self._key(key), value)

    def compare_set(self, key: str, expected_value: str | bytes, desired_value: str | bytes) -> bytes:
        """As ``Store.compare_set``."""
        return self.underlying_store.compare_set(self._key(key), expected_value, desired_value)

    def check(self, keys: Sequence[str]) -> bool:
        """Whether all `keys` are there."""
        return self.underlying_store.check([self._key(k) for k in keys])

    def delete_key(self, key: str) -> bool:
        """Remove `key`; whether it was there."""
        return self.underlying_store.delete_key(self._key(key))

    def num_keys(self) -> int:
        """How many keys the underlying store has."""
        return self.underlying_store.num_keys()


def _encoded(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)
