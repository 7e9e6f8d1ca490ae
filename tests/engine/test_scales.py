"""Numbers beside a loss are run-time inputs from the first: a weight that changes compiles nothing anew."""

import pytorchlike as torch
from pytorchlike.engine.stats import stats


def test_a_weight_and_a_count_that_change_compile_nothing(tier):
    tier("fused")
    model = torch.nn.Linear(3, 5)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    x = torch.arange(12.0).view(4, 3)

    def step(weight, count):
        optimizer.zero_grad()
        y = model(x)
        loss = (y.square().sum() + weight * y.abs().sum()) / count
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(2):
        step(0.5, 7)
    before = stats.compiles
    losses = [step(weight, count) for weight, count in ((0.25, 4), (0.0, 4), (1.5, 1))]
    assert stats.compiles == before
    assert len({loss.item() for loss in losses}) == 3

    optimizer.zero_grad()
    y = model(x)
    w, b = (p.detach().clone().requires_grad_() for p in model.parameters())
    z = x @ w.T + b
    (1.5 * y.abs().sum() / 3).backward()
    (torch.tensor(1.5) * z.abs().sum() / torch.tensor(3.0)).backward()
    assert torch.allclose(model.weight.grad, w.grad)

