"""Beamforming: weights (..., freq, channel) from covariances (..., freq, channel, channel) of spectrograms."""

from __future__ import annotations

import pytorchlike as torch
from pytorchlike import Tensor

__all__ = ["apply_beamforming", "mvdr_weights_rtf", "mvdr_weights_souden", "psd", "rtf_evd", "rtf_power"]


def psd(specgram: Tensor, mask: Tensor | None = None, normalize: bool = True, eps: float = 1e-10) -> Tensor:
    """Covariances (..., freq, channel, channel) of (..., channel, freq, time), weighted by a mask (..., freq, time)."""
    x = specgram.transpose(-3, -2)
    products = torch.einsum("...ct,...et->...tce", x, x.conj())
    if mask is not None:
        if mask.shape[:-1] != specgram.shape[:-3] + specgram.shape[-2:-1] or mask.shape[-1] != specgram.shape[-1]:
            raise ValueError(
                "The dimensions of mask except the channel dimension should be the same as specgram."
                f"Found {mask.shape} for mask and {specgram.shape} for specgram."
            )
        if normalize:
            mask = mask / (mask.sum(dim=-1, keepdim=True) + eps)
        products = products * mask[..., None, None]
    return products.sum(dim=-3)


def _complex(name: str, *tensors: Tensor) -> None:
    for t in tensors:
        if not t.is_complex():
            raise TypeError(f"{name}: the type of the covariances and vectors must be complex, found {t.dtype}")
        if name != "vector" and t.ndim < 3:
            raise ValueError(f"{name}: expected at least 3D Tensor (..., freq, channel, channel), got {t.shape}")


def _loaded(matrix: Tensor, reg: float, eps: float = 1e-8) -> Tensor:
    """Plus a multiple of the identity, a share of the trace."""
    eye = torch.eye(matrix.size(-1), dtype=matrix.dtype, device=matrix.device)
    trace = matrix.diagonal(dim1=-2, dim2=-1).sum(-1).real[..., None, None]
    return matrix + (trace * reg + eps) * eye


def _reference(values: Tensor, channel: int | Tensor) -> Tensor:
    """(..., freq, channel, channel) -> (..., freq, channel): the column of a reference, given by number or weights."""
    if isinstance(channel, int):
        return values[..., :, channel]
    return torch.einsum("...c,...c->...", values, channel.to(values.dtype)[..., None, None, :])


def mvdr_weights_souden(
    psd_s: Tensor, psd_n: Tensor, reference_channel: int | Tensor, diagonal_loading: bool = True,
    diag_eps: float = 1e-7, eps: float = 1e-8,
) -> Tensor:  # fmt: skip
    """Minimum variance distortionless response from the covariances of speech and noise (Souden et al. 2009)."""
    _complex("mvdr_weights_souden", psd_s, psd_n)
    if psd_s.shape != psd_n.shape:
        raise ValueError(f"The dimensions of psd_s and psd_n should be the same. Found {psd_s.shape}, {psd_n.shape}.")
    if diagonal_loading:
        psd_n = _loaded(psd_n, diag_eps)
    ratio = torch.linalg.solve(psd_n, psd_s)
    trace = ratio.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    return _reference(ratio / (trace + eps), reference_channel)


def mvdr_weights_rtf(
    rtf: Tensor, psd_n: Tensor, reference_channel: int | Tensor | None = None, diagonal_loading: bool = True,
    diag_eps: float = 1e-7, eps: float = 1e-8,
) -> Tensor:  # fmt: skip
    """The same from the relative transfer function (..., freq, channel) of speech and the covariance of noise."""
    _complex("mvdr_weights_rtf", psd_n)
    _complex("vector", rtf)
    if rtf.shape != psd_n.shape[:-1]:
        raise ValueError(f"rtf {tuple(rtf.shape)} does not go with psd_n {tuple(psd_n.shape)}")
    if diagonal_loading:
        psd_n = _loaded(psd_n, diag_eps)
    numerator = torch.linalg.solve(psd_n, rtf.unsqueeze(-1)).squeeze(-1)
    weights = numerator / (torch.einsum("...d,...d->...", rtf.conj(), numerator).real.unsqueeze(-1) + eps)
    if reference_channel is not None:
        if isinstance(reference_channel, int):
            scale = rtf[..., reference_channel].conj()
        else:
            scale = (rtf.conj() * reference_channel.to(rtf.dtype)[..., None, :]).sum(-1)
        weights = weights * scale[..., None]
    return weights


def rtf_evd(psd_s: Tensor) -> Tensor:
    """The relative transfer function (..., freq, channel): the eigenvector of the largest eigenvalue."""
    _complex("rtf_evd", psd_s)
    return torch.linalg.eigh(psd_s)[1][..., -1]


def rtf_power(
    psd_s: Tensor, psd_n: Tensor, reference_channel: int | Tensor, n_iter: int = 3, diagonal_loading: bool = True,
    diag_eps: float = 1e-7,
) -> Tensor:  # fmt: skip
    """The relative transfer function by ``n_iter`` steps of the power method; ValueError unless at least 1."""
    _complex("rtf_power", psd_s, psd_n)
    if n_iter <= 0:
        raise ValueError("The number of iteration must be greater than 0.")
    if diagonal_loading:
        psd_n = _loaded(psd_n, diag_eps)
    phi = torch.linalg.solve(psd_n, psd_s)
    rtf = _reference(phi, reference_channel).unsqueeze(-1)
    if n_iter >= 2:
        for _ in range(n_iter - 2):
            rtf = torch.matmul(phi, rtf)
        rtf = torch.matmul(psd_s, rtf)
    else:
        rtf = torch.matmul(psd_n, rtf)
    return rtf.squeeze(-1)


def apply_beamforming(beamform_weights: Tensor, specgram: Tensor) -> Tensor:
    """Weights (..., freq, channel) and (..., channel, freq, time) -> (..., freq, time)."""
    _complex("vector", beamform_weights, specgram)
    if beamform_weights.shape[:-2] != specgram.shape[:-3]:
        raise ValueError(
            "The dimensions except the last two of beamform_weights should be the same as those of specgram except "
            f"the last three. Found {beamform_weights.shape} and {specgram.shape}."
        )
    return torch.einsum("...fc,...cft->...ft", beamform_weights.conj(), specgram)
