"""Divergences of distributions of different families, each ``-entropy(p) - E_p[log q]``."""

from __future__ import annotations

import math
from typing import Any

from ..tensor import Tensor
from ..tensor import functions as T
from ._kl_registry import register_kl
from ._kl_same import infinite_where
from .bernoulli import Bernoulli
from .beta import Beta
from .binomial import Binomial
from .continuous_bernoulli import ContinuousBernoulli
from .exponential import Exponential
from .gamma import Gamma
from .gumbel import Gumbel
from .laplace import Laplace
from .normal import Normal
from .pareto import Pareto
from .poisson import Poisson
from .uniform import Uniform
from .utils import euler_constant

_LOG_2PI = math.log(2 * math.pi)


def _x_log_x(x: Tensor) -> Tensor:
    return T.xlogy(x, x)


def _infinite(p: Any, q: Any) -> Tensor:
    """p has values that q cannot have, whatever their parameters."""
    like = next(v for v in vars(p).values() if isinstance(v, Tensor)) if not isinstance(p, Beta) else p.concentration1
    return T.full(
        T.broadcast_shapes(p.batch_shape, q.batch_shape), math.inf, dtype=like.dtype, device=like.device
    )


for _p, _qs in {
    Beta: (Pareto,),
    ContinuousBernoulli: (Pareto,),
    Exponential: (Beta, ContinuousBernoulli, Pareto, Uniform),
    Gamma: (Beta, ContinuousBernoulli, Pareto, Uniform),
    Gumbel: (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform),
    Laplace: (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform),
    Normal: (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform),
    Pareto: (Beta, ContinuousBernoulli, Uniform),
    Poisson: (Bernoulli, Binomial),
}.items():
    for _q in _qs:
        register_kl(_p, _q)(_infinite)


def _square_distance(p: Any, q: Normal) -> Tensor:
    """``E_p[(x - loc)**2]``."""
    return p.variance + (p.mean - q.loc).pow(2)


def _to_normal(p: Any, q: Normal) -> Tensor:
    return -p.entropy() + 0.5 * _LOG_2PI + q.scale.log() + 0.5 * _square_distance(p, q) / q.scale.pow(2)


for _p in (Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Laplace, Uniform):
    register_kl(_p, Normal)(_to_normal)


def _to_exponential(p: Any, q: Exponential) -> Tensor:
    return -p.entropy() - q.rate.log() + q.rate * p.mean


for _p in (Beta, ContinuousBernoulli, Gamma):
    register_kl(_p, Exponential)(_to_exponential)


def _to_gamma(p: Any, q: Gamma, mean_log: Tensor) -> Tensor:
    log_norm = q.concentration.lgamma() - q.concentration * q.rate.log()
    return -p.entropy() + log_norm - (q.concentration - 1) * mean_log + q.rate * p.mean


def _to_gumbel(p: Any, q: Gumbel, mean_exp: Tensor) -> Tensor:
    """``mean_exp``: the mean of ``exp(-(x - loc) / scale)``."""
    return -p.entropy() + q.scale.log() + (p.mean - q.loc) / q.scale + mean_exp


def _to_continuous_bernoulli(p: Any, q: ContinuousBernoulli) -> Tensor:
    return -p.entropy() - p.mean * q.logits - T.log1p(-q.probs) - q._cont_bern_log_norm()


# ---- p = Bernoulli, Beta, ContinuousBernoulli ------------------------------------------------------------------------


@register_kl(Bernoulli, Poisson)
def _kl_bernoulli_poisson(p: Bernoulli, q: Poisson) -> Tensor:
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


register_kl(Beta, ContinuousBernoulli)(_to_continuous_bernoulli)


@register_kl(Beta, Gamma)
def _kl_beta_gamma(p: Beta, q: Gamma) -> Tensor:
    mean_log = p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma()
    return _to_gamma(p, q, mean_log)


@register_kl(ContinuousBernoulli, Uniform)
@register_kl(Beta, Uniform)
def _kl_unit_uniform(p: Any, q: Uniform) -> Tensor:
    return infinite_where((q.low > 0) | (q.high < 1), -p.entropy() + (q.high - q.low).log())


# ---- p = Exponential, Gamma ------------------------------------------------------------------------------------------


@register_kl(Exponential, Gamma)
def _kl_exponential_gamma(p: Exponential, q: Gamma) -> Tensor:
    return _to_gamma(p, q, -p.rate.log() - euler_constant)


@register_kl(Exponential, Gumbel)
def _kl_exponential_gumbel(p: Exponential, q: Gumbel) -> Tensor:
    product = p.rate * q.scale
    return _to_gumbel(p, q, T.exp(q.loc / q.scale) * product / (product + 1))


@register_kl(Gamma, Gumbel)
def _kl_gamma_gumbel(p: Gamma, q: Gumbel) -> Tensor:
    product = p.rate * q.scale
    return _to_gumbel(p, q, T.exp(q.loc / q.scale) * (1 + product.reciprocal()).pow(-p.concentration))


# ---- p = Normal ------------------------------------------------------------------------------------------------------


@register_kl(Normal, Gumbel)
def _kl_normal_gumbel(p: Normal, q: Gumbel) -> Tensor:
    mean_exp = T.exp((q.loc - p.loc) / q.scale + 0.5 * (p.scale / q.scale).pow(2))
    return _to_gumbel(p, q, mean_exp)


@register_kl(Normal, Laplace)
def _kl_normal_laplace(p: Normal, q: Laplace) -> Tensor:
    difference = p.loc - q.loc
    z = difference / p.scale
    # the mean of a folded normal number
    distance = math.sqrt(2 / math.pi) * p.scale * T.exp(-0.5 * z.pow(2)) + difference * T.erf(math.sqrt(0.5) * z)
    return -p.entropy() + (2 * q.scale).log() + distance / q.scale


# ---- p = Pareto ------------------------------------------------------------------------------------------------------


def _pareto_mean_log(p: Pareto) -> Tensor:
    return p.scale.log() + p.alpha.reciprocal()


@register_kl(Pareto, Exponential)
def _kl_pareto_exponential(p: Pareto, q: Exponential) -> Tensor:
    return infinite_where(p.alpha <= 1, _to_exponential(p, q))


@register_kl(Pareto, Gamma)
def _kl_pareto_gamma(p: Pareto, q: Gamma) -> Tensor:
    return infinite_where(p.alpha <= 1, _to_gamma(p, q, _pareto_mean_log(p)))


@register_kl(Pareto, Normal)
def _kl_pareto_normal(p: Pareto, q: Normal) -> Tensor:
    return infinite_where(p.alpha <= 2, _to_normal(p, q))


# ---- p = Uniform -----------------------------------------------------------------------------------------------------


def _uniform_mean_log(p: Uniform) -> Tensor:
    """``E[log x]`` for a uniform x."""
    width = p.high - p.low
    return (_x_log_x(p.high) - _x_log_x(p.low) - width) / width


@register_kl(Uniform, Beta)
def _kl_uniform_beta(p: Uniform, q: Beta) -> Tensor:
    width = p.high - p.low
    mean_log1m = (_x_log_x(1 - p.low) - _x_log_x(1 - p.high) - width) / width
    log_norm = q.concentration1.lgamma() + q.concentration0.lgamma() - (q.concentration1 + q.concentration0).lgamma()
    result = (
        -p.entropy()
        + log_norm
        - (q.concentration1 - 1) * _uniform_mean_log(p)
        - (q.concentration0 - 1) * mean_log1m
    )
    return infinite_where((p.high > 1) | (p.low < 0), result)


@register_kl(Uniform, ContinuousBernoulli)
def _kl_uniform_continuous_bernoulli(p: Uniform, q: ContinuousBernoulli) -> Tensor:
    return infinite_where((p.high > 1) | (p.low < 0), _to_continuous_bernoulli(p, q))


@register_kl(Uniform, Exponential)
def _kl_uniform_exponential(p: Uniform, q: Exponential) -> Tensor:
    return infinite_where(p.low < 0, _to_exponential(p, q))


@register_kl(Uniform, Gamma)
def _kl_uniform_gamma(p: Uniform, q: Gamma) -> Tensor:
    return infinite_where(p.low < 0, _to_gamma(p, q, _uniform_mean_log(p)))


@register_kl(Uniform, Gumbel)
def _kl_uniform_gumbel(p: Uniform, q: Gumbel) -> Tensor:
    low, high = (p.low - q.loc) / q.scale, (p.high - q.loc) / q.scale
    return _to_gumbel(p, q, (T.exp(-low) - T.exp(-high)) / (high - low))


@register_kl(Uniform, Pareto)
def _kl_uniform_pareto(p: Uniform, q: Pareto) -> Tensor:
    log_norm = q.alpha.log() + q.alpha * q.scale.log()
    result = -p.entropy() - log_norm + (q.alpha + 1) * _uniform_mean_log(p)
    return infinite_where(p.low < q.scale, result)
