"""Filters: rational ones of any order, and the second-order ones of R. Bristow-Johnson's cookbook.

Frequencies, qualities and gains are numbers or 0-dim Tensors; gradients flow to the latter.
Source of the formulas: https://www.w3.org/TR/audio-eq-cookbook/; SoX for those that are not in it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor

from ._ops import lfilter as _lfilter

__all__ = [
    "allpass_biquad", "band_biquad", "bandpass_biquad", "bandreject_biquad", "bass_biquad", "biquad", "deemph_biquad",
    "deemphasis", "equalizer_biquad", "filtfilt", "highpass_biquad", "lfilter", "lowpass_biquad", "preemphasis",
    "riaa_biquad", "treble_biquad",
]  # fmt: skip

Number = float | Tensor


def lfilter(
    waveform: Tensor, a_coeffs: Tensor, b_coeffs: Tensor, clamp: bool = True, batching: bool = True
) -> Tensor:
    """Solve ``a[0] y[t] + a[1] y[t-1] + ... = b[0] x[t] + b[1] x[t-1] + ...`` for y; lower delays first.

    Shapes: waveform (..., time), coefficients (n,); or coefficients (filters, n), each for one channel of
    (..., filters, time), or, without ``batching``, all for the same (..., time), giving (..., filters, time).
    clamp: cut the output to [-1, 1].   Differentiable in all three.
    Raises ValueError if the shapes do not fit.
    """
    if a_coeffs.size() != b_coeffs.size():
        raise ValueError(
            f"Expected coeffs to be the same size. Found: a_coeffs {tuple(a_coeffs.shape)}, "
            f"b_coeffs {tuple(b_coeffs.shape)}"
        )
    if a_coeffs.ndim > 2:
        raise ValueError(f"Expected coeffs to have greater than 1 dimension. Found: {a_coeffs.ndim}")
    if a_coeffs.ndim > 1:
        if batching:
            if waveform.ndim < 2 or waveform.shape[-2] != a_coeffs.shape[0]:
                raise ValueError(
                    "Expected number of batches in waveform and coeffs to be the same. "
                    f"Found: coeffs {a_coeffs.shape[0]}, waveform {tuple(waveform.shape)}"
                )
        else:
            waveform = torch.stack([waveform] * a_coeffs.shape[0], -2)
    else:
        a_coeffs, b_coeffs = a_coeffs.unsqueeze(0), b_coeffs.unsqueeze(0)
    shape = waveform.shape
    out = _lfilter(waveform.reshape(-1, a_coeffs.shape[0], shape[-1]), a_coeffs, b_coeffs).reshape(shape)
    return torch.clamp(out, min=-1.0, max=1.0) if clamp else out


def filtfilt(waveform: Tensor, a_coeffs: Tensor, b_coeffs: Tensor, clamp: bool = True) -> Tensor:
    """:func:`lfilter` forwards and then backwards, so that no phase is shifted."""
    forward = lfilter(waveform, a_coeffs, b_coeffs, clamp=False).flip(-1)
    return lfilter(forward, a_coeffs, b_coeffs, clamp=clamp).flip(-1)


def preemphasis(waveform: Tensor, coeff: float = 0.97) -> Tensor:
    """``y[t] = x[t] - coeff * x[t-1]``; the first sample stays."""
    return torch.cat([waveform[..., :1], waveform[..., 1:] - coeff * waveform[..., :-1]], -1)


def deemphasis(waveform: Tensor, coeff: float = 0.97) -> Tensor:
    """``y[t] = x[t] + coeff * y[t-1]``: undoes :func:`preemphasis`, and is cut to [-1, 1]."""
    kind = {"dtype": waveform.dtype, "device": waveform.device}
    return lfilter(waveform, torch.tensor([1.0, -coeff], **kind), torch.tensor([1.0, 0.0], **kind))


# ---- second-order sections -------------------------------------------------------------------------------------------


def _apply(name: str, x: Any) -> Any:
    return getattr(torch, name)(x) if isinstance(x, Tensor) else getattr(math, name)(x)


def _row(values: tuple, waveform: Tensor) -> Tensor:
    kind = {"dtype": waveform.dtype, "device": waveform.device}
    if any(isinstance(v, Tensor) for v in values):
        return torch.stack([v.to(**kind).reshape(()) if isinstance(v, Tensor) else torch.tensor(float(v), **kind)
                            for v in values])  # fmt: skip
    return torch.tensor([float(v) for v in values], **kind)


def biquad(waveform: Tensor, b0: Number, b1: Number, b2: Number, a0: Number, a1: Number, a2: Number) -> Tensor:
    """The filter ``(b0 + b1/z + b2/z**2) / (a0 + a1/z + a2/z**2)`` on (..., time), cut to [-1, 1]."""
    return lfilter(waveform, _row((a0, a1, a2), waveform), _row((b0, b1, b2), waveform))


def _angle(sample_rate: int, frequency: Number, Q: Number) -> tuple[Any, Any, Any]:
    """Sine and cosine of the angular frequency, and alpha."""
    w0 = 2 * math.pi * frequency / sample_rate
    sine = _apply("sin", w0)
    return sine, _apply("cos", w0), sine / 2 / Q


def _root_gain(gain: Number) -> Any:
    """The square root of the amplitude that ``gain`` decibels are."""
    return _apply("exp", gain / 40 * math.log(10))


def highpass_biquad(waveform: Tensor, sample_rate: int, cutoff_freq: Number, Q: Number = 0.707) -> Tensor:
    """Two-pole high-pass filter of (..., time)."""
    _, c, alpha = _angle(sample_rate, cutoff_freq, Q)
    b = (1 + c) / 2
    return biquad(waveform, b, -1 - c, b, 1 + alpha, -2 * c, 1 - alpha)


def lowpass_biquad(waveform: Tensor, sample_rate: int, cutoff_freq: Number, Q: Number = 0.707) -> Tensor:
    """Two-pole low-pass filter of (..., time)."""
    _, c, alpha = _angle(sample_rate, cutoff_freq, Q)
    b = (1 - c) / 2
    return biquad(waveform, b, 1 - c, b, 1 + alpha, -2 * c, 1 - alpha)


def allpass_biquad(waveform: Tensor, sample_rate: int, central_freq: Number, Q: Number = 0.707) -> Tensor:
    """Two-pole all-pass filter: the phase alone changes."""
    _, c, alpha = _angle(sample_rate, central_freq, Q)
    return biquad(waveform, 1 - alpha, -2 * c, 1 + alpha, 1 + alpha, -2 * c, 1 - alpha)


def band_biquad(
    waveform: Tensor, sample_rate: int, central_freq: Number, Q: Number = 0.707, noise: bool = False
) -> Tensor:
    """Two-pole band filter; ``noise``: for signals without a pitch, rather than for those with one."""
    w0 = 2 * math.pi * central_freq / sample_rate
    a2 = _apply("exp", -2 * math.pi * (central_freq / Q) / sample_rate)
    a1 = -4 * a2 / (1 + a2) * _apply("cos", w0)
    b0 = _apply("sqrt", 1 - a1 * a1 / (4 * a2)) * (1 - a2)
    if noise:
        b0 = b0 * (_apply("sqrt", ((1 + a2) * (1 + a2) - a1 * a1) * (1 - a2) / (1 + a2)) / b0)
    return biquad(waveform, b0, 0.0, 0.0, 1.0, a1, a2)


def bandpass_biquad(
    waveform: Tensor, sample_rate: int, central_freq: Number, Q: Number = 0.707, const_skirt_gain: bool = False
) -> Tensor:
    """Two-pole band-pass filter with a peak of 0 dB, or of Q with ``const_skirt_gain``."""
    s, c, alpha = _angle(sample_rate, central_freq, Q)
    b = s / 2 if const_skirt_gain else alpha
    return biquad(waveform, b, 0.0, -b, 1 + alpha, -2 * c, 1 - alpha)


def bandreject_biquad(waveform: Tensor, sample_rate: int, central_freq: Number, Q: Number = 0.707) -> Tensor:
    """Two-pole notch filter."""
    _, c, alpha = _angle(sample_rate, central_freq, Q)
    return biquad(waveform, 1.0, -2 * c, 1.0, 1 + alpha, -2 * c, 1 - alpha)


def equalizer_biquad(
    waveform: Tensor, sample_rate: int, center_freq: Number, gain: Number, Q: Number = 0.707
) -> Tensor:
    """A peak, or a dip, of ``gain`` dB at a frequency."""
    _, c, alpha = _angle(sample_rate, center_freq, Q)
    A = _root_gain(gain)
    return biquad(waveform, 1 + alpha * A, -2 * c, 1 - alpha * A, 1 + alpha / A, -2 * c, 1 - alpha / A)


def _high_shelf(waveform: Tensor, c: Any, alpha: Any, A: Any) -> Tensor:
    t1, t2, t3 = 2 * _apply("sqrt", A) * alpha, (A - 1) * c, (A + 1) * c
    b = A * (A + 1 + t2 + t1), -2 * A * (A - 1 + t3), A * (A + 1 + t2 - t1)
    return biquad(waveform, *b, A + 1 - t2 + t1, 2 * (A - 1 - t3), A + 1 - t2 - t1)


def treble_biquad(
    waveform: Tensor, sample_rate: int, gain: Number, central_freq: Number = 3000, Q: Number = 0.707
) -> Tensor:
    """Raise or lower what is above a frequency by ``gain`` dB."""
    _, c, alpha = _angle(sample_rate, central_freq, Q)
    return _high_shelf(waveform, c, alpha, _root_gain(gain))


def bass_biquad(
    waveform: Tensor, sample_rate: int, gain: Number, central_freq: Number = 100, Q: Number = 0.707
) -> Tensor:
    """Raise or lower what is below a frequency by ``gain`` dB."""
    _, c, alpha = _angle(sample_rate, central_freq, Q)
    A = _root_gain(gain)
    t1, t2, t3 = 2 * _apply("sqrt", A) * alpha, (A - 1) * c, (A + 1) * c
    b = A * (A + 1 - t2 + t1), 2 * A * (A - 1 - t3), A * (A + 1 - t2 - t1)
    return biquad(waveform, *b, A + 1 + t2 + t1, -2 * (A - 1 + t3), A + 1 + t2 - t1)


def deemph_biquad(waveform: Tensor, sample_rate: int) -> Tensor:
    """The de-emphasis of compact discs (ISO 908), as a shelf; ValueError unless the rate is 44100 or 48000."""
    shelves = {44100: (5283, 0.4845, -9.477), 48000: (5356, 0.479, -9.62)}
    if sample_rate not in shelves:
        raise ValueError("Sample rate must be 44100 (audio-CD) or 48000 (DAT)")
    frequency, slope, gain = shelves[sample_rate]
    A = _root_gain(gain)
    s, c, _ = _angle(sample_rate, frequency, 1)
    return _high_shelf(waveform, c, s / 2 * math.sqrt((A + 1 / A) * (1 / slope - 1) + 2), A)


#: Zeros and poles for each sample rate, from SoX.
_RIAA = {
    44100: ((-0.2014898, 0.9233820), (0.7083149, 0.9924091)),
    48000: ((-0.1766069, 0.9321590), (0.7396325, 0.9931330)),
    88200: ((-0.1168735, 0.9648312), (0.8590646, 0.9964002)),
    96000: ((-0.1141486, 0.9676817), (0.8699137, 0.9966946)),
}


def riaa_biquad(waveform: Tensor, sample_rate: int) -> Tensor:
    """The equalization of records on vinyl (RIAA), 0 dB at 1 kHz; ValueError for rates that it is not known for."""
    if sample_rate not in _RIAA:
        raise ValueError("Sample rate must be 44.1k, 48k, 88.2k, or 96k")
    zeros, poles = _RIAA[sample_rate]
    b, a = np.poly(zeros), np.poly(poles)
    back = np.exp(-2j * math.pi * 1000 / sample_rate * np.arange(3))
    b = b / abs((b @ back) / (a @ back))
    return biquad(waveform, *b.tolist(), *a.tolist())
