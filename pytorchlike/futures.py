"""``torch.futures``: results that come later."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import GenericAlias
from typing import Any

__all__ = ["Future", "collect_all", "wait_all"]


class Future:
    """A result that another thread sets by :meth:`set_result` or :meth:`set_exception`, once.

    devices: accepted as PyTorch's hint about where the result lies; waiting for a value never needs it here.
    """

    def __init__(self, *, devices: list | None = None) -> None:
        self._lock = threading.Condition()
        self._done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Future], Any]] = []

    __class_getitem__ = classmethod(GenericAlias)  # Future[int], for annotations

    def done(self) -> bool:
        """Whether there is a result or an error."""
        return self._done

    def wait(self) -> Any:
        """The result, as soon as it is there; raises the error instead if there is one."""
        with self._lock:
            self._lock.wait_for(lambda: self._done)
        if self._error is not None:
            raise self._error
        return self._value

    def value(self) -> Any:
        """The result; RuntimeError if it is not there yet."""
        if not self._done:
            raise RuntimeError("value() can only be called after the Future is completed; see wait()")
        return self.wait()

    def _finish(self, value: Any, error: BaseException | None) -> None:
        with self._lock:
            if self._done:
                raise RuntimeError(
                    "Attempting to mark a completed Future as complete again. Note that a Future can "
                    "only "

                                   "be marked completed once.")  # fmt: skip
            self._done, self._value, self._error = True, value, error
            callbacks, self._callbacks = self._callbacks, []
            self._lock.notify_all()
        for callback in callbacks:
            callback(self)

    def set_result(self, result: Any) -> None:
        """Set the result, wake who waits, and call what :meth:`then` and :meth:`add_done_callback` were given."""
        self._finish(result, None)

    def set_exception(self, result: BaseException) -> None:
        """Set an error that :meth:`wait` raises."""
        if not isinstance(result, BaseException):
            raise AssertionError(f"{result} is of type {type(result)}, not an Exception.")
        self._finish(None, result)

    def add_done_callback(self, callback: Callable[[Future], Any]) -> None:
        """Call ``callback(self)`` once it is done, at once if it is; its errors are not caught."""
        with self._lock:
            if not self._done:
                self._callbacks.append(callback)
                return
        callback(self)

    def then(self, callback: Callable[[Future], Any]) -> Future:
        """A future of what ``callback(self)`` returns, called once this one is done."""
        out = Future()

        def run(done: Future) -> None:
            try:
                value = callback(done)
            except Exception as error:
                out.set_exception(error)
            else:
                out.set_result(value)

        self.add_done_callback(run)
        return out


def collect_all(futures: list[Future]) -> Future:
    """A future of the list of these futures, done once all of them are."""
    out, left, lock = Future(), [len(futures)], threading.Lock()

    def count(_: Future) -> None:
        with lock:
            left[0] -= 1
            last = left[0] == 0
        if last:
            out.set_result(list(futures))

    if not futures:
        out.set_result([])
    for each in futures:
        each.add_done_callback(count)
    return out


def wait_all(futures: list[Future]) -> list[Any]:
    """The results of all; raises the first error among them."""
    return [each.wait() for each in collect_all(futures).wait()]
