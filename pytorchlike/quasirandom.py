"""``torch.quasirandom``: points that fill the unit cube evenly."""

from __future__ import annotations

from typing import Any

import numpy as np

from .tensor import Tensor
from .tensor import functions as T
from .tensor.dtype import float32
from .tensor.random import default_generator

__all__ = ["SobolEngine"]


class SobolEngine:
    """A Sobol sequence in `dimension` dimensions, at most 21201, optionally scrambled.

    scramble: a random linear scramble of the digits and a shift, which keep the sequence's evenness; seed: of those
    (None: from ``torch.manual_seed``). The points come from SciPy's ``stats.qmc``: without scrambling they are
    PyTorch's, with it they are others. ValueError for a wrong dimension.

    Source: Joe & Kuo 2003, doi:10.1145/641876.641879 (direction numbers); Matousek 1998 (scrambling).
    """

    MAXBIT = 30
    MAXDIM = 21201

    def __init__(self, dimension: int, scramble: bool = False, seed: int | None = None) -> None:
        if not 1 <= dimension <= self.MAXDIM:
            raise ValueError(f"Supported range of dimensionality for SobolEngine is [1, {self.MAXDIM}]")
        self.dimension, self.scramble, self.seed = dimension, scramble, seed
        self._chosen = seed if seed is not None else self._any_seed() if scramble else 0
        self.reset()

    @staticmethod
    def _any_seed() -> int:
        return int(T.randint(2**31 - 1, (), generator=default_generator))

    def reset(self) -> SobolEngine:
        """Begin again."""
        from scipy.stats import qmc

        self._engine: Any = qmc.Sobol(self.dimension, scramble=self.scramble, bits=self.MAXBIT, seed=self._chosen)
        self.num_generated = 0
        return self

    def fast_forward(self, n: int) -> SobolEngine:
        """Skip `n` points."""
        self._engine.fast_forward(n)
        self.num_generated += n
        return self

    def draw(self, n: int = 1, out: Tensor | None = None, dtype: Any = None) -> Tensor:
        """The next `n` points, (n, dimension), in [0, 1): of the default dtype, or written to `out`."""
        import warnings

        from .tensor.dtype import get_default_dtype

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*balance properties", category=UserWarning)
            points = self._engine.random(n) if n else np.empty((0, self.dimension))
        self.num_generated += n
        kind = dtype if dtype is not None else get_default_dtype()
        if kind is float32:  # rounding must not reach 1
            points = np.minimum(points, np.float64(np.nextafter(np.float32(1), np.float32(0))))
        made = T.tensor(points, dtype=kind)
        if out is None:
            return made
        out.resize_(made.shape).copy_(made)
        return out

    def draw_base2(self, m: int, out: Tensor | None = None, dtype: Any = None) -> Tensor:
        """The next ``2 ** m`` points. ValueError if the points drawn are then no power of two in number."""
        n = 2**m
        total = self.num_generated + n
        if total & (total - 1):
            raise ValueError(
                f"The balance properties of Sobol' points require n to be a power of 2. {self.num_generated} points "
                f"have been previously generated, then: n={self.num_generated}+2**{m}={total}. If you still want to "
                "do this, please use 'SobolEngine.draw()' instead."
            )
        return self.draw(n, out, dtype)

    def __repr__(self) -> str:
        parts = [f"dimension={self.dimension}"]
        if self.scramble:
            parts.append("scramble=True")
        if self.seed is not None:
            parts.append(f"seed={self.seed}")
        return f"{type(self).__name__}({', '.join(parts)})"
