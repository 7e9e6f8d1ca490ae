"""ESPCN (Shi et al. 2016): pictures at twice the resolution by a convolution and a shuffle of its channels."""

import argparse
from math import log10

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.nn.init as init
import torch.optim as optim
from _digits import load_digits
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, upscale_factor):
        super().__init__()
        self.relu = nn.ReLU()
        self.conv1 = nn.Conv2d(1, 32, (5, 5), (1, 1), (2, 2))
        self.conv2 = nn.Conv2d(32, 32, (3, 3), (1, 1), (1, 1))
        self.conv3 = nn.Conv2d(32, 16, (3, 3), (1, 1), (1, 1))
        self.conv4 = nn.Conv2d(16, upscale_factor**2, (3, 3), (1, 1), (1, 1))
        self.pixel_shuffle = nn.PixelShuffle(upscale_factor)
        self._initialize_weights()

    def forward(self, x):
        x = self.relu(self.conv1(x))
        x = self.relu(self.conv2(x))
        x = self.relu(self.conv3(x))
        return self.pixel_shuffle(self.conv4(x))

    def _initialize_weights(self):
        init.orthogonal_(self.conv1.weight, init.calculate_gain("relu"))
        init.orthogonal_(self.conv2.weight, init.calculate_gain("relu"))
        init.orthogonal_(self.conv3.weight, init.calculate_gain("relu"))
        init.orthogonal_(self.conv4.weight)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--quick", action="store_true", help="one epoch, for a quick look")
    parser.add_argument("--seed", type=int, default=123)
    args = parser.parse_args()
    epochs = 1 if args.quick else args.epochs
    torch.manual_seed(args.seed)

    sharp, _ = load_digits()
    coarse = F.avg_pool2d(sharp, 2)
    train_loader = DataLoader(TensorDataset(coarse[:1500], sharp[:1500]), batch_size=args.batch_size, shuffle=True)
    test_loader = DataLoader(TensorDataset(coarse[1500:], sharp[1500:]), batch_size=99)
    model = Net(upscale_factor=2)
    criterion = nn.MSELoss()
    optimizer = optim.Adam(model.parameters(), lr=args.lr)

    def psnr(upscale):
        total = 0
        with torch.no_grad():
            for input, target in test_loader:
                total += 10 * log10(1 / criterion(upscale(input), target).item())
        return total / len(test_loader)

    for epoch in range(1, epochs + 1):
        epoch_loss = 0
        for input, target in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(input), target)
            epoch_loss += loss.item()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: average loss {epoch_loss / len(train_loader):.4f}, test PSNR {psnr(model):.2f} dB")
    bicubic = psnr(lambda x: F.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False).clamp(0, 1))
    print(f"PSNR {psnr(model):.2f} dB (bicubic interpolation {bicubic:.2f} dB)")


if __name__ == "__main__":
    main()
