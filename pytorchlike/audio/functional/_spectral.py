"""Spectrograms and what is made of them."""

from __future__ import annotations

import math
import warnings

import pytorchlike as torch
from pytorchlike import Tensor
from pytorchlike.nn import functional as F

__all__ = [
    "DB_to_amplitude", "amplitude_to_DB", "griffinlim", "inverse_spectrogram", "phase_vocoder", "pitch_shift",
    "spectral_centroid", "spectrogram",
]  # fmt: skip


def _norms(normalized: bool | str) -> tuple[bool, bool]:
    """Whether to divide by the square root of the frame's length, and by the window's norm."""
    if isinstance(normalized, str):
        if normalized not in ("frame_length", "window"):
            raise ValueError(f"Invalid normalized parameter: {normalized}; there are 'frame_length' and 'window'")
        return normalized == "frame_length", normalized == "window"
    if not isinstance(normalized, bool):
        raise TypeError(f"Input type not supported: normalized is a bool or a str, not {type(normalized).__name__}")
    return False, normalized


def spectrogram(
    waveform: Tensor, pad: int, window: Tensor, n_fft: int, hop_length: int, win_length: int, power: float | None,
    normalized: bool | str, center: bool = True, pad_mode: str = "reflect", onesided: bool = True,
    return_complex: bool | None = None,
) -> Tensor:  # fmt: skip
    """(..., time) -> (..., n_fft // 2 + 1 or n_fft, frames): magnitudes of the short-time Fourier transform.

    power: the magnitudes' exponent; None gives the complex spectrum.   pad: zeros before and after.
    normalized: True or "window": divided by the window's norm; "frame_length": by the square root of ``win_length``.
    """
    if return_complex is not None:
        warnings.warn(
            "`return_complex` argument is now deprecated and is not effective; power=None gives the complex spectrum",
            stacklevel=2,
        )
    if pad > 0:
        waveform = F.pad(waveform, (pad, pad), "constant")
    by_frame, by_window = _norms(normalized)
    shape = waveform.shape
    spec = torch.stft(
        waveform.reshape(-1, shape[-1]), n_fft=n_fft, hop_length=hop_length, win_length=win_length, window=window,
        center=center, pad_mode=pad_mode, normalized=by_frame, onesided=onesided, return_complex=True,
    )  # fmt: skip
    spec = spec.reshape(shape[:-1] + spec.shape[-2:])
    if by_window:
        spec = spec / window.pow(2.0).sum().sqrt()
    if power is None:
        return spec
    return spec.abs() if power == 1.0 else spec.abs().pow(power)


def inverse_spectrogram(
    spectrogram: Tensor, length: int | None, pad: int, window: Tensor, n_fft: int, hop_length: int, win_length: int,
    normalized: bool | str, center: bool = True, pad_mode: str = "reflect", onesided: bool = True,
) -> Tensor:  # fmt: skip
    """The waveform (..., time) of a complex spectrogram (..., freq, frames), ``length`` samples long if that is given.

    Raises ValueError if the spectrogram is not complex.
    """
    by_frame, by_window = _norms(normalized)
    if not spectrogram.is_complex():
        raise ValueError("Expected `spectrogram` to be complex dtype.")
    if by_window:
        spectrogram = spectrogram * window.pow(2.0).sum().sqrt()
    shape = spectrogram.shape
    waveform = torch.istft(
        spectrogram.reshape(-1, *shape[-2:]), n_fft=n_fft, hop_length=hop_length, win_length=win_length,
        window=window, center=center, normalized=by_frame, onesided=onesided,
        length=length + 2 * pad if length is not None else None, return_complex=False,
    )  # fmt: skip
    if length is not None and pad > 0:
        waveform = waveform[:, pad:-pad]
    return waveform.reshape(shape[:-2] + waveform.shape[-1:])


def griffinlim(
    specgram: Tensor, window: Tensor, n_fft: int, hop_length: int, win_length: int, power: float, n_iter: int,
    momentum: float, length: int | None, rand_init: bool,
) -> Tensor:  # fmt: skip
    """A waveform whose magnitudes to the ``power`` are (..., freq, frames): phases by alternating projections.

    Source: Griffin & Lim 1984; the momentum: Perraudin, Balazs & Søndergaard 2013, doi:10.1109/WASPAA.2013.6701851.
    Raises ValueError unless 0 <= momentum < 1.
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be in range [0, 1). Found: {momentum}")
    momentum = momentum / (1 + momentum)
    shape = specgram.shape
    magnitude = specgram.reshape(-1, *shape[-2:]).pow(1 / power)
    kind = torch.complex128 if magnitude.dtype == torch.float64 else torch.complex64
    make = torch.rand if rand_init else torch.ones
    angles = make(magnitude.shape, dtype=kind, device=magnitude.device)
    sizes = {"n_fft": n_fft, "hop_length": hop_length, "win_length": win_length, "window": window}
    before: Tensor | None = None
    for _ in range(n_iter):
        inverse = torch.istft(magnitude * angles, **sizes, length=length)
        rebuilt = torch.stft(inverse, **sizes, center=True, pad_mode="reflect", onesided=True, return_complex=True)
        angles = rebuilt if before is None or not momentum else rebuilt - before * momentum
        angles = angles / (angles.abs() + 1e-16)
        before = rebuilt
    waveform = torch.istft(magnitude * angles, **sizes, length=length)
    return waveform.reshape(shape[:-2] + waveform.shape[-1:])


def amplitude_to_DB(
    x: Tensor, multiplier: float, amin: float, db_multiplier: float, top_db: float | None = None
) -> Tensor:
    """``multiplier * (log10(max(x, amin)) - db_multiplier)``; with ``top_db`` no lower than so much below the maximum.

    The maximum is over the last three axes, (channel, freq, time), so each spectrogram of a batch has its own.
    """
    db = multiplier * torch.log10(torch.clamp(x, min=amin))
    db = db - multiplier * db_multiplier
    if top_db is not None:
        shape = db.shape
        packed = db.reshape(-1, shape[-3] if db.ndim > 2 else 1, shape[-2], shape[-1])
        db = torch.maximum(packed, (packed.amax(dim=(-3, -2, -1)) - top_db).view(-1, 1, 1, 1)).reshape(shape)
    return db


def DB_to_amplitude(x: Tensor, ref: float, power: float) -> Tensor:
    """``ref * 10 ** (0.1 * x) ** power``."""
    return ref * torch.pow(torch.pow(10.0, 0.1 * x), power)


def spectral_centroid(
    waveform: Tensor, sample_rate: int, pad: int, window: Tensor, n_fft: int, hop_length: int, win_length: int
) -> Tensor:
    """(..., time) -> (..., frames): the mean frequency of each frame, weighted by magnitude."""
    spec = spectrogram(waveform, pad, window, n_fft, hop_length, win_length, power=1.0, normalized=False)
    freqs = torch.linspace(0, sample_rate // 2, steps=1 + n_fft // 2, device=spec.device).reshape(-1, 1)
    return (freqs * spec).sum(dim=-2) / spec.sum(dim=-2)


def phase_vocoder(complex_specgrams: Tensor, rate: float, phase_advance: Tensor) -> Tensor:
    """A complex spectrogram (..., freq, frames) played ``rate`` times as fast at the same pitch, (..., freq, frames').

    phase_advance (freq, 1): the phase that each frequency gains in one hop.
    """
    if rate == 1.0:
        return complex_specgrams
    shape = complex_specgrams.shape
    spec = complex_specgrams.reshape(-1, *shape[-2:])
    steps = torch.arange(0, spec.size(-1), rate, device=spec.device, dtype=spec.real.dtype)
    fraction, first = steps % 1.0, steps.long()
    padded = F.pad(spec, [0, 2])
    now, then = padded.index_select(-1, first), padded.index_select(-1, first + 1)
    turn = then.angle() - now.angle() - phase_advance
    turn = turn - 2 * math.pi * torch.round(turn / (2 * math.pi)) + phase_advance
    phase = torch.cat([spec[..., :1].angle(), turn[..., :-1]], dim=-1).cumsum(-1)
    magnitude = fraction * then.abs() + (1 - fraction) * now.abs()
    stretched = torch.polar(magnitude, phase)
    return stretched.reshape(shape[:-2] + stretched.shape[1:])


def stretched(
    waveform: Tensor, n_steps: int, bins_per_octave: int, n_fft: int, win_length: int | None, hop_length: int | None,
    window: Tensor | None,
) -> Tensor:  # fmt: skip
    """A waveform stretched by the factor that resampling turns into a shift of ``n_steps``."""
    hop = n_fft // 4 if hop_length is None else hop_length
    win = n_fft if win_length is None else win_length
    window = torch.hann_window(win, device=waveform.device) if window is None else window
    shape = waveform.shape
    length = shape[-1]
    rate = 2.0 ** (-float(n_steps) / bins_per_octave)
    sizes = {"n_fft": n_fft, "hop_length": hop, "win_length": win, "window": window}
    spec = torch.stft(
        waveform.reshape(-1, length), **sizes, center=True, pad_mode="reflect", normalized=False, onesided=True,
        return_complex=True,
    )  # fmt: skip
    advance = torch.linspace(0, math.pi * hop, spec.shape[-2], device=spec.device)[..., None]
    out = torch.istft(phase_vocoder(spec, rate, advance), **sizes, length=round(length / rate))
    return out.reshape(shape[:-1] + out.shape[-1:])


def fixed_length(shifted: Tensor, length: int) -> Tensor:
    """Cut, or padded by zeros, to ``length`` samples."""
    have = shifted.shape[-1]
    return shifted[..., :length] if have > length else F.pad(shifted, [0, length - have])


def pitch_shift(
    waveform: Tensor, sample_rate: int, n_steps: int, bins_per_octave: int = 12, n_fft: int = 512,
    win_length: int | None = None, hop_length: int | None = None, window: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """A waveform (..., time) shifted in pitch by ``n_steps`` of an octave's ``bins_per_octave``, at the same speed."""
    from ._resample import resample

    out = stretched(waveform, n_steps, bins_per_octave, n_fft, win_length, hop_length, window)
    rate = 2.0 ** (-float(n_steps) / bins_per_octave)
    return fixed_length(resample(out, int(sample_rate / rate), sample_rate), waveform.shape[-1])
