"""``torch.testing``: what is close, and PyTorch's words about what is not."""

import numpy as np
import pytest

import pytorchlike as torch

close = torch.testing.assert_close
A, B = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.5, 3.1])


CASES = [
    (
        AssertionError, (A, B), {},
        "Tensor-likes are not close!\n\nMismatched elements: 2 / 3 (66.7%)\n"
        "Greatest absolute difference: 0.5 at index (1,) (up to 1e-05 allowed)\n"
        "Greatest relative difference: 0.20000000298023224 at index (1,) (up to 1.3e-06 allowed)",
    ), (
        AssertionError, (A, B.double()), {},
        "The values for attribute 'dtype' do not match: torch.float32 != torch.float64.",
    ), (
        AssertionError, (A, B[:2]), {},
        "The values for attribute 'shape' do not match: torch.Size([3]) != torch.Size([2]).",
    ), (
        AssertionError, (1, 1.5), {}, "The (d)types do not match: <class 'int'> != <class 'float'>.",
    ), (
        AssertionError, (1, 2), {},
        "Scalars are not equal!\n\nExpected 2 but got 1.\nAbsolute difference: 1\nRelative difference: 0.5",
    ), (
        AssertionError, (torch.tensor([1, 2]), torch.tensor([1, 3])), {},
        "Tensor-likes are not equal!\n\nMismatched elements: 1 / 2 (50.0%)\n"
        "Greatest absolute difference: 1 at index (1,)\n"
        "Greatest relative difference: 0.3333333432674408 at index (1,)",
    ), (
        AssertionError, ([A], [A, A]), {}, "The length of the sequences mismatch: 1 != 2",
    ), (
        AssertionError, (True, False), {}, "Booleans mismatch: True is not False",
    ), (
        AssertionError, (1, 2), {"msg": "told"}, "told",
    ), (
        TypeError, ("a", "a"), {},
        "No comparison pair was able to handle inputs of type <class 'str'> and <class 'str'>.",
    ), (
        ValueError, (A, B), {"rtol": 1}, "Both 'rtol' and 'atol' must be either specified or omitted, but got no atol.",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("error", "args", "how", "text"), CASES)
def test_messages(error, args, how, text):
    with pytest.raises(error) as found:
        close(*args, **how)
    assert str(found.value) == text


def test_places_in_containers():
    with pytest.raises(AssertionError, match=r"The failure occurred for item \['y'\]\[0\]"):
        close({"x": A, "y": [B]}, {"x": A, "y": [A]})
    with pytest.raises(AssertionError, match=r"Missing keys in the actual mapping: \[\]\nAdditional.*\['y'\]"):
        close({"x": A, "y": B}, {"x": A})


def test_what_is_close():
    close(A, A + 1e-7)
    close(A, B, rtol=0, atol=0.6)
    close(A, A.double(), check_dtype=False)
    close(torch.nn.Parameter(A), A)
    close(np.ones(2), np.ones(2))
    close([1, 2.0, None], [1, 2.0, None])
    close(torch.tensor([np.inf]), torch.tensor([np.inf]))
    close(torch.tensor([np.nan]), torch.tensor([np.nan]), equal_nan=True)
    close(torch.empty(0), torch.empty(0))
    for wrong in (lambda: close(torch.tensor([np.nan]), torch.tensor([np.nan])),
                  lambda: close(torch.tensor([np.inf]), torch.tensor([1.0])),
                  lambda: close(torch.nn.Parameter(A), A, allow_subclasses=False),
                  lambda: close(torch.zeros(2, 3), torch.zeros(3, 2).t(), check_stride=True)):  # fmt: skip
        with pytest.raises((AssertionError, TypeError)):
            wrong()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8, torch.uint8, torch.bool, torch.complex64])
def test_make_tensor(dtype):
    made = torch.testing.make_tensor((4, 5), dtype=dtype, device="cpu", noncontiguous=True, exclude_zero=True)
    assert made.shape == (4, 5) and made.dtype is dtype and not made.is_contiguous() and bool((made != 0).all())


def test_tolerances_of_inputs():
    from pytorchlike.testing._comparison import get_tolerances

    assert get_tolerances(A, B, rtol=None, atol=None) == (1.3e-6, 1e-5)
    assert get_tolerances(A, rtol=0.5, atol=0.25) == (0.5, 0.25)
    with pytest.raises(ValueError, match="got no atol"):
        get_tolerances(A, rtol=0.5, atol=None)


def test_make_tensor_bounds():
    make = torch.testing.make_tensor
    made = make(100, dtype=torch.float64, device="cpu", low=2, high=3, requires_grad=True)
    assert 2 <= made.min() and made.max() < 3 and made.requires_grad
    with pytest.raises(ValueError, match="`low` must be less than `high`, but got 3 >= 1"):
        make(2, dtype=torch.float32, device="cpu", low=3, high=1)
    with pytest.raises(ValueError, match="requires_grad"):
        make(2, dtype=torch.int32, device="cpu", requires_grad=True)


def test_file_check():
    text = "a b\nc d\nc"
    torch.testing.FileCheck().check("a").check_same("b").check_next("c").check_not("x").run(text)
    torch.testing.FileCheck().check_count("c", 2, exactly=True).run(text)
    for wrong in (torch.testing.FileCheck().check("d").check("b"), torch.testing.FileCheck().check_not("d")):
        with pytest.raises(RuntimeError, match="Expected to"):
            wrong.run(text)
