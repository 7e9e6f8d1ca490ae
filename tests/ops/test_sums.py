"""Sums as PyTorch rounds them."""

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.engine.config import config


@pytest.mark.parametrize("tier", ["fused", "ops", "interpret"])
def test_a_small_number_added_to_one_minus_something_stays(tier, monkeypatch):
    monkeypatch.setattr(config, "tier", tier)
    p = torch.from_numpy(np.full(20_000, 100, np.float32)).requires_grad_()
    near = 1 - p.sigmoid()
    assert (near + 1e-15)[0].item() == np.float32(1e-15) and (near - 1e-13)[0].item() == np.float32(-1e-13)
    loss = -torch.log(1 - p.sigmoid() + 1e-15).mean()
    loss.backward()
    assert abs(loss.item() - 34.5388) < 1e-3 and p.grad.isfinite().all()
    compiled = torch.compile(lambda x: torch.log(1e-12 + (1 - x.sigmoid())))
    assert abs(compiled(p.detach())[0].item() + 27.631) < 1e-3
    assert torch.func.vmap(lambda x: (1 - x.sigmoid()) + 1e-15)(p.detach())[0].item() == np.float32(1e-15)


def test_what_is_divided_by_a_number_is_rounded_once():
    """XLA multiplies by 1 / n where it sees that the divisor is the same everywhere."""
    x = torch.arange(30.0)
    assert x.mean().item() == 14.5 and (x[:21] / 7).tolist() == (np.arange(21, dtype="f") / np.float32(7)).tolist()
    assert x.view(10, 3).mean(0).tolist() == [13.5, 14.5, 15.5]
    assert torch.var_mean(x)[1].item() == 14.5
    wide = torch.nn.functional.l1_loss(x, torch.zeros(30), reduction="mean")
    assert wide.item() == 14.5
