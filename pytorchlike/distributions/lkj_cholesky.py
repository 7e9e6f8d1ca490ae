"""The LKJ distribution of correlation matrices, as Cholesky factors."""

from __future__ import annotations

import math
from typing import Any

from ..autograd.mode import no_grad
from ..nn import functional as F
from ..tensor import Size, Tensor
from ..tensor import functions as T
from ..tensor.dtype import finfo
from . import constraints
from .beta import Beta
from .distribution import Distribution
from .utils import broadcast_all

__all__ = ["LKJCholesky"]


class LKJCholesky(Distribution):
    """Cholesky factors of ``dim`` by ``dim`` correlation matrices of density proportional to ``det ** (eta - 1)``.

    ``concentration`` eta: at 1 all correlation matrices are equally likely.  Raises ValueError for dim < 2.

    Source: Lewandowski, Kurowicka & Joe 2009, doi:10.1016/j.jmva.2009.04.008, section 3.
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(
        self, dim: int, concentration: Tensor | float = 1.0, validate_args: bool | None = None
    ) -> None:
        if dim < 2:
            raise ValueError(f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}.")
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        super().__init__(self.concentration.shape, Size((dim, dim)), validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(LKJCholesky, _instance)
        batch_shape = Size(batch_shape)
        new.dim = self.dim
        new.concentration = self.concentration.expand(batch_shape)
        return self._expanded(new, batch_shape)

    @property
    def _beta(self) -> Beta:
        """Squared length of what a row has left of the diagonal, row by row from the second on."""
        marginal = (self.concentration + 0.5 * (self.dim - 2)).unsqueeze(-1)
        offset = T.arange(self.dim - 1, dtype=marginal.dtype, device=marginal.device)
        return Beta(0.5 * (offset + 1), marginal - 0.5 * offset, validate_args=False)

    def sample(self, sample_shape: Any = Size()) -> Tensor:
        """Draw factors, row by row ("onion" method): a random direction, a beta length, the rest on the diagonal."""
        with no_grad():
            y = F.pad(self._beta.sample(sample_shape), [1, 0]).unsqueeze(-1)
            shape = self._extended_shape(sample_shape)
            told = {"dtype": self.concentration.dtype, "device": self.concentration.device}
            u = T.randn(shape, **told).tril(-1)
            length = u.square().sum(-1, keepdim=True).sqrt()
            first = T.arange(self.dim, device=told["device"]).view(-1, 1) == 0
            direction = T.where(first, 0.0, u / T.where(first, 1.0, length))
            rows = y.sqrt() * direction
            rest = (1 - (rows**2).sum(-1)).clamp(min=finfo(rows.dtype).tiny)
            return rows + rest.sqrt().diag_embed()

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        n = self.dim
        diagonal = value.diagonal(dim1=-1, dim2=-2)[..., 1:]
        order = T.arange(2, n + 1, dtype=self.concentration.dtype, device=self.concentration.device)
        # det ** (eta - 1), and the Jacobian of the map from correlations to factors
        order = 2 * (self.concentration - 1).unsqueeze(-1) + n - order
        unnormalized = (order * diagonal.log()).sum(-1)
        half = n - 1
        alpha = self.concentration + 0.5 * half
        normalizer = 0.5 * half * math.log(math.pi) + T.mvlgamma(alpha - 0.5, half) - half * T.lgamma(alpha)
        return unnormalized - normalizer
