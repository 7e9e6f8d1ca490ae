"""PyTorch's numbers: what its generator on the CPU would draw next, and what each random operation makes of it.

The Mersenne twister (Matsumoto & Nishimura 1998, doi:10.1145/272991.272995) is NumPy's; how an operation turns its
words into numbers was found by comparing with PyTorch, and is tested against numbers that PyTorch gave.  Numbers are
those of PyTorch up to the last bits of logarithms and sines.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from ml_dtypes import bfloat16

from ._ahead import Ahead, draw_pairs, is_worth_it

#: Words of the twister; PyTorch's state besides them: seed, how many are left, whether seeded, the next one; after
#: them the spare normal number with what it was made of, and that of float32, which is not used.
_WORDS = 624
_HEAD, _TAIL = struct.Struct("<QiiQ"), struct.Struct("<dddi4xf?3x")
STATE_BYTES = _HEAD.size + 8 * _WORDS + _TAIL.size
#: Integers of so many values and more are made of two words.
_MANY = 1 << 28
#: Normal numbers of so many elements and more are made in blocks.
_BLOCK = 16


class Twister:
    """The stream of one generator.  spare: a normal number that is left of the last pair."""

    __slots__ = ("_ahead", "_numbers", "_source", "spare")

    def __init__(self, seed: int) -> None:
        bits = np.random.MT19937(0)
        self._numbers = np.random.Generator(bits)
        self._source = np.random.RandomState(bits)  # which seeds it as PyTorch does, and tells its state
        self._source.seed(seed & 0xFFFFFFFF)
        self._ahead: Ahead | None = None
        self.spare: float | None = None

    def words(self, n: int) -> np.ndarray:
        """``n`` words of 32 bits."""
        if self._is_served():
            if n % 2 == 0:
                return self._take(n // 2).view(np.uint32).reshape(-1, 2)[:, ::-1].reshape(-1)
            self._return()
        return self._numbers.integers(0, 2**32 - 1, n, np.uint32, endpoint=True)

    def pairs(self, n: int) -> np.ndarray:
        """``n`` words of 64 bits, the upper half drawn first."""
        if self._is_served():
            return self._take(n)
        found = draw_pairs(self._numbers, n)
        if is_worth_it(n):
            self._ahead = Ahead(self._source)
        return found

    def _is_served(self) -> bool:
        """Whether a thread draws ahead; a forked process lacks it."""
        if self._ahead is not None and not self._ahead.is_alive():
            self._return()
        return self._ahead is not None

    def _take(self, n: int) -> np.ndarray:
        try:
            return self._ahead.take(n)
        except BaseException:  # an interrupt: what it did not take is drawn anew
            self._return()
            raise

    def _return(self) -> None:
        """Give back what was drawn ahead."""
        self._source.set_state(self._state())
        self._ahead = None

    def _state(self) -> tuple:
        return self._source.get_state() if self._ahead is None else self._ahead.state()

    def _digits(self, n: int) -> np.ndarray:
        """Integers below 2**53."""
        return self.pairs(n) & np.uint64(2**53 - 1)

    def mask(self, n: int, p: float) -> np.ndarray:
        """Bools that are true where a uniform float64 is below ``p``."""
        return self._digits(n) < np.uint64(math.ceil(p * 2.0**53))

    def uniform(self, n: int, dtype: Any) -> np.ndarray:
        """On [0, 1): multiples of 2**-53 for float64, of 2**-24 for others, rounded."""
        dtype = np.dtype(dtype)
        if dtype == np.float64:
            return self._digits(n) * 2.0**-53
        words = self.words(n) & np.uint32(2**24 - 1)
        return (words.astype(np.float32) * np.float32(2.0**-24)).astype(dtype)

    def between(self, n: int, dtype: Any, low: float, high: float) -> np.ndarray:
        """On [low, high), both in the dtype."""
        work = np.float64 if np.dtype(dtype) == np.float64 else np.float32
        low, high = (np.asarray(x, dtype).astype(work) for x in (low, high))
        return (self.uniform(n, work) * (high - low) + low).astype(dtype)

    def normal(
        self, n: int, dtype: Any, mean: float = 0.0, std: float = 1.0, blocks: bool = True
    ) -> np.ndarray:
        """By Box & Muller: pairs of float64 for a few elements, blocks of sixteen for more, if they lie together."""
        dtype = np.dtype(dtype)
        if n < _BLOCK or not blocks:
            pairs = (n - (self.spare is not None) + 1) // 2
            uniform = iter(self.uniform(2 * pairs, np.float64).tolist()).__next__
            return np.array([self.one(uniform) * std + mean for _ in range(n)], np.float64).astype(dtype)
        work = np.dtype(np.float64) if dtype == np.float64 else np.dtype(np.float32)
        whole = n // _BLOCK * _BLOCK
        found = np.empty(n, work)
        half = dtype.itemsize == 2  # which draw nothing for what is drawn anew
        found[:whole] = _normal_of(self.uniform(whole if half else n, work)[:whole], mean, std)
        if whole < n:  # the last block begins earlier, and is drawn anew
            found[-_BLOCK:] = _normal_of(self.uniform(_BLOCK, work), mean, std)
        return found.astype(dtype)

    def one(self, uniform: Callable[[], float]) -> float:
        """A normal number: what is left of the last pair, or of a new one, made of two uniform numbers."""
        if self.spare is not None:
            found, self.spare = self.spare, None
            return found
        angle = 2 * math.pi * uniform()
        radius = math.sqrt(-2 * math.log1p(-uniform()))
        self.spare = radius * math.sin(angle)
        return radius * math.cos(angle)

    def exponential(self, n: int) -> np.ndarray:
        """Of rate 1, as float64."""
        return -np.log1p(-self.uniform(n, np.float64))

    def race(self, weights: np.ndarray, n: int) -> np.ndarray:
        """The places of ``n`` weights, drawn without replacement: by a race of exponential clocks, in their dtype."""
        return np.argsort(-weights / self.exponential(len(weights)).astype(weights.dtype), kind="stable")[:n]

    def integers(self, n: int, low: int, high: int) -> np.ndarray:
        """On [low, high), as int64."""
        count = high - low
        words = self.pairs(n) % np.uint64(count) if count >= _MANY else self.words(n) % np.uint32(count)
        return words.astype(np.int64) + low

    def permutation(self, n: int) -> np.ndarray:
        """By Fisher & Yates."""
        found = list(range(n))
        if n > 1:
            steps = self.words(n - 1) % np.arange(n, 1, -1, dtype=np.uint32)
            for i, step in enumerate(steps.tolist()):
                j = i + step
                found[i], found[j] = found[j], found[i]
        return np.array(found, np.int64)

    # ---- by rejection: how much is drawn depends on what is drawn --------------------------------------------

    def gamma(self, shape: np.ndarray) -> np.ndarray:
        """Gamma numbers of these shape parameters and rate 1, as float64."""
        return self._each(_gamma, shape)

    def poisson(self, rate: np.ndarray) -> np.ndarray:
        """Poisson counts of these rates, as float64."""
        return self._each(_poisson, rate)

    def binomial(self, count: np.ndarray, p: np.ndarray) -> np.ndarray:
        """How many of ``count`` trials succeed, as float64."""
        return self._each(_binomial, count, p)

    def _each(self, sample: Callable[..., float], *parameters: np.ndarray) -> np.ndarray:
        given = [a.tolist() for a in np.broadcast_arrays(*[p.astype(np.float64).ravel() for p in parameters])]
        singles = _Singles(self)
        found = [
            # of what the operation refuses nothing could be drawn, for ever
            sample(singles, *one) if all(0 <= x < math.inf for x in one) else math.nan
            for one in zip(*given, strict=True)
        ]
        singles.end()
        return np.array(found, np.float64)

    # ---- state ------------------------------------------------------------------------------------------------

    def state(self, seed: int) -> np.ndarray:
        """The bytes of PyTorch's generator."""
        _, words, at, *_ = self._state()
        at = int(at)
        spare = 0.0 if self.spare is None else self.spare
        head = _HEAD.pack(seed, _WORDS - at + 1, 1, at)
        tail = _TAIL.pack(0.0, spare, 0.0, self.spare is not None, 0.0, False)
        return np.frombuffer(head + words.astype("<u8").tobytes() + tail, np.uint8).copy()

    def set_state(self, state: bytes) -> int:
        """Go on where PyTorch's generator was; returns its seed."""
        seed, left, _, at = _HEAD.unpack_from(state)
        words = np.frombuffer(state, "<u8", _WORDS, _HEAD.size).astype(np.uint32)
        _, spare, _, has_spare, *_ = _TAIL.unpack_from(state, _HEAD.size + 8 * _WORDS)
        if not (0 <= at <= _WORDS and 0 <= left <= _WORDS):
            raise RuntimeError(f"Invalid mt19937 state: the next word is {at} of {_WORDS}, with {left} left")
        self._ahead = None
        self._source.set_state(("MT19937", words, _WORDS if left == 1 else at))
        self.spare = spare if has_spare else None
        return seed

    def twin(self) -> Twister:
        """Another one in the same state."""
        other = Twister(0)
        other._source.set_state(self._state())
        other.spare = self.spare
        return other


class _Singles:
    """Uniform and normal numbers one by one, drawn in portions; what is left over in the end has not been drawn."""

    def __init__(self, twister: Twister) -> None:
        self._twister, self._begin = twister, twister._state()
        self._portion: Iterator[float] = iter(())
        self._used = 0

    def uniform(self) -> float:
        found = next(self._portion, None)
        if found is None:
            self._portion = iter(self._twister.uniform(1024, np.float64).tolist())
            found = next(self._portion)
        self._used += 1
        return found

    def normal(self) -> float:
        return self._twister.one(self.uniform)

    def end(self) -> None:
        self._twister._ahead = None
        self._twister._source.set_state(self._begin)
        self._twister.pairs(self._used)


def _gamma(draw: _Singles, shape: float) -> float:
    """Marsaglia & Tsang 2000, doi:10.1145/358407.358414."""
    scale = 1.0
    if shape < 1:
        if shape == 0:
            return 0.0
        scale = (1 - draw.uniform()) ** (1 / shape)
        shape += 1
    d = shape - 1 / 3
    c = 1 / math.sqrt(9 * d)
    while True:
        x = draw.normal()
        y = 1 + c * x
        if y <= 0:
            continue
        v, u = y * y * y, 1 - draw.uniform()
        if u < 1 - 0.0331 * x**4 or math.log(u) < 0.5 * x * x + d * (1 - v + math.log(v)):
            return scale * d * v


def _poisson(draw: _Singles, rate: float) -> float:
    """Products of uniform numbers (Knuth); from 10 on PTRS, Hörmann 1993, doi:10.1016/0167-6687(93)90997-4."""
    if rate < 10:
        least, product, count = math.exp(-rate), 1.0, -1
        while rate and (product > least or count < 0):
            product *= draw.uniform()
            count += 1
        return max(count, 0)
    root = math.sqrt(rate)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    inverse, least = 1.1239 + 1.1328 / (b - 3.4), 0.9277 - 3.6224 / (b - 2)
    while True:
        u, v = draw.uniform() - 0.5, draw.uniform()
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + rate + 0.43)
        if us >= 0.07 and v <= least:
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        if math.log(v * inverse / (a / (us * us) + b)) <= k * math.log(rate) - rate - math.lgamma(k + 1):
            return k


def _binomial(draw: _Singles, count: float, p: float) -> float:
    """Waiting times (Devroye 1986, X.4); where 10 successes and more are expected BTRS, Hörmann 1993,
    doi:10.1080/00949659308811496.
    """
    if not (count > 0 and p > 0):
        return 0.0
    if p >= 1:
        return count
    if p > 0.5:
        return count - _binomial(draw, count, 1 - p)
    if count * p < 10:
        waited, found = 0, 0
        while True:
            waited += math.ceil(math.log(draw.uniform()) / math.log1p(-p))
            if waited > count:
                return found
            found += 1
    deviation = math.sqrt(count * p * (1 - p))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * p
    odds, mode = p / (1 - p), math.floor((count + 1) * p)
    while True:
        u, v = draw.uniform() - 0.5, draw.uniform()
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + count * p + 0.5)
        if us >= 0.07 and v <= 0.92 - 4.2 / b:
            return k
        if not 0 <= k <= count:
            continue
        v = math.log(v * (2.83 + 5.1 / b) * deviation / (a / (us * us) + b))
        most = math.lgamma(mode + 1) + math.lgamma(count - mode + 1)
        if v <= most - math.lgamma(k + 1) - math.lgamma(count - k + 1) + (k - mode) * math.log(odds):
            return k


def _normal_of(u: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Blocks of sixteen uniform numbers to normal ones: the first eight are lengths, the others angles."""
    blocks = u.reshape(-1, 2, _BLOCK // 2)
    radius = np.sqrt(u.dtype.type(-2) * np.log(1 - blocks[:, 0]))
    angle = u.dtype.type(2 * np.pi) * blocks[:, 1]
    found = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).reshape(-1)
    return found * u.dtype.type(std) + u.dtype.type(mean)


# ---- operations whose result is numbers and nothing else -------------------------------------------------------------


def _dtype(bound: dict[str, Any], default: Any) -> np.dtype:
    return np.dtype(default if bound.get("dtype") is None else bound["dtype"])


#: Those of real numbers.
FLOATING = frozenset(map(np.dtype, (np.float16, bfloat16, np.float32, np.float64)))


def _fill_bits(t: Twister, n: int, dtype: np.dtype, bound: dict[str, Any]) -> Any:
    if bound.get("signed"):
        return None
    if dtype == np.bool_:
        return (t.words(n) & 1).astype(bool)
    if dtype.kind in "iu":
        wide, most = dtype.itemsize == 8, np.iinfo(dtype).max
        return (t.pairs(n) % (np.uint64(most) + np.uint64(1)) if wide and dtype.kind == "i" else
                t.pairs(n) if wide else t.words(n) % np.uint64(most + 1)).astype(dtype)  # fmt: skip
    digits = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}[dtype.name]
    words = t.pairs(n) if digits > 32 else t.words(n)
    return (words % np.asarray(2**digits + 1, words.dtype)).astype(dtype)


#: In-place operation -> ``(twister, number of elements, dtype, arguments) -> elements``; None where it is not known.
FILLS: dict[str, Callable[[Twister, int, np.dtype, dict[str, Any]], Any]] = {
    "_fill_uniform": lambda t, n, dtype, b: t.between(n, dtype, b["low"], b["high"]),
    "_fill_normal": lambda t, n, dtype, b: t.normal(n, dtype, b["mean"], b["std"], b["_plain"]),
    "_fill_log_normal": lambda t, n, dtype, b: np.exp(
        t.normal(n, np.float64, b["mean"], b["std"], False)
    ).astype(dtype),
    "_fill_exponential": lambda t, n, dtype, b: (t.exponential(n) / b["rate"]).astype(dtype),
    "_fill_cauchy": lambda t, n, dtype, b: (
        b["median"] + b["sigma"] * np.tan(np.pi * (t.uniform(n, np.float64) - 0.5))
    ).astype(dtype),
    "_fill_geometric": lambda t, n, dtype, b: np.ceil(
        np.log(t.uniform(n, np.float64)) / np.log1p(-b["p"])
    ).astype(dtype),
    "_fill_integers": lambda t, n, dtype, b: t.integers(n, b["low"], b["high"]).astype(dtype),
    "_fill_bits": _fill_bits,
    "_fill_bernoulli": lambda t, n, dtype, b: t.mask(n, b["p"]).astype(dtype),
}  # fmt: skip


#: Those of them that integers can be filled with.
INTEGRAL = frozenset(("_fill_geometric", "_fill_integers", "_fill_bits", "_fill_bernoulli"))


def _sized(bound: dict[str, Any]) -> tuple[tuple[int, ...], int]:
    shape = tuple(bound["size"])
    return shape, math.prod(shape)


def _made(draw: Callable[[Twister, int, np.dtype, dict[str, Any]], Any], integral: bool = False) -> Callable[..., Any]:
    def make(t: Twister, bound: dict[str, Any], default: Any) -> Any:
        dtype = _dtype(bound, np.int64 if integral else default)
        shape, n = _sized(bound)
        if not integral and dtype.kind == "c":  # both parts of one, then those of the next
            return draw(t, 2 * n, np.dtype(f"f{dtype.itemsize // 2}"), bound).view(dtype).reshape(shape)
        if not integral and dtype not in FLOATING:
            return None
        return draw(t, n, dtype, bound).reshape(shape)

    return make


def _part(bound: dict[str, Any], std: float) -> float:
    """The standard deviation of each part of a complex number."""
    dtype = bound.get("dtype")
    return std * 0.5**0.5 if dtype is not None and np.dtype(dtype).kind == "c" else std


def _permuted(t: Twister, bound: dict[str, Any], default: Any) -> Any:
    n = bound["n"]
    dtype = _dtype(bound, np.int64)
    if not 0 <= n <= 2**24 or dtype not in (np.int64, np.int32, np.float32, np.float64):
        return None  # the operation says what is wrong
    return t.permutation(n).astype(dtype)


#: Factory -> ``(twister, arguments, default dtype) -> result``.
FACTORIES: dict[str, Callable[[Twister, dict[str, Any], Any], Any]] = {
    "rand": _made(lambda t, n, dtype, b: t.uniform(n, dtype)),
    "randn": _made(lambda t, n, dtype, b: t.normal(n, dtype, 0.0, _part(b, 1.0))),
    "_normal_size": _made(lambda t, n, dtype, b: t.normal(n, dtype, b["mean"], _part(b, b["std"]))),
    "_randint": _made(lambda t, n, dtype, b: t.integers(n, b["low"], b["high"]).astype(dtype), integral=True),
    "randperm": _permuted,
}
