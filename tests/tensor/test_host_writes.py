"""Filling small tensors element by element is done by NumPy at once: the same results, and nothing recorded."""

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.engine import local
from pytorchlike.tensor import host_writes


def _fill():
    x = torch.zeros(5, 1, 7)
    for i in range(5):
        x[i][0][(i * 3) % 7] = 1
    x[2, 0, 1:4] = torch.tensor([1.5, 2.0, 3.0])
    x[-1] = 4
    row = x[1]
    x[1, 0, 0] = 9
    return [x, row]


def _views():
    w = torch.tensor([[1, 2], [3, 4]])
    v = w.t()
    v[0, 1] = 7
    r = torch.zeros(6)
    s = r.view(2, 3)
    s[1] = 1
    r[0] = 8
    return [w, v, r, s]


def _dtypes():
    z = torch.ones(3, dtype=torch.int64)
    z[1] = 2.7
    b = torch.zeros(3, dtype=torch.bool)
    b[1] = 2
    h = torch.zeros(2, dtype=torch.float16)
    h[0] = 1e6
    e = torch.zeros(2, 2, dtype=torch.bfloat16)
    e[0] = torch.tensor([1, 2])
    return [z, b, h.float(), e.float()]


def _mixed_with_gradients():
    p = torch.full((3,), 2.0, requires_grad=True)
    m = torch.zeros(2, 3)
    m[1, 0] = 5
    m[0] = p * 2
    m[1, 1] = 3
    m.pow(2).sum().backward()
    return [m.detach(), p.grad]


def _padded_batch():
    rows = [torch.arange(n) + 1 for n in (3, 1, 4)]
    batch = torch.zeros(3, 4, dtype=torch.long)
    for i, row in enumerate(rows):
        batch[i, : len(row)] = row
    return [batch]


def _masks_of_any_width():
    """Those of SpecAugment, some of which are empty."""
    x = torch.tensor([[1.0] * 6] * 4)
    for row, (first, width) in enumerate([(1, 2), (3, 0), (0, 6), (5, 1)]):
        x[row, first : first + width] = 0
        x[row, first : first + width] = torch.zeros(width)
    return [x]


@pytest.mark.parametrize(
    "program", [_fill, _views, _dtypes, _mixed_with_gradients, _padded_batch, _masks_of_any_width]
)
def test_the_same_as_recorded(program, monkeypatch):
    host = program()
    monkeypatch.setattr(host_writes, "SMALL", 0)
    for a, b in zip(host, program(), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_a_write_of_no_width_leaves_the_tensor_on_the_host():
    x = torch.tensor([[1.0] * 6] * 4)
    x[0, 3:3] = 0
    x[1, 1:3] = 0
    assert type(x._value.data) is np.ndarray and x.sum().item() == 22
    with pytest.raises(RuntimeError):
        x[0, 3:3] = torch.ones(2)
        x.tolist()


def test_filling_records_nothing_that_depends_on_the_positions():
    torch.zeros(3).sum().item()
    _fill()
    assert len(local.trace.values) <= 4  # the factory, and the views of it made before the first write


def test_bad_values_and_places_raise_as_ever():
    x = torch.zeros(3)
    with pytest.raises(IndexError):
        x[5] = 1
    with pytest.raises(RuntimeError):
        x[0:2] = torch.ones(3)
    with pytest.raises(RuntimeError):
        x[0] = 1j
    with pytest.raises(TypeError):
        x[0] = "a"
    leaf = torch.zeros(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        leaf[0] = 1
    assert x.tolist() == [0, 0, 0] and leaf.tolist() == [0, 0, 0]


def test_a_write_is_a_version():
    x = torch.zeros(3)
    before = x._version
    x[0] = 1
    assert x._version == before + 1
