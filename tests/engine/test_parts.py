"""Random fills op by op: in parts, by a kernel that serves all shapes, and of the same bits as in any program."""

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.engine import evaluators, execute, policy

FILLS = {
    "uniform_": (-0.037, 0.0421), "normal_": (0.11, 0.7), "exponential_": (0.7,), "cauchy_": (), "log_normal_": (),
    "geometric_": (0.3,), "random_": (),
}  # fmt: skip
#: The last part is not full; one that is shorter than a part of any kernel; several parts of the larger one.
SHAPES = (4097,), (60, 50), (19, 7283)


def drawn(name, shape, dtype):
    torch.manual_seed(5)
    return getattr(torch.empty(shape, dtype=dtype), name)(*FILLS[name])


@pytest.fixture
def op_by_op(tier, monkeypatch):
    """Has what is recorded anew executed operation by operation, when called."""

    def switch():
        tier("auto")
        execute.forget_compiled()
        monkeypatch.setattr(policy, "choose", lambda state: "ops")

    return switch


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8], ids=str)
def test_the_bits_are_those_of_a_program(tier, op_by_op, dtype):
    """Also where NumPy would round otherwise; numbers at run time would be rounded for half types, these are not."""
    names = [n for n in FILLS if dtype.is_floating_point or n in ("geometric_", "random_")]
    shapes = SHAPES if dtype is not torch.bfloat16 else [(300, 400)]
    tier("fused")
    expected = {(n, s): drawn(n, s, dtype).double().numpy() for n in names for s in shapes}
    op_by_op()
    for (n, s), e in expected.items():
        np.testing.assert_array_equal(drawn(n, s, dtype).double().numpy(), e, err_msg=f"{n} {s}")


def test_one_kernel_serves_all_shapes_and_numbers(op_by_op, monkeypatch):
    op_by_op()
    compiled = []
    monkeypatch.setattr(evaluators, "_tell", lambda calls, what, seconds: compiled.append(calls[0].op.name))
    for n in range(3, 9):
        torch.empty(100 * n, 200).uniform_(-1 / n, 1 / n).sum().item()
    assert compiled.count("_fill_uniform_") == 1


def test_a_generator_goes_on_where_it_was(op_by_op):
    """A fill in parts takes one key, as any other."""
    op_by_op()
    torch.manual_seed(1)
    torch.empty(300, 300).normal_().sum().item()
    after = torch.default_generator.get_offset()
    torch.empty(2).normal_().sum().item()
    assert torch.default_generator.get_offset() == 2 * after
