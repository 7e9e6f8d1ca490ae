"""Noise, reverberation and masks."""

from __future__ import annotations

import pytorchlike as torch
from pytorchlike import Tensor
from pytorchlike.nn import functional as F

__all__ = ["add_noise", "convolve", "fftconvolve", "mask_along_axis", "mask_along_axis_iid"]


def _mask_width(mask_param: int, p: float, length: int) -> int:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"The value of p must be between 0.0 and 1.0 ({p} given).")
    return mask_param if p == 1.0 else min(mask_param, int(length * p))


def _masked(specgram: Tensor, axis: int, value: Tensor, low: Tensor, fill: float | Tensor) -> Tensor:
    """value, low (..., 1, 1): mask from ``low`` over ``value`` places of the axis."""
    start, end = low.long(), low.long() + value.long()
    place = torch.arange(specgram.shape[axis], device=specgram.device)
    if axis == specgram.ndim - 2:
        place = place[:, None]
    return specgram.masked_fill((place >= start) & (place < end), fill)


def mask_along_axis_iid(
    specgrams: Tensor, mask_param: int, mask_value: float | Tensor, axis: int, p: float = 1.0
) -> Tensor:
    """Fill, in each spectrogram of (..., freq, time), a stretch of the axis of up to ``mask_param`` places.

    p: at most this share of the axis.   Raises ValueError for fewer than 3 axes, or one that is not of the last two.
    """
    dim = specgrams.ndim
    if dim < 3:
        raise ValueError(f"Spectrogram must have at least three dimensions ({dim} given).")
    return _mask(specgrams, mask_param, mask_value, axis, p, specgrams.shape[: dim - 2])


def mask_along_axis(specgram: Tensor, mask_param: int, mask_value: float, axis: int, p: float = 1.0) -> Tensor:
    """As :func:`mask_along_axis_iid`, with the same stretch for all spectrograms; two axes are enough."""
    dim = specgram.ndim
    if dim < 2:
        raise ValueError(f"Spectrogram must have at least two dimensions (time and frequency) ({dim} given).")
    return _mask(specgram, mask_param, mask_value, axis, p, ())


def _mask(
    specgram: Tensor, mask_param: int, mask_value: float | Tensor, axis: int, p: float, draws: tuple[int, ...]
) -> Tensor:
    dim = specgram.ndim
    if axis not in (dim - 2, dim - 1):
        raise ValueError(
            "Only Frequency and Time masking are supported "
            f"(axis {dim - 2} and axis {dim - 1} supported; {axis} given)."
        )
    size = specgram.shape[axis]
    width = _mask_width(mask_param, p, size)
    if width < 1:
        return specgram
    kind = specgram.real.dtype if specgram.is_complex() else specgram.dtype
    shape = (*draws, 1, 1) if draws else (1,) * dim
    value = torch.rand(shape, device=specgram.device, dtype=kind) * width
    low = torch.rand(shape, device=specgram.device, dtype=kind) * (size - value)
    return _masked(specgram, axis, value, low, mask_value)


def add_noise(waveform: Tensor, noise: Tensor, snr: Tensor, lengths: Tensor | None = None) -> Tensor:
    """(..., time) plus noise of the same shape at a signal-to-noise ratio ``snr`` (...) in decibels.

    lengths (...): the energies are those of so many samples.   Raises ValueError if the shapes do not fit.
    """
    if not (waveform.ndim - 1 == noise.ndim - 1 == snr.ndim and (lengths is None or lengths.ndim == snr.ndim)):
        raise ValueError(
            f"Input leading dimensions don't match: waveform {waveform.ndim - 1}, noise {noise.ndim - 1}, "
            f"snr {snr.ndim}{'' if lengths is None else f', lengths {lengths.ndim}'}"
        )
    length = waveform.size(-1)
    if length != noise.size(-1):
        raise ValueError(f"Length dimensions of waveform and noise don't match (got {length} and {noise.size(-1)}).")
    signal, other = waveform, noise
    if lengths is not None:
        used = torch.arange(0, length, device=lengths.device) < lengths.unsqueeze(-1)
        signal, other = waveform * used, noise * used
    energy, noisy = signal.pow(2).sum(-1), other.pow(2).sum(-1)
    have = 10 * (torch.log10(energy) - torch.log10(noisy))
    scale = 10 ** ((have - snr) / 20.0)
    return waveform + scale.unsqueeze(-1) * noise


def _checked(x: Tensor, y: Tensor, mode: str) -> None:
    if mode not in ("full", "valid", "same"):
        raise ValueError(f"Unrecognized mode value '{mode}'. Please specify one of ['full', 'valid', 'same'].")
    if x.ndim != y.ndim:
        raise ValueError(f"The operands must be the same dimension (got {x.ndim} and {y.ndim}).")
    for a, b in zip(x.shape[:-1], y.shape[:-1], strict=True):
        if a != b and 1 not in (a, b):
            raise ValueError(f"Leading dimensions of x and y are not broadcastable (got {x.shape} and {y.shape}).")


def _cut(full: Tensor, n_x: int, n_y: int, mode: str) -> Tensor:
    if mode == "full":
        return full
    target = max(n_x, n_y) - min(n_x, n_y) + 1 if mode == "valid" else n_x
    start = (full.size(-1) - target) // 2
    return full[..., start : start + target]


def fftconvolve(x: Tensor, y: Tensor, mode: str = "full") -> Tensor:
    """The convolution along the last axis, through Fourier transforms; other axes broadcast.

    mode: "full", n + m - 1 samples; "valid", where both overlap wholly; "same", the middle ``x.size(-1)``.
    """
    _checked(x, y, mode)
    n = x.size(-1) + y.size(-1) - 1
    out = torch.fft.irfft(torch.fft.rfft(x, n=n) * torch.fft.rfft(y, n=n), n=n)
    return _cut(out, x.size(-1), y.size(-1), mode)


def convolve(x: Tensor, y: Tensor, mode: str = "full") -> Tensor:
    """As :func:`fftconvolve`, by its definition."""
    _checked(x, y, mode)
    n_x, n_y = x.size(-1), y.size(-1)
    if n_x < n_y:
        x, y = y, x
    lead = torch.broadcast_shapes(x.shape[:-1], y.shape[:-1])
    a = x.expand(*lead, x.size(-1)).reshape(1, -1, x.size(-1))
    b = y.expand(*lead, y.size(-1)).reshape(-1, 1, y.size(-1)).flip(-1)
    out = F.conv1d(a, b, groups=a.size(1), padding=b.size(-1) - 1)
    return _cut(out.reshape(*lead, -1), n_x, n_y, mode)
