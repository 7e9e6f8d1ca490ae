"""Random numbers on the host: the library's generator gives seeds, NumPy the numbers."""

import numpy as np

from ...tensor.random import Generator, default_generator


def draw_seed(generator: Generator | None) -> int:
    """A fresh 63-bit seed from a generator (None: the default one), which moves on."""
    seed, offset = (default_generator if generator is None else generator)._next()
    return int(np.random.SeedSequence((seed, offset)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def numpy_generator(seed: int) -> np.random.Generator:
    """NumPy's generator for a seed; the same numbers on every machine and in every process."""
    return np.random.Generator(np.random.PCG64(seed))
