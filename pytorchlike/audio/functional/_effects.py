"""Effects of SoX: gain, dither, overdrive, phaser, flanger."""

from __future__ import annotations

import math

import numpy as np

import pytorchlike as torch
from pytorchlike import Tensor

from ._filtering import lfilter
from ._ops import delayed_feedback, sweep

__all__ = ["contrast", "dcshift", "dither", "flanger", "gain", "overdrive", "phaser"]


def gain(waveform: Tensor, gain_db: float = 1.0) -> Tensor:
    """(..., time) louder by so many decibels."""
    return waveform if gain_db == 0 else waveform * 10 ** (gain_db / 20)


def contrast(waveform: Tensor, enhancement_amount: float = 75.0) -> Tensor:
    """Make (..., time) sound louder; ``enhancement_amount`` from 0 to 100, ValueError outside."""
    if not 0 <= enhancement_amount <= 100:
        raise ValueError("Allowed range of values for enhancement_amount : 0-100")
    angle = waveform * (math.pi / 2)
    return torch.sin(angle + enhancement_amount / 750.0 * torch.sin(angle * 4))


def dcshift(waveform: Tensor, shift: float, limiter_gain: float | None = None) -> Tensor:
    """(..., time) plus ``shift``; ``limiter_gain`` compresses what would leave [-1, 1], as SoX does."""
    moved = waveform + shift
    if limiter_gain is not None:
        limit = 1.0 - (abs(shift) - limiter_gain)
        if shift > 0:
            soft = (waveform - limit) * limiter_gain / (1 - limit)
            moved = torch.where(waveform > limit, soft + limit + shift, moved)
        elif shift < 0:
            soft = (waveform + limit) * limiter_gain / (1 - limit)
            moved = torch.where(waveform < -limit, soft - limit + shift, moved)
    return moved.clamp(min=-1, max=1)


def dither(waveform: Tensor, density_function: str = "TPDF", noise_shaping: bool = False) -> Tensor:
    """(..., time) rounded to 16 bits after an offset was added.

    density_function: "TPDF", an offset that rises and falls along time, in triangular form; "RPDF", one uniform random
    offset; "GPDF", one sum of six.   noise_shaping: the error of each sample is added to the next.
    Raises ValueError for another function.
    """
    length, device = waveform.shape[-1], waveform.device
    if density_function == "TPDF":
        offset = torch.bartlett_window(length, device=device)
    elif density_function == "RPDF":
        offset = torch.rand((), device=device) - 0.5
    elif density_function == "GPDF":
        offset = (torch.rand(6, device=device) - 0.5).sum()
    else:
        raise ValueError(f"density_function is 'TPDF', 'RPDF' or 'GPDF', not {density_function!r}")
    dithered = torch.round(waveform * (2**15 - 2) + offset.to(waveform.dtype)) / 2**15
    if not noise_shaping:
        return dithered
    error = dithered - waveform
    return dithered + torch.cat([torch.zeros_like(error[..., :1]), error[..., :-1]], -1)


def overdrive(waveform: Tensor, gain: float = 20, colour: float = 20) -> Tensor:
    """(..., time) driven into a cubic limiter; gain in decibels, colour: the share of even harmonics, 0 to 100."""
    loud = waveform * 10 ** (gain / 20) + colour / 200
    soft = torch.where(loud < -1, -2.0 / 3, torch.where(loud > 1, 2.0 / 3, loud - loud**3 / 3))
    kind = {"dtype": waveform.dtype, "device": waveform.device}
    # y[t] = s[t] - s[t-1] + 0.995 y[t-1] takes the constant part away
    free = lfilter(soft, torch.tensor([1.0, -0.995], **kind), torch.tensor([1.0, -1.0], **kind), clamp=False)
    return (waveform * 0.5 + free * 0.75).clamp(min=-1, max=1)


def _wave(kind: str, length: int, low: float, high: float, phase: float) -> np.ndarray:
    """One period of a "SINE" or "TRIANGLE" between two values, from a phase in radians on."""
    start = int(phase / math.pi / 2 * length + 0.5)
    t = (np.arange(length) + start) % length
    if kind == "SINE":
        d = (np.sin(t / length * 2 * math.pi) + 1) / 2
    else:
        d = t * 2 / length
        quarter = 4 * t // length
        d = np.where(quarter == 0, d + 0.5, np.where(quarter == 3, d - 1.5, 1.5 - d))
    return d * (high - low) + low


def _rounded(table: np.ndarray) -> np.ndarray:
    return np.where(table < 0, table - 0.5, table + 0.5).astype(np.int32)


def phaser(
    waveform: Tensor, sample_rate: int, gain_in: float = 0.4, gain_out: float = 0.74, delay_ms: float = 3.0,
    decay: float = 0.4, mod_speed: float = 0.5, sinusoidal: bool = True,
) -> Tensor:  # fmt: skip
    """(..., time) plus an echo of itself whose delay, up to ``delay_ms``, swings ``mod_speed`` times a second."""
    length = int(delay_ms * 0.001 * sample_rate + 0.5)
    period = int(sample_rate / mod_speed + 0.5)
    places = _rounded(_wave("SINE" if sinusoidal else "TRIANGLE", period, 1, length, math.pi / 2))
    shape = waveform.shape
    x = waveform.reshape(-1, shape[-1])
    # a line of ``length`` samples: place 1 is its oldest, ``length`` its newest
    delays = torch.from_numpy(length + 1 - places[np.arange(shape[-1]) % period]).to(x.device)
    out = delayed_feedback(x * gain_in, delays, float(decay))
    return (out * gain_out).clamp(min=-1.0, max=1.0).reshape(shape)


def flanger(
    waveform: Tensor, sample_rate: int, delay: float = 0.0, depth: float = 2.0, regen: float = 0.0,
    width: float = 71.0, speed: float = 0.5, phase: float = 25.0, modulation: str = "sinusoidal",
    interpolation: str = "linear",
) -> Tensor:  # fmt: skip
    """(..., channel, time), up to 4 channels, plus an echo whose delay sweeps.

    delay, depth: in milliseconds.   regen, width, phase: percentages.   speed: sweeps per second.
    modulation: "sinusoidal" or "triangular".   interpolation: "linear" or "quadratic".
    Raises ValueError for other names or more channels.
    """
    if modulation not in ("sinusoidal", "triangular"):
        raise ValueError('Only "sinusoidal" or "triangular" modulation allowed')
    if interpolation not in ("linear", "quadratic"):
        raise ValueError('Only "linear" or "quadratic" interpolation allowed')
    shape = waveform.shape
    x = waveform.reshape(-1, shape[-2], shape[-1])
    channels = x.shape[-2]
    if channels > 4:
        raise ValueError("Max 4 channels allowed")
    feedback, swept = regen / 100, width / 100
    low, high = delay / 1000, (delay + depth) / 1000
    direct, mixed = 1 / (1 + swept), swept / (1 + swept)
    mixed = mixed * (1 - abs(feedback))
    line = int(high * sample_rate + 0.5) + 2
    period = int(sample_rate / speed)
    table = _wave("SINE" if modulation == "sinusoidal" else "TRIANGLE", period,
                  math.floor(low * sample_rate + 0.5), line - 2.0, 3 * math.pi / 2)  # fmt: skip
    shift = np.array([int(c * period * phase / 100 + 0.5) for c in range(channels)])
    places = table.astype(np.float32)[(np.arange(shape[-1]) + shift[:, None]) % period]
    made = torch.from_numpy(places).to(x.device)
    out = sweep(x, made, line, feedback, mixed, direct, interpolation == "quadratic")
    return out.clamp(min=-1, max=1).reshape(shape)
