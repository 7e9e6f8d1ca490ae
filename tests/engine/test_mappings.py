"""Compiled code is given up before the system refuses more of it, and nobody notices."""

import pytorchlike as torch
from pytorchlike.engine import execute, mappings


def losses(steps):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    opt = torch.optim.Adam(net.parameters(), lr=0.1)
    x = torch.randn(5, 3)
    found = []
    kept = net(x).sum()  # its way back leads through what was given up
    for _ in range(steps):
        loss = net(x).square().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        found.append(loss.item())
    (g,) = torch.autograd.grad(kept, net[2].bias) if steps == 1 else (kept,)
    return [*found, g.sum().item()]


def test_training_goes_on_after_everything_compiled_was_given_up(monkeypatch):
    expected = losses(3), losses(1)
    given_up = []
    monkeypatch.setattr(mappings, "EVERY", 2)
    monkeypatch.setattr(mappings, "full", lambda: given_up.append(1) or True)
    assert (losses(3), losses(1)) == expected
    assert len(given_up) > 1


def test_compiled_code_is_really_freed():
    """A program's mappings go with it; else giving it up would be of no use."""
    if not mappings.allowed():
        return
    torch.manual_seed(0)

    def many(first):
        for n in range(first, first + 6):
            (torch.randn(n, 7) @ torch.randn(7, n)).tanh().sum().item()

    many(3)
    with open("/proc/self/maps") as file:
        before = sum(1 for _ in file)
    execute.forget_compiled()
    import gc

    gc.collect()
    with open("/proc/self/maps") as file:
        assert sum(1 for _ in file) < before


def test_full_is_told_by_the_system(monkeypatch):
    monkeypatch.setattr(mappings, "_allowed", 10)
    assert mappings.full()
    monkeypatch.setattr(mappings, "_allowed", 10**9)
    assert not mappings.full()
    monkeypatch.setattr(mappings, "_allowed", 0)
    assert not mappings.full()
