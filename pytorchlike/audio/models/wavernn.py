"""WaveRNN: a vocoder (Kalchbrenner et al. 2018, arXiv:1802.08435)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytorchlike as torch
from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

__all__ = ["WaveRNN"]


class ResBlock(nn.Module):
    def __init__(self, n_freq: int = 128) -> None:
        super().__init__()
        self.resblock_model = nn.Sequential(
            nn.Conv1d(n_freq, n_freq, kernel_size=1, bias=False), nn.BatchNorm1d(n_freq), nn.ReLU(inplace=True),
            nn.Conv1d(n_freq, n_freq, kernel_size=1, bias=False), nn.BatchNorm1d(n_freq),
        )  # fmt: skip

    def forward(self, specgram: Tensor) -> Tensor:
        return self.resblock_model(specgram) + specgram


class MelResNet(nn.Module):
    """(batch, n_freq, time) -> (batch, n_output, time - kernel_size + 1)."""

    def __init__(self, n_res_block: int, n_freq: int, n_hidden: int, n_output: int, kernel_size: int) -> None:
        super().__init__()
        self.melresnet_model = nn.Sequential(
            nn.Conv1d(n_freq, n_hidden, kernel_size=kernel_size, bias=False), nn.BatchNorm1d(n_hidden),
            nn.ReLU(inplace=True), *[ResBlock(n_hidden) for _ in range(n_res_block)],
            nn.Conv1d(n_hidden, n_output, kernel_size=1),
        )  # fmt: skip

    def forward(self, specgram: Tensor) -> Tensor:
        return self.melresnet_model(specgram)


class Stretch2d(nn.Module):
    """Repeat along time and frequency, the last axes in this order from behind."""

    def __init__(self, time_scale: int, freq_scale: int) -> None:
        super().__init__()
        self.freq_scale, self.time_scale = freq_scale, time_scale

    def forward(self, specgram: Tensor) -> Tensor:
        return specgram.repeat_interleave(self.freq_scale, -2).repeat_interleave(self.time_scale, -1)


class UpsampleNetwork(nn.Module):
    """(batch, n_freq, time) -> the same at the rate of samples, and a summary (batch, n_output, samples)."""

    def __init__(
        self, upsample_scales: Sequence[int], n_res_block: int, n_freq: int, n_hidden: int, n_output: int,
        kernel_size: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.total_scale = math.prod(upsample_scales)
        self.indent = (kernel_size - 1) // 2 * self.total_scale
        self.resnet = MelResNet(n_res_block, n_freq, n_hidden, n_output, kernel_size)
        self.resnet_stretch = Stretch2d(self.total_scale, 1)
        layers: list[nn.Module] = []
        for scale in upsample_scales:
            conv = nn.Conv2d(1, 1, kernel_size=(1, scale * 2 + 1), padding=(0, scale), bias=False)
            nn.init.constant_(conv.weight, 1.0 / (scale * 2 + 1))
            layers += [Stretch2d(scale, 1), conv]
        self.upsample_layers = nn.Sequential(*layers)

    def forward(self, specgram: Tensor) -> tuple[Tensor, Tensor]:
        summary = self.resnet_stretch(self.resnet(specgram).unsqueeze(1)).squeeze(1)
        wide = self.upsample_layers(specgram.unsqueeze(1)).squeeze(1)
        return wide[:, :, self.indent : -self.indent], summary


class WaveRNN(nn.Module):
    """waveform (batch, 1, (frames - kernel_size + 1) * hop_length) and specgram (batch, 1, n_freq, frames) ->
    (batch, 1, the waveform's samples, n_classes).

    Raises ValueError if the product of ``upsample_scales`` is not ``hop_length``.
    """

    def __init__(
        self, upsample_scales: Sequence[int], n_classes: int, hop_length: int, n_res_block: int = 10,
        n_rnn: int = 512, n_fc: int = 512, kernel_size: int = 5, n_freq: int = 128, n_hidden: int = 128,
        n_output: int = 128,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kernel_size, self.hop_length, self.n_classes, self.n_rnn = kernel_size, hop_length, n_classes, n_rnn
        self._pad = (kernel_size - 1 if kernel_size % 2 else kernel_size) // 2
        self.n_aux, self.n_bits = n_output // 4, int(math.log2(n_classes))
        if math.prod(upsample_scales) != hop_length:
            raise ValueError(
                f"Expected: total_scale == hop_length, but found {math.prod(upsample_scales)} != {hop_length}"
            )
        self.upsample = UpsampleNetwork(upsample_scales, n_res_block, n_freq, n_hidden, n_output, kernel_size)
        self.fc = nn.Linear(n_freq + self.n_aux + 1, n_rnn)
        self.rnn1 = nn.GRU(n_rnn, n_rnn, batch_first=True)
        self.rnn2 = nn.GRU(n_rnn + self.n_aux, n_rnn, batch_first=True)
        self.relu1, self.relu2 = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
        self.fc1 = nn.Linear(n_rnn + self.n_aux, n_fc)
        self.fc2 = nn.Linear(n_fc + self.n_aux, n_fc)
        self.fc3 = nn.Linear(n_fc, n_classes)

    def _step(
        self, x: Tensor, specgram: Tensor, aux: Tensor, h1: Tensor | None, h2: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x (batch, samples, 1) -> logits (batch, samples, n_classes) and the states."""
        a1, a2, a3, a4 = aux.split(self.n_aux, -1)[:4]
        x = self.fc(torch.cat([x, specgram, a1], -1))
        y, h1 = self.rnn1(x, h1)
        x = x + y
        y, h2 = self.rnn2(torch.cat([x, a2], -1), h2)
        x = self.relu1(self.fc1(torch.cat([x + y, a3], -1)))
        x = self.relu2(self.fc2(torch.cat([x, a4], -1)))
        return self.fc3(x), h1, h2

    def forward(self, waveform: Tensor, specgram: Tensor) -> Tensor:
        if waveform.size(1) != 1 or specgram.size(1) != 1:
            raise ValueError("Require the input channel of waveform and specgram to be 1")
        wide, aux = self.upsample(specgram.squeeze(1))
        out, _, _ = self._step(waveform.squeeze(1).unsqueeze(-1), wide.transpose(1, 2), aux.transpose(1, 2), None, None)
        return out.unsqueeze(1)

    def infer(self, specgram: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """A waveform (batch, 1, samples) drawn sample by sample from specgram (batch, n_freq, frames), and lengths."""
        specgram = F.pad(specgram, (self._pad, self._pad))
        wide, aux = self.upsample(specgram)
        if lengths is not None:
            lengths = lengths * self.upsample.total_scale
        wide, aux = wide.transpose(1, 2), aux.transpose(1, 2)
        x = wide.new_zeros(wide.size(0), 1, 1)
        h1 = h2 = wide.new_zeros(1, wide.size(0), self.n_rnn)
        output = []
        for i in range(wide.size(1)):
            logits, h1, h2 = self._step(x, wide[:, i : i + 1], aux[:, i : i + 1], h1, h2)
            drawn = torch.multinomial(F.softmax(logits[:, 0], dim=1), 1).float()
            x = (2 * drawn / (2**self.n_bits - 1.0) - 1.0).unsqueeze(-1)
            output.append(x[:, :, 0])
        return torch.stack(output, -1), lengths
