"""Changes of the sample rate."""

from __future__ import annotations

import functools
import math

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor
from pytorchlike.nn import functional as F

__all__ = ["resample", "speed"]

#: Kaiser's window with the stop band of librosa's "kaiser_best".
_BETA = 14.769656459379492


@functools.lru_cache(64)
def kernel(
    orig_freq: int, new_freq: int, gcd: int, lowpass_filter_width: int, rolloff: float, method: str,
    beta: float | None,
) -> tuple[np.ndarray, int]:  # fmt: skip
    """Windowed sinc filters (new, 1, taps), one for each phase, in double precision, and the samples before the first.

    Source: https://ccrma.stanford.edu/~jos/resample/Theory_Ideal_Bandlimited_Interpolation.html
    """
    if method not in ("sinc_interp_hann", "sinc_interp_kaiser"):
        raise ValueError(f"Invalid resampling method: {method}")
    if lowpass_filter_width <= 0:
        raise ValueError("Low pass filter width should be positive.")
    orig, new = orig_freq // gcd, new_freq // gcd
    base = min(orig, new) * rolloff
    width = math.ceil(lowpass_filter_width * orig / base)
    t = -np.arange(new)[:, None, None] / new + np.arange(-width, width + orig)[None, None] / orig
    t = np.clip(t * base, -lowpass_filter_width, lowpass_filter_width)
    if method == "sinc_interp_hann":
        window = np.cos(t * math.pi / lowpass_filter_width / 2) ** 2
    else:
        beta = _BETA if beta is None else float(beta)
        window = np.i0(beta * np.sqrt(np.maximum(1 - (t / lowpass_filter_width) ** 2, 0))) / np.i0(beta)
    return np.sinc(t) * window * (base / orig), width


def rates(orig_freq: float, new_freq: float) -> tuple[int, int, int]:
    """Both rates as integers, and their greatest common divisor; ValueError for rates that are not whole or positive.
    """
    if orig_freq <= 0.0 or new_freq <= 0.0:
        raise ValueError("Original frequency and desired frequency should be positive")
    if int(orig_freq) != orig_freq or int(new_freq) != new_freq:
        raise ValueError(
            "Frequencies must be of integer type to ensure quality resampling computation. "
            f"Multiply both by a factor that makes them whole; got {orig_freq} and {new_freq}"
        )
    return int(orig_freq), int(new_freq), math.gcd(int(orig_freq), int(new_freq))


def apply_kernel(waveform: Tensor, orig_freq: int, new_freq: int, gcd: int, table: Tensor, width: int) -> Tensor:
    """(..., time) -> (..., ceil(time * new / orig))."""
    if not waveform.is_floating_point():
        raise TypeError(f"Expected floating point type for waveform tensor, but received {waveform.dtype}.")
    orig, new = orig_freq // gcd, new_freq // gcd
    shape = waveform.shape
    padded = F.pad(waveform.reshape(-1, shape[-1]), (width, width + orig))
    out = F.conv1d(padded[:, None], table, stride=orig).transpose(1, 2).reshape(padded.shape[0], -1)
    out = out[..., : math.ceil(new * shape[-1] / orig)]
    return out.reshape(shape[:-1] + out.shape[-1:])


def resample(
    waveform: Tensor, orig_freq: int, new_freq: int, lowpass_filter_width: int = 6, rolloff: float = 0.99,
    resampling_method: str = "sinc_interp_hann", beta: float | None = None,
) -> Tensor:  # fmt: skip
    """(..., time) at ``orig_freq`` -> (..., ceil(time * new_freq / orig_freq)), by band-limited interpolation.

    lowpass_filter_width: zeros of the sinc on each side.   rolloff: the cut-off as a share of the lower Nyquist
    frequency.   resampling_method: the window, "sinc_interp_hann" or "sinc_interp_kaiser", whose shape is ``beta``.
    """
    orig, new, gcd = rates(orig_freq, new_freq)
    if orig == new:
        return waveform
    table, width = kernel(orig, new, gcd, lowpass_filter_width, rolloff, resampling_method, beta)
    made = torch.tensor(table, dtype=waveform.dtype, device=waveform.device)
    return apply_kernel(waveform, orig, new, gcd, made, width)


def speed(
    waveform: Tensor, orig_freq: int, factor: float, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """(..., time) played ``factor`` times as fast, pitch included, and the lengths that go with it."""
    source, target = int(factor * orig_freq), int(orig_freq)
    gcd = math.gcd(source, target)
    source, target = source // gcd, target // gcd
    out = None if lengths is None else torch.ceil(lengths * target / source).to(lengths.dtype)
    return resample(waveform, source, target), out
