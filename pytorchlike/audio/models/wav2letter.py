"""Wav2Letter: speech recognition by convolutions alone (Collobert, Puhrsch & Synnaeve 2016, arXiv:1609.03193)."""

from __future__ import annotations

from pytorchlike import Tensor, nn
from pytorchlike.nn import functional as F

__all__ = ["Wav2Letter"]


class Wav2Letter(nn.Module):
    """(batch, num_features, time) -> log-probabilities (batch, num_classes, frames).

    input_type: "waveform" (one feature), "power_spectrum" or "mfcc".
    """

    def __init__(self, num_classes: int = 40, input_type: str = "waveform", num_features: int = 1) -> None:
        super().__init__()
        first = 250 if input_type == "waveform" else num_features
        sizes = [(first, 250, 48, 2, 23), *[(250, 250, 7, 1, 3)] * 7, (250, 2000, 32, 1, 16), (2000, 2000, 1, 1, 0),
                 (2000, num_classes, 1, 1, 0)]  # fmt: skip
        layers: list[nn.Module] = []
        for i, o, kernel, stride, padding in sizes:
            layers += [nn.Conv1d(i, o, kernel_size=kernel, stride=stride, padding=padding), nn.ReLU(inplace=True)]
        model = nn.Sequential(*layers)
        if input_type == "waveform":
            wave = nn.Conv1d(num_features, 250, kernel_size=250, stride=160, padding=45)
            model = nn.Sequential(nn.Sequential(wave, nn.ReLU(inplace=True)), model)
        elif input_type not in ("power_spectrum", "mfcc"):
            raise ValueError(f"input_type is 'waveform', 'power_spectrum' or 'mfcc', not {input_type!r}")
        self.acoustic_model = model

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.acoustic_model(x), dim=1)
