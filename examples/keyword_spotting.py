"""Which command was spoken?  A one-dimensional convolutional network on waveforms, and one on their spectrograms.

The "words" are made up: each is a sequence of two gliding tones with overtones in noise, somewhere in half a second at
4 kHz.  M5 is the network of Dai et al. (2017); the other reads log-mel-like bands of ``torch.stft``.
"""

import argparse
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

RATE, LENGTH = 4000, 2000
WORDS = {"up": (300, 600), "down": (600, 300), "left": (300, 900), "right": (900, 600), "stop": (600, 900)}
LABELS = sorted(WORDS)


class Commands(Dataset):
    """Waveforms of different lengths, float32 (1, 1200...2000), and the word."""

    def __init__(self, n, generator):
        self.items = [self.speak(LABELS[i % len(LABELS)], generator) for i in range(n)]

    @staticmethod
    def speak(word, generator):
        pitch, speed, shift, noise, cut = torch.rand(5, generator=generator).tolist()
        samples = 1200 + 200 * int(4 * cut)
        t = torch.arange(samples) / RATE
        start, end = WORDS[word]
        glide = torch.sigmoid((t - 0.12 - 0.08 * shift) * (40 + 40 * speed))
        frequency = (start + (end - start) * glide) * (0.9 + 0.2 * pitch)
        phase = 2 * math.pi * torch.cumsum(frequency, 0) / RATE
        wave = torch.sin(phase) + 0.5 * torch.sin(2 * phase)
        envelope = torch.hann_window(samples, periodic=False)
        hiss = torch.randn(samples, generator=generator)
        return (wave * envelope + (0.2 + 0.4 * noise) * hiss).unsqueeze(0), word

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def pad_sequence(batch):
    """Waveforms (1, n) of a batch as (N, 1, n), zeros at the end of shorter ones."""
    batch = [item.t() for item in batch]
    batch = torch.nn.utils.rnn.pad_sequence(batch, batch_first=True, padding_value=0.0)
    return batch.permute(0, 2, 1)


def collate_fn(batch):
    tensors, targets = [], []
    for waveform, label in batch:
        tensors += [waveform]
        targets += [torch.tensor(LABELS.index(label))]
    return pad_sequence(tensors), torch.stack(targets)


class M5(nn.Module):
    def __init__(self, n_output, n_channel=16):
        super().__init__()
        self.conv1 = nn.Conv1d(1, n_channel, kernel_size=40, stride=8)
        self.bn1 = nn.BatchNorm1d(n_channel)
        self.pool1 = nn.MaxPool1d(2)
        self.conv2 = nn.Conv1d(n_channel, n_channel, kernel_size=3)
        self.bn2 = nn.BatchNorm1d(n_channel)
        self.pool2 = nn.MaxPool1d(2)
        self.conv3 = nn.Conv1d(n_channel, 2 * n_channel, kernel_size=3)
        self.bn3 = nn.BatchNorm1d(2 * n_channel)
        self.pool3 = nn.MaxPool1d(2)
        self.fc1 = nn.Linear(2 * n_channel, n_output)

    def forward(self, x):
        x = self.pool1(F.relu(self.bn1(self.conv1(x))))
        x = self.pool2(F.relu(self.bn2(self.conv2(x))))
        x = self.pool3(F.relu(self.bn3(self.conv3(x))))
        x = F.avg_pool1d(x, x.shape[-1])
        x = self.fc1(x.permute(0, 2, 1))
        return F.log_softmax(x, dim=2)


class SpectrogramNet(nn.Module):
    def __init__(self, n_output, n_fft=128, bands=16):
        super().__init__()
        self.n_fft = n_fft
        self.register_buffer("window", torch.hann_window(n_fft))
        edges = torch.linspace(0, 1, bands + 2) ** 1.5 * (n_fft // 2)
        bins = torch.arange(n_fft // 2 + 1).unsqueeze(1)
        rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
        fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
        self.register_buffer("filters", torch.minimum(rise, fall).clamp(min=0))
        self.conv = nn.Conv1d(bands, 32, kernel_size=5, stride=2)
        self.bn = nn.BatchNorm1d(32)
        self.fc = nn.Linear(32, n_output)

    def forward(self, x):
        spectrum = torch.stft(x.squeeze(1), self.n_fft, hop_length=64, window=self.window, return_complex=True)
        power = spectrum.abs().pow(2)
        x = torch.log1p(torch.matmul(power.transpose(1, 2), self.filters)).transpose(1, 2)
        x = F.relu(self.bn(self.conv(x)))
        return F.log_softmax(self.fc(x.mean(-1)), dim=-1).unsqueeze(1)


def number_of_correct(pred, target):
    return pred.squeeze().eq(target).sum().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=["m5", "spectrogram"], default="m5")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=30)
    parser.add_argument("--quick", action="store_true", help="one epoch of few samples, for a quick look")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.quick:
        args.epochs, args.samples = 1, 120
    torch.manual_seed(args.seed)

    generator = torch.Generator().manual_seed(args.seed)
    train_set, test_set = Commands(args.samples, generator), Commands(60 if args.quick else 150, generator)
    loader_args = dict(batch_size=args.batch_size, collate_fn=collate_fn)
    train_loader = DataLoader(train_set, shuffle=True, drop_last=True, **loader_args)
    test_loader = DataLoader(test_set, **loader_args)
    model = M5(len(LABELS)) if args.model == "m5" else SpectrogramNet(len(LABELS))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=0.0001)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.1)
    losses = []
    for epoch in range(1, args.epochs + 1):
        model.train()
        for data, target in train_loader:
            output = model(data)
            loss = F.nll_loss(output.squeeze(), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        correct = 0
        for data, target in test_loader:
            pred = model(data).argmax(dim=-1)
            correct += number_of_correct(pred, target)
        print(f"Epoch {epoch}: loss {losses[-1]:.4f}, accuracy {correct}/{len(test_set)}")
        scheduler.step()
    print(f"accuracy {100.0 * correct / len(test_set):.0f}%")


if __name__ == "__main__":
    main()
