"""What is shown of an error: the user's line, and little below it."""

import sys
import traceback

import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.nn import functional as F


def frames_below(error):
    """Frames of a traceback below the last one of this file."""
    shown = traceback.extract_tb(error.__traceback__)
    here = max(i for i, frame in enumerate(shown) if frame.filename == __file__)
    # another test of this process may have had each call ask for __torch_function__
    return [frame for frame in shown[here + 1 :] if not frame.filename.endswith("asking.py")]


@pytest.mark.parametrize(
    "call",
    [
        lambda: torch.ones(7, 4) + torch.ones(7, 3),
        lambda: torch.ones(7, 4) @ torch.ones(7, 3),
        lambda: F.linear(torch.ones(7, 4), torch.ones(7, 3)),
        lambda: F.conv2d(torch.ones(7, 4, 8, 8), torch.ones(7, 3, 1, 1)),
        lambda: F.cross_entropy(torch.ones(7, 4), torch.zeros(6, dtype=torch.int64)),
        lambda: F.cross_entropy(torch.ones(7, 4), torch.tensor([0, 1, 2, 3, 4, 5, 0])),
        lambda: torch.ones(7, 4).view(7, 3),
        lambda: torch.ones(7, 4).add_(torch.ones(8, 7, 4)),
    ],
)
def test_an_error_of_shapes_or_indices_ends_below_the_call(call):
    with pytest.raises((RuntimeError, ValueError, IndexError)) as caught:
        call()
    below = frames_below(caught.value)
    assert len(below) <= 2, [f"{f.filename}:{f.lineno} {f.name}" for f in below]
    assert not getattr(caught.value, "__notes__", [])  # nothing of JAX's about its own frames


def test_test_runners_and_notebooks_are_told_to_leave_out_what_is_below_the_call():
    with pytest.raises(RuntimeError) as caught:
        torch.ones(7, 8) - torch.ones(7, 9)
    last, _ = list(traceback.walk_tb(caught.value.__traceback__))[-1]
    assert last.f_code.co_name == "sub" and last.f_locals["__tracebackhide__"]


def test_modules_and_functions_of_the_user_are_all_shown():
    class Inner(nn.Module):
        def forward(self, x):
            return x + torch.ones(9)

    with pytest.raises(RuntimeError) as caught:
        nn.Sequential(Inner())(torch.ones(2, 4))
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert "forward" in names and frames_below(caught.value)[-1].name == "add"


def test_errors_of_functions_that_an_operation_calls_keep_their_frames():
    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.view(3, 5)

        @staticmethod
        def backward(ctx, grad):
            return grad

    with pytest.raises(RuntimeError) as caught:
        Fails.apply(torch.ones(4))
    assert any(frame.name == "forward" for frame in traceback.extract_tb(caught.value.__traceback__))


def test_all_frames_are_there_where_jax_is_to_show_its_own():
    import jax

    before = jax.config.jax_traceback_filtering
    jax.config.update("jax_traceback_filtering", "off")
    try:
        with pytest.raises(RuntimeError) as caught:
            torch.ones(7, 5) + torch.ones(7, 6)
    finally:
        jax.config.update("jax_traceback_filtering", before)
    assert len(frames_below(caught.value)) > 5


@pytest.mark.parametrize("look", [repr, lambda t: t.item()])
def test_what_only_the_data_can_tell_is_one_error(look):
    index = torch.arange(3) * 2
    chosen = nn.Embedding(4, 2)(index).sum()
    with pytest.raises(IndexError, match="out of range") as caught:
        look(chosen)
    assert caught.value.__context__ is None and caught.value.__cause__ is None


def test_an_error_of_a_matrix_is_found_by_its_name():
    error = torch.linalg.LinAlgError
    assert (error.__module__, error.__qualname__) == ("pytorchlike.linalg", "LinAlgError")
    assert getattr(sys.modules[error.__module__], error.__qualname__) is error


MIXED = {
    "mat1 and mat2 must have the same dtype, but got Double and Float": lambda d: nn.Linear(3, 2)(d(4, 3)),
    "expected m1 and m2 to have the same dtype, but got: double != float":
        lambda d: nn.Linear(3, 2, bias=False)(d(4, 3)),
    "Input type (double) and bias type (float) should be the same": lambda d: nn.Conv2d(3, 2, 1)(d(1, 3, 5, 5)),
    "expected scalar type Double but found Float": lambda d: nn.Conv2d(3, 2, 1, bias=False)(d(1, 3, 5, 5)),
    "expected scalar type Float but found Double": lambda d: torch.einsum("ij,jk->ik", torch.ones(3, 4), d(4, 2)),
    "All tensors must have the same dtype, got input1: double, input2: double, weight: float, bias: float":
        lambda d: nn.Bilinear(3, 3, 2)(d(4, 3), d(4, 3)),
    "indices' to have one of the following scalar types: Long, Int; but got torch.DoubleTensor instead":
        lambda d: nn.Embedding(3, 2)(d(2)),
    "expected target dtype to be Long or Byte, but got Double": lambda d: F.cross_entropy(torch.ones(2, 3), d(2)),
    "Found dtype Double but expected Float": lambda d: F.binary_cross_entropy(torch.ones(2), d(2)),
    "but got Double and Float": lambda d: nn.LSTMCell(3, 4)(d(2, 3)),
    "query.dtype: float key.dtype: double and value.dtype: float":
        lambda d: F.scaled_dot_product_attention(torch.ones(1, 2, 3, 4), d(1, 2, 3, 4), torch.ones(1, 2, 3, 4)),
}  # fmt: skip


@pytest.mark.parametrize("message", MIXED)
def test_dtypes_that_do_not_go_together_are_told_as_pytorch_tells_them(message):
    with pytest.raises(RuntimeError) as caught:
        MIXED[message](lambda *sizes: torch.ones(*sizes, dtype=torch.float64))
    assert message in str(caught.value)


WRONG = {
    "unsupported operand type(s) for @: 'Tensor' and 'int'": (TypeError, lambda x: x @ 3),
    "unsupported operand type(s) for @: 'int' and 'Tensor'": (TypeError, lambda x: 3 @ x),
    "existing size (10) at non-singleton dimension 3": (RuntimeError, lambda x: x.expand(4, 4, 10, 3)),
    "not str ('a')": (TypeError, lambda x: x.sum(dim="a")),
    "pad(): argument 'pad' (position 2) must be tuple of ints, not int": (TypeError, lambda x: F.pad(x, 1)),
    "class probabilities, got Long": (RuntimeError, lambda x: F.cross_entropy(x, x.long())),
}


@pytest.mark.parametrize("message", WRONG)
def test_arguments_of_wrong_kinds_are_told_as_pytorch_tells_them(message):
    kind, call = WRONG[message]
    with pytest.raises(kind) as caught:
        call(torch.ones(4, 10))
    assert message in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_classes_as_integers_are_no_targets_of_logits(dtype):
    with pytest.raises(RuntimeError, match="can't be cast to the desired output type|with two bool tensors"):
        F.binary_cross_entropy_with_logits(torch.ones(2), torch.ones(2, dtype=dtype))
    with pytest.raises(RuntimeError, match="Integral inputs not supported"):
        F.kl_div(torch.ones(2), torch.ones(2, dtype=torch.int64), reduction="sum")
