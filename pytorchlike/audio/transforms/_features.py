"""Features: cepstra, companding, deltas, normalisation, loudness; the transducer's loss."""

from __future__ import annotations

from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor
from pytorchlike.nn import Module

from .. import functional as F
from ._spectral import AmplitudeToDB, MelSpectrogram, Spectrogram

__all__ = [
    "ComputeDeltas", "LFCC", "Loudness", "MFCC", "MuLawDecoding", "MuLawEncoding", "RNNTLoss", "SlidingWindowCmn",
]  # fmt: skip


def _type_two(dct_type: int) -> int:
    if dct_type != 2:
        raise ValueError(f"DCT type not supported: {dct_type}")
    return dct_type


class MFCC(Module):
    """(..., time) -> (..., n_mfcc, frames): the cosine transform of mels in decibels, or of their logarithm.

    melkwargs: for :class:`MelSpectrogram`.
    Raises ValueError if ``n_mfcc`` exceeds the mels, or ``dct_type`` is not 2.
    """

    def __init__(
        self, sample_rate: int = 16000, n_mfcc: int = 40, dct_type: int = 2, norm: str = "ortho",
        log_mels: bool = False, melkwargs: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.sample_rate, self.n_mfcc, self.dct_type, self.norm = sample_rate, n_mfcc, _type_two(dct_type), norm
        self.top_db, self.log_mels = 80.0, log_mels
        self.amplitude_to_DB = AmplitudeToDB("power", self.top_db)
        self.MelSpectrogram = MelSpectrogram(sample_rate=sample_rate, **(melkwargs or {}))
        if n_mfcc > self.MelSpectrogram.n_mels:
            raise ValueError("Cannot select more MFCC coefficients than # mel bins")
        self.register_buffer("dct_mat", F.create_dct(n_mfcc, self.MelSpectrogram.n_mels, norm))

    def forward(self, waveform: Tensor) -> Tensor:
        mels = self.MelSpectrogram(waveform)
        mels = torch.log(mels + 1e-6) if self.log_mels else self.amplitude_to_DB(mels)
        return torch.matmul(mels.transpose(-1, -2), self.dct_mat).transpose(-1, -2)


class LFCC(Module):
    """(..., time) -> (..., n_lfcc, frames): as :class:`MFCC`, with filters at equal distances in Hz.

    speckwargs: for :class:`Spectrogram`.
    """

    def __init__(
        self, sample_rate: int = 16000, n_filter: int = 128, f_min: float = 0.0, f_max: float | None = None,
        n_lfcc: int = 40, dct_type: int = 2, norm: str = "ortho", log_lf: bool = False,
        speckwargs: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.sample_rate, self.n_filter, self.n_lfcc, self.norm = sample_rate, n_filter, n_lfcc, norm
        self.f_min, self.f_max = f_min, f_max if f_max is not None else float(sample_rate // 2)
        self.dct_type, self.top_db, self.log_lf = _type_two(dct_type), 80.0, log_lf
        self.amplitude_to_DB = AmplitudeToDB("power", self.top_db)
        self.Spectrogram = Spectrogram(**(speckwargs or {}))
        if n_lfcc > self.Spectrogram.n_fft:
            raise ValueError("Cannot select more LFCC coefficients than # fft bins")
        bank = F.linear_fbanks(self.Spectrogram.n_fft // 2 + 1, self.f_min, self.f_max, n_filter, sample_rate)
        self.register_buffer("filter_mat", bank)
        self.register_buffer("dct_mat", F.create_dct(n_lfcc, n_filter, norm))

    def forward(self, waveform: Tensor) -> Tensor:
        bands = torch.matmul(self.Spectrogram(waveform).transpose(-1, -2), self.filter_mat).transpose(-1, -2)
        bands = torch.log(bands + 1e-6) if self.log_lf else self.amplitude_to_DB(bands)
        return torch.matmul(bands.transpose(-1, -2), self.dct_mat).transpose(-1, -2)


class MuLawEncoding(Module):
    """See :func:`functional.mu_law_encoding`."""

    def __init__(self, quantization_channels: int = 256) -> None:
        super().__init__()
        self.quantization_channels = quantization_channels

    def forward(self, x: Tensor) -> Tensor:
        return F.mu_law_encoding(x, self.quantization_channels)


class MuLawDecoding(Module):
    """See :func:`functional.mu_law_decoding`."""

    def __init__(self, quantization_channels: int = 256) -> None:
        super().__init__()
        self.quantization_channels = quantization_channels

    def forward(self, x_mu: Tensor) -> Tensor:
        return F.mu_law_decoding(x_mu, self.quantization_channels)


class ComputeDeltas(Module):
    """See :func:`functional.compute_deltas`."""

    def __init__(self, win_length: int = 5, mode: str = "replicate") -> None:
        super().__init__()
        self.win_length, self.mode = win_length, mode

    def forward(self, specgram: Tensor) -> Tensor:
        return F.compute_deltas(specgram, win_length=self.win_length, mode=self.mode)


class SlidingWindowCmn(Module):
    """See :func:`functional.sliding_window_cmn`."""

    def __init__(
        self, cmn_window: int = 600, min_cmn_window: int = 100, center: bool = False, norm_vars: bool = False
    ) -> None:
        super().__init__()
        self.cmn_window, self.min_cmn_window, self.center, self.norm_vars = (
            cmn_window, min_cmn_window, center, norm_vars,
        )  # fmt: skip

    def forward(self, specgram: Tensor) -> Tensor:
        return F.sliding_window_cmn(specgram, self.cmn_window, self.min_cmn_window, self.center, self.norm_vars)


class Loudness(Module):
    """See :func:`functional.loudness`."""

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate

    def forward(self, wavefrom: Tensor) -> Tensor:
        return F.loudness(wavefrom, self.sample_rate)


class RNNTLoss(Module):
    """See :func:`functional.rnnt_loss`."""

    def __init__(
        self, blank: int = -1, clamp: float = -1.0, reduction: str = "mean", fused_log_softmax: bool = True
    ) -> None:
        super().__init__()
        self.blank, self.clamp, self.reduction, self.fused_log_softmax = blank, clamp, reduction, fused_log_softmax

    def forward(self, logits: Tensor, targets: Tensor, logit_lengths: Tensor, target_lengths: Tensor) -> Tensor:
        return F.rnnt_loss(
            logits, targets, logit_lengths, target_lengths, self.blank, self.clamp, self.reduction,
            self.fused_log_softmax,
        )  # fmt: skip
