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
