"""Sizes made of sizes: arithmetic keeps one form for each value, and files give the same back."""

import json
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytorchlike.export._general import _solve
from pytorchlike.export._sizes import Range, Root, Size, evaluate, root_of

S, T = Size.named("s0"), Size.named("s1")


def test_equal_expressions_are_equal_and_print_as_they_would_be_written():
    assert 2 * (S + 1) == S + S + 2 and str(2 * (S + 1)) == "2*s0 + 2"
    assert S - S == 0 and type(S - S + 3) is int
    assert str(S * T - 1) == "s0*s1 - 1" and (S * T).names() == ["s0", "s1"]
    assert hash(S + T) == hash(T + S) and S != T and S != 3
    assert str((S + 1) // 2) == "((s0 + 1)//2)"


def test_floors_of_floors_are_one_floor():
    assert ((S + 1) // 2 + 1) // 2 == (S + 3) // 4
    assert (4 * S + 2) // 2 == 2 * S + 1 and S // 1 == S


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(-5, 5), st.integers(1, 4), st.integers(1, 4))
def test_values_are_those_of_the_arithmetic(s, t, b, m, n):
    at = {"s0": s, "s1": t}
    for size, want in (
        ((S * m + b) * (T + n), (s * m + b) * (t + n)), (((S + b) // m + b) // n, ((s + b) // m + b) // n),
        (S * S - T, s * s - t), ((S + T + b) // m * n, (s + t + b) // m * n),
    ):
        assert evaluate(size, at) == want
        if isinstance(size, Size):
            again = Size.of_plain(json.loads(json.dumps(size.plain())))
            assert again == size and again.at(at) == want


def test_floats_that_follow_a_size():
    sizes = [4, 9, 10, 25]
    for power in (0.5, -0.5, -1.0):
        found = root_of([3 * n**power for n in sizes], [(S, sizes)])
        assert found == Root(S, power, 3.0) and found.at({"s0": 16}) == 3 * 16**power
    assert root_of([1.0, 2.0, 4.0, 8.0], [(S, sizes)]) is None


def test_linear_systems_are_solved_exactly():
    rows = [[Fraction(1), Fraction(n), Fraction(n * n)] for n in (2, 3, 5, 8)]
    values = [Fraction(7 - 2 * n + 3 * n * n) for n in (2, 3, 5, 8)]
    assert _solve(rows, values) == [7, -2, 3]
    assert _solve(rows, [*values[:3], values[3] + 1]) is None


@pytest.mark.parametrize("n,inside", [(1, False), (2, True), (8, True), (9, False)])
def test_ranges(n, inside):
    assert (n in Range(2, 8)) is inside and repr(Range(2, None)) == "VR[2, int_oo]"
