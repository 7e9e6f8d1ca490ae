"""The Wishart distribution."""

from __future__ import annotations

import math
import warnings
from typing import Any

from .. import linalg
from ..autograd.mode import no_grad
from ..tensor import Size, Tensor, tensor
from ..tensor import functions as T
from ..tensor.dtype import finfo
from . import constraints
from ._validate import require
from .constraints import host_array
from .exp_family import ExponentialFamily
from .gamma import Gamma
from .multivariate_normal import GivenMatrix, given_matrix

__all__ = ["Wishart"]

_LOG_2 = math.log(2)


def _mvdigamma(x: Tensor, p: int) -> Tensor:
    """The derivative of ``mvlgamma(x, p)``."""
    steps = T.arange(p, dtype=x.dtype, device=x.device) / 2
    return T.digamma(x.unsqueeze(-1) - steps).sum(-1)


def _clamp_above_eps(x: Tensor) -> Tensor:
    """At least the spacing of the dtype."""
    return x.clamp(min=finfo(x.dtype).eps)


class Wishart(GivenMatrix, ExponentialFamily):
    """The distribution of ``X^T X`` for ``df`` rows X that are normal vectors of that covariance.

    ``df`` is a number greater than n - 1 or a tensor of them.  Exactly one of ``covariance_matrix``,
    ``precision_matrix`` and ``scale_tril`` is given, ``(*batch, n, n)``.  Raises ValueError otherwise.
    """

    support = constraints.positive_definite
    has_rsample = True
    _mean_carrier_measure = 0

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:  # type: ignore[override]
        return {
            "covariance_matrix": constraints.positive_definite,
            "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky,
            "df": constraints.greater_than(self.event_shape[-1] - 1),
        }

    def __init__(
        self,
        df: Tensor | float,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        name, matrix = given_matrix(
            covariance_matrix=covariance_matrix, scale_tril=scale_tril, precision_matrix=precision_matrix
        )
        if isinstance(df, (int, float)):
            df = tensor(df, dtype=matrix.dtype, device=matrix.device)
        batch_shape = T.broadcast_shapes(matrix.shape[:-2], df.shape)
        event_shape = matrix.shape[-2:]
        n = event_shape[-1]
        self._require_df(df, n)
        self.df = df.expand(batch_shape)
        setattr(self, name, matrix.expand(batch_shape + event_shape))
        super().__init__(batch_shape, event_shape, validate_args=validate_args)
        known = host_array(self.df)
        if known is not None and (known < n).any():
            warnings.warn(
                "Low df values detected. Singular samples are highly likely to occur for ndim - 1 < df < ndim.",
                stacklevel=2,
            )
        self._unbroadcasted_scale_tril = self._factor(name, matrix)

    @staticmethod
    def _require_df(df: Tensor, n: int) -> None:
        """A df too low has no distribution at all, so this is checked in any case."""
        need = f"expected to be greater than ndim - 1 = {n - 1}."
        require(
            constraints.greater_than(n - 1), df, lambda: f"Value of df={df} {need}", lambda: f"Value of df {need}"
        )

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(Wishart, _instance)
        batch_shape = Size(batch_shape)
        new._unbroadcasted_scale_tril = self._unbroadcasted_scale_tril
        new.df = self.df.expand(batch_shape)
        for name in ("covariance_matrix", "scale_tril", "precision_matrix"):
            if name in self.__dict__:
                new.__dict__[name] = self.__dict__[name].expand(batch_shape + self.event_shape)
        return self._expanded(new, batch_shape)

    @property
    def mean(self) -> Tensor:
        return self.df[..., None, None] * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        """The mode; NaN for df up to n + 1."""
        factor = self.df - self.covariance_matrix.shape[-1] - 1
        factor = T.where(factor > 0, factor, math.nan)
        return factor[..., None, None] * self.covariance_matrix

    @property
    def variance(self) -> Tensor:
        v = self.covariance_matrix
        diagonal = v.diagonal(dim1=-2, dim2=-1)
        return self.df[..., None, None] * (v.pow(2) + diagonal[..., :, None] * diagonal[..., None, :])

    def _bartlett_sampling(self, sample_shape: Any = Size()) -> Tensor:
        """Samples by Bartlett's decomposition: ``L A A^T L^T`` of a lower triangular A of independent numbers."""
        n = self._event_shape[-1]
        df = self.df.unsqueeze(-1) - T.arange(n, dtype=self.df.dtype, device=self.df.device)
        chi2 = Gamma(df / 2, T.full_like(df.detach(), 0.5), validate_args=False)
        diagonal = _clamp_above_eps(chi2.rsample(sample_shape).sqrt())
        shape = Size(sample_shape) + self._batch_shape + self._event_shape
        normal = T.randn(shape, dtype=self.df.dtype, device=self.df.device).tril(-1)
        chol = self._unbroadcasted_scale_tril @ (normal + T.diag_embed(diagonal))
        return chol @ chol.mT

    def rsample(self, sample_shape: Any = Size(), max_try_correction: int | None = None) -> Tensor:
        """Draw matrices that are differentiable by the parameters.

        Rounding may make some of them singular if df is close to n - 1.  They are drawn again up to
        ``max_try_correction`` times (by default not at all), which costs as many times more.
        """
        sample = self._bartlett_sampling(sample_shape)
        for _ in range(max_try_correction or 0):
            with no_grad():
                fine = self.support.check(sample)
            sample = T.where(fine[..., None, None], sample, self._bartlett_sampling(sample_shape))
        return sample

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        nu, p = self.df, self._event_shape[-1]
        factor = self._unbroadcasted_scale_tril
        solved = T.cholesky_solve(value, factor.expand(T.broadcast_shapes(factor.shape, value.shape)))
        return (
            -nu * (p * _LOG_2 / 2 + self._log_det_half())
            - T.mvlgamma(nu / 2, p=p)
            + (nu - p - 1) / 2 * linalg.slogdet(value).logabsdet
            - solved.diagonal(dim1=-2, dim2=-1).sum(dim=-1) / 2
        )

    def entropy(self) -> Tensor:
        nu, p = self.df, self._event_shape[-1]
        return (
            (p + 1) * (p * _LOG_2 / 2 + self._log_det_half())
            + T.mvlgamma(nu / 2, p=p)
            - (nu - p - 1) / 2 * _mvdigamma(nu / 2, p=p)
            + nu * p / 2
        )

    @property
    def _natural_params(self) -> tuple[Tensor, Tensor]:
        nu, p = self.df, self._event_shape[-1]
        return -self.precision_matrix / 2, (nu - p - 1) / 2

    def _log_normalizer(self, x: Tensor, y: Tensor) -> Tensor:
        p = self._event_shape[-1]
        return (y + (p + 1) / 2) * (-linalg.slogdet(-2 * x).logabsdet + _LOG_2 * p) + T.mvlgamma(y + (p + 1) / 2, p=p)
