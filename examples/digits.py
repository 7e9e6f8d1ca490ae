"""Train a convolutional network on real handwritten digits, from loading the data to a picture of its mistakes.

The script is plain PyTorch but for its imports: replace ``pytorchlike`` by ``torch`` in them and it runs there too.

    python examples/digits.py --epochs 20 --out digits-output
"""

import argparse
import copy
import gzip
import sys
import time
from pathlib import Path

import matplotlib
import numpy as np

import pytorchlike as torch
import pytorchlike.nn.functional as F
from pytorchlike import nn
from pytorchlike.optim.lr_scheduler import CosineAnnealingLR
from pytorchlike.utils.data import DataLoader, TensorDataset, random_split

matplotlib.use("Agg")  # draw into files: no display needed
import matplotlib.pyplot as plt

DATA = Path(__file__).parent / "data" / "optdigits.csv.gz"  # 1,797 pictures, see data/README.md


class DigitNet(nn.Module):
    """Pictures (N, 1, 8, 8) to scores of the ten digits (N, 10)."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.4),
            nn.Linear(64 * 4 * 4, 64),
            nn.ReLU(),
            nn.Dropout(0.4),
            nn.Linear(64, 10),
        )

    def forward(self, pictures):
        return self.classifier(self.features(pictures))


class ProgressBar:
    """One line for each epoch, redrawn in place on a terminal and printed once, when done, elsewhere."""

    def __init__(self, title, total, width=24):
        self.title, self.total, self.width = title, total, width
        self.live = sys.stdout.isatty()
        self.start = self.drawn = time.perf_counter()

    def due(self):
        """Whether a redraw is worth it now: reading the loss makes Python wait for it."""
        return self.live and time.perf_counter() - self.drawn > 0.1

    def draw(self, done, text):
        """Show that ``done`` of the total are through."""
        self.drawn = time.perf_counter()
        rate = done / (self.drawn - self.start)
        filled = self.width * done // self.total
        bar = "#" * filled + "." * (self.width - filled)
        self.line = f"{self.title} [{bar}] {rate:7,.0f} images/s  {text}"
        if self.live:
            print(f"\r\033[K{self.line}", end="", flush=True)

    def close(self, text):
        """End the line, with more text."""
        print(f"{text}" if self.live else f"{self.line}{text}", flush=True)


def load_digits():
    """All pictures as float32 (1797, 1, 8, 8) from 0 to 1, and their digits as int64 (1797,)."""
    with gzip.open(DATA, "rt") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.float32)
    pictures = torch.tensor(rows[:, :-1] / 16).reshape(-1, 1, 8, 8)
    digits = torch.tensor(rows[:, -1].astype(np.int64))
    return pictures, digits


def train_epoch(model, loader, optimizer, title):
    """One pass over the training pictures; returns the progress bar, full but not closed, and the mean loss."""
    model.train()
    bar = ProgressBar(title, len(loader.dataset))
    total, done = torch.zeros(()), 0
    for pictures, digits in loader:
        loss = F.cross_entropy(model(pictures), digits, label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(digits)
        done += len(digits)
        if bar.due():
            bar.draw(done, f"loss {total.item() / done:.4f}")
    mean = total.item() / done
    bar.draw(done, f"loss {mean:.4f}")
    return bar, mean


@torch.no_grad()
def predict(model, loader):
    """Mean loss, the predicted digits and the true ones over a loader's pictures."""
    model.eval()
    total, predicted, true = 0.0, [], []
    for pictures, digits in loader:
        scores = model(pictures)
        total += F.cross_entropy(scores, digits, reduction="sum").item()
        predicted.append(scores.argmax(dim=1))
        true.append(digits)
    predicted, true = torch.cat(predicted), torch.cat(true)
    return total / len(true), predicted, true


def confusion_table(predicted, true):
    """How often each digit (rows) was taken for each digit (columns), as text."""
    counts = [[0] * 10 for _ in range(10)]
    for t, p in zip(true.tolist(), predicted.tolist(), strict=True):
        counts[t][p] += 1
    lines = ["true \\ predicted" + "".join(f"{digit:5d}" for digit in range(10))]
    for digit, row in enumerate(counts):
        lines.append(f"{digit:16d}" + "".join(f"{count or '.':>5}" for count in row))
    return "\n".join(lines)


def draw_learning_curve(history, best_epoch, path):
    """Losses and validation accuracy over the epochs."""
    epochs = range(1, len(history["train loss"]) + 1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), constrained_layout=True)
    left.plot(epochs, history["train loss"], label="training")
    left.plot(epochs, history["validation loss"], label="validation")
    left.set(xlabel="epoch", ylabel="cross-entropy", yscale="log", title="Loss")
    right.plot(epochs, [100 * accuracy for accuracy in history["validation accuracy"]], color="tab:green")
    right.set(xlabel="epoch", ylabel="%", title="Validation accuracy")
    for axes in (left, right):
        axes.axvline(best_epoch, color="gray", linestyle=":", label="weights kept")
        axes.grid(alpha=0.3)
    left.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_predictions(pictures, predicted, true, path):
    """A grid of test pictures under their predictions, mistakes first and in red."""
    order = np.argsort(predicted.numpy() == true.numpy(), kind="stable")[:40]
    figure, grid = plt.subplots(4, 10, figsize=(10, 4.8), constrained_layout=True)
    for axes, index in zip(grid.flat, order.tolist(), strict=True):
        guess, digit = predicted[index].item(), true[index].item()
        axes.imshow(pictures[index, 0].numpy(), cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(f"{guess}" if guess == digit else f"{guess}, is {digit}", color="k" if guess == digit else "r")
        axes.axis("off")
    figure.suptitle("Predictions on test pictures (mistakes first, red)")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("digits-output"), help="folder for weights and pictures")
    parser.add_argument("--epochs", type=int, default=20, help="at most this many passes over the training pictures")
    parser.add_argument("--patience", type=int, default=8, help="stop after so many epochs without a better one")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3, help="learning rate at the start")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.epochs < 1:
        parser.error("--epochs must be at least 1")
    args.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(args.seed)
    pictures, digits = load_digits()
    data = TensorDataset(pictures, digits)
    train, validation, test = random_split(data, [1257, 240, 300])
    train_loader = DataLoader(train, batch_size=args.batch_size, shuffle=True)
    validation_loader = DataLoader(validation, batch_size=300)
    test_loader = DataLoader(test, batch_size=300)

    model = DigitNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    scheduler = CosineAnnealingLR(optimizer, T_max=args.epochs)
    size = sum(parameter.numel() for parameter in model.parameters())
    print(f"{len(train)} training, {len(validation)} validation and {len(test)} test pictures; {size:,} parameters")

    history = {"train loss": [], "validation loss": [], "validation accuracy": []}
    best = (-1.0, 0.0)  # accuracy, then the smaller loss where accuracies tie
    best_epoch, best_weights = 0, None
    start = time.perf_counter()
    for epoch in range(1, args.epochs + 1):
        bar, train_loss = train_epoch(model, train_loader, optimizer, f"epoch {epoch:2d}/{args.epochs}")
        scheduler.step()
        validation_loss, predicted, true = predict(model, validation_loader)
        accuracy = (predicted == true).float().mean().item()
        history["train loss"].append(train_loss)
        history["validation loss"].append(validation_loss)
        history["validation accuracy"].append(accuracy)
        better = (accuracy, -validation_loss) > best
        if better:
            best, best_epoch = (accuracy, -validation_loss), epoch
            best_weights = copy.deepcopy(model.state_dict())
        mark = " *" if better else ""
        bar.close(f"  validation {validation_loss:.4f} {accuracy:7.2%}{mark}")
        if epoch - best_epoch >= args.patience:
            print(f"no better epoch in the last {args.patience}: stopped")
            break
    print(f"trained in {time.perf_counter() - start:.1f} s; kept the weights of epoch {best_epoch}")

    model.load_state_dict(best_weights)
    _, predicted, true = predict(model, test_loader)
    accuracy = (predicted == true).float().mean().item()
    print(f"\ntest accuracy {accuracy:.2%}\n\n{confusion_table(predicted, true)}\n")

    torch.save(model.state_dict(), args.out / "weights.pt")
    draw_learning_curve(history, best_epoch, args.out / "learning-curve.png")
    test_pictures = torch.cat([batch for batch, _ in test_loader])
    draw_predictions(test_pictures, predicted, true, args.out / "predictions.png")
    print(f"weights, learning curve and predictions are in {args.out.resolve()}")
    for name in ("weights.pt", "learning-curve.png", "predictions.png"):
        print(f"  {name}")


if __name__ == "__main__":
    main()
