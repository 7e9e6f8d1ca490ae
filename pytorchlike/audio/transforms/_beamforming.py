"""Beamforming as modules: masks or covariances in, an enhanced spectrogram out."""

from __future__ import annotations

import pytorchlike as torch
from pytorchlike import Tensor
from pytorchlike.nn import Module

from .. import functional as F

__all__ = ["MVDR", "PSD", "RTFMVDR", "SoudenMVDR"]


class PSD(Module):
    """See :func:`functional.psd`. multi_mask: the mask has a channel axis, over which its mean is taken."""

    def __init__(self, multi_mask: bool = False, normalize: bool = True, eps: float = 1e-15) -> None:
        super().__init__()
        self.multi_mask, self.normalize, self.eps = multi_mask, normalize, eps

    def forward(self, specgram: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is not None and self.multi_mask:
            mask = mask.mean(dim=-3)
        return F.psd(specgram, mask, self.normalize, self.eps)


class SoudenMVDR(Module):
    """:func:`functional.mvdr_weights_souden`, applied."""

    def forward(
        self, specgram: Tensor, psd_s: Tensor, psd_n: Tensor, reference_channel: int | Tensor,
        diagonal_loading: bool = True, diag_eps: float = 1e-7, eps: float = 1e-8,
    ) -> Tensor:  # fmt: skip
        w = F.mvdr_weights_souden(psd_s, psd_n, reference_channel, diagonal_loading, diag_eps, eps)
        return F.apply_beamforming(w, specgram)


class RTFMVDR(Module):
    """:func:`functional.mvdr_weights_rtf`, applied."""

    def forward(
        self, specgram: Tensor, rtf: Tensor, psd_n: Tensor, reference_channel: int | Tensor,
        diagonal_loading: bool = True, diag_eps: float = 1e-7, eps: float = 1e-8,
    ) -> Tensor:  # fmt: skip
        w = F.mvdr_weights_rtf(rtf, psd_n, reference_channel, diagonal_loading, diag_eps, eps)
        return F.apply_beamforming(w, specgram)


class MVDR(Module):
    """Complex (..., channel, freq, time) and masks (..., freq, time) -> (..., freq, time), in double precision inside.

    solution: "ref_channel", "stv_evd" or "stv_power".   Raises NotImplementedError for ``online=True``.
    """

    def __init__(
        self, ref_channel: int = 0, solution: str = "ref_channel", multi_mask: bool = False, diag_loading: bool = True,
        diag_eps: float = 1e-7, online: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if solution not in ("ref_channel", "stv_evd", "stv_power"):
            raise ValueError(
                f'`solution` must be one of ["ref_channel", "stv_evd", "stv_power"]. Given {solution}'
            )
        if online:
            raise NotImplementedError(
                "MVDR(online=True), which updates running covariances between calls, is not provided; use PSD and "
                "SoudenMVDR with covariances of your own"
            )
        self.ref_channel, self.solution, self.multi_mask = ref_channel, solution, multi_mask
        self.diag_loading, self.diag_eps, self.online = diag_loading, diag_eps, online
        self.psd = PSD(multi_mask)

    def forward(self, specgram: Tensor, mask_s: Tensor, mask_n: Tensor | None = None) -> Tensor:
        if specgram.ndim < 3:
            raise ValueError(f"Expected at least 3D tensor (..., channel, freq, time). Found: {specgram.shape}")
        if not specgram.is_complex():
            raise ValueError(f"The type of ``specgram`` tensor must be complex. Found: {specgram.dtype}")
        kind, x = specgram.dtype, specgram.to(torch.cdouble)
        mask_n = 1 - mask_s if mask_n is None else mask_n
        psd_s, psd_n = self.psd(x, mask_s), self.psd(x, mask_n)
        reference = torch.zeros(x.size()[:-2], device=x.device, dtype=torch.cdouble)
        reference[..., self.ref_channel] = 1
        if self.solution == "ref_channel":
            w = F.mvdr_weights_souden(psd_s, psd_n, reference, self.diag_loading, self.diag_eps)
        else:
            if self.solution == "stv_evd":
                rtf = F.rtf_evd(psd_s)
            else:
                rtf = F.rtf_power(psd_s, psd_n, reference, 3, self.diag_loading, self.diag_eps)
            w = F.mvdr_weights_rtf(rtf, psd_n, reference, self.diag_loading, self.diag_eps)
        return F.apply_beamforming(w, x).to(kind)
