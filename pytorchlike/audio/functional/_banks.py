"""Filter banks and other fixed tables, computed by NumPy in double precision; features along the time axis."""

from __future__ import annotations

import math
import warnings

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor
from pytorchlike.nn import functional as F

__all__ = [
    "compute_deltas", "create_dct", "linear_fbanks", "melscale_fbanks", "mu_law_decoding", "mu_law_encoding",
    "sliding_window_cmn",
]  # fmt: skip

#: The Slaney scale: linear to 1000 Hz, 15 mels there, then 27 mels to each factor of 6.4.
_LINEAR, _BREAK, _LOG_STEP = 200.0 / 3, 1000.0, math.log(6.4) / 27.0


def _scale(mel_scale: str) -> str:
    if mel_scale not in ("slaney", "htk"):
        raise ValueError('mel_scale should be one of "htk" or "slaney".')
    return mel_scale


def hz_to_mel(freq: float, mel_scale: str = "htk") -> float:
    """A frequency in mels; ValueError unless ``mel_scale`` is "htk" or "slaney"."""
    if _scale(mel_scale) == "htk":
        return 2595.0 * math.log10(1.0 + freq / 700.0)
    return freq / _LINEAR if freq < _BREAK else _BREAK / _LINEAR + math.log(freq / _BREAK) / _LOG_STEP


def mel_to_hz(mels: np.ndarray, mel_scale: str = "htk") -> np.ndarray:
    """The inverse of :func:`hz_to_mel`."""
    if _scale(mel_scale) == "htk":
        return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    top = _BREAK / _LINEAR
    return np.where(mels >= top, _BREAK * np.exp(_LOG_STEP * np.maximum(mels - top, 0)), _LINEAR * mels)


def _triangles(freqs: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(freqs, corners - 2): filters that rise from one corner to the next and fall to the one after."""
    apart = np.diff(corners)
    slopes = corners[None, :] - freqs[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.maximum(0.0, np.minimum(-slopes[:, :-2] / apart[:-1], slopes[:, 2:] / apart[1:]))


def _tensor(table: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(table, np.float32))


def melscale_fbanks(
    n_freqs: int, f_min: float, f_max: float, n_mels: int, sample_rate: int, norm: str | None = None,
    mel_scale: str = "htk",
) -> Tensor:  # fmt: skip
    """Triangular filters (n_freqs, n_mels) at equal distances in mels.

    norm "slaney": each divided by its width in Hz.   mel_scale: "htk" or "slaney".
    Warns of filters that no frequency falls into. Raises ValueError for other names.
    """
    if norm is not None and norm != "slaney":
        raise ValueError('norm must be one of None or "slaney"')
    freqs = np.linspace(0, sample_rate // 2, n_freqs)
    corners = mel_to_hz(np.linspace(hz_to_mel(f_min, mel_scale), hz_to_mel(f_max, mel_scale), n_mels + 2), mel_scale)
    bank = _triangles(freqs, corners)
    if norm == "slaney":
        bank = bank * (2.0 / (corners[2:] - corners[:-2]))
    if (bank.max(0) == 0.0).any():
        warnings.warn(
            "At least one mel filterbank has all zero values. "
            f"The value for `n_mels` ({n_mels}) may be set too high. "
            f"Or, the value for `n_freqs` ({n_freqs}) may be set too low.",
            stacklevel=2,
        )
    return _tensor(bank)


def linear_fbanks(n_freqs: int, f_min: float, f_max: float, n_filter: int, sample_rate: int) -> Tensor:
    """Triangular filters (n_freqs, n_filter) at equal distances in Hz."""
    return _tensor(_triangles(np.linspace(0, sample_rate // 2, n_freqs), np.linspace(f_min, f_max, n_filter + 2)))


def create_dct(n_mfcc: int, n_mels: int, norm: str | None) -> Tensor:
    """The cosine transform of type II (n_mels, n_mfcc) that is applied from the right; norm "ortho": orthogonal.

    Raises ValueError for other norms.
    """
    if norm is not None and norm != "ortho":
        raise ValueError('norm must be either "ortho" or None')
    dct = np.cos(math.pi / n_mels * (np.arange(n_mels) + 0.5) * np.arange(n_mfcc)[:, None])
    if norm is None:
        dct *= 2.0
    else:
        dct[0] *= 1.0 / math.sqrt(2.0)
        dct *= math.sqrt(2.0 / n_mels)
    return _tensor(dct.T)


def mu_law_encoding(x: Tensor, quantization_channels: int) -> Tensor:
    """Values from [-1, 1] as int64 from 0 to ``quantization_channels - 1``, on a logarithmic scale (ITU-T G.711)."""
    mu = quantization_channels - 1.0
    if not x.is_floating_point():
        warnings.warn("The input Tensor must be of floating type; it is converted to one.", stacklevel=2)
        x = x.to(torch.float)
    compressed = torch.sign(x) * torch.log1p(mu * torch.abs(x)) / math.log1p(mu)
    return ((compressed + 1) / 2 * mu + 0.5).to(torch.int64)


def mu_law_decoding(x_mu: Tensor, quantization_channels: int) -> Tensor:
    """The inverse of :func:`mu_law_encoding`, up to rounding."""
    mu = quantization_channels - 1.0
    if not x_mu.is_floating_point():
        x_mu = x_mu.to(torch.float)
    x = x_mu / mu * 2 - 1.0
    return torch.sign(x) * (torch.exp(torch.abs(x) * math.log1p(mu)) - 1.0) / mu


def compute_deltas(specgram: Tensor, win_length: int = 5, mode: str = "replicate") -> Tensor:
    """(..., freq, time): slopes along time, by least squares over ``win_length`` frames; ValueError if below 3."""
    if win_length < 3:
        raise ValueError(f"Window length should be greater than or equal to 3. Found win_length {win_length}")
    shape = specgram.shape
    flat = specgram.reshape(1, -1, shape[-1])
    n = (win_length - 1) // 2
    slopes = torch.arange(-n, n + 1, 1, device=flat.device, dtype=flat.dtype).repeat(flat.shape[1], 1, 1)
    squares = n * (n + 1) * (2 * n + 1) / 3
    return (F.conv1d(F.pad(flat, (n, n), mode=mode), slopes, groups=flat.shape[1]) / squares).reshape(shape)


def _windows(frames: int, size: int, least: int, center: bool) -> tuple[np.ndarray, np.ndarray]:
    """Where the window of each frame starts and ends; at the ends of the recording it moves inwards."""
    t = np.arange(frames)
    if center:
        start = t - size // 2
        end = start + size
    else:
        start, end = t - size, t + 1
    end, start = np.where(start < 0, end - start, end), np.maximum(start, 0)
    if not center:
        end = np.where(end > t, np.maximum(t + 1, least), end)
    over = np.maximum(end - frames, 0)
    return np.maximum(start - over, 0), end - over


def sliding_window_cmn(
    specgram: Tensor, cmn_window: int = 600, min_cmn_window: int = 100, center: bool = False, norm_vars: bool = False
) -> Tensor:
    """(..., time, freq) less the mean over a window that slides along time; ``norm_vars``: divided by its deviation.

    The sums are kept in double precision.
    """
    shape = specgram.shape
    x = specgram.reshape(-1, *shape[-2:])
    start, end = _windows(shape[-2], cmn_window, min_cmn_window, center)
    first, last = (torch.from_numpy(i).to(x.device) for i in (start, end))
    count = torch.from_numpy((end - start)[:, None].astype(np.float64)).to(x.device)

    def mean(values: Tensor) -> Tensor:
        sums = F.pad(values.cumsum(1), (0, 0, 1, 0))
        return (sums.index_select(1, last) - sums.index_select(1, first)) / count

    wide = x.double()
    centre = mean(wide)
    out = x - centre.to(x.dtype)
    if norm_vars:
        variance = mean(wide * wide) - centre * centre
        alone = count == 1
        scale = torch.where(alone, torch.zeros_like(variance), torch.where(alone, 1.0, variance).pow(-0.5))
        out = out * scale.to(x.dtype)
    return out.reshape(shape)
