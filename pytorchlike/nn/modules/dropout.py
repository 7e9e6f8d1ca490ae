"""Dropout in its forms: random zeros in training, nothing in evaluation."""

from __future__ import annotations

from ...tensor import Tensor
from .. import functional as F
from .module import Module

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"]


class _DropoutNd(Module):
    """``p`` is the probability of a zero.

    Raises:  ValueError outside [0, 1].
    """

    __constants__ = ["p", "inplace"]

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if p < 0 or p > 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_DropoutNd):
    """Each element becomes 0 with probability p, the others are divided by 1 - p; any shape.

    Source:  Hinton et al. 2012, arXiv:1207.0580.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_DropoutNd):
    """Whole channels of (N, C, L) or (C, L) become 0 with probability p, the others are divided by 1 - p.

    Source:  Tompson et al. 2015, arXiv:1411.4280.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, L) or (C, L) -> the same."""
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_DropoutNd):
    """Whole channels of (N, C, H, W) become 0 with probability p, the others are divided by 1 - p.

    Source:  Tompson et al. 2015, arXiv:1411.4280.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) or (N, C, L) -> the same."""
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_DropoutNd):
    """Whole channels of (N, C, D, H, W) or (C, D, H, W) become 0 with probability p, the others are divided by 1 - p.

    Source:  Tompson et al. 2015, arXiv:1411.4280.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, D, H, W) or (C, D, H, W) -> the same."""
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_DropoutNd):
    """Dropout to SELU's negative saturation value, rescaled so that mean 0 and variance 1 are kept; any shape.

    Source:  Klambauer et al. 2017, arXiv:1706.02515.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Any shape -> the same."""
        return F.alpha_dropout(input, self.p, self.training, self.inplace)


class FeatureAlphaDropout(_DropoutNd):
    """AlphaDropout of whole channels of (N, C, *).

    Source:  Klambauer et al. 2017, arXiv:1706.02515.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, *) -> the same."""
        return F.feature_alpha_dropout(input, self.p, self.training, self.inplace)
