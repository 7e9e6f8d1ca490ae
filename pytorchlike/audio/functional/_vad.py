"""Voice activity detection."""

from __future__ import annotations

import math
import warnings

import numpy as np

from pytorchlike import Tensor

__all__ = ["vad"]


def _hann(size: int) -> np.ndarray:
    return (2.0 / math.sqrt(size)) * (0.5 - 0.5 * np.cos(2 * math.pi * np.arange(size) / size))


class _Meter:
    """The cepstral measure of one channel after another; noise is learnt as it goes."""

    def __init__(
        self, channels: int, size: int, sample_rate: int, measure_freq: float, noise_up_time: float,
        noise_down_time: float, noise_reduction_amount: float, measure_smooth_time: float, bands: tuple[float, ...],
    ) -> None:  # fmt: skip
        hp_filter, lp_filter, hp_lifter, lp_lifter = bands
        self.size = size
        self.length = max(16, 1 << (size - 1).bit_length())
        self.window = _hann(size)
        self.low = max(int(hp_filter / sample_rate * self.length + 0.5), 1)
        self.high = min(int(lp_filter / sample_rate * self.length + 0.5), self.length // 2)
        self.lifter = _hann(self.high - self.low)
        self.first = math.ceil(sample_rate * 0.5 / lp_lifter)
        self.last = min(math.floor(sample_rate * 0.5 / hp_lifter), self.length // 4)
        if self.first >= self.last:
            raise ValueError(
                f"Expected start is {self.first} and end {self.last} of the cepstrum; the lifter's frequencies leave "
                "nothing"
            )
        self.up, self.down, self.smooth = (
            math.exp(-1.0 / (t * measure_freq)) for t in (noise_up_time, noise_down_time, measure_smooth_time)
        )
        self.reduction = noise_reduction_amount
        self.spectrum = np.zeros((channels, self.high - self.low))
        self.noise = np.zeros_like(self.spectrum)

    def __call__(self, samples: np.ndarray, boot: int) -> np.ndarray:
        """Samples (channels, size) -> (channels,); ``boot``: how many measures were made, or -1 when it has settled."""
        frame = np.zeros((samples.shape[0], self.length))
        frame[:, : self.size] = samples * self.window
        keep = boot / (1.0 + boot) if boot >= 0 else self.smooth
        new = np.abs(np.fft.rfft(frame))[:, self.low : self.high]
        self.spectrum = self.spectrum * keep + new * (1 - keep)
        power = self.spectrum**2
        held = np.zeros(()) if boot >= 0 else np.where(power > self.noise, self.up, self.down)
        self.noise = self.noise * held + power * (1 - held)
        clean = np.sqrt(np.maximum(0.0, power - self.reduction * self.noise))
        cepstrum = np.zeros((samples.shape[0], self.length // 2))
        cepstrum[:, self.low : self.high] = clean * self.lifter
        strength = (np.abs(np.fft.rfft(cepstrum))[:, self.first : self.last] ** 2).sum(-1)
        with np.errstate(divide="ignore"):
            return np.maximum(0.0, 21 + np.log(strength / (self.last - self.first)))


def _back(measures: np.ndarray, newest: int, level: float, gap: int) -> int:
    """How many measures before the newest speech began: back over those above the level, and gaps between them."""
    count = len(measures)
    triggered = zero = count
    for j in range(count):
        value = measures[(newest - j) % count]
        if value >= level and j <= triggered + gap:
            zero = triggered = j
        elif value == 0 and triggered >= zero:
            zero = j
    return min(count - 1, zero)


def vad(
    waveform: Tensor, sample_rate: int, trigger_level: float = 7.0, trigger_time: float = 0.25,
    search_time: float = 1.0, allowed_gap: float = 0.25, pre_trigger_time: float = 0.0, boot_time: float = 0.35,
    noise_up_time: float = 0.1, noise_down_time: float = 0.01, noise_reduction_amount: float = 1.35,
    measure_freq: float = 20.0, measure_duration: float | None = None, measure_smooth_time: float = 0.4,
    hp_filter_freq: float = 50.0, lp_filter_freq: float = 6000.0, hp_lifter_freq: float = 150.0,
    lp_lifter_freq: float = 2000.0,
) -> Tensor:  # fmt: skip
    """(channel, time) or (time,) from where speech begins, by SoX's cepstral measure; empty if there is none.

    How long the result is depends on the values, so they are read, and the search runs on the host.
    Times are in seconds, frequencies in Hz; ``trigger_level`` is what the measure must reach.
    """
    if waveform.ndim > 2:
        warnings.warn(
            "Expected input tensor dimension of 1 for single channel or 2 for multi-channel. "
            f"Got {waveform.ndim} instead. Batch semantics is not supported; each waveform wants a call of its own",
            stacklevel=2,
        )
    duration = 2.0 / measure_freq if measure_duration is None else measure_duration
    size = int(sample_rate * duration + 0.5)
    period = int(sample_rate / measure_freq + 0.5)
    count = math.ceil(search_time * measure_freq)
    gap = int(allowed_gap * measure_freq + 0.5)
    behind = int(pre_trigger_time * sample_rate + 0.5) + count * period + size
    boot_max = int(boot_time * measure_freq - 0.5)
    smooth = math.exp(-1.0 / (trigger_time * measure_freq))

    shape = waveform.shape
    flat = waveform.reshape(-1, shape[-1])
    x = flat.detach().cpu().double().numpy()
    channels, length = x.shape
    bands = hp_filter_freq, lp_filter_freq, hp_lifter_freq, lp_lifter_freq
    meter = _Meter(channels, size, sample_rate, measure_freq, noise_up_time, noise_down_time, noise_reduction_amount,
                   measure_smooth_time, bands)  # fmt: skip
    mean, measures, index, boot = np.zeros(channels), np.zeros((channels, count)), 0, 0
    for position in range(size, length, period):
        measured = meter(x[:, position - size : position], boot)
        measures[:, index] = measured
        mean = mean * smooth + measured * (1 - smooth)
        loud = np.maximum.accumulate(mean >= trigger_level)
        if loud.any():
            flush = max(_back(measures[c], index, trigger_level, gap) for c in np.flatnonzero(loud))
            begin = position - behind + (count - min(flush, count)) * period
            kept = flat[:, max(begin, 0) :]
            return kept.reshape(shape[:-1] + kept.shape[-1:])
        index = (index + 1) % count
        if boot >= 0:
            boot = -1 if boot == boot_max else boot + 1
    return flat[:, length:].reshape(*shape[:-1], 0)
