"""Model-agnostic meta-learning (Finn, Abbeel & Levine 2017): learn to learn sine waves from ten points.

The inner step is differentiated through: ``autograd.grad`` with ``create_graph=True`` and a functional forward pass.
"""

import argparse
import math
from collections import OrderedDict

import torch
import torch.nn as nn
import torch.nn.functional as F


class Model(nn.Module):
    """A small network that can also run with other parameters than its own."""

    def __init__(self, hidden=40):
        super().__init__()
        self.fc1 = nn.Linear(1, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.fc3 = nn.Linear(hidden, 1)

    def forward(self, x, params=None):
        if params is None:
            params = OrderedDict(self.named_parameters())
        x = F.relu(F.linear(x, params["fc1.weight"], params["fc1.bias"]))
        x = F.relu(F.linear(x, params["fc2.weight"], params["fc2.bias"]))
        return F.linear(x, params["fc3.weight"], params["fc3.bias"])


class SineTask:
    """``a sin(x - b)`` with a amplitude and a phase of its own."""

    def __init__(self):
        self.amplitude = 0.1 + 4.9 * torch.rand(1)
        self.phase = math.pi * torch.rand(1)

    def sample(self, n):
        x = torch.rand(n, 1) * 10 - 5
        return x, self.amplitude * torch.sin(x - self.phase)


def adapt(model, x, y, steps, lr, first_order=False):
    """Parameters after ``steps`` of gradient descent on (x, y), as functions of the model's own."""
    params = OrderedDict(model.named_parameters())
    for _ in range(steps):
        loss = F.mse_loss(model(x, params), y)
        grads = torch.autograd.grad(loss, params.values(), create_graph=not first_order)
        params = OrderedDict((name, p - lr * g) for (name, p), g in zip(params.items(), grads))
    return params


def evaluate(model, tasks, shots, lr):
    """Mean error of unseen points before and after 1 and 5 steps on a few points."""
    errors = torch.zeros(3)
    for _ in range(tasks):
        task = SineTask()
        x, y = task.sample(shots)
        x_test, y_test = task.sample(100)
        for k, steps in enumerate((0, 1, 5)):
            params = adapt(model, x, y, steps, lr)
            with torch.no_grad():
                errors[k] += F.mse_loss(model(x_test, params), y_test) / tasks
    return errors.tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--tasks", type=int, default=10, help="tasks per step")
    parser.add_argument("--shots", type=int, default=10, help="points to learn a task from")
    parser.add_argument("--inner-lr", type=float, default=0.01)
    parser.add_argument("--inner-steps", type=int, default=1)
    parser.add_argument("--first-order", action="store_true")
    parser.add_argument("--quick", action="store_true", help="few steps, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.quick:
        args.steps, args.tasks = 5, 3
    torch.manual_seed(args.seed)

    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    running = None
    for step in range(1, args.steps + 1):
        optimizer.zero_grad()
        meta_loss = 0.0
        for _ in range(args.tasks):
            task = SineTask()
            x, y = task.sample(args.shots)
            params = adapt(model, x, y, args.inner_steps, args.inner_lr, args.first_order)
            x, y = task.sample(args.shots)
            meta_loss += F.mse_loss(model(x, params), y)
        meta_loss /= args.tasks
        meta_loss.backward()
        optimizer.step()
        running = meta_loss.item() if running is None else 0.98 * running + 0.02 * meta_loss.item()
        if step % max(1, args.steps // 8) == 0:
            print(f"step {step}: loss after adaptation {running:.4f}")
    before, one, five = evaluate(model, 5 if args.quick else 100, args.shots, args.inner_lr)
    print(f"error before adapting {before:.3f}, after one step {one:.3f}, after five {five:.3f}")


if __name__ == "__main__":
    main()
