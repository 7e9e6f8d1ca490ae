"""Programs whose graph differs from call to call, on both executors."""

import pytest

import pytorchlike as torch


@pytest.fixture(params=["fused", "ops"])
def executor(request, tier):
    tier(request.param)
    return request.param


def weights(*shape, seed=0):
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.5).requires_grad_()


def both(tier, run):
    """The results of ``run`` on both executors, which must agree."""
    found = []
    for name in ("fused", "ops"):
        tier(name)
        found.append(run())
    assert found[0] == pytest.approx(found[1], rel=1e-5, abs=1e-6)
    return found[0]


def flat(*tensors):
    return [v for t in tensors for v in t.detach().flatten().tolist()]


def test_recursion(tier):
    def run():
        w = weights(2, 2)

        def value(tree):
            return torch.tensor([float(tree), 1.0]) if isinstance(tree, int) else torch.tanh(
                w @ (value(tree[0]) + value(tree[1])))  # fmt: skip

        for tree in ((1, 2), ((1, 2), 3), (1, ((2, 3), (4, 1)))):
            value(tree).sum().backward()
        return flat(w.grad)

    both(tier, run)


def test_loops_that_depend_on_data(tier):
    def run():
        w = torch.tensor(1.5, requires_grad=True)
        x = torch.tensor(1.0)
        steps = 0
        while x < 20:
            x = x * w + 1
            steps += 1
        x.backward()
        return [steps, x.item(), w.grad.item()]

    steps, value, slope = both(tier, run)
    assert steps == 5

    def again(w):
        x = 1.0
        for _ in range(5):
            x = x * w + 1
        return x

    assert value == pytest.approx(again(1.5))
    assert slope == pytest.approx((again(1.5 + 1e-6) - again(1.5 - 1e-6)) / 2e-6, rel=1e-4)


def test_carried_state(tier):
    """Truncated backpropagation: the state goes on, the graph does not."""

    def run():
        w, h = weights(2, 2), torch.zeros(2)
        optimizer = torch.optim.SGD([w], lr=0.1)
        losses = []
        for chunk in range(4):
            h = h.detach()
            loss = 0
            for t in range(3):
                h = torch.tanh(w @ h + (chunk + t) / 10)
                loss = loss + (h * h).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return [*losses, *flat(w, h)]

    both(tier, run)


def test_forgetting_to_detach_is_told(executor):
    w, h = weights(2, 2), torch.zeros(2)
    h = torch.tanh(w @ h + 1)
    h.sum().backward()
    h = torch.tanh(w @ h + 1)
    with pytest.raises(RuntimeError, match="second time"):
        h.sum().backward()


def test_several_optimizers(tier):
    def run():
        a, b = weights(3), weights(3, seed=1)
        first, second = torch.optim.SGD([a], lr=0.1), torch.optim.Adam([b], lr=0.05)
        for step in range(4):
            first.zero_grad()
            second.zero_grad()
            fake = a * 2
            (b * fake.detach()).pow(2).sum().backward()
            second.step()
            if step % 2:
                (b.detach() * fake).sin().sum().backward()
                first.step()
        return flat(a, b)

    both(tier, run)


def test_gradient_accumulation_is_one_large_batch(executor):
    x = torch.arange(8.0).view(4, 2) / 8
    w, same = weights(2), weights(2)
    (torch.tanh(x @ w).pow(2).sum() / 4).backward()
    for row in x.split(1):
        (torch.tanh(row @ same).pow(2).sum() / 4).backward()
    assert torch.allclose(w.grad, same.grad, atol=1e-6)


def test_inner_loops_are_differentiated(tier):
    """As MAML does it: the gradient of a loss after a few steps of descent."""
    x, y = torch.tensor([0.5, -1.0]), torch.tensor([1.0, 2.0])

    def after(w, steps=3):
        for _ in range(steps):
            loss = ((w * x - y) ** 2).sum()
            (g,) = torch.autograd.grad(loss, w, create_graph=True)
            w = w - 0.1 * g
        return ((w * x - y) ** 2).sum()

    def run():
        w = torch.tensor([0.3, 0.7], requires_grad=True)
        after(w).backward()
        return flat(w.grad)

    # by hand: one step of descent multiplies w * x - y by 1 - 0.2 * x * x
    want = [2 * (0.3 * 0.5 - 1) * 0.5 * (1 - 0.2 * 0.25) ** 6, 2 * (-0.7 - 2) * -1 * (1 - 0.2) ** 6]
    assert both(tier, run) == pytest.approx(want, rel=1e-4)


def test_branches_and_reads(executor):
    w = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    total = torch.zeros(())
    for v in w:
        total = total + (v * v if v > 0 else -3 * v)
        assert total.item() > 0
    total.backward()
    assert w.grad.tolist() == [2, -3, 6]


def test_graphs_of_different_lengths_share_leaves(tier):
    def run():
        w = weights(3)
        for n in (1, 3, 2, 3, 1):
            h = torch.ones(3)
            for _ in range(n):
                h = (h * w).sin()
            h.sum().backward()
        return flat(w.grad)

    both(tier, run)


def test_detach_inside_of_what_repeats(monkeypatch):
    """Pieces that come again and again are compiled whole, and still stop gradients where the program does."""
    from pytorchlike.engine.config import config

    monkeypatch.setattr(config, "tier", "ops")
    cell = torch.nn.Linear(2, 2)

    def gradient(rounds):
        cell.zero_grad()
        h = torch.ones(1, 2)
        for _ in range(rounds):
            h = torch.tanh(cell(h))
            h = h * (h.detach() * 2)
        h.sum().backward()
        return cell.weight.grad.clone()

    first = [gradient(n) for n in (3, 4)]
    for _ in range(4):
        again = [gradient(n) for n in (3, 4)]
    for a, b in zip(first, again, strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-7)
