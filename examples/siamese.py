"""A siamese network (Chopra, Hadsell & LeCun 2005): do two pictures show the same digit?"""

import argparse
import random

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from _digits import load_digits
from torch.utils.data import DataLoader, Dataset


class Pairs(Dataset):
    """Half of the pairs show the same digit (target 1), the others two different ones (target 0)."""

    def __init__(self, pictures, digits):
        self.pictures = pictures
        self.digits = digits
        self.by_digit = {d: torch.where(digits == d)[0] for d in range(10)}

    def __len__(self):
        return self.pictures.shape[0]

    def __getitem__(self, index):
        first, digit = self.pictures[index], self.digits[index].item()
        same = random.random() < 0.5
        other = digit if same else random.choice([d for d in range(10) if d != digit])
        choices = self.by_digit[other]
        second = self.pictures[choices[random.randint(0, choices.shape[0] - 1)]]
        return first, second, torch.tensor(float(same))


class SiameseNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(), nn.Flatten()
        )
        self.fc = nn.Sequential(nn.Linear(32 * 9 * 2, 64), nn.ReLU(inplace=True), nn.Linear(64, 1))
        self.apply(self.init_weights)

    def init_weights(self, m):
        if isinstance(m, nn.Linear):
            torch.nn.init.xavier_uniform_(m.weight)
            m.bias.data.fill_(0.01)

    def forward(self, input1, input2):
        features = torch.cat((self.trunk(input1), self.trunk(input2)), 1)
        return torch.sigmoid(self.fc(features))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1.0)
    parser.add_argument("--quick", action="store_true", help="one short epoch, for a quick look")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    epochs = 1 if args.quick else args.epochs
    torch.manual_seed(args.seed)
    random.seed(args.seed)

    pictures, digits = load_digits()
    n = 448 if args.quick else 1500
    train_loader = DataLoader(Pairs(pictures[:n], digits[:n]), batch_size=args.batch_size, shuffle=True)
    test_loader = DataLoader(Pairs(pictures[1500:], digits[1500:]), batch_size=99)
    model = SiameseNetwork()
    optimizer = optim.Adadelta(model.parameters(), lr=args.lr)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.8)
    criterion = nn.BCELoss()

    for epoch in range(1, epochs + 1):
        model.train()
        for images_1, images_2, targets in train_loader:
            optimizer.zero_grad()
            outputs = model(images_1, images_2).squeeze()
            loss = criterion(outputs, targets)
            loss.backward()
            optimizer.step()
        model.eval()
        test_loss, correct = 0, 0
        with torch.no_grad():
            for images_1, images_2, targets in test_loader:
                outputs = model(images_1, images_2).squeeze()
                test_loss += F.binary_cross_entropy(outputs, targets).sum().item()
                pred = torch.where(outputs > 0.5, 1, 0)
                correct += pred.eq(targets.view_as(pred)).sum().item()
        scheduler.step()
        print(f"epoch {epoch}: last loss {loss.item():.4f}, test loss {test_loss / len(test_loader):.4f}")
    print(f"accuracy {100.0 * correct / len(test_loader.dataset):.1f}%")


if __name__ == "__main__":
    main()
