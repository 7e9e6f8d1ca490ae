"""The multivariate normal distribution."""

from __future__ import annotations

import math
from typing import Any

from .. import linalg
from ..tensor import Size, Tensor
from ..tensor import functions as T
from . import constraints
from .distribution import Distribution
from .utils import _standard_normal, lazy_property

__all__ = ["MultivariateNormal"]


def _batch_mv(bmat: Tensor, bvec: Tensor) -> Tensor:
    """Matrices times vectors, both with batch dimensions that broadcast."""
    return T.matmul(bmat, bvec.unsqueeze(-1)).squeeze(-1)


def _batch_mahalanobis(bL: Tensor, bx: Tensor) -> Tensor:
    """The squared Mahalanobis distance ``x^T (L L^T)^-1 x`` of vectors, for Cholesky factors L.

    The batch dimensions of both broadcast.  A few factors for many vectors are solved with many columns at once.
    """
    n = bx.shape[-1]
    batch = bL.shape[:-2]
    vectors = bx.shape[:-1]
    if math.prod(batch) == 1 and bx.dim() > 1:
        columns = bx.reshape(-1, n).mT
        solved = linalg.solve_triangular(bL.reshape(n, n), columns, upper=False)
        shape = T.broadcast_shapes(batch, vectors)
        return solved.pow(2).sum(0).reshape(vectors).expand(shape)
    if len(vectors) > len(batch) and tuple(vectors[len(vectors) - len(batch) :]) == tuple(batch):
        # (sample, batch, n) -> (batch, n, sample)
        samples = vectors[: len(vectors) - len(batch)]
        columns = bx.reshape((-1, *batch, n)).movedim(0, -1)
        solved = linalg.solve_triangular(bL, columns, upper=False)
        return solved.pow(2).sum(-2).movedim(-1, 0).reshape(samples + batch)
    shape = T.broadcast_shapes(batch, vectors)
    factors = bL.expand(shape + (n, n))
    solved = linalg.solve_triangular(factors, bx.expand(shape + (n,)).unsqueeze(-1), upper=False)
    return solved.squeeze(-1).pow(2).sum(-1)


def _precision_to_scale_tril(P: Tensor) -> Tensor:
    """The Cholesky factor of the inverse of P, without inverting P itself.

    With the rows and columns of P in reverse order, the factor of that is, reversed again, an upper triangular U
    with ``P = U U^T``; then ``U^-T`` is the lower triangular factor of ``P^-1``.
    """
    factor = linalg.cholesky(T.flip(P, (-2, -1)))
    inverse = T.transpose(T.flip(factor, (-2, -1)), -2, -1)
    eye = T.eye(P.shape[-1], dtype=P.dtype, device=P.device)
    return linalg.solve_triangular(inverse, eye, upper=False)


def _need_matrix(name: str, value: Tensor) -> None:
    if value.dim() < 2:
        raise ValueError(f"{name} must be at least two-dimensional, with optional leading batch dimensions")


def given_matrix(**given: Tensor | None) -> tuple[str, Tensor]:
    """The one of the matrices that was given; ValueError unless it is exactly one, of two dimensions at least."""
    found = [(name, value) for name, value in given.items() if value is not None]
    if len(found) != 1:
        raise ValueError(f"Exactly one of {' or '.join(given)} may be specified.")
    _need_matrix(*found[0])
    return found[0]


class GivenMatrix:
    """A covariance that is given as itself, its Cholesky factor or its inverse (``_unbroadcasted_scale_tril`` is set).

    The three are properties of shape ``(*batch, n, n)``, computed from one another on demand.
    """

    def _matrix_shape(self) -> Size:
        return self._batch_shape + (self._unbroadcasted_scale_tril.shape[-1],) * 2

    def _factor(self, name: str, value: Tensor) -> Tensor:
        """The Cholesky factor of the covariance for the matrix that was given."""
        if name == "scale_tril":
            return value
        return linalg.cholesky(value) if name == "covariance_matrix" else _precision_to_scale_tril(value)

    @lazy_property
    def scale_tril(self) -> Tensor:
        """Cholesky factor of the covariance matrix."""
        return self._unbroadcasted_scale_tril.expand(self._matrix_shape())

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance matrix."""
        factor = self._unbroadcasted_scale_tril
        return T.matmul(factor, factor.mT).expand(self._matrix_shape())

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """Inverse of the covariance matrix."""
        return T.cholesky_inverse(self._unbroadcasted_scale_tril).expand(self._matrix_shape())

    def _log_det_half(self) -> Tensor:
        """Half of the log-determinant of the covariance matrix."""
        return self._unbroadcasted_scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)


class MultivariateNormal(GivenMatrix, Distribution):
    """The normal distribution of vectors of mean ``loc``.

    Exactly one of ``covariance_matrix``, ``precision_matrix`` and ``scale_tril`` (the lower Cholesky factor of the
    covariance) is given, ``(*batch, n, n)``; the last is cheapest.  Raises ValueError otherwise.
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        name, matrix = given_matrix(
            covariance_matrix=covariance_matrix, scale_tril=scale_tril, precision_matrix=precision_matrix
        )
        batch_shape = T.broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        setattr(self, name, matrix.expand(batch_shape + (-1, -1)))
        self.loc = loc.expand(batch_shape + (-1,))
        super().__init__(batch_shape, self.loc.shape[-1:], validate_args=validate_args)
        self._unbroadcasted_scale_tril = self._factor(name, matrix)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(MultivariateNormal, _instance)
        batch_shape = Size(batch_shape)
        new.loc = self.loc.expand(batch_shape + self.event_shape)
        new._unbroadcasted_scale_tril = self._unbroadcasted_scale_tril
        for name in ("covariance_matrix", "scale_tril", "precision_matrix"):
            if name in self.__dict__:
                new.__dict__[name] = self.__dict__[name].expand(batch_shape + self.event_shape * 2)
        return self._expanded(new, batch_shape)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self._unbroadcasted_scale_tril.pow(2).sum(-1).expand(self._batch_shape + self._event_shape)

    def rsample(self, sample_shape: Any = Size()) -> Tensor:
        eps = _standard_normal(self._extended_shape(sample_shape), self.loc.dtype, self.loc.device)
        return self.loc + _batch_mv(self._unbroadcasted_scale_tril, eps)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        distance = _batch_mahalanobis(self._unbroadcasted_scale_tril, value - self.loc)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + distance) - self._log_det_half()

    def entropy(self) -> Tensor:
        n = self._event_shape[0]
        return (0.5 * n * (1.0 + math.log(2 * math.pi)) + self._log_det_half()).expand(self._batch_shape)
