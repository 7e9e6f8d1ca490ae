"""Spectrograms, their scales, inverses and masks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor
from pytorchlike.nn import Module

from .. import functional as F

__all__ = [
    "AmplitudeToDB", "FrequencyMasking", "GriffinLim", "InverseMelScale", "InverseSpectrogram", "MelScale",
    "MelSpectrogram", "SpecAugment", "SpectralCentroid", "Spectrogram", "TimeMasking", "TimeStretch",
]  # fmt: skip

WindowFn = Callable[..., Tensor]


class Windowed(Module):
    """The sizes of a short-time Fourier transform and its window; frames are as long as the transform, and overlap by
    half, unless said otherwise.
    """

    def __init__(
        self, n_fft: int, win_length: int | None, hop_length: int | None, window_fn: WindowFn,
        wkwargs: dict[str, Any] | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.n_fft = n_fft
        self.win_length = win_length if win_length is not None else n_fft
        self.hop_length = hop_length if hop_length is not None else self.win_length // 2
        self.register_buffer("window", window_fn(self.win_length, **(wkwargs or {})))


class Spectrogram(Windowed):
    """(..., time) -> (..., freq, frames): see :func:`functional.spectrogram`; power None: complex."""

    def __init__(
        self, n_fft: int = 400, win_length: int | None = None, hop_length: int | None = None, pad: int = 0,
        window_fn: WindowFn = torch.hann_window, power: float | None = 2.0, normalized: bool | str = False,
        wkwargs: dict[str, Any] | None = None, center: bool = True, pad_mode: str = "reflect", onesided: bool = True,
        return_complex: bool | None = None,
    ) -> None:  # fmt: skip
        super().__init__(n_fft, win_length, hop_length, window_fn, wkwargs)
        self.pad, self.power, self.normalized = pad, power, normalized
        self.center, self.pad_mode, self.onesided, self.return_complex = center, pad_mode, onesided, return_complex

    def forward(self, waveform: Tensor) -> Tensor:
        return F.spectrogram(
            waveform, self.pad, self.window, self.n_fft, self.hop_length, self.win_length, self.power, self.normalized,
            self.center, self.pad_mode, self.onesided, self.return_complex,
        )  # fmt: skip


class InverseSpectrogram(Windowed):
    """Complex (..., freq, frames) -> (..., time): see :func:`functional.inverse_spectrogram`."""

    def __init__(
        self, n_fft: int = 400, win_length: int | None = None, hop_length: int | None = None, pad: int = 0,
        window_fn: WindowFn = torch.hann_window, normalized: bool | str = False,
        wkwargs: dict[str, Any] | None = None, center: bool = True, pad_mode: str = "reflect", onesided: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(n_fft, win_length, hop_length, window_fn, wkwargs)
        self.pad, self.normalized = pad, normalized
        self.center, self.pad_mode, self.onesided = center, pad_mode, onesided

    def forward(self, spectrogram: Tensor, length: int | None = None) -> Tensor:
        return F.inverse_spectrogram(
            spectrogram, length, self.pad, self.window, self.n_fft, self.hop_length, self.win_length, self.normalized,
            self.center, self.pad_mode, self.onesided,
        )  # fmt: skip


class GriffinLim(Windowed):
    """Magnitudes to a power (..., freq, frames) -> (..., time): see :func:`functional.griffinlim`."""

    def __init__(
        self, n_fft: int = 400, n_iter: int = 32, win_length: int | None = None, hop_length: int | None = None,
        window_fn: WindowFn = torch.hann_window, power: float = 2.0, wkwargs: dict[str, Any] | None = None,
        momentum: float = 0.99, length: int | None = None, rand_init: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(n_fft, win_length, hop_length, window_fn, wkwargs)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in the range [0, 1). Found: {momentum}")
        self.n_iter, self.power, self.momentum, self.length, self.rand_init = n_iter, power, momentum, length, rand_init

    def forward(self, specgram: Tensor) -> Tensor:
        return F.griffinlim(
            specgram, self.window, self.n_fft, self.hop_length, self.win_length, self.power, self.n_iter,
            self.momentum, self.length, self.rand_init,
        )  # fmt: skip


class AmplitudeToDB(Module):
    """To decibels: see :func:`functional.amplitude_to_DB`. stype: "power" or "magnitude"; top_db: at least 0."""

    def __init__(self, stype: str = "power", top_db: float | None = None) -> None:
        super().__init__()
        if top_db is not None and top_db < 0:
            raise ValueError("top_db must be positive value")
        self.stype, self.top_db = stype, top_db
        self.multiplier = 10.0 if stype == "power" else 20.0
        self.amin, self.ref_value = 1e-10, 1.0
        self.db_multiplier = math.log10(max(self.amin, self.ref_value))

    def forward(self, x: Tensor) -> Tensor:
        return F.amplitude_to_DB(x, self.multiplier, self.amin, self.db_multiplier, self.top_db)


class _Mel(Module):
    """The filters from ``n_stft`` frequencies to ``n_mels`` mels, as the buffer ``fb``."""

    def __init__(
        self, n_mels: int, sample_rate: int, f_min: float, f_max: float | None, n_stft: int, norm: str | None,
        mel_scale: str,
    ) -> None:  # fmt: skip
        super().__init__()
        self.n_mels, self.sample_rate, self.norm, self.mel_scale = n_mels, sample_rate, norm, mel_scale
        self.f_min, self.f_max = f_min, f_max if f_max is not None else float(sample_rate // 2)
        if f_min > self.f_max:
            raise ValueError(f"Require f_min: {f_min} <= f_max: {self.f_max}")
        self.register_buffer("fb", F.melscale_fbanks(n_stft, f_min, self.f_max, n_mels, sample_rate, norm, mel_scale))


class MelScale(_Mel):
    """(..., n_stft, time) -> (..., n_mels, time): see :func:`functional.melscale_fbanks`."""

    def __init__(
        self, n_mels: int = 128, sample_rate: int = 16000, f_min: float = 0.0, f_max: float | None = None,
        n_stft: int = 201, norm: str | None = None, mel_scale: str = "htk",
    ) -> None:  # fmt: skip
        super().__init__(n_mels, sample_rate, f_min, f_max, n_stft, norm, mel_scale)

    def forward(self, specgram: Tensor) -> Tensor:
        return torch.matmul(specgram.transpose(-1, -2), self.fb).transpose(-1, -2)


class InverseMelScale(_Mel):
    """(..., n_mels, time) -> (..., n_stft, time), not negative, by least squares (the solution of least norm).

    driver: as in ``torch.linalg.lstsq``; all give this solution here.
    """

    def __init__(
        self, n_stft: int, n_mels: int = 128, sample_rate: int = 16000, f_min: float = 0.0, f_max: float | None = None,
        norm: str | None = None, mel_scale: str = "htk", driver: str = "gels",
    ) -> None:  # fmt: skip
        super().__init__(n_mels, sample_rate, f_min, f_max, n_stft, norm, mel_scale)
        if driver not in ("gels", "gelsy", "gelsd", "gelss"):
            raise ValueError(f'driver must be one of ["gels", "gelsy", "gelsd", "gelss"]. Found {driver}.')
        self.driver = driver

    def forward(self, melspec: Tensor) -> Tensor:
        shape = melspec.shape
        mels = melspec.reshape(-1, *shape[-2:])
        if shape[-2] != self.n_mels:
            raise ValueError(f"Expected an input with {self.n_mels} mel bins. Found: {shape[-2]}")
        spec = torch.relu(torch.linalg.pinv(self.fb.T) @ mels)
        return spec.reshape(*shape[:-2], self.fb.shape[0], shape[-1])


class MelSpectrogram(Module):
    """(..., time) -> (..., n_mels, frames): :class:`Spectrogram`, then :class:`MelScale`."""

    def __init__(
        self, sample_rate: int = 16000, n_fft: int = 400, win_length: int | None = None,
        hop_length: int | None = None, f_min: float = 0.0, f_max: float | None = None, pad: int = 0,
        n_mels: int = 128, window_fn: WindowFn = torch.hann_window, power: float = 2.0,
        normalized: bool | str = False, wkwargs: dict[str, Any] | None = None, center: bool = True,
        pad_mode: str = "reflect", onesided: bool | None = None, norm: str | None = None, mel_scale: str = "htk",
    ) -> None:  # fmt: skip
        super().__init__()
        self.spectrogram = Spectrogram(
            n_fft, win_length, hop_length, pad, window_fn, power, normalized, wkwargs, center, pad_mode, True
        )
        self.sample_rate, self.n_fft, self.n_mels, self.pad, self.power = sample_rate, n_fft, n_mels, pad, power
        self.win_length, self.hop_length = self.spectrogram.win_length, self.spectrogram.hop_length
        self.normalized, self.f_min = normalized, f_min
        self.mel_scale = MelScale(n_mels, sample_rate, f_min, f_max, n_fft // 2 + 1, norm, mel_scale)
        self.f_max = f_max

    def forward(self, waveform: Tensor) -> Tensor:
        return self.mel_scale(self.spectrogram(waveform))


class SpectralCentroid(Windowed):
    """(..., time) -> (..., frames): see :func:`functional.spectral_centroid`."""

    def __init__(
        self, sample_rate: int, n_fft: int = 400, win_length: int | None = None, hop_length: int | None = None,
        pad: int = 0, window_fn: WindowFn = torch.hann_window, wkwargs: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(n_fft, win_length, hop_length, window_fn, wkwargs)
        self.sample_rate, self.pad = sample_rate, pad

    def forward(self, waveform: Tensor) -> Tensor:
        return F.spectral_centroid(
            waveform, self.sample_rate, self.pad, self.window, self.n_fft, self.hop_length, self.win_length
        )


class TimeStretch(Module):
    """Complex (..., freq, frames) at another speed: see :func:`functional.phase_vocoder`.

    The rate is ``fixed_rate``, or that of the call; ValueError without either.
    """

    def __init__(self, hop_length: int | None = None, n_freq: int = 201, fixed_rate: float | None = None) -> None:
        super().__init__()
        self.fixed_rate = fixed_rate
        n_fft = (n_freq - 1) * 2
        hop = hop_length if hop_length is not None else n_fft // 2
        self.register_buffer("phase_advance", torch.linspace(0, math.pi * hop, n_freq)[..., None])

    def forward(self, complex_specgrams: Tensor, overriding_rate: float | None = None) -> Tensor:
        rate = self.fixed_rate if overriding_rate is None else overriding_rate
        if rate is None:
            raise ValueError("If no fixed_rate is specified, must pass a valid rate to the forward method.")
        return F.phase_vocoder(complex_specgrams, rate, self.phase_advance)


class _AxisMasking(Module):
    def __init__(self, mask_param: int, axis: int, iid_masks: bool, p: float = 1.0) -> None:
        super().__init__()
        self.mask_param, self.axis, self.iid_masks, self.p = mask_param, axis, iid_masks, p

    def forward(self, specgram: Tensor, mask_value: float | Tensor = 0.0) -> Tensor:
        """Fill a stretch of (..., freq, time) with ``mask_value``; with ``iid_masks`` another in each spectrogram."""
        mask = F.mask_along_axis_iid if self.iid_masks else F.mask_along_axis
        return mask(specgram, self.mask_param, mask_value, self.axis + specgram.dim() - 3, p=self.p)


class FrequencyMasking(_AxisMasking):
    """Mask up to ``freq_mask_param`` neighbouring frequencies (Park et al. 2019, arXiv:1904.08779)."""

    def __init__(self, freq_mask_param: int, iid_masks: bool = False) -> None:
        super().__init__(freq_mask_param, 1, iid_masks)


class TimeMasking(_AxisMasking):
    """Mask up to ``time_mask_param`` neighbouring frames, at most the share ``p`` of all (arXiv:1904.08779)."""

    def __init__(self, time_mask_param: int, iid_masks: bool = False, p: float = 1.0) -> None:
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"The value of p must be between 0.0 and 1.0 ({p} given).")
        super().__init__(time_mask_param, 2, iid_masks, p=p)


class SpecAugment(Module):
    """Several masks along time and frequency (arXiv:1904.08779), of zeros or of the mean."""

    def __init__(
        self, n_time_masks: int, time_mask_param: int, n_freq_masks: int, freq_mask_param: int,
        iid_masks: bool = True, p: float = 1.0, zero_masking: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.n_time_masks, self.time_mask_param = n_time_masks, time_mask_param
        self.n_freq_masks, self.freq_mask_param = n_freq_masks, freq_mask_param
        self.iid_masks, self.p, self.zero_masking = iid_masks, p, zero_masking

    def forward(self, specgram: Tensor) -> Tensor:
        fill: float | Tensor = 0.0 if self.zero_masking else specgram.mean()
        time, freq = specgram.dim() - 1, specgram.dim() - 2
        mask = F.mask_along_axis_iid if specgram.dim() > 2 and self.iid_masks else F.mask_along_axis
        for _ in range(self.n_time_masks):
            specgram = mask(specgram, self.time_mask_param, fill, time, p=self.p)
        for _ in range(self.n_freq_masks):
            specgram = mask(specgram, self.freq_mask_param, fill, freq, p=self.p)
        return specgram
