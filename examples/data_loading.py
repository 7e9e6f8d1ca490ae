"""Data of one's own: a Dataset, transforms, a collate function, samplers, workers; regression of landmarks in pictures.

Each picture shows a tilted arrow; the landmarks are its tip and its two ends.  Transforms rescale and crop pictures and
landmarks together.
"""

import argparse
import csv
import math
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, Subset, WeightedRandomSampler


def draw_arrow(rng, size):
    """A picture, uint8 (size, size), and three points (x, y), float (3, 2)."""
    angle, tip = rng.uniform(0, 2 * math.pi), rng.uniform(0.3, 0.7, 2) * size
    ends = [tip + 0.25 * size * np.array([math.cos(a), math.sin(a)]) for a in (angle - 0.5, angle + 0.5)]
    picture = rng.integers(0, 60, (size, size))
    for end in ends:
        for s in np.linspace(0, 1, 2 * size):
            x, y = np.clip((tip + s * (end - tip)).round().astype(int), 0, size - 1)
            picture[y, x] = 255
    return picture.astype(np.uint8), np.stack([tip, *ends])


def write_data(folder, n, seed):
    """A folder of pictures and a table of landmarks, as annotators leave them."""
    rng = np.random.default_rng(seed)
    with open(folder / "landmarks.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["picture"] + [f"part_{k}_{axis}" for k in range(3) for axis in "xy"])
        for i in range(n):
            picture, landmarks = draw_arrow(rng, int(rng.integers(36, 44)))
            np.save(folder / f"{i}.npy", picture)
            table.writerow([f"{i}.npy", *landmarks.ravel().tolist()])


class ArrowDataset(Dataset):
    """Samples ``{"image": ..., "landmarks": ...}`` from a table and a folder."""

    def __init__(self, folder, transform=None):
        with open(folder / "landmarks.csv", newline="") as file:
            self.rows = list(csv.reader(file))[1:]
        self.folder = folder
        self.transform = transform

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, idx):
        if torch.is_tensor(idx):
            idx = idx.tolist()
        name, *numbers = self.rows[idx]
        landmarks = np.array(numbers, dtype=float).reshape(-1, 2)
        sample = {"image": np.load(self.folder / name), "landmarks": landmarks}
        return self.transform(sample) if self.transform else sample


class Compose:
    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, sample):
        for transform in self.transforms:
            sample = transform(sample)
        return sample


class ToTensor(object):
    def __call__(self, sample):
        image, landmarks = sample["image"], sample["landmarks"]
        return {"image": torch.from_numpy(image)[None].float() / 255, "landmarks": torch.from_numpy(landmarks)}


class Rescale(object):
    """To a square of ``output_size`` pixels."""

    def __init__(self, output_size):
        assert isinstance(output_size, int)
        self.output_size = output_size

    def __call__(self, sample):
        image, landmarks = sample["image"], sample["landmarks"]
        factor = self.output_size / image.shape[-1]
        image = F.interpolate(image[None], size=(self.output_size,) * 2, mode="bilinear", align_corners=False)[0]
        return {"image": image, "landmarks": landmarks * factor}


class RandomCrop(object):
    """A random square of the picture; landmarks move along."""

    def __init__(self, output_size):
        self.output_size = output_size

    def __call__(self, sample):
        image, landmarks = sample["image"], sample["landmarks"]
        room = image.shape[-1] - self.output_size
        top, left = torch.randint(0, room + 1, (2,)).tolist()
        image = image[:, top : top + self.output_size, left : left + self.output_size]
        return {"image": image, "landmarks": landmarks - torch.tensor([left, top])}


def collate(samples):
    """Pictures (N, 1, s, s) and landmarks (N, 6), the latter scaled to about -1 ... 1."""
    images = torch.stack([sample["image"] for sample in samples])
    landmarks = torch.stack([sample["landmarks"] for sample in samples]).flatten(1)
    return images, (landmarks / images.shape[-1] * 2 - 1).float()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--workers", type=int, default=0, help="processes that load data")
    parser.add_argument("--quick", action="store_true", help="one epoch of few pictures, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.quick:
        args.epochs, args.samples = 1, 60
    torch.manual_seed(args.seed)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder, args.samples, args.seed)
        transform = Compose([ToTensor(), Rescale(32), RandomCrop(30)])
        dataset = ArrowDataset(folder, transform)
        for i, sample in enumerate(ArrowDataset(folder)):
            if i < 3:
                print(i, sample["image"].shape, sample["image"].dtype, sample["landmarks"].shape)
        split = args.samples * 4 // 5
        train_set, test_set = Subset(dataset, range(split)), Subset(dataset, range(split, args.samples))
        loaders = dict(batch_size=args.batch_size, num_workers=args.workers, collate_fn=collate)
        sampler = WeightedRandomSampler(torch.ones(split), split, replacement=False)
        train_loader = DataLoader(train_set, sampler=sampler, **loaders)
        test_loader = DataLoader(test_set, **loaders)

        model = nn.Sequential(
            nn.Conv2d(1, 12, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(12, 24, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.LazyLinear(64),
            nn.ReLU(),
            nn.Linear(64, 6),
        )
        model(next(iter(test_loader))[0])  # lets the lazy layer see its input
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
        criterion = nn.SmoothL1Loss()
        for epoch in range(1, args.epochs + 1):
            model.train()
            running_loss = 0.0
            for images, landmarks in train_loader:
                optimizer.zero_grad()
                loss = criterion(model(images), landmarks)
                loss.backward()
                optimizer.step()
                running_loss += loss.item() * images.size(0)
            print(f"epoch {epoch}: loss {running_loss / split:.4f}")
        model.eval()
        with torch.no_grad():
            errors = torch.cat(
                [(model(x) - y).view(-1, 3, 2).norm(dim=2).mean(dim=1) * x.shape[-1] / 2 for x, y in test_loader]
            )
    print(f"landmarks are off by {errors.mean().item():.2f} pixels")


if __name__ == "__main__":
    main()
