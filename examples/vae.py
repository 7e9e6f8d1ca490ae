"""A variational autoencoder (Kingma & Welling 2014) of handwritten digits, and digits drawn from its prior."""

import argparse

import torch
from _digits import load_digits
from torch import nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class VAE(nn.Module):
    def __init__(self, latent):
        super().__init__()
        self.fc1 = nn.Linear(64, 128)
        self.fc21 = nn.Linear(128, latent)
        self.fc22 = nn.Linear(128, latent)
        self.fc3 = nn.Linear(latent, 128)
        self.fc4 = nn.Linear(128, 64)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        return mu + eps * std

    def decode(self, z):
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, 64))
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar


def loss_function(recon_x, x, mu, logvar):
    """Negative evidence lower bound of a batch, in nats; the divergence is that of equation (10) in the paper."""
    bce = F.binary_cross_entropy(recon_x, x.view(-1, 64), reduction="sum")
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return bce + kld


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--latent", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="one epoch, for a quick look")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    epochs = 1 if args.quick else args.epochs
    torch.manual_seed(args.seed)

    pictures, digits = load_digits()
    train_loader = DataLoader(
        TensorDataset(pictures[:1500], digits[:1500]), batch_size=args.batch_size, shuffle=True, drop_last=True
    )
    test_loader = DataLoader(TensorDataset(pictures[1500:], digits[1500:]), batch_size=99)
    model = VAE(args.latent)
    optimizer = optim.Adam(model.parameters(), lr=1e-3)

    for epoch in range(1, epochs + 1):
        model.train()
        train_loss = 0
        for data, _ in train_loader:
            optimizer.zero_grad()
            recon_batch, mu, logvar = model(data)
            loss = loss_function(recon_batch, data, mu, logvar)
            loss.backward()
            train_loss += loss.item()
            optimizer.step()
        model.eval()
        test_loss = 0
        with torch.no_grad():
            for data, _ in test_loader:
                recon_batch, mu, logvar = model(data)
                test_loss += loss_function(recon_batch, data, mu, logvar).item()
        print(
            f"epoch {epoch:2d}: average loss {train_loss / len(train_loader) / args.batch_size:.4f}, "
            f"test {test_loss / len(test_loader.dataset):.4f}"
        )

    with torch.no_grad():
        sample = model.decode(torch.randn(4, args.latent)).cpu().view(4, 8, 8)
    for rows in zip(*sample.tolist(), strict=True):
        print("   ".join("".join(" .:-=+*#%@"[min(int(v * 10), 9)] for v in row) for row in rows))
    print(f"test loss {test_loss / len(test_loader.dataset):.3f}")


if __name__ == "__main__":
    main()
