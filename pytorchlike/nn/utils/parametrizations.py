"""Ready-made parametrizations: orthogonal matrices, spectral norm 1, weight normalisation."""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

from ...autograd.mode import no_grad
from ...ops._sizes import wrap_dim
from ...tensor import Tensor
from ...tensor import functions as T
from .. import _linalg as linalg
from .. import functional as F
from ..modules.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from ..modules.module import Module
from . import parametrize
from .weight_norm import _norm_except_dim

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def _make_orthogonal(a: Tensor) -> Tensor:
    """The factor Q of ``a`` (*, n, k), with the signs that make it unique: a matrix with orthonormal columns stays."""
    q, r = linalg.qr(a)
    return q * T.diagonal(r, dim1=-2, dim2=-1).sgn().unsqueeze(-2)


class _OrthMaps(Enum):
    matrix_exp = auto()
    cayley = auto()
    householder = auto()


def _reflectors_of(q: Tensor) -> Tensor:
    """(*, n, k), n >= k: the Householder vectors below the diagonal, and signs on it, whose product is ``q``.

    Computed column by column, since the compact form of a QR decomposition is not at hand.
    """
    n, k = q.shape[-2:]
    rows = T.arange(n, device=q.device)
    work, columns, signs = q, [], []
    for j in range(k):
        unit = (rows == j).to(q.dtype)
        x = work[..., :, j]
        pivot = x[..., j]
        tail = T.where(rows > j, x, T.zeros_like(x))
        norm = (pivot * pivot + (tail * tail).sum(-1)).sqrt()
        # Away from cancellation; the reflection leaves -sign * norm on the diagonal.
        scale = pivot + T.where(pivot < 0, -norm, norm)
        vector = tail / scale.unsqueeze(-1) + unit
        tau = 2 / (vector * vector).sum(-1)
        rest = (vector.unsqueeze(-2) @ work) * tau[..., None, None]
        work = work - vector.unsqueeze(-1) * rest
        columns.append(vector - unit)
        signs.append(work[..., j, j].sign())
    eye = T.eye(n, k, dtype=q.dtype, device=q.device)
    return T.stack(columns, dim=-1) + eye * T.stack(signs, dim=-1).unsqueeze(-2)


class _Orthogonal(Module):
    """(*, n, k) -> matrices with orthonormal columns, or rows if n < k.

    With use_trivialization the result is ``base`` times the map of X, so that any orthogonal matrix can be assigned.
    """

    def __init__(self, weight: Tensor, orthogonal_map: _OrthMaps, *, use_trivialization: bool = True) -> None:
        super().__init__()
        if weight.is_complex() and orthogonal_map == _OrthMaps.householder:
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        """The orthogonal matrices."""
        n, k = X.shape[-2:]
        transposed = n < k
        if transposed:
            X = X.mT
            n, k = k, n
        if self.orthogonal_map == _OrthMaps.householder:
            A = X.tril(diagonal=-1)
            tau = 2.0 / (1.0 + (A * A).sum(dim=-2))
            Q = linalg.householder_product(A, tau)
            # The diagonal holds signs, without gradient.
            Q = Q * T.diagonal(X, dim1=-2, dim2=-1).int().unsqueeze(-2)
        else:
            # A skew-Hermitian matrix out of the lower triangle.
            X = X.tril()
            if n != k:
                X = T.cat([X, X.new_zeros((*X.shape[:-1], n - k))], dim=-1)
            A = X - X.mH
            if self.orthogonal_map == _OrthMaps.matrix_exp:
                Q = T.matrix_exp(A)
            else:
                eye = T.eye(n, dtype=A.dtype, device=A.device)
                Q = linalg.solve(eye - A * 0.5, eye + A * 0.5)
            if n != k:
                Q = Q[..., :k]
        if hasattr(self, "base"):
            Q = self.base @ Q
        return Q.mT if transposed else Q

    @no_grad()
    def right_inverse(self, Q: Tensor) -> Tensor:
        """The X that forward maps to ``Q``, or to the orthogonal matrix nearest to hand if Q is none."""
        if tuple(Q.shape) != tuple(self.shape):
            raise ValueError(f"Expected a matrix or batch of matrices of shape {tuple(self.shape)}. "
                             f"Got a tensor of shape {tuple(Q.shape)}.")
        given = Q
        n, k = Q.shape[-2:]
        transposed = n < k
        if transposed:
            Q = Q.mT
            n, k = k, n
        if not hasattr(self, "base"):
            if self.orthogonal_map != _OrthMaps.householder:
                raise NotImplementedError("It is not possible to assign to the matrix exponential or the Cayley "
                                          "parametrizations when use_trivialization=False.")
            X = _reflectors_of(Q)
            return X.mT if transposed else X
        if n != k:
            more = T.randn((*Q.shape[:-2], n, n - k), dtype=Q.dtype, device=Q.device)
            Q = T.cat([Q, more], dim=-1)
        # An orthogonal matrix is its own factor Q, so there is nothing to decide, and nothing to read.
        self.base = _make_orthogonal(Q)
        identity = T.eye(*given.shape[-2:], dtype=given.dtype, device=given.device)
        # The map of this is the identity (householder: signs of -1 undo the reflections of unit vectors).
        return (-identity).expand(given.shape).clone()


def orthogonal(module: Module, name: str = "weight", orthogonal_map: str | None = None, *,
               use_trivialization: bool = True) -> Module:
    """Keep ``module.name`` (*, n, k) orthogonal: orthonormal columns, or rows if n < k; returns module.

    orthogonal_map: "matrix_exp", "cayley" or "householder"; by default matrix_exp for square or complex matrices,
    householder else. use_trivialization: keep a base matrix, so that values can be assigned.

    Raises:  ValueError if there is no such tensor, it has fewer than 2 axes, or the map is unknown.
    Source:  Lezcano-Casado 2019, arXiv:1909.09501.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.dim() < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.dim()} dimensions.")
    if orthogonal_map is None:
        square = weight.shape[-2] == weight.shape[-1]
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    if orthogonal_map not in _OrthMaps.__members__:
        raise ValueError('orthogonal_map has to be one of "matrix_exp", "cayley", "householder". '
                         f"Got: {orthogonal_map}")
    orth = _Orthogonal(weight, _OrthMaps[orthogonal_map], use_trivialization=use_trivialization)
    return parametrize.register_parametrization(module, name, orth, unsafe=True)


class _WeightNorm(Module):
    """g, v -> g v / |v|, the norm over all axes but ``dim`` (all axes for -1)."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        """The weight."""
        return weight_v * (weight_g / _norm_except_dim(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """(g, v) of a weight."""
        return _norm_except_dim(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Split ``module.name`` into magnitude (original0) and direction (original1); returns module.

    One magnitude per index of ``dim``; a single one if dim is None. State dicts of the older weight_norm can be
    loaded.

    Source:  Salimans & Kingma 2016, arXiv:1602.07868.
    """
    parametrize.register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename(state_dict: dict, prefix: str, local_metadata: dict, strict: bool, missing_keys: list,
               unexpected_keys: list, error_msgs: list) -> None:
        old = (f"{prefix}{name}_g", f"{prefix}{name}_v")
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(rename)
    return module


class _SpectralNorm(Module):
    """weight / its largest singular value, estimated by power iteration (n_power_iterations steps per training call).

    Buffers:  _u (rows,), _v (columns,), the singular vectors.
    """

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        ndim = weight.dim()
        self.dim = wrap_dim(dim, ndim)
        if n_power_iterations <= 0:
            raise ValueError("Expected n_power_iterations to be positive, but got "
                             f"n_power_iterations={n_power_iterations}")
        self.eps = eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = self._reshape_weight_to_matrix(weight.detach())
            for name, size in zip(("_u", "_v"), matrix.shape, strict=True):
                vector = T.randn(size, dtype=matrix.dtype, device=matrix.device)
                self.register_buffer(name, F.normalize(vector, dim=0, eps=eps))
            self._power_method(matrix, 15)

    def _reshape_weight_to_matrix(self, weight: Tensor) -> Tensor:
        if self.dim != 0:
            weight = weight.permute(self.dim, *(d for d in range(weight.dim()) if d != self.dim))
        return weight.flatten(1)

    @no_grad()
    def _power_method(self, matrix: Tensor, n_power_iterations: int) -> None:
        u, v = self._u, self._v
        for _ in range(n_power_iterations):
            u = F.normalize(T.mv(matrix, v), dim=0, eps=self.eps)
            v = F.normalize(T.mv(matrix.mH, u), dim=0, eps=self.eps)
        self._u.copy_(u)
        self._v.copy_(v)

    def forward(self, weight: Tensor) -> Tensor:
        """The normalised weight."""
        if weight.dim() == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._reshape_weight_to_matrix(weight)
        if self.training:
            self._power_method(matrix.detach(), self.n_power_iterations)
        # Copies: a later step writes into the buffers that this step's gradient needs.
        u, v = self._u.clone(), self._v.clone()
        return weight / T.vdot(u, T.mv(matrix, v))

    def right_inverse(self, value: Tensor) -> Tensor:
        """The value itself: the next forward call normalises it."""
        return value


def spectral_norm(module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12,
                  dim: int | None = None) -> Module:
    """Divide ``module.name`` by its largest singular value; returns module.

    dim: the axis of the outputs, by default 0, or 1 for transposed convolutions.

    Raises:  ValueError if there is no such tensor or n_power_iterations <= 0; IndexError if dim is no axis.
    Source:  Miyato et al. 2018, arXiv:1802.05957.
    """
    weight: Any = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if dim is None:
        dim = 1 if isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)) else 0
    return parametrize.register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
