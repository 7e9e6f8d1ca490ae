"""What a program is made of: equal layers are equal kernels to XLA, which it compiles once."""

import re

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.engine import fused


def users_of_numbers(layers: int) -> list[int]:
    """How many kernels of a step with random masks look into the vector of whole numbers, by program."""
    torch.manual_seed(0)
    linears = [torch.nn.Linear(16, 16) for _ in range(layers)]
    x = torch.randn(8, 16)
    before = set(map(id, fused._pieces.values()))
    h = x.clone().requires_grad_()
    start = h
    for linear in linears:
        h = torch.nn.functional.dropout(torch.tanh(linear(h)), 0.5)
    h.sum().backward()
    assert start.grad.isfinite().all()
    found = []
    for text in [p.run.as_text() for p in fused._pieces.values() if id(p) not in before]:
        entry = text[text.index("ENTRY") :]
        for name in re.findall(rf"(%\S+) = s64\[{2 * layers}\]\S* parameter", entry):
            found.append(len(re.findall(rf"{re.escape(name)}[,)]", entry)))
    return found


def test_random_masks_of_equal_layers_differ_in_no_constant(tier):
    """A place in the vector of numbers would be one, and each layer be compiled by itself."""
    tier("fused")
    assert users_of_numbers(8) == [1]


@pytest.mark.parametrize("n", [fused.FEW, fused.MANY, 2 * fused.MANY + 3])
def test_numbers_are_parted(n):
    import jax

    with jax.enable_x64(True):
        given = np.random.default_rng(0).integers(-(2**62), 2**62, n)
        assert [int(a) for a in jax.jit(fused._apart)(given)] == given.tolist()
        assert fused._apart(given[: fused.FEW - 1]) is None
