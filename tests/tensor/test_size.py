"""torch.Size: a tuple that stays a Size under slicing, sums, repeats and pickling."""

import copy
import pickle

import numpy as np
import pytest

from pytorchlike.tensor.size import Size


def test_repr_numel_equality():
    assert repr(Size([2, 3])) == "torch.Size([2, 3])"
    assert str(Size()) == "torch.Size([])"
    assert Size([2, 3]).numel() == 6
    assert Size().numel() == 1
    assert Size([2, 3]) == (2, 3)
    assert hash(Size([2, 3])) == hash((2, 3))
    a, b = Size([4, 5])
    assert (a, b) == (4, 5)


@pytest.mark.parametrize(
    "made",
    [
        Size([1, 2, 3])[:2],
        Size([1, 2, 3])[::-1],
        Size([1]) + (2,),
        (1,) + Size([2]),
        Size([1]) + Size([2]),
        Size([2]) * 2,
        2 * Size([2]),
        copy.deepcopy(Size([1])),
        pickle.loads(pickle.dumps(Size([1]))),
        Size(x for x in (1, 2)),
    ],
    ids=repr,
)
def test_stays_a_size(made):
    assert type(made) is Size


def test_indexing_gives_ints():
    assert type(Size([2, 3])[0]) is int
    assert [type(x) for x in Size([np.int64(3), True])] == [int, int]


def test_errors():
    with pytest.raises(TypeError, match=r"takes an iterable of 'int' \(item 0 is 'float'\)"):
        Size([1.5])
    with pytest.raises(TypeError, match=r"item 1 is 'str'"):
        Size([2]) + ("a",)
    with pytest.raises(TypeError, match=r"can only concatenate tuple \(not list\) to torch.Size"):
        Size([2]) + [1]
    with pytest.raises(TypeError, match="can only concatenate list"):
        [1] + Size([2])
    with pytest.raises(TypeError, match="can't multiply sequence by non-int of type 'float'"):
        Size([2]) * 1.5
    with pytest.raises(TypeError):
        Size(3)
