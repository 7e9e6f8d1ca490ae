"""Kaldi's features: frames cut at the edges or mirrored, and its windows, mels and cepstra.

One channel at a time: waveforms (channel, time), of which ``channel`` is taken (the first if it is -1); results
(frames, features). Lengths are in milliseconds, frequencies in Hz. As in torchaudio, arguments that do not fit raise
AssertionError.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor

from ..functional import create_dct

__all__ = [
    "fbank", "get_mel_banks", "inverse_mel_scale", "inverse_mel_scale_scalar", "mel_scale", "mel_scale_scalar", "mfcc",
    "spectrogram", "vtln_warp_freq", "vtln_warp_mel_freq",
]  # fmt: skip

_EPSILON = float(np.finfo(np.float32).eps)
WINDOWS = ("hamming", "hanning", "povey", "rectangular", "blackman")


def mel_scale_scalar(freq: float) -> float:
    """Hz to mels."""
    return 1127.0 * math.log(1.0 + freq / 700.0)


def mel_scale(freq: Tensor) -> Tensor:
    """Hz to mels."""
    return 1127.0 * (1.0 + freq / 700.0).log()


def inverse_mel_scale_scalar(mel_freq: float) -> float:
    """Mels to Hz."""
    return 700.0 * (math.exp(mel_freq / 1127.0) - 1.0)


def inverse_mel_scale(mel_freq: Tensor) -> Tensor:
    """Mels to Hz."""
    return 700.0 * ((mel_freq / 1127.0).exp() - 1.0)


def _warped(low_cut: float, high_cut: float, low: float, high: float, factor: float, freq: np.ndarray) -> np.ndarray:
    if not low_cut > low:
        raise AssertionError(f"be sure to set the vtln_low option higher than low_freq, got {low_cut} and {low}")
    if not high_cut < high:
        raise AssertionError(f"be sure to set the vtln_high option lower than high_freq, got {high_cut} and {high}")
    left, right = low_cut * max(1.0, factor), high_cut * min(1.0, factor)
    scale = 1.0 / factor
    below = (scale * left - low) / (left - low)
    above = (high - scale * right) / (high - right)
    out = np.where(freq < left, low + below * (freq - low), scale * freq)
    out = np.where(freq >= right, high + above * (freq - high), out)
    return np.where((freq < low) | (freq > high), freq, out)


def vtln_warp_freq(
    vtln_low_cutoff: float, vtln_high_cutoff: float, low_freq: float, high_freq: float, vtln_warp_factor: float,
    freq: Tensor,
) -> Tensor:  # fmt: skip
    """Frequencies as if the vocal tract were another length: a scale between the cut-offs, and lines to the ends."""
    made = _warped(vtln_low_cutoff, vtln_high_cutoff, low_freq, high_freq, vtln_warp_factor, freq.cpu().numpy())
    return torch.from_numpy(made).to(freq)


def _warped_mels(low: float, high: float, low_freq: float, high_freq: float, factor: float, mels: np.ndarray) -> Any:
    hz = 700.0 * (np.exp(mels / 1127.0) - 1.0)
    return 1127.0 * np.log(1.0 + _warped(low, high, low_freq, high_freq, factor, hz) / 700.0)


def vtln_warp_mel_freq(
    vtln_low_cutoff: float, vtln_high_cutoff: float, low_freq: float, high_freq: float, vtln_warp_factor: float,
    mel_freq: Tensor,
) -> Tensor:  # fmt: skip
    """:func:`vtln_warp_freq` of mels."""
    made = _warped_mels(
        vtln_low_cutoff, vtln_high_cutoff, low_freq, high_freq, vtln_warp_factor, mel_freq.cpu().numpy()
    )
    return torch.from_numpy(made).to(mel_freq)


def get_mel_banks(
    num_bins: int, window_length_padded: int, sample_freq: float, low_freq: float, high_freq: float, vtln_low: float,
    vtln_high: float, vtln_warp_factor: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Triangular filters (num_bins, window_length_padded // 2), and their centres (num_bins, 1) in Hz.

    ``high_freq`` and ``vtln_high`` count from the Nyquist frequency if they are not positive.
    """
    if num_bins <= 3:
        raise AssertionError(f"Must have at least 3 mel bins, got {num_bins}")
    nyquist = 0.5 * sample_freq
    if high_freq <= 0.0:
        high_freq += nyquist
    if not (0.0 <= low_freq < nyquist and 0.0 < high_freq <= nyquist and low_freq < high_freq):
        raise AssertionError(
            f"Bad values in options: low-freq {low_freq} and high-freq {high_freq} vs. nyquist {nyquist}"
        )
    low, high = mel_scale_scalar(low_freq), mel_scale_scalar(high_freq)
    step = (high - low) / (num_bins + 1)
    if vtln_high < 0.0:
        vtln_high += nyquist
    left = low + np.arange(num_bins)[:, None] * step
    center, right = left + step, left + 2 * step
    if vtln_warp_factor != 1.0:
        if not (low_freq < vtln_low < high_freq and 0.0 < vtln_high < high_freq and vtln_low < vtln_high):
            raise AssertionError(
                f"Bad values in options: vtln-low {vtln_low} and vtln-high {vtln_high}, versus low-freq {low_freq} "
                f"and high-freq {high_freq}"
            )
        left, center, right = (
            _warped_mels(vtln_low, vtln_high, low_freq, high_freq, vtln_warp_factor, m) for m in (left, center, right)
        )
    mel = 1127.0 * np.log(1.0 + np.arange(window_length_padded // 2)[None] * (sample_freq / window_length_padded) / 700)
    up, down = (mel - left) / (center - left), (right - mel) / (right - center)
    if vtln_warp_factor == 1.0:
        bins = np.maximum(0.0, np.minimum(up, down))
    else:
        rising, falling = (mel > left) & (mel <= center), (mel > center) & (mel < right)
        bins = np.where(rising, up, np.where(falling, down, 0.0))
    centers = 700.0 * (np.exp(center / 1127.0) - 1.0)
    return torch.from_numpy(bins.astype(np.float32)), torch.from_numpy(centers.astype(np.float32))


def _window(kind: str, size: int, blackman_coeff: float) -> np.ndarray:
    turn = 2 * math.pi * np.arange(size) / (size - 1) if size > 1 else np.zeros(size)
    hann = 0.5 - 0.5 * np.cos(turn)
    if kind == "hanning":
        return hann
    if kind == "hamming":
        return 0.54 - 0.46 * np.cos(turn)
    if kind == "povey":
        return hann**0.85
    if kind == "rectangular":
        return np.ones(size)
    if kind == "blackman":
        return blackman_coeff - 0.5 * np.cos(turn) + (0.5 - blackman_coeff) * np.cos(2 * turn)
    raise Exception(f"Invalid window type {kind}; there are {WINDOWS}")


def _strided(x: Tensor, size: int, shift: int, snip_edges: bool) -> Tensor:
    """(time,) -> (frames, size); without ``snip_edges`` the ends are mirrored and each shift has its frame."""
    count = x.shape[0]
    if snip_edges:
        if count < size:
            return x.new_empty(0, 0)
        return x.unfold(0, size, shift)
    frames = (count + shift // 2) // shift
    before = size // 2 - shift // 2
    mirrored = x.flip(0)
    x = torch.cat([mirrored[-before:], x, mirrored]) if before > 0 else torch.cat([x[-before:], mirrored])
    return x.unfold(0, size, shift)[:frames]


def _energy(frames: Tensor, energy_floor: float) -> Tensor:
    energy = frames.pow(2).sum(1).clamp(min=_EPSILON).log()
    return energy if energy_floor == 0.0 else energy.clamp(min=math.log(energy_floor))


def _frames(waveform: Tensor, given: dict[str, Any]) -> tuple[Tensor, Tensor, int]:
    """Windowed frames (frames, padded), their logarithmic energies, and ``padded``."""
    channel = max(given["channel"], 0)
    if channel >= waveform.shape[0]:
        raise AssertionError(f"Invalid channel {channel} for size {waveform.shape[0]}")
    x = waveform[channel]
    rate = given["sample_frequency"]
    shift, size = int(rate * given["frame_shift"] * 0.001), int(rate * given["frame_length"] * 0.001)
    padded = 1 << (size - 1).bit_length() if given["round_to_power_of_two"] else size
    if not 2 <= size <= len(x):
        raise AssertionError(f"choose a window size {size} that is [2, {len(x)}]")
    if shift <= 0 or padded % 2:
        raise AssertionError("the window's length must be even (or use `round_to_power_of_two`) and the shift positive")
    if not 0.0 <= given["preemphasis_coefficient"] <= 1.0:
        raise AssertionError("`preemphasis_coefficient` must be between [0, 1]")
    frames = _strided(x, size, shift, given["snip_edges"])
    if given["dither"] != 0.0:
        frames = frames + torch.randn(frames.shape, device=x.device, dtype=x.dtype) * given["dither"]
    if given["remove_dc_offset"]:
        frames = frames - frames.mean(dim=1, keepdim=True)
    raw = frames
    if given["preemphasis_coefficient"] != 0.0:
        before = torch.cat([frames[:, :1], frames[:, :-1]], 1)
        frames = frames - given["preemphasis_coefficient"] * before
    window = torch.from_numpy(_window(given["window_type"], size, given["blackman_coeff"])).to(x)
    frames = torch.nn.functional.pad(frames * window, (0, padded - size))
    return frames, _energy(raw if given["raw_energy"] else frames, given["energy_floor"]), padded


def _short(waveform: Tensor, given: dict[str, Any]) -> bool:
    return len(waveform[max(given["channel"], 0)]) < given["min_duration"] * given["sample_frequency"]


def _centred(features: Tensor, subtract_mean: bool) -> Tensor:
    return features - features.mean(dim=0, keepdim=True) if subtract_mean else features


def spectrogram(
    waveform: Tensor, blackman_coeff: float = 0.42, channel: int = -1, dither: float = 0.0, energy_floor: float = 1.0,
    frame_length: float = 25.0, frame_shift: float = 10.0, min_duration: float = 0.0,
    preemphasis_coefficient: float = 0.97, raw_energy: bool = True, remove_dc_offset: bool = True,
    round_to_power_of_two: bool = True, sample_frequency: float = 16000.0, snip_edges: bool = True,
    subtract_mean: bool = False, window_type: str = "povey",
) -> Tensor:  # fmt: skip
    """Logarithmic power spectrum (frames, padded window // 2 + 1); the first column is the energy."""
    given = dict(locals())
    if _short(waveform, given):
        return waveform.new_empty(0)
    frames, energy, _ = _frames(waveform, given)
    power = torch.fft.rfft(frames).abs().pow(2.0).clamp(min=_EPSILON).log()
    return _centred(torch.cat([energy[:, None], power[:, 1:]], 1), subtract_mean)


def fbank(
    waveform: Tensor, blackman_coeff: float = 0.42, channel: int = -1, dither: float = 0.0, energy_floor: float = 1.0,
    frame_length: float = 25.0, frame_shift: float = 10.0, high_freq: float = 0.0, htk_compat: bool = False,
    low_freq: float = 20.0, min_duration: float = 0.0, num_mel_bins: int = 23, preemphasis_coefficient: float = 0.97,
    raw_energy: bool = True, remove_dc_offset: bool = True, round_to_power_of_two: bool = True,
    sample_frequency: float = 16000.0, snip_edges: bool = True, subtract_mean: bool = False,
    use_energy: bool = False, use_log_fbank: bool = True, use_power: bool = True, vtln_high: float = -500.0,
    vtln_low: float = 100.0, vtln_warp: float = 1.0, window_type: str = "povey",
) -> Tensor:  # fmt: skip
    """Mel filter bank (frames, num_mel_bins); with ``use_energy`` a column more, first, or last if ``htk_compat``."""
    given = dict(locals())
    if _short(waveform, given):
        return waveform.new_empty(0)
    frames, energy, padded = _frames(waveform, given)
    spectrum = torch.fft.rfft(frames).abs()
    if use_power:
        spectrum = spectrum.pow(2.0)
    banks, _ = get_mel_banks(
        num_mel_bins, padded, sample_frequency, low_freq, high_freq, vtln_low, vtln_high, vtln_warp
    )
    mels = spectrum[:, :-1] @ banks.to(spectrum).T  # no filter reaches the Nyquist frequency
    if use_log_fbank:
        mels = mels.clamp(min=_EPSILON).log()
    if use_energy:
        column = energy[:, None]
        mels = torch.cat([mels, column] if htk_compat else [column, mels], 1)
    return _centred(mels, subtract_mean)


def mfcc(
    waveform: Tensor, blackman_coeff: float = 0.42, cepstral_lifter: float = 22.0, channel: int = -1,
    dither: float = 0.0, energy_floor: float = 1.0, frame_length: float = 25.0, frame_shift: float = 10.0,
    high_freq: float = 0.0, htk_compat: bool = False, low_freq: float = 20.0, num_ceps: int = 13,
    min_duration: float = 0.0, num_mel_bins: int = 23, preemphasis_coefficient: float = 0.97, raw_energy: bool = True,
    remove_dc_offset: bool = True, round_to_power_of_two: bool = True, sample_frequency: float = 16000.0,
    snip_edges: bool = True, subtract_mean: bool = False, use_energy: bool = False, vtln_high: float = -500.0,
    vtln_low: float = 100.0, vtln_warp: float = 1.0, window_type: str = "povey",
) -> Tensor:  # fmt: skip
    """Cepstra (frames, num_ceps); with ``use_energy`` the first is the energy; last if ``htk_compat``."""
    given = dict(locals())
    if num_ceps > num_mel_bins:
        raise AssertionError(f"num_ceps cannot be larger than num_mel_bins: {num_ceps} vs {num_mel_bins}")
    if _short(waveform, given):
        return waveform.new_empty(0)
    mels = fbank(**{k: v for k, v in given.items() if k not in ("cepstral_lifter", "num_ceps", "subtract_mean",
                                                                 "use_energy", "htk_compat")},
                 use_energy=use_energy)  # fmt: skip
    energy = mels[:, 0] if use_energy else None
    mels = mels[:, 1:] if use_energy else mels
    # Kaldi's first row is constant at sqrt(1 / n), as in the orthogonal transform
    cepstra = mels @ create_dct(num_ceps, num_mel_bins, "ortho").to(mels)
    if cepstral_lifter != 0.0:
        i = np.arange(num_ceps)
        lifter = 1.0 + 0.5 * cepstral_lifter * np.sin(math.pi * i / cepstral_lifter)
        cepstra = cepstra * torch.from_numpy(lifter).to(cepstra)
    first, rest = cepstra[:, :1], cepstra[:, 1:]
    if energy is not None:
        first = energy[:, None]
    if htk_compat:
        cepstra = torch.cat([rest, first if use_energy else first * math.sqrt(2)], 1)
    else:
        cepstra = torch.cat([first, rest], 1)
    return _centred(cepstra, subtract_mean)
