"""The Mersenne twister's next words, drawn by a thread while the program does other things.

Dropout takes millions of them each step: as much time as a third of a transformer's program on one core.  NumPy draws
without holding the interpreter's lock.  Nothing can be seen of it: what was drawn and not taken counts as not drawn.
"""

from __future__ import annotations

import os
import threading
import weakref
from queue import SimpleQueue

import numpy as np

from ..engine.config import processors

#: Pairs of words that are drawn at a time (80 us), and portions that may lie ready: 32 MB.
PORTION, _MOST = 1 << 15, 128


def draw_pairs(numbers: np.random.Generator, n: int) -> np.ndarray:
    """``n`` words of 64 bits, the upper half drawn first."""
    return numbers.integers(0, 2**64 - 1, n, np.uint64, endpoint=True)


def is_worth_it(n: int) -> bool:
    """Whether a thread should serve a program that takes so many pairs at once: where a processor is left for it."""
    return n >= PORTION and processors() > 1


class Ahead:
    """Pairs of words from ``source`` on, which is not touched.

    As many portions lie ready, or are asked for, as were needed so that nobody had to wait; one in the beginning.
    now: the state that a portion began with, the portion, and how much of it was taken: one value, so that an
    interrupt finds all of a call's numbers taken or none.
    """

    __slots__ = ("__weakref__", "_far", "_now", "_portions", "_process", "_room", "_source")

    def __init__(self, source: np.random.RandomState) -> None:
        self._process = os.getpid()
        self._far = np.random.MT19937(0)
        self._source = np.random.RandomState(self._far)
        self._now = (source.get_state(), np.empty(0, np.uint64), 0)
        self._source.set_state(self._now[0])
        self._portions: SimpleQueue = SimpleQueue()
        self._room = 1
        _order(self, 1)

    def is_alive(self) -> bool:
        """Whether its thread is, which a forked process lacks."""
        return self._process == os.getpid()

    def take(self, n: int) -> np.ndarray:
        """The next ``n`` pairs.  It is of no more use after an exception, but for its state."""
        state, portion, at = self._now
        if at + n <= len(portion):
            self._now = (state, portion, at + n)
            return portion[at : at + n]
        out = np.empty(n, np.uint64)
        done = len(portion) - at
        out[:done] = portion[at:]
        while done < n:
            more = 1
            if self._portions.empty() and self._room < _MOST:
                more += self._room
                self._room *= 2
            _order(self, more)
            found = self._portions.get()
            if isinstance(found, Exception):
                raise found
            state, portion = found
            at = min(n - done, PORTION)
            out[done : done + at] = portion[:at]
            done += at
        self._now = (state, portion, at)
        return out

    def state(self) -> tuple:
        """Of a twister that has drawn what was taken and no more."""
        state, _, at = self._now
        twin = np.random.RandomState(bits := np.random.MT19937(0))
        twin.set_state(state)
        draw_pairs(np.random.Generator(bits), at)
        return twin.get_state()

    def draw(self) -> None:
        """Lay one more portion ready, or what went wrong; in the thread."""
        try:
            state = self._source.get_state()
            self._portions.put((state, draw_pairs(np.random.Generator(self._far), PORTION)))
        except Exception as error:
            self._portions.put(error)


class _Thread:
    """The one that draws, of this process."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.orders: SimpleQueue = SimpleQueue()
        threading.Thread(target=self._work, name="pytorchlike-random", daemon=True).start()

    def _work(self) -> None:
        while True:
            wanted, n = self.orders.get()
            for _ in range(n):
                ahead = wanted()
                if ahead is not None:  # somebody may still draw from it
                    ahead.draw()
                del ahead


_thread: _Thread | None = None


def _order(ahead: Ahead, n: int) -> None:
    global _thread
    if _thread is None or _thread.process != os.getpid():
        _thread = _Thread()
    _thread.orders.put((weakref.ref(ahead), n))
