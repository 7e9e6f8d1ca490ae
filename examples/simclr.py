"""Contrastive learning without labels (SimCLR, Chen et al. 2020) on digits, judged by a linear classifier."""

import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from _digits import load_digits
from torch.utils.data import DataLoader, TensorDataset


def random_view(x):
    """A shifted, scaled, rotated and noisy version of each picture."""
    n = x.size(0)
    angle = (torch.rand(n) - 0.5) * 0.6
    scale = 1 + (torch.rand(n) - 0.5) * 0.4
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = torch.cos(angle) * scale
    theta[:, 0, 1] = -torch.sin(angle) * scale
    theta[:, 1, 0] = torch.sin(angle) * scale
    theta[:, 1, 1] = torch.cos(angle) * scale
    theta[:, :, 2] = (torch.rand(n, 2) - 0.5) * 0.4
    grid = F.affine_grid(theta, list(x.size()), align_corners=False)
    x = F.grid_sample(x, grid, align_corners=False)
    return x * (0.8 + 0.4 * torch.rand(n, 1, 1, 1)) + 0.05 * torch.randn_like(x)


class SimCLR(nn.Module):
    def __init__(self, dim=64, projection=32):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.GroupNorm(4, 16),
            nn.ELU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.GroupNorm(4, 32),
            nn.ELU(),
            nn.Flatten(),
            nn.Linear(512, dim),
        )
        self.projector = nn.Sequential(nn.ReLU(), nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, projection))

    def forward(self, x):
        h = self.encoder(x)
        return h, F.normalize(self.projector(h), dim=1)


def info_nce_loss(features, batch_size, temperature):
    """Logits with the positive pair first, and the labels (all 0) for the cross-entropy."""
    labels = torch.cat([torch.arange(batch_size) for _ in range(2)], dim=0)
    labels = (labels.unsqueeze(0) == labels.unsqueeze(1)).float()
    similarity_matrix = torch.matmul(features, features.T)
    mask = torch.eye(labels.shape[0], dtype=torch.bool)
    labels = labels[~mask].view(labels.shape[0], -1)
    similarity_matrix = similarity_matrix[~mask].view(similarity_matrix.shape[0], -1)
    positives = similarity_matrix[labels.bool()].view(labels.shape[0], -1)
    negatives = similarity_matrix[~labels.bool()].view(similarity_matrix.shape[0], -1)
    logits = torch.cat([positives, negatives], dim=1)
    return logits / temperature, torch.zeros(logits.shape[0], dtype=torch.long)


def linear_probe(train, test, steps):
    """Accuracy in percent on ``test`` of a linear classifier of (features, digits)."""
    classifier = nn.Linear(train[0].shape[1], 10)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=0.02)
    mean, std = train[0].mean(0), train[0].std(0) + 1e-5
    for _ in range(steps):
        loss = F.cross_entropy(classifier((train[0] - mean) / std), train[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return 100 * (classifier((test[0] - mean) / std).argmax(1) == test[1]).float().mean().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--temperature", type=float, default=0.2)
    parser.add_argument("--labelled", type=int, default=100, help="digits whose labels the classifier sees")
    parser.add_argument("--quick", action="store_true", help="part of an epoch, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    pictures, digits = load_digits()
    if args.quick:
        args.epochs, args.batch_size, pictures, digits = 1, 32, pictures[-460:], digits[-460:]
    n = len(pictures) - 300
    loader = DataLoader(
        TensorDataset(pictures[:n], digits[:n]), batch_size=args.batch_size, shuffle=True, drop_last=True
    )
    model = SimCLR()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3, weight_decay=1e-5)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs * len(loader), eta_min=1e-4)
    criterion = nn.CrossEntropyLoss()

    def features(x):
        model.eval()
        with torch.no_grad():
            return model(x)[0]

    def probe():
        few = slice(0, min(args.labelled, n))
        return linear_probe(
            (features(pictures[few]), digits[few]), (features(pictures[n:]), digits[n:]), 10 if args.quick else 100
        )

    before = probe()
    for epoch in range(1, args.epochs + 1):
        model.train()
        total = 0
        for images, _ in loader:
            images = torch.cat([random_view(images), random_view(images)], dim=0)
            _, projected = model(images)
            logits, labels = info_nce_loss(projected, args.batch_size, args.temperature)
            loss = criterion(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += loss.item()
        rate = scheduler.get_last_lr()[0]
        print(f"epoch {epoch}: contrastive loss {total / len(loader):.4f}, learning rate {rate:.5f}")
    print(f"accuracy {probe():.1f}% with {args.labelled} labels (of random features {before:.1f}%)")


if __name__ == "__main__":
    main()
