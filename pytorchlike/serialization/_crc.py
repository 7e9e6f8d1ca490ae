"""CRC-32 of large buffers: twice as quick as zlib's, and joined of parts.

The sum is a remainder of polynomials over GF(2) modulo _POLYNOMIAL, in which bit 31 is the constant term and the first
bit of the data has the highest degree. Appending n bytes multiplies it by x ** (8 * n).
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable

__all__ = ["crc32", "joined"]

_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31

# The polynomial divides y ** _FAR + y ** _NEAR + 1, where y = x ** 8. So a byte may be taken out of the data if it is
# added to those that lie _FAR - _NEAR and _FAR places behind it, which NumPy does for many at once.
_FAR, _NEAR = 130_360, 24_749
_BLOCK = _FAR - _NEAR
_LONG = 4 * _BLOCK


def crc32(view: memoryview, fill: Callable[[memoryview, int], None] | None = None) -> int:
    """The CRC-32 of a buffer of bytes. ``fill(part, offset)`` is called for one part after the other before it is
    summed, so that the part is in the processor's cache then.
    """
    size = view.nbytes
    if size < _LONG:
        if fill is not None:
            fill(view, 0)
        return zlib.crc32(view)
    import numpy as np  # late: small files can be written without it

    blocks = (size - _FAR) // _BLOCK
    folded, last, last_but_one = (np.zeros(_BLOCK, np.uint8) for _ in range(3))
    for start in range(0, blocks * _BLOCK, _BLOCK):
        part = view[start : start + _BLOCK]
        if fill is not None:
            fill(part, start)
        np.bitwise_xor(np.frombuffer(part, np.uint8), last, out=folded)
        head, tail = folded[:_NEAR], folded[_NEAR:]
        np.bitwise_xor(head, last_but_one[-_NEAR:], out=head)
        np.bitwise_xor(tail, last[:-_NEAR], out=tail)
        folded, last, last_but_one = last_but_one, folded, last
    rest = view[blocks * _BLOCK :]
    if fill is not None:
        fill(rest, blocks * _BLOCK)
    sums = np.array(rest)
    sums[:_BLOCK] ^= last
    sums[:_NEAR] ^= last_but_one[-_NEAR:]
    sums[_NEAR:_FAR] ^= last
    # The sum begins with a register of ones, which is not linear: what it adds is known from zeros.
    return zlib.crc32(sums) ^ _of_zeros(sums.size) ^ _of_zeros(size)


def joined(first: int, second: int, length: int) -> int:
    """The sum of two parts, from theirs and the length of the second (zlib's crc32_combine, which Python lacks)."""
    return (_times(first, _shift(length)) if first else 0) ^ second


def _of_zeros(n: int) -> int:
    return _times(0xFFFFFFFF, _shift(n)) ^ 0xFFFFFFFF


def _times(a: int, b: int) -> int:
    """Product of two polynomials modulo the CRC's."""
    product = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return product


@functools.lru_cache(1024)
def _shift(n: int) -> int:
    """x ** (8 * n)."""
    power, square = _ONE, _ONE >> 8  # 1 and x ** 8
    while n:
        if n & 1:
            power = _times(power, square)
        square = _times(square, square)
        n >>= 1
    return power
