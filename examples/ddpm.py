"""A denoising diffusion model (Ho, Jain & Abbeel 2020) of points in the plane: noise turns into two moons."""

import argparse
import copy
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


def two_moons(n, generator=None):
    """Points on two interleaved half circles, (n, 2), of variance near 1."""
    t = torch.rand(n, generator=generator) * math.pi
    upper = torch.rand(n, generator=generator) < 0.5
    x = torch.where(upper, t.cos(), 1 - t.cos())
    y = torch.where(upper, t.sin(), 0.5 - t.sin())
    points = torch.stack([(x - 0.5) / 0.87, (y - 0.25) / 0.5], dim=1)
    return points + 0.05 * torch.randn(n, 2, generator=generator)


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class NoisePredictor(nn.Module):
    def __init__(self, hidden=128, dim=32):
        super().__init__()
        self.dim = dim
        self.time = nn.Sequential(nn.Linear(dim, hidden), Swish(), nn.Linear(hidden, hidden))
        self.inp = nn.Linear(2, hidden)
        self.blocks = nn.ModuleList(nn.Sequential(Swish(), nn.Linear(hidden, hidden)) for _ in range(3))
        self.out = nn.Linear(hidden, 2)
        nn.init.zeros_(self.out.weight)

    def embed(self, t):
        half = self.dim // 2
        freqs = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
        args = t[:, None].float() * freqs[None]
        return torch.cat([torch.cos(args), torch.sin(args)], dim=-1)

    def forward(self, x, t):
        t = self.time(self.embed(t))
        x = self.inp(x)
        for block in self.blocks:
            x = x + block(x + t)
        return self.out(x)


class Diffusion(nn.Module):
    def __init__(self, steps):
        super().__init__()
        betas = torch.linspace(1e-4, 0.02, steps, dtype=torch.float64) * (1000 / steps)
        alphas_cumprod = torch.cumprod(1.0 - betas, dim=0)
        self.steps = steps
        self.register_buffer("betas", betas.float())
        self.register_buffer("sqrt_alphas_cumprod", alphas_cumprod.sqrt().float())
        self.register_buffer("sqrt_one_minus", (1 - alphas_cumprod).sqrt().float())
        self.register_buffer("sqrt_recip_alphas", (1.0 / (1.0 - betas)).sqrt().float())

    @staticmethod
    def extract(a, t, x_shape):
        return a.gather(-1, t).reshape(t.shape[0], *((1,) * (len(x_shape) - 1)))

    def q_sample(self, x_start, t, noise):
        return (
            self.extract(self.sqrt_alphas_cumprod, t, x_start.shape) * x_start
            + self.extract(self.sqrt_one_minus, t, x_start.shape) * noise
        )

    def loss(self, model, x_start):
        t = torch.randint(0, self.steps, (x_start.shape[0],))
        noise = torch.randn_like(x_start)
        return F.mse_loss(model(self.q_sample(x_start, t, noise), t), noise)

    @torch.no_grad()
    def sample(self, model, n):
        x = torch.randn(n, 2)
        for i in reversed(range(self.steps)):
            t = torch.full((n,), i, dtype=torch.long)
            mean = self.extract(self.sqrt_recip_alphas, t, x.shape) * (
                x - self.extract(self.betas, t, x.shape) * model(x, t) / self.extract(self.sqrt_one_minus, t, x.shape)
            )
            x = mean if i == 0 else mean + self.extract(self.betas, t, x.shape).sqrt() * torch.randn_like(x)
        return x


def energy_distance(a, b):
    """Distance of two samples (Szekely & Rizzo 2013), 0 for the same distribution."""
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--diffusion-steps", type=int, default=100)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--decay", type=float, default=0.995, help="of the moving average of the weights")
    parser.add_argument("--quick", action="store_true", help="few steps, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.quick:
        args.steps, args.diffusion_steps = 20, 50
    torch.manual_seed(args.seed)

    diffusion, model = Diffusion(args.diffusion_steps), NoisePredictor()
    ema = copy.deepcopy(model).eval()
    for p in ema.parameters():
        p.requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    running = None
    for step in range(1, args.steps + 1):
        loss = diffusion.loss(model, two_moons(args.batch_size))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for averaged, current in zip(ema.parameters(), model.parameters()):
                averaged.mul_(args.decay).add_(current, alpha=1 - args.decay)
        running = loss.item() if running is None else 0.99 * running + 0.01 * loss.item()
        if step % max(1, args.steps // 8) == 0:
            print(f"step {step}: loss {running:.4f}")

    samples, real = diffusion.sample(ema, 400), two_moons(400)
    canvas = torch.zeros(16, 48)
    ij = ((samples.clamp(-1.99, 1.99) + 2) / 4 * torch.tensor([48, 16])).long()
    canvas.index_put_((15 - ij[:, 1], ij[:, 0]), torch.ones(400), accumulate=True)
    for row in canvas.numpy():
        print("".join(" .:+#"[min(int(v), 4)] for v in row))
    print(f"energy distance to the data {energy_distance(samples, real):.4f}")


if __name__ == "__main__":
    main()
