"""A physics-informed network (Raissi, Perdikaris & Karniadakis 2019) solves Burgers' equation.

    u_t + u u_x = nu u_xx,  u(0, x) = -sin(pi x),  u(t, -1) = u(t, 1) = 0

Derivatives come from ``torch.autograd.grad(..., create_graph=True)``; Adam first, L-BFGS after it.  The solution is
compared with a finite-difference one.
"""

import argparse
import math

import numpy as np
import torch
import torch.nn as nn


def finite_differences(nu, end, cells=400):
    """x (cells + 1,) and u(end, x) by upwind differences with small explicit steps."""
    x = np.linspace(-1, 1, cells + 1)
    u, dx = -np.sin(np.pi * x), 2 / cells
    steps = int(np.ceil(end / min(0.4 * dx, 0.4 * dx**2 / nu)))
    dt = end / steps
    for _ in range(steps):
        inner, left, right = u[1:-1], u[:-2], u[2:]
        flux = np.where(inner > 0, inner * (inner - left), inner * (right - inner)) / dx
        u[1:-1] = inner + dt * (nu * (right - 2 * inner + left) / dx**2 - flux)
    return x, u


class PINN(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.activation = nn.Tanh()
        self.linears = nn.ModuleList([nn.Linear(a, b) for a, b in zip(layers, layers[1:])])
        for linear in self.linears:
            nn.init.xavier_uniform_(linear.weight.data, gain=5 / 3)
            nn.init.zeros_(linear.bias.data)

    def forward(self, t, x):
        a = torch.cat([t, x], dim=1)
        for linear in self.linears[:-1]:
            a = self.activation(linear(a))
        return self.linears[-1](a)


def residual(model, t, x, nu):
    """u_t + u u_x - nu u_xx at the points given."""
    u = model(t, x)
    ones = torch.ones_like(u)
    u_t = torch.autograd.grad(u, t, grad_outputs=ones, retain_graph=True, create_graph=True)[0]
    u_x = torch.autograd.grad(u, x, grad_outputs=ones, retain_graph=True, create_graph=True)[0]
    u_xx = torch.autograd.grad(u_x, x, grad_outputs=torch.ones_like(u_x), retain_graph=True, create_graph=True)[0]
    return u_t + u * u_x - nu * u_xx


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500, help="of Adam")
    parser.add_argument("--lbfgs-steps", type=int, default=20, help="of L-BFGS, of up to 20 evaluations each")
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--nu", type=float, default=0.05, help="viscosity")
    parser.add_argument("--quick", action="store_true", help="few steps, for a quick look")
    parser.add_argument("--seed", type=int, default=1234)
    args = parser.parse_args()
    if args.quick:
        args.steps, args.lbfgs_steps, args.points = 20, 1, 100
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)

    model = PINN([2, 24, 24, 24, 1])
    t_f = torch.from_numpy(np.random.uniform(0, 1, (args.points, 1))).float().requires_grad_()
    x_f = torch.from_numpy(np.random.uniform(-1, 1, (args.points, 1))).float().requires_grad_()
    x_0 = torch.linspace(-1, 1, 100).unsqueeze(1)
    t_0, u_0 = torch.zeros_like(x_0), -torch.sin(math.pi * x_0)
    t_b = torch.rand(100, 1)
    x_b = torch.where(torch.rand(100, 1) < 0.5, -1.0, 1.0)
    mse = nn.MSELoss()

    def loss_function():
        f = residual(model, t_f, x_f, args.nu)
        loss_0 = mse(model(t_0, x_0), u_0)
        loss_b = mse(model(t_b, x_b), torch.zeros(100, 1))
        return loss_0 + loss_b + f.square().mean()

    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.999)
    for step in range(1, args.steps + 1):
        optimizer.zero_grad()
        loss = loss_function()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if step % max(1, args.steps // 6) == 0:
            print(f"Adam {step}: loss {loss.item():.6f}")

    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=20, history_size=20, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = loss_function()
        loss.backward()
        return loss

    for step in range(1, args.lbfgs_steps + 1):
        loss = optimizer.step(closure)
        if step % 5 == 0:
            print(f"L-BFGS {step}: loss {loss.item():.7f}")

    x, u = finite_differences(args.nu, 0.5)
    with torch.no_grad():
        xs = torch.tensor(x, dtype=torch.float32).unsqueeze(1)
        guess = model(torch.full_like(xs, 0.5), xs).squeeze(1).numpy()
    error = np.linalg.norm(guess - u) / np.linalg.norm(u)
    print(f"relative error {100 * error:.2f}% in the middle of the time")


if __name__ == "__main__":
    main()
