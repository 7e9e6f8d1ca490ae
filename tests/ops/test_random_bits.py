"""The random bits themselves: uniform, unrelated to their neighbours and to other streams, and the same everywhere."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pytorchlike.ops import _random

N = 1 << 17


@functools.cache
def compiled(fn, shape, dtype):
    return jax.jit(lambda s, o: fn((s, o), shape, dtype))


def draw(seed, offset, shape=(N,), dtype=np.uint32, fn=_random.bits):
    with jax.enable_x64(True):
        return np.asarray(compiled(fn, shape, dtype)(np.uint64(seed), np.uint64(offset)))


def chi2_z(counts, expected):
    """The chi-squared statistic as a standard deviation from its mean (normal for many cells)."""
    cells = counts.size
    return (((counts - expected) ** 2 / expected).sum() - (cells - 1)) / np.sqrt(2 * (cells - 1))


STREAMS = [(0, 0), (0, 1), (1, 0), (42, 7), (67280421310721, 3), (2**64 - 1, 2**64 - 1), (2**63, 1 << 40)]


@pytest.mark.parametrize("seed, offset", STREAMS)
def test_bytes_and_bits_are_uniform(seed, offset):
    x = draw(seed, offset)
    for shift in (0, 8, 16, 24):
        counts = np.bincount((x >> shift) & 255, minlength=256)
        assert abs(chi2_z(counts, N / 256)) < 5
    counts = np.bincount(x >> 16, minlength=1 << 16)
    assert abs(chi2_z(counts, N / (1 << 16))) < 5
    ones = np.array([((x >> b) & 1).mean() for b in range(32)])
    assert np.abs(ones - 0.5).max() < 5 * 0.5 / np.sqrt(N)


@pytest.mark.parametrize("seed, offset", STREAMS)
def test_neighbours_are_unrelated(seed, offset):
    x = draw(seed, offset)
    u = x / 2.0**32 - 0.5
    for lag in (1, 2, 3, 4, 7, 8, 16, 64, 256, 1000, 1024, 65536):
        r = (u[:-lag] * u[lag:]).mean() * 12
        assert abs(r) < 5 / np.sqrt(N - lag), lag
    pairs = (x[0::2] >> 24).astype(np.int64) << 8 | (x[1::2] >> 24)
    assert abs(chi2_z(np.bincount(pairs, minlength=1 << 16), N / 2 / (1 << 16))) < 5
    low = (x[0::2] & 255).astype(np.int64) << 8 | (x[1::2] & 255)
    assert abs(chi2_z(np.bincount(low, minlength=1 << 16), N / 2 / (1 << 16))) < 5


def test_values_collide_as_often_as_random_ones():
    # A generator that is a permutation of 32-bit counters would never repeat a value.
    repeats = sum(N - np.unique(draw(5, k)).size for k in range(8))
    expected = 8 * N * N / 2**33
    assert abs(repeats - expected) < 6 * np.sqrt(expected)


def many(pairs, shape):
    keys = np.array(pairs, np.uint64)
    with jax.enable_x64(True):
        run = jax.jit(jax.vmap(lambda k: _random.bits((k[0], k[1]), shape)))
        return np.asarray(run(keys))


@pytest.mark.parametrize("vary", ["offset", "seed", "both"])
def test_streams_are_unrelated(vary):
    pairs = [(k if vary != "offset" else 3, k if vary != "seed" else 3) for k in range(512)]
    x = many(pairs, (512,))
    u = x / 2.0**32 - 0.5
    for step in (1, 2, 16):
        r = (u[:-step] * u[step:]).mean() * 12
        assert abs(r) < 5 / np.sqrt(u[step:].size)
    # the same place over consecutive streams is itself a sequence of random numbers
    for place in (0, 1, 2, 511):
        column = x[:, place]
        assert abs(chi2_z(np.bincount(column >> 28, minlength=16), 32)) < 5
        assert abs(np.corrcoef(u[:-1, place], u[1:, place])[0, 1]) < 5 / np.sqrt(511)
    flips = np.unpackbits((x[:-1] ^ x[1:]).view(np.uint8)).mean()
    assert abs(flips - 0.5) < 5 * 0.5 / np.sqrt(32 * x[1:].size)


def test_first_elements_of_many_streams_are_uniform():
    x = many([(9, k) for k in range(1 << 13)] + [(k, 9) for k in range(1 << 13)], (2,))
    for column in (x[:, 0], x[:, 1]):
        assert abs(chi2_z(np.bincount(column >> 24, minlength=256), column.size / 256)) < 5
        assert abs(chi2_z(np.bincount(column & 255, minlength=256), column.size / 256)) < 5


def test_each_bit_of_the_key_changes_half_of_the_bits():
    base = many([(12345, 678)], (256,))[0]
    flipped = many([(12345 ^ (1 << b), 678) for b in range(64)] + [(12345, 678 ^ (1 << b)) for b in range(64)], (256,))
    rates = np.array([np.unpackbits((row ^ base).view(np.uint8)).mean() for row in flipped])
    assert np.abs(rates - 0.5).max() < 6 * 0.5 / np.sqrt(256 * 32)


def test_same_bits_however_they_are_computed():
    with jax.enable_x64(True):
        eager = np.asarray(_random.bits((np.uint64(7), np.uint64(8)), (40, 50)))
        fused = np.asarray(jax.jit(lambda o: _random.bits((7, o), (40, 50)).T + jnp.uint32(0))(np.uint64(8))).T
        flat = np.asarray(_random.bits((7, 8), (2000,)))
        more = np.asarray(_random.bits((7, 8), (5000,)))
    np.testing.assert_array_equal(eager, fused)
    np.testing.assert_array_equal(eager.reshape(-1), flat)
    np.testing.assert_array_equal(more[:2000], flat)


def test_known_numbers():
    """Saved states must give the same numbers in later versions."""
    assert draw(0, 0, (4,)).tolist() == KNOWN[0]
    assert draw(67280421310721, 5, (2,), np.uint64).tolist() == KNOWN[1]


KNOWN = [[2462492045, 2548971844, 3591743568, 1353423612], [8413310937519915164, 7127984054353651803]]


@pytest.mark.parametrize("dtype, digits", [(np.float32, 24), (np.float64, 53), (np.float16, 11), (jnp.bfloat16, 8)])
def test_uniform_is_in_range_on_its_grid(dtype, digits):
    u = draw(1, 2, dtype=dtype, fn=_random.uniform).astype(np.float64)
    assert u.min() >= 0 and u.max() < 1
    scaled = u * 2.0**digits
    assert (scaled == np.floor(scaled)).all()
    assert abs(u.mean() - 0.5 + 2.0**-digits / 2) < 5 / np.sqrt(12 * N)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normal_has_its_moments(dtype):
    z = draw(3, 4, dtype=dtype, fn=_random.normal).astype(np.float64)
    assert abs(z.mean()) < 5 / np.sqrt(N)
    assert abs(z.var() - 1) < 5 * np.sqrt(2 / N)
    assert abs((z**3).mean()) < 5 * np.sqrt(15 / N)
    assert abs((z**4).mean() - 3) < 5 * np.sqrt(96 / N)
    assert np.isfinite(z).all()


def test_integers_cover_their_range_evenly():
    with jax.enable_x64(True):
        integers = jax.jit(_random.integers, static_argnums=1)
        small = np.asarray(integers((1, 2), (N,), -3, 7))
        large = np.asarray(integers((1, 3), (N,), -(2**62), 2**62))
    assert abs(chi2_z(np.bincount(small + 3, minlength=10), N / 10)) < 5
    assert small.min() == -3 and small.max() == 6
    assert large.min() < -(2**61) and large.max() > 2**61
