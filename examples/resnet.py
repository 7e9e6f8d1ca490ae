"""A residual network (He et al. 2016) for small colour pictures, with augmentation, warm-up and a cosine schedule.

The pictures, 16 x 16 pixels, show one of six figures in any colour, place and size on a noisy ground; they are drawn
with tensor operations, and flipped, shifted, recoloured and partly erased while training.
"""

import argparse
import math
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

SIZE = 16
NAMES = ["disc", "ring", "square", "frame", "cross", "stripes"]


def draw(n, generator):
    """n pictures (n, 3, 16, 16) and what they show (n,)."""
    labels = torch.randint(len(NAMES), (n,), generator=generator)
    centre = torch.rand(n, 2, 1, 1, generator=generator) * 4 + 5.5
    radius = torch.rand(n, 1, 1, generator=generator) * 2 + 3.5
    axis = torch.arange(SIZE, dtype=torch.float32)
    dy, dx = axis.view(1, -1, 1) - centre[:, 0], axis.view(1, 1, -1) - centre[:, 1]
    r, box = (dy**2 + dx**2).sqrt(), torch.maximum(dy.abs(), dx.abs())
    figures = torch.stack(
        [
            r < radius,
            (r < radius) & (r > radius - 1.6),
            box < radius * 0.85,
            (box < radius * 0.85) & (box > radius * 0.85 - 1.6),
            (torch.minimum(dy.abs(), dx.abs()) < 1) & (box < radius),
            (box < radius) & (torch.remainder(dy, 3) < 1.5),
        ],
        dim=1,
    )
    figure = figures[torch.arange(n), labels].unsqueeze(1).float()
    ink, paper = torch.rand(2, n, 3, 1, 1, generator=generator)
    pictures = figure * ink + (1 - figure) * paper
    return pictures + 0.1 * torch.randn(pictures.shape, generator=generator), labels


def augment(x):
    """Random flips, shifts by up to two pixels, contrast, and a square that is erased."""
    n = x.shape[0]
    flip = torch.rand(n, 1, 1, 1) < 0.5
    x = torch.where(flip, x.flip(-1), x)
    padded = F.pad(x, (2, 2, 2, 2), mode="reflect")
    top, left = torch.randint(0, 5, (2, n, 1))
    rows = (top + torch.arange(SIZE)).view(n, 1, SIZE, 1)
    columns = (left + torch.arange(SIZE)).view(n, 1, 1, SIZE)
    x = padded[torch.arange(n).view(n, 1, 1, 1), torch.arange(3).view(1, 3, 1, 1), rows, columns]
    mean = x.mean(dim=(2, 3), keepdim=True)
    x = mean + (x - mean) * (torch.rand(n, 1, 1, 1) * 0.6 + 0.7)
    at = torch.randint(0, SIZE, (n, 2))
    grid = torch.arange(SIZE)
    erased = ((grid.view(1, -1, 1) - at[:, 0].view(n, 1, 1)).abs() < 2) & (
        (grid.view(1, 1, -1) - at[:, 1].view(n, 1, 1)).abs() < 2
    )
    return x.masked_fill(erased.unsqueeze(1), 0.5)


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, in_planes, planes, stride=1):
        super(BasicBlock, self).__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != self.expansion * planes:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_planes, self.expansion * planes, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(self.expansion * planes),
            )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class ResNet(nn.Module):
    def __init__(self, num_blocks, width, num_classes):
        super(ResNet, self).__init__()
        self.in_planes = width
        self.conv1 = nn.Conv2d(3, width, kernel_size=3, stride=1, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = self._make_layer(width, num_blocks[0], stride=1)
        self.layer2 = self._make_layer(2 * width, num_blocks[1], stride=2)
        self.layer3 = self._make_layer(4 * width, num_blocks[2], stride=2)
        self.linear = nn.Linear(4 * width, num_classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(m, nn.BatchNorm2d):
                nn.init.constant_(m.weight, 1)
                nn.init.constant_(m.bias, 0)

    def _make_layer(self, planes, num_blocks, stride):
        layers = []
        for stride in [stride] + [1] * (num_blocks - 1):
            layers.append(BasicBlock(self.in_planes, planes, stride))
            self.in_planes = planes * BasicBlock.expansion
        return nn.Sequential(*layers)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        out = F.adaptive_avg_pool2d(out, 1)
        return self.linear(out.view(out.size(0), -1))


class AverageMeter(object):
    """The latest value and the mean of all."""

    def __init__(self):
        self.val = self.avg = self.sum = self.count = 0

    def update(self, val, n=1):
        self.val = val
        self.sum += val * n
        self.count += n
        self.avg = self.sum / self.count


def topk_accuracy(output, target, topk=(1,)):
    """Percentages of samples whose class is among the k best scores, for each k."""
    with torch.no_grad():
        maxk = max(topk)
        _, pred = output.topk(maxk, 1, True, True)
        pred = pred.t()
        correct = pred.eq(target.view(1, -1).expand_as(pred))
        return [correct[:k].reshape(-1).float().sum(0, keepdim=True).mul_(100.0 / target.size(0)) for k in topk]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--samples", type=int, default=3000)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--width", type=int, default=12, help="channels of the first layer")
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--warmup", type=int, default=20, help="steps until the full learning rate")
    parser.add_argument("--quick", action="store_true", help="few pictures and a narrow network, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.quick:
        args.epochs, args.samples, args.width, args.warmup = 1, 200, 4, 2
    torch.manual_seed(args.seed)

    generator = torch.Generator().manual_seed(args.seed)
    train_x, train_y = draw(args.samples, generator)
    test_x, test_y = draw(100 if args.quick else 500, generator)
    mean, std = train_x.mean(dim=(0, 2, 3), keepdim=True), train_x.std(dim=(0, 2, 3), keepdim=True)
    model = ResNet([1, 1, 1], args.width, len(NAMES))
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, weight_decay=5e-4, nesterov=True)
    total = args.epochs * (args.samples // args.batch_size)

    def schedule(step):
        if step < args.warmup:
            return (step + 1) / args.warmup
        return 0.5 * (1 + math.cos(math.pi * (step - args.warmup) / max(1, total - args.warmup)))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    start = time.time()
    for epoch in range(args.epochs):
        model.train()
        losses, top1 = AverageMeter(), AverageMeter()
        for index in torch.randperm(args.samples).split(args.batch_size):
            x, y = augment((train_x[index] - mean) / std), train_y[index]
            output = model(x)
            loss = criterion(output, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            losses.update(loss.item(), x.size(0))
            top1.update(topk_accuracy(output, y)[0].item(), x.size(0))
        print(
            f"epoch {epoch + 1}: loss {losses.avg:.4f}, accuracy {top1.avg:.1f}%, "
            f"learning rate {scheduler.get_last_lr()[0]:.4f}"
        )
    print(f"{time.time() - start:.1f} s")
    model.eval()
    with torch.no_grad():
        output = torch.cat([model((x - mean) / std) for x in test_x.split(100)])
    acc1, acc3 = topk_accuracy(output, test_y, topk=(1, 3))
    print(f"accuracy {acc1.item():.1f}%, among the three best {acc3.item():.1f}%")


if __name__ == "__main__":
    main()
