"""Measures of speech: loudness, pitch, distances, alignments and the transducer's loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytorchlike as torch
from pytorchlike import Tensor
from pytorchlike.nn import functional as F

from ._filtering import highpass_biquad, treble_biquad
from ._ops import align, transducer

__all__ = [
    "TokenSpan", "detect_pitch_frequency", "edit_distance", "forced_align", "frechet_distance", "loudness",
    "merge_tokens", "rnnt_loss",
]  # fmt: skip


def loudness(waveform: Tensor, sample_rate: int) -> Tensor:
    """(..., channels, time) -> (...): loudness in LKFS by ITU-R BS.1770-4; up to 5 channels, ValueError for more."""
    if waveform.size(-2) > 5:
        raise ValueError("Only up to 5 channels are supported.")
    block = round(0.4 * sample_rate)
    step = round(block * 0.25)
    weights = torch.tensor([1.0, 1.0, 1.0, 1.41, 1.41], dtype=waveform.dtype, device=waveform.device)
    x = treble_biquad(waveform, sample_rate, 4.0, 1500.0, 1 / math.sqrt(2))
    x = highpass_biquad(x, sample_rate, 38.0, 0.5)
    energy = torch.square(x).unfold(-1, block, step).mean(dim=-1)
    weights = weights[: energy.size(-2)]

    def level(e: Tensor) -> Tensor:
        return -0.691 + 10 * torch.log10((weights.unsqueeze(-1) * e).sum(-2))

    def gated(gate: Tensor) -> Tensor:
        count = torch.count_nonzero(gate, dim=-1).unsqueeze(-1)
        return (energy * gate.unsqueeze(-2)).sum(dim=-1) / count

    blocks = level(energy)
    loud = blocks > -70
    relative = level(gated(loud).unsqueeze(-1)) - 10
    kept = gated(loud & (blocks > relative))
    return -0.691 + 10 * torch.log10((weights * kept).sum(dim=-1))


def detect_pitch_frequency(
    waveform: Tensor, sample_rate: int, frame_time: float = 10 ** (-2), win_length: int = 30, freq_low: int = 85,
    freq_high: int = 3400,
) -> Tensor:  # fmt: skip
    """(..., time) -> (..., frames): the pitch by normalised cross-correlation, smoothed by a running median."""
    shape = waveform.shape
    x = waveform.reshape(-1, shape[-1])
    lags = math.ceil(sample_rate / freq_low)
    frame = math.ceil(sample_rate * frame_time)
    frames = math.ceil(x.shape[-1] / frame)
    x = F.pad(x, (0, lags + frames * frame - x.shape[-1]))
    span = lags + frame
    windows = x.unfold(-1, span, frame)[:, :frames]  # (B, frames, span)
    first = windows[..., :frame]
    shifted = windows.unfold(-1, frame, 1)[..., 1 : lags + 1, :]  # (B, frames, lags, frame)
    norm = torch.linalg.vector_norm
    nccf = (
        (first.unsqueeze(-2) * shifted).sum(-1)
        / (1e-9 + norm(first, ord=2, dim=-1)).pow(2).unsqueeze(-1)
        / (1e-9 + norm(shifted, ord=2, dim=-1)).pow(2)
    )
    low = math.ceil(sample_rate / freq_high)
    best = nccf[..., low:].max(-1)
    half = nccf[..., low : nccf.shape[-1] // 2].max(-1)
    # the shorter period unless the longer one is clearly better, so that octaves are not missed
    shorter = half.values > 0.99 * best.values
    indices = torch.where(shorter, half.indices, best.indices) + low + 1
    pad = (win_length - 1) // 2
    before = indices[..., :1].expand(*indices.shape[:-1], pad)
    smooth = torch.cat([before, indices], -1).unfold(-1, win_length, 1).median(-1).values
    freq = sample_rate / (1e-9 + smooth.to(torch.float))
    return freq.reshape(shape[:-1] + freq.shape[-1:])


def edit_distance(seq1: Sequence, seq2: Sequence) -> int:
    """The fewest insertions, deletions and substitutions that turn one sequence into the other (Levenshtein)."""
    row = list(range(len(seq2) + 1))
    for i, a in enumerate(seq1, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(seq2, 1):
            diagonal, row[j] = row[j], min(diagonal + (a != b), row[j] + 1, row[j - 1] + 1)
    return row[-1]


def rnnt_loss(
    logits: Tensor, targets: Tensor, logit_lengths: Tensor, target_lengths: Tensor, blank: int = -1,
    clamp: float = -1, reduction: str = "mean", fused_log_softmax: bool = True,
) -> Tensor:  # fmt: skip
    """The transducer's loss: minus the log-likelihood of targets, summed over their alignments.

    Shapes: logits (B, T, U + 1, classes), targets (B, U) int32, lengths (B,) int32.
    clamp: above 0, a bound of the entries of each cost's gradient.   fused_log_softmax: logits, not log-probabilities.
    Source: Graves 2012, arXiv:1211.3711.   Raises ValueError for an unknown reduction, RuntimeError for shapes.
    """
    if reduction not in ("none", "mean", "sum"):
        raise ValueError('reduction should be one of "none", "mean", or "sum"')
    if logits.ndim != 4:
        raise RuntimeError(f"logits must be 4-D (batch, time, target, class), got {tuple(logits.shape)}")
    batch, time, steps, classes = logits.shape
    if targets.ndim != 2 or tuple(targets.shape) != (batch, steps - 1):
        raise RuntimeError(
            f"rnnt_loss: logits {tuple(logits.shape)} go with targets ({batch}, {steps - 1}), got "
            f"{tuple(targets.shape)}"
        )
    for name, lengths in (("logit_lengths", logit_lengths), ("target_lengths", target_lengths)):
        if tuple(lengths.shape) != (batch,):
            raise RuntimeError(f"rnnt_loss: {name} must be of shape ({batch},), got {tuple(lengths.shape)}")
    if not -classes <= blank < classes:
        raise RuntimeError(f"blank must be within [0, {classes}), got {blank}")
    costs = transducer(
        logits, targets, logit_lengths, target_lengths, blank % classes, float(clamp), bool(fused_log_softmax)
    )
    return costs if reduction == "none" else costs.mean() if reduction == "mean" else costs.sum()


def forced_align(
    log_probs: Tensor, targets: Tensor, input_lengths: Tensor | None = None, target_lengths: Tensor | None = None,
    blank: int = 0,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The likeliest CTC path of log_probs (1, T, C) through targets (1, L): tokens and their scores, both (1, T).

    Raises ValueError if a target is the blank or outside [0, C), RuntimeError for batches and for too few frames.
    The targets are read, for these checks.
    """
    if log_probs.ndim != 3 or targets.ndim != 2 or log_probs.shape[0] != 1 or targets.shape[0] != 1:
        raise RuntimeError(
            "forced_align: takes a batch of one, log_probs (1, T, C) and targets (1, L), got "
            f"{tuple(log_probs.shape)} and {tuple(targets.shape)}"
        )
    times = log_probs.shape[1] if input_lengths is None else int(input_lengths.reshape(-1)[0])
    size = targets.shape[1] if target_lengths is None else int(target_lengths.reshape(-1)[0])
    if times != log_probs.shape[1]:
        raise RuntimeError(f"input length mismatch: {times} is not the {log_probs.shape[1]} frames of log_probs")
    if size != targets.shape[1]:
        raise RuntimeError(f"target length mismatch: {size} is not the {targets.shape[1]} given")
    labels = targets[0].tolist()
    if blank in labels:
        raise ValueError(f"targets Tensor shouldn't contain blank index. Found {targets}.")
    if labels and not (0 <= min(labels) and max(labels) < log_probs.shape[-1]):
        raise ValueError("targets values must be within [0, log_probs.shape[-1])")
    repeats = sum(a == b for a, b in zip(labels, labels[1:], strict=False))
    if times < size + repeats:
        raise RuntimeError(
            f"targets length is too long for CTC. Found log_probs length: {times}, targets length: {size}, "
            f"and number of repeats: {repeats}"
        )
    path = align(log_probs[0].detach(), targets[0], blank).to(targets.dtype)[None]
    return path, log_probs.detach().gather(-1, path.long()[..., None])[..., 0]


@dataclass
class TokenSpan:
    """A token and the frames from ``start`` up to ``end`` that it was aligned with; the mean of their scores."""

    token: int
    start: int
    end: int
    score: float

    def __len__(self) -> int:
        return self.end - self.start


def merge_tokens(tokens: Tensor, scores: Tensor, blank: int = 0) -> list[TokenSpan]:
    """The runs of equal tokens (T,) that are not the blank, with the means of their scores (T,). ValueError if not 1-D.
    """
    if tokens.ndim != 1 or scores.ndim != 1:
        raise ValueError("`tokens` and `scores` must be 1D Tensor.")
    if len(tokens) != len(scores):
        raise ValueError(f"`tokens` and `scores` must be the same length, got {len(tokens)} and {len(scores)}")
    names, values, spans, start = tokens.tolist(), scores.numpy(force=True), [], 0
    for t in range(1, len(names) + 1):
        if t == len(names) or names[t] != names[start]:
            if names[start] != blank:
                spans.append(TokenSpan(names[start], start, t, float(values[start:t].mean())))
            start = t
    return spans


def frechet_distance(mu_x: Tensor, sigma_x: Tensor, mu_y: Tensor, sigma_y: Tensor) -> Tensor:
    """The Fréchet distance of two normal distributions: means (N,), covariances (N, N); ValueError for other shapes.
    """
    if mu_x.ndim != 1:
        raise ValueError(f"Input mu_x must be one-dimensional; got dimension {mu_x.ndim}.")
    if sigma_x.ndim != 2:
        raise ValueError(f"Input sigma_x must be two-dimensional; got dimension {sigma_x.ndim}.")
    if not sigma_x.size(0) == sigma_x.size(1) == mu_x.size(0):
        raise ValueError("Each of sigma_x's dimensions must match mu_x's size")
    if mu_x.shape != mu_y.shape or sigma_x.shape != sigma_y.shape:
        raise ValueError("Inputs of both distributions must have the same shapes")
    apart = (mu_x - mu_y).square().sum()
    return apart + sigma_x.trace() + sigma_y.trace() - 2 * torch.linalg.eigvals(sigma_x @ sigma_y).sqrt().real.sum()
