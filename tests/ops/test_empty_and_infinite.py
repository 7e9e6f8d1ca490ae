"""Operators at the edges of what they take: infinities, and nothing at all."""

from __future__ import annotations

import math

import pytest

import pytorchlike as torch

INF = float("inf")


@pytest.mark.parametrize("a, b, sum_", [
    (1 - 5j, -3 + 4j, 0.9832007 - 4.992324j),  # the turns of the larger one stay, as in PyTorch
    (complex(-INF, 0), 1 - 5j, 1 - 5j), (complex(-INF, 2), complex(-INF, 2), complex(-INF, 2)),
    (complex(INF, 1), 3 + 4j, complex(INF, 1)),
])  # fmt: skip
def test_complex_logaddexp_beside_infinity(a, b, sum_):
    x, y = torch.tensor([a, b]).clone(), torch.tensor([b, a]).clone()  # in either order
    torch.testing.assert_close(torch.logaddexp(x, y), torch.tensor([sum_, sum_]))


def test_complex_logaddexp_passes_nan_on_and_has_weights_for_gradients():
    a = torch.tensor([1 + 2j, complex(-INF, 0), 2.0], requires_grad=True)
    b = torch.tensor([1 + 2j, 1 - 5j, complex("nan")], requires_grad=True)
    out = torch.logaddexp(a, b)
    assert out.isnan().tolist() == [False, False, True]
    out[:2].real.sum().backward()
    torch.testing.assert_close(a.grad[:2], torch.tensor([0.5 + 0j, 0j]))
    torch.testing.assert_close(b.grad[:2], torch.tensor([0.5 + 0j, 1 + 0j]))


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_of_an_empty_vector_is_empty(training):
    nothing = torch.zeros(0)
    out = torch.nn.functional.batch_norm(nothing, torch.zeros(0), torch.ones(0), training=training)
    assert out.shape == (0,) and out.dtype == torch.float32


def test_what_does_not_broadcast_names_the_last_such_dimension():
    for a, b, words in (((4, 3, 2), (4, 3), r"a \(2\) .* b \(3\) at non-singleton dimension 2"),
                        ((2, 3), (3, 2), r"a \(3\) .* b \(2\) at non-singleton dimension 1")):  # fmt: skip
        for op in (torch.add, torch.maximum, torch.eq, torch.pow):
            with pytest.raises(RuntimeError, match=words):
                op(torch.ones(a), torch.ones(b))


def test_logarithms_of_complex_zero_and_infinity_have_a_direction():
    x = torch.tensor([0j, complex(0, float("inf"))])
    for log, base in ((torch.log2, 2), (torch.log10, 10)):
        got = torch.view_as_real(log(x)).tolist()
        assert got[0] == [-float("inf"), 0] and got[1][0] == float("inf")
        assert got[1][1] == pytest.approx(math.pi / 2 / math.log(base))
    y = torch.tensor([1 + 2j], requires_grad=True)
    (grad,) = torch.autograd.grad(torch.log2(y).real.sum(), y)
    assert torch.allclose(grad, (1 / (y.detach() * math.log(2))).conj())


def test_pooling_of_nothing():
    """Batches of no elements are put back into none, and windows for no results give none; with gradients."""
    F = torch.nn.functional
    x = torch.zeros(0, 4, 4, 4, requires_grad=True)
    back = F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2)
    back.sum().backward()
    assert back.shape == x.grad.shape == x.shape
    out, places = F.fractional_max_pool2d(torch.ones(2, 3, 9, 9), 2, output_size=(0, 1), return_indices=True)
    assert out.shape == places.shape == (2, 3, 0, 1) and places.dtype == torch.int64


def test_largest_magnitudes_of_windows():
    """An infinite power in ``lp_pool``; what has no order is refused."""
    F = torch.nn.functional
    assert F.lp_pool2d(torch.tensor([[[-5.0, 1.0], [2.0, 3.0]]]), INF, 2).item() == 5
    for dtype in (torch.bool, torch.complex64):
        with pytest.raises(NotImplementedError, match="max_pool2d"):
            F.max_pool2d(torch.ones(1, 4, 4, dtype=dtype), 2)


def test_grids_without_samples_and_places_that_are_no_numbers():
    """Nothing is read of an empty batch or of no channels; NaN in a grid is -1, the first place."""
    F = torch.nn.functional
    for batch, channels in ((0, 1), (1, 0)):
        x, grid = torch.zeros(batch, channels, 2, 2), torch.zeros(batch, 3, 1, 2)
        assert F.grid_sample(x, grid, align_corners=True).shape == (batch, channels, 3, 1)
    nan = torch.full((1, 1, 1, 2), math.nan)
    x = torch.arange(1.0, 5.0).reshape(1, 1, 2, 2)
    for mode in ("border", "reflection"):
        assert F.grid_sample(x, nan, padding_mode=mode, align_corners=True).item() == 1
