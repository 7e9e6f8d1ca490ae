"""Which dim is meant, and which shape comes out."""

import pytest

import pytorchlike as torch
from pytorchlike.ops._sizes import broadcast_sizes, infer_size, reduced_dims, wrap_dim, wrap_dims


def test_dims_count_from_both_ends_and_a_scalar_has_one():
    assert [wrap_dim(d, 3) for d in (-3, -1, 0, 2)] == [0, 2, 0, 2]
    assert wrap_dim(-1, 0) == wrap_dim(0, 0) == 0
    assert reduced_dims(None, 2) == reduced_dims((), 2) == (0, 1) and reduced_dims(0, 0) == ()
    with pytest.raises(IndexError, match=r"expected to be in range of \[-2, 1\], but got 2"):
        wrap_dim(2, 2)
    with pytest.raises(RuntimeError, match="dim 1 appears multiple times"):
        wrap_dims((1, -1), 2)


def test_shapes_broadcast_from_the_back_or_name_the_sizes_that_do_not():
    assert broadcast_sizes((3, 1), (4,), ()) == (3, 4) and broadcast_sizes() == ()
    assert broadcast_sizes((0,), (1,)) == (0,)
    with pytest.raises(RuntimeError, match=r"tensor a \(3\) must match .* b \(4\) at non-singleton dimension 1.*\(f\)"):
        broadcast_sizes((2, 3), (4,), name="f")


def test_the_missing_size_follows_from_the_number_of_elements():
    assert infer_size((2, -1), 6) == (2, 3) and infer_size((0,), 0) == (0,)
    with pytest.raises(RuntimeError, match="ambiguous"):
        infer_size((0, -1), 0)
    with pytest.raises(RuntimeError, match="only one dimension"):
        infer_size((-1, -1), 4)


@pytest.mark.parametrize("name", ["ComplexFloat", "Byte", "Long"])
def test_old_names_of_types_lead_both_ways(name):
    kind = {"ComplexFloat": torch.complex64, "Byte": torch.uint8, "Long": torch.int64}[name]
    assert torch.zeros(2, dtype=kind).type() == f"torch.{name}Tensor"
    assert torch.zeros(2).type(f"torch.{name}Tensor").dtype is kind


def test_messages_name_every_dtype_as_pytorch_does():
    with pytest.raises(RuntimeError, match="UInt16"):
        torch.linalg.det(torch.zeros(2, 2, dtype=torch.uint16))
