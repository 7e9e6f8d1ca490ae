"""A U-Net (Ronneberger, Fischer & Brox 2015) marks the discs in a picture full of other things, pixel by pixel."""

import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset, random_split


class Shapes(Dataset):
    """Noisy pictures with discs and boxes, float32 (1, 32, 32), and which pixels belong to a disc."""

    def __init__(self, length, seed=0, size=32):
        self.length, self.seed, self.size = length, seed, size

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        rng = np.random.default_rng((self.seed, index))
        yy, xx = np.mgrid[: self.size, : self.size]
        image = np.zeros((self.size, self.size))
        mask = np.zeros((self.size, self.size))
        for _ in range(rng.integers(1, 4)):
            y, x, r = rng.integers(4, self.size - 4, 2).tolist() + [rng.uniform(2.5, 6)]
            box = (abs(yy - y) < r * 0.8) & (abs(xx - x) < r * 0.8)
            image[box], mask[box] = rng.uniform(0.4, 1), 0
            y, x = rng.integers(4, self.size - 4, 2)
            disc = (yy - y) ** 2 + (xx - x) ** 2 < r**2
            image[disc], mask[disc] = rng.uniform(0.4, 1), 1
        image += rng.normal(0, 0.1, image.shape)
        return {
            "image": torch.as_tensor(image[None]).float().contiguous(),
            "mask": torch.as_tensor(mask.copy()).long().contiguous(),
        }


class DoubleConv(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x):
        return self.double_conv(x)


class Up(nn.Module):
    def __init__(self, in_channels, out_channels, bilinear):
        super().__init__()
        if bilinear:
            self.up = nn.Sequential(
                nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
                nn.Conv2d(in_channels, in_channels // 2, kernel_size=1),
            )
        else:
            self.up = nn.ConvTranspose2d(in_channels, in_channels // 2, kernel_size=2, stride=2)
        self.conv = DoubleConv(in_channels, out_channels)

    def forward(self, x1, x2):
        x1 = self.up(x1)
        diffY, diffX = x2.size()[2] - x1.size()[2], x2.size()[3] - x1.size()[3]
        x1 = F.pad(x1, [diffX // 2, diffX - diffX // 2, diffY // 2, diffY - diffY // 2])
        return self.conv(torch.cat([x2, x1], dim=1))


class UNet(nn.Module):
    def __init__(self, n_channels, n_classes, width, bilinear):
        super().__init__()
        self.inc = DoubleConv(n_channels, width)
        self.down1 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(width, 2 * width))
        self.down2 = nn.Sequential(nn.MaxPool2d(2), DoubleConv(2 * width, 4 * width))
        self.up1 = Up(4 * width, 2 * width, bilinear)
        self.up2 = Up(2 * width, width, bilinear)
        self.outc = nn.Conv2d(width, n_classes, kernel_size=1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        return self.outc(self.up2(self.up1(x3, x2), x1))


def dice_coeff(input, target, epsilon=1e-6):
    """Overlap of two masks (N, H, W): twice the common area over the sum of both, averaged over the batch."""
    inter = 2 * (input * target).sum(dim=(-1, -2))
    sets_sum = input.sum(dim=(-1, -2)) + target.sum(dim=(-1, -2))
    sets_sum = torch.where(sets_sum == 0, inter, sets_sum)
    return ((inter + epsilon) / (sets_sum + epsilon)).mean()


@torch.inference_mode()
def evaluate(net, dataloader):
    net.eval()
    dice_score = 0
    for batch in dataloader:
        mask_pred = net(batch["image"]).argmax(dim=1).float()
        dice_score += dice_coeff(mask_pred, batch["mask"].float())
    net.train()
    return dice_score / max(len(dataloader), 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=10)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--bilinear", action="store_true")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--workers", type=int, default=0, help="processes that load data")
    parser.add_argument("--quick", action="store_true", help="few pictures and a narrow network, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.quick:
        args.epochs, args.samples, args.width = 1, 50, 4
    torch.manual_seed(args.seed)

    dataset = Shapes(args.samples, args.seed)
    n_val = len(dataset) // 5
    train_set, val_set = random_split(
        dataset, [len(dataset) - n_val, n_val], generator=torch.Generator().manual_seed(0)
    )
    loader_args = dict(batch_size=args.batch_size, num_workers=args.workers, pin_memory=False)
    train_loader = DataLoader(train_set, shuffle=True, **loader_args)
    val_loader = DataLoader(val_set, shuffle=False, drop_last=True, **loader_args)
    model = UNet(1, 2, args.width, args.bilinear).to(memory_format=torch.channels_last)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=args.lr, weight_decay=1e-8, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", patience=2)
    criterion = nn.CrossEntropyLoss()

    for epoch in range(1, args.epochs + 1):
        model.train()
        epoch_loss = 0
        for batch in train_loader:
            images, true_masks = batch["image"], batch["mask"]
            masks_pred = model(images)
            loss = criterion(masks_pred, true_masks)
            probabilities = F.softmax(masks_pred, dim=1).float()
            one_hot = F.one_hot(true_masks, 2).permute(0, 3, 1, 2).float()
            loss += 1 - dice_coeff(probabilities[:, 1], one_hot[:, 1])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            epoch_loss += loss.item()
        val_score = evaluate(model, val_loader)
        scheduler.step(val_score)
        print(f"epoch {epoch}: loss {epoch_loss / len(train_loader):.4f}, validation Dice score {val_score:.4f}")
    print(f"Dice score {val_score.item():.3f}")


if __name__ == "__main__":
    main()
