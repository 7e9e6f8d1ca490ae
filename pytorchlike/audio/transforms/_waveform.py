"""What changes a waveform (..., time)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytorchlike as torch
from pytorchlike import Tensor
from pytorchlike.nn import Module, ModuleList

from .. import functional as F
from ..functional._resample import apply_kernel, kernel, rates
from ..functional._spectral import fixed_length, stretched

__all__ = [
    "AddNoise", "Convolve", "Deemphasis", "FFTConvolve", "Fade", "PitchShift", "Preemphasis", "Resample", "Speed",
    "SpeedPerturbation", "Vad", "Vol",
]  # fmt: skip


class Resample(Module):
    """See :func:`functional.resample`. dtype: of the kernel, which a call casts to that of the waveform."""

    def __init__(
        self, orig_freq: int = 16000, new_freq: int = 16000, resampling_method: str = "sinc_interp_hann",
        lowpass_filter_width: int = 6, rolloff: float = 0.99, beta: float | None = None, *,
        dtype: torch.dtype | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.orig_freq, self.new_freq, self.gcd = rates(orig_freq, new_freq)
        self.resampling_method, self.lowpass_filter_width = resampling_method, lowpass_filter_width
        self.rolloff, self.beta = rolloff, beta
        if self.orig_freq != self.new_freq:
            table, self.width = kernel(
                self.orig_freq, self.new_freq, self.gcd, lowpass_filter_width, rolloff, resampling_method, beta
            )
            self.register_buffer("kernel", torch.tensor(table, dtype=dtype or torch.float32))

    def forward(self, waveform: Tensor) -> Tensor:
        if self.orig_freq == self.new_freq:
            return waveform
        made = self.kernel.to(waveform.dtype)
        return apply_kernel(waveform, self.orig_freq, self.new_freq, self.gcd, made, self.width)


class Speed(Module):
    """See :func:`functional.speed`; returns the waveform and its lengths."""

    def __init__(self, orig_freq: int, factor: float) -> None:
        super().__init__()
        self.orig_freq, self.factor = orig_freq, factor
        source, target = int(factor * orig_freq), int(orig_freq)
        gcd = math.gcd(source, target)
        self.source_sample_rate, self.target_sample_rate = source // gcd, target // gcd
        self.resampler = Resample(orig_freq=self.source_sample_rate, new_freq=self.target_sample_rate)

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        out = None
        if lengths is not None:
            out = torch.ceil(lengths * self.target_sample_rate / self.source_sample_rate).to(lengths.dtype)
        return self.resampler(waveform), out


class SpeedPerturbation(Module):
    """:class:`Speed` with a factor drawn from ``factors`` in each call (Ko et al. 2015)."""

    def __init__(self, orig_freq: int, factors: Sequence[float]) -> None:
        super().__init__()
        self.speeders = ModuleList([Speed(orig_freq, factor) for factor in factors])

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        return self.speeders[int(torch.randint(len(self.speeders), ()))](waveform, lengths)


class Fade(Module):
    """Fade in over the first and out over the last samples.

    fade_shape: "linear", "exponential", "logarithmic", "quarter_sine" or "half_sine"; others leave the sound as it is.
    """

    def __init__(self, fade_in_len: int = 0, fade_out_len: int = 0, fade_shape: str = "linear") -> None:
        super().__init__()
        self.fade_in_len, self.fade_out_len, self.fade_shape = fade_in_len, fade_out_len, fade_shape

    def _rising(self, t: Tensor, falling: bool) -> Tensor:
        shape = self.fade_shape
        if shape == "linear":
            return 1 - t if falling else t
        if shape == "exponential":
            return torch.pow(2, -t) * (1 - t) if falling else torch.pow(2, t - 1) * t
        if shape == "logarithmic":
            return torch.log10(1.1 - t) + 1 if falling else torch.log10(0.1 + t) + 1
        if shape == "quarter_sine":
            return torch.sin(t * math.pi / 2 + (math.pi / 2 if falling else 0))
        if shape == "half_sine":
            wave = torch.sin(t * math.pi + (math.pi / 2 if falling else -math.pi / 2))
            return wave / 2 + 0.5
        return torch.ones_like(t)

    def _curve(self, length: int, total: int, falling: bool, device: Any) -> Tensor:
        flat = torch.ones(total - length, device=device)
        curve = self._rising(torch.linspace(0, 1, length, device=device), falling)
        return torch.cat([flat, curve] if falling else [curve, flat]).clamp(0, 1)

    def forward(self, waveform: Tensor) -> Tensor:
        total, device = waveform.shape[-1], waveform.device
        rise = self._curve(self.fade_in_len, total, False, device)
        return rise * self._curve(self.fade_out_len, total, True, device) * waveform


class Vol(Module):
    """Louder or softer by ``gain`` – an "amplitude", a "power" or in "db" –, cut to [-1, 1].

    Raises ValueError for a negative amplitude or power.
    """

    def __init__(self, gain: float, gain_type: str = "amplitude") -> None:
        super().__init__()
        if gain_type in ("amplitude", "power") and gain < 0:
            raise ValueError("If gain_type = amplitude or power, gain must be positive.")
        self.gain, self.gain_type = gain, gain_type

    def forward(self, waveform: Tensor) -> Tensor:
        if self.gain_type == "amplitude":
            waveform = waveform * self.gain
        elif self.gain_type == "db":
            waveform = F.gain(waveform, self.gain)
        elif self.gain_type == "power":
            waveform = F.gain(waveform, 10 * math.log10(self.gain))
        return torch.clamp(waveform, -1, 1)


class Vad(Module):
    """See :func:`functional.vad`, whose arguments these are."""

    def __init__(
        self, sample_rate: int, trigger_level: float = 7.0, trigger_time: float = 0.25, search_time: float = 1.0,
        allowed_gap: float = 0.25, pre_trigger_time: float = 0.0, boot_time: float = 0.35, noise_up_time: float = 0.1,
        noise_down_time: float = 0.01, noise_reduction_amount: float = 1.35, measure_freq: float = 20.0,
        measure_duration: float | None = None, measure_smooth_time: float = 0.4, hp_filter_freq: float = 50.0,
        lp_filter_freq: float = 6000.0, hp_lifter_freq: float = 150.0, lp_lifter_freq: float = 2000.0,
    ) -> None:  # fmt: skip
        given = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        super().__init__()
        self.settings = given
        self.sample_rate = sample_rate

    def forward(self, waveform: Tensor) -> Tensor:
        return F.vad(waveform, **self.settings)


class PitchShift(Module):
    """See :func:`functional.pitch_shift`."""

    def __init__(
        self, sample_rate: int, n_steps: int, bins_per_octave: int = 12, n_fft: int = 512,
        win_length: int | None = None, hop_length: int | None = None,
        window_fn: Callable[..., Tensor] = torch.hann_window, wkwargs: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.sample_rate, self.n_steps, self.bins_per_octave, self.n_fft = sample_rate, n_steps, bins_per_octave, n_fft
        self.win_length = win_length if win_length is not None else n_fft
        self.hop_length = hop_length if hop_length is not None else self.win_length // 4
        self.register_buffer("window", window_fn(self.win_length, **(wkwargs or {})))
        rate = 2.0 ** (-float(n_steps) / bins_per_octave)
        self.resampler = Resample(int(sample_rate / rate), sample_rate)

    def forward(self, waveform: Tensor) -> Tensor:
        slow = stretched(
            waveform, self.n_steps, self.bins_per_octave, self.n_fft, self.win_length, self.hop_length, self.window
        )
        return fixed_length(self.resampler(slow), waveform.shape[-1])


class Preemphasis(Module):
    """See :func:`functional.preemphasis`."""

    def __init__(self, coeff: float = 0.97) -> None:
        super().__init__()
        self.coeff = coeff

    def forward(self, waveform: Tensor) -> Tensor:
        return F.preemphasis(waveform, coeff=self.coeff)


class Deemphasis(Module):
    """See :func:`functional.deemphasis`."""

    def __init__(self, coeff: float = 0.97) -> None:
        super().__init__()
        self.coeff = coeff

    def forward(self, waveform: Tensor) -> Tensor:
        return F.deemphasis(waveform, coeff=self.coeff)


class AddNoise(Module):
    """See :func:`functional.add_noise`."""

    def forward(self, waveform: Tensor, noise: Tensor, snr: Tensor, lengths: Tensor | None = None) -> Tensor:
        return F.add_noise(waveform, noise, snr, lengths)


class Convolve(Module):
    """See :func:`functional.convolve`."""

    def __init__(self, mode: str = "full") -> None:
        super().__init__()
        if mode not in ("full", "valid", "same"):
            raise ValueError(f"Unrecognized mode value '{mode}'. Please specify one of ['full', 'valid', 'same'].")
        self.mode = mode

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return F.convolve(x, y, mode=self.mode)


class FFTConvolve(Convolve):
    """See :func:`functional.fftconvolve`."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return F.fftconvolve(x, y, mode=self.mode)
