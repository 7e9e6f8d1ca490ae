"""Random numbers on the host: a generator gives seeds, NumPy the numbers; or PyTorch's, where it is followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...tensor.random import Generator, default_generator, is_followed

if TYPE_CHECKING:
    from ...tensor.twister import Twister


def draw_seed(generator: Generator | None) -> int:
    """A fresh 63-bit seed from a generator (None: the default one), which moves on."""
    source = default_generator if generator is None else generator
    if source.follows():
        return source.draw(lambda twister: int(twister.pairs(1)[0]) & (2**63 - 1))
    seed, offset = source._next()
    return int(np.random.SeedSequence((seed, offset)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def numpy_generator(seed: int) -> np.random.Generator:
    """NumPy's generator for a seed; the same numbers on every machine and in every process."""
    return np.random.Generator(np.random.PCG64(seed))


class Numbers:
    """What a sampler draws, from a seed."""

    def __init__(self, seed: int) -> None:
        self._numbers = numpy_generator(seed)

    def permutation(self, n: int) -> np.ndarray:
        """The integers below ``n`` in random order."""
        return self._numbers.permutation(n)

    def integers(self, n: int, size: int) -> np.ndarray:
        """``size`` integers below ``n``."""
        return self._numbers.integers(n, size=size)

    def choice(self, size: int, replacement: bool, p: np.ndarray) -> np.ndarray:
        """``size`` integers below ``len(p)`` with these probabilities."""
        return self._numbers.choice(len(p), size, replacement, p)


class Followed(Numbers):
    """The same as PyTorch's: from a seed, from a state, or from a generator, which moves on."""

    def __init__(self, source: int | bytes | Generator) -> None:
        if not isinstance(source, Generator):
            seed, source = source, Generator()
            if isinstance(seed, bytes):
                source._set_state_array(np.frombuffer(seed, np.uint8))
            else:
                source.manual_seed(seed)
        self._source = source

    def permutation(self, n: int) -> np.ndarray:
        return self._source.draw(lambda twister: twister.permutation(n))

    def integers(self, n: int, size: int) -> np.ndarray:
        return self._source.draw(lambda twister: twister.integers(size, 0, n))

    def choice(self, size: int, replacement: bool, p: np.ndarray) -> np.ndarray:
        def draw(twister: Twister) -> np.ndarray:
            if replacement and size > 1:
                below = np.cumsum(p)
                return np.minimum(np.searchsorted(below / below[-1], twister.uniform(size, np.float64)), len(p) - 1)
            return twister.race(p, size)

        return self._source.draw(draw)


def numbers_of(generator: Generator | None, direct: bool, again: Any = None) -> tuple[Numbers, Any]:
    """What an iteration draws from, and what repeats it when given as ``again``.

    direct: whether PyTorch takes the default generator itself if there is none, not one that it seeds.
    """
    if not is_followed():
        seed = draw_seed(generator) if again is None else again
        return Numbers(seed), seed
    if again is not None:
        return Followed(again), again
    if generator is None and not direct:
        seed = draw_seed(None)
        return Followed(seed), seed
    source = default_generator if generator is None else generator
    return Followed(source), source._state_array().tobytes()


def permutation(generator: Generator | None, n: int) -> list[int]:
    """The integers below ``n`` in an order that a generator gives (None: the default one)."""
    return numbers_of(generator, True)[0].permutation(n).tolist()


def seeded_permutation(seed: int, n: int) -> list[int]:
    """The integers below ``n`` in an order that rests on a seed alone."""
    return (Followed(seed) if is_followed() else Numbers(seed)).permutation(n).tolist()
