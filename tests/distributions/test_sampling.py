"""Samples follow their distributions, and their gradients are those of the expectations."""

import math

import numpy as np
import pytest
from scipy import stats

import pytorchlike as torch

D = torch.distributions
N = 4000


def _t(*values):
    return torch.tensor(values)


#: name -> (distribution, scipy's)
CONTINUOUS = {
    "Beta": (lambda: D.Beta(0.7, 1.5), stats.beta(0.7, 1.5)),
    "Cauchy": (lambda: D.Cauchy(0.5, 2.0), stats.cauchy(0.5, 2.0)),
    "Exponential": (lambda: D.Exponential(2.0), stats.expon(scale=0.5)),
    "FisherSnedecor": (lambda: D.FisherSnedecor(3.0, 6.0), stats.f(3.0, 6.0)),
    "Gamma": (lambda: D.Gamma(0.3, 1.5), stats.gamma(0.3, scale=1 / 1.5)),
    "GeneralizedPareto": (lambda: D.GeneralizedPareto(0.5, 2.0, 0.2), stats.genpareto(0.2, 0.5, 2.0)),
    "Gumbel": (lambda: D.Gumbel(0.5, 2.0), stats.gumbel_r(0.5, 2.0)),
    "HalfCauchy": (lambda: D.HalfCauchy(2.0), stats.halfcauchy(scale=2.0)),
    "HalfNormal": (lambda: D.HalfNormal(2.0), stats.halfnorm(scale=2.0)),
    "InverseGamma": (lambda: D.InverseGamma(3.0, 1.5), stats.invgamma(3.0, scale=1.5)),
    "Laplace": (lambda: D.Laplace(0.5, 2.0), stats.laplace(0.5, 2.0)),
    "LogNormal": (lambda: D.LogNormal(0.5, 0.4), stats.lognorm(0.4, scale=math.exp(0.5))),
    "Normal": (lambda: D.Normal(0.5, 2.0), stats.norm(0.5, 2.0)),
    "Pareto": (lambda: D.Pareto(0.5, 3.0), stats.pareto(3.0, scale=0.5)),
    "StudentT": (lambda: D.StudentT(3.5, 0.5, 2.0), stats.t(3.5, 0.5, 2.0)),
    "Uniform": (lambda: D.Uniform(-1.0, 2.0), stats.uniform(-1.0, 3.0)),
    "VonMises": (lambda: D.VonMises(_t(0.0), _t(3.0)), stats.vonmises(3.0)),
    "VonMises.flat": (lambda: D.VonMises(_t(0.0), _t(1e-6)), stats.uniform(-math.pi, 2 * math.pi)),
    "Weibull": (lambda: D.Weibull(2.0, 1.5), stats.weibull_min(1.5, scale=2.0)),
}
#: those without a counterpart in scipy have a cdf of their own, which the references check
OWN_CDF = {
    "ContinuousBernoulli": lambda: D.ContinuousBernoulli(_t(0.2)),
    "Kumaraswamy": lambda: D.Kumaraswamy(0.9, 1.5),
    "Mixture": lambda: D.MixtureSameFamily(D.Categorical(_t(0.3, 0.7)), D.Normal(_t(-2.0, 1.0), _t(0.5, 1.0))),
    "Transformed": lambda: D.TransformedDistribution(D.Normal(0.0, 1.0), [D.AffineTransform(1.0, -2.0)]),
}
DISCRETE = {
    "Bernoulli": (lambda: D.Bernoulli(0.3), stats.bernoulli(0.3)),
    "Binomial": (lambda: D.Binomial(7, _t(0.3)), stats.binom(7, 0.3)),
    "Categorical": (lambda: D.Categorical(_t(0.2, 0.5, 0.3)), stats.rv_discrete(values=([0, 1, 2], [0.2, 0.5, 0.3]))),
    "Geometric": (lambda: D.Geometric(0.3), stats.geom(0.3, loc=-1)),
    "NegativeBinomial": (lambda: D.NegativeBinomial(3.0, _t(0.4)), stats.nbinom(3.0, 0.6)),
    "Poisson": (lambda: D.Poisson(4.0), stats.poisson(4.0)),
}


def _draw(d):
    torch.manual_seed(1)
    return d.sample((N,)).numpy().reshape(N, -1)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_samples(name):
    """Kolmogorov-Smirnov against scipy."""
    make, want = CONTINUOUS[name]
    assert stats.kstest(_draw(make())[:, 0], want.cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", OWN_CDF)
def test_samples_follow_their_own_cdf(name):
    d = OWN_CDF[name]()
    u = d.cdf(torch.tensor(_draw(d).reshape(N, *d.batch_shape))).numpy().reshape(N)
    assert stats.kstest(u, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete_samples(name):
    """Chi-squared against scipy's probabilities, values that are rarely expected together."""
    make, want = DISCRETE[name]
    x = _draw(make())[:, 0]
    k = np.arange(0, 60)
    expected = want.pmf(k) * N
    observed = np.array([(x == i).sum() for i in k])
    assert observed.sum() == N
    often = expected >= 8
    expected = np.append(expected[often], N - expected[often].sum())
    observed = np.append(observed[often], N - observed[often].sum())
    if expected[-1] < 1:
        assert observed[-1] <= 8
        expected, observed = expected[:-1] * N / expected[:-1].sum(), observed[:-1] * N / observed[:-1].sum()
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-3


VECTORS = {
    "Dirichlet": lambda: D.Dirichlet(_t(0.8, 1.5, 3.0)),
    "Multinomial": lambda: D.Multinomial(6, _t(0.2, 0.5, 0.3)),
    "MultivariateNormal": lambda: D.MultivariateNormal(_t(0.5, 1.0), torch.tensor([[2.0, 0.3], [0.3, 1.0]])),
    "LowRank": lambda: D.LowRankMultivariateNormal(_t(0.5, 1.0), torch.tensor([[0.7], [0.2]]), _t(0.5, 1.5)),
    "OneHotCategorical": lambda: D.OneHotCategorical(_t(0.2, 0.5, 0.3)),
    "Wishart": lambda: D.Wishart(_t(6.0), torch.tensor([[2.0, 0.3], [0.3, 1.0]])),
    "Independent mixture": lambda: D.MixtureSameFamily(
        D.Categorical(_t(0.4, 0.6)), D.Independent(D.Normal(torch.tensor([[0.0, 1.0], [2.0, -1.0]]), 1.0), 1)
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_moments_of_vectors(name):
    """Means within five standard errors, variances within an eighth."""
    d = VECTORS[name]()
    x = _draw(d)
    mean, variance = d.mean.numpy().reshape(-1), d.variance.numpy().reshape(-1)
    assert (abs(x.mean(0) - mean) < 5 * np.sqrt(variance / N)).all()
    np.testing.assert_allclose(x.var(0), variance, rtol=0.125)


def test_covariance_of_multivariate_normal():
    d = VECTORS["LowRank"]()
    np.testing.assert_allclose(np.cov(_draw(d).T), d.covariance_matrix.numpy(), atol=0.12)


@pytest.mark.parametrize("eta", [1.0, 3.0])
def test_lkj_correlations(eta):
    """Every correlation of a matrix is beta on (-1, 1) of both parameters eta + dim / 2 - 1."""
    dim = 3
    torch.manual_seed(2)
    factor = D.LKJCholesky(dim, eta).sample((N,)).numpy()
    assert np.allclose((factor**2).sum(-1), 1, atol=1e-5)
    corr = factor @ factor.swapaxes(-1, -2)
    want = stats.beta(eta + dim / 2 - 1, eta + dim / 2 - 1, loc=-1, scale=2)
    for i, j in ((1, 0), (2, 0), (2, 1)):
        assert stats.kstest(corr[:, i, j], want.cdf).pvalue > 1e-3


def test_gamma_gradient_is_implicit():
    """``dx/da = -(dF/da) / pdf`` sample by sample, against finite differences of scipy's F."""
    torch.manual_seed(3)
    a = torch.tensor([0.4, 1.0, 5.0, 40.0], dtype=torch.float64)
    leaf = a.expand(8, 4).clone().requires_grad_()
    x = D.Gamma(leaf, 1.0).rsample()
    x.sum().backward()
    x, a, h = x.detach().numpy(), a.numpy(), 1e-5
    slope = (stats.gamma.cdf(x, a + h) - stats.gamma.cdf(x, a - h)) / (2 * h)
    np.testing.assert_allclose(leaf.grad.numpy(), -slope / stats.gamma.pdf(x, a), rtol=1e-3)


@pytest.mark.parametrize(
    "make,moments",
    [
        (lambda a, b: D.Beta(a, b), lambda a, b: (a / (a + b), a * (a + 1) / ((a + b) * (a + b + 1)))),
        (lambda a, b: D.Gamma(a, b), lambda a, b: (a / b, a * (a + 1) / b**2)),
        (lambda a, b: D.InverseGamma(a + 4, b), lambda a, b: (b / (a + 3), b**2 / ((a + 3) * (a + 2)))),
        (lambda a, b: D.StudentT(a + 6, b, 1.0), lambda a, b: (b, b**2 + (a + 6) / (a + 4))),
        (lambda a, b: D.Weibull(b, a), lambda a, b: (b * torch.exp(torch.lgamma(1 + 1 / a)),
                                                     b**2 * torch.exp(torch.lgamma(1 + 2 / a)))),
        (lambda a, b: D.Normal(a, b), lambda a, b: (a, a**2 + b**2)),
    ],
    ids=["Beta", "Gamma", "InverseGamma", "StudentT", "Weibull", "Normal"],
)  # fmt: skip
def test_gradients_of_expectations(make, moments):
    """The mean of x and of x squared, differentiated through the samples, against their formulas."""
    torch.manual_seed(4)
    got, want = [], []
    leaves = [torch.tensor(1.7, requires_grad=True), torch.tensor(2.2, requires_grad=True)]
    x = make(*leaves).rsample((40_000,))
    for estimate, exact in zip((x.mean(), (x * x).mean()), moments(*leaves), strict=True):
        for of, into in ((estimate, got), (exact, want)):
            grads = torch.autograd.grad(of, leaves, retain_graph=True, allow_unused=True)
            into.extend(0.0 if g is None else float(g) for g in grads)
    np.testing.assert_allclose(got, want, rtol=0.06, atol=0.06)


def test_dirichlet_gradient_of_expectations():
    """The mean is ``a / sum(a)``; its Jacobian comes out of the samples."""
    torch.manual_seed(5)
    a = torch.tensor([0.8, 1.5, 3.0], requires_grad=True)
    mean = D.Dirichlet(a).rsample((20_000,)).mean(0)
    rows = [torch.autograd.grad(mean[i], a, retain_graph=True)[0].numpy() for i in range(3)]
    n, total = a.detach().numpy(), 5.3
    np.testing.assert_allclose(np.stack(rows), np.eye(3) / total - n[:, None] / total**2, atol=0.01)


def test_straight_through_gradient():
    """One-hot samples with the gradient of the probabilities."""
    probs = torch.tensor([0.2, 0.5, 0.3], requires_grad=True)
    d = D.OneHotCategoricalStraightThrough(probs)
    x = d.rsample((5,))
    assert set(np.unique(x.detach().numpy().round(6))) <= {0.0, 1.0}
    (x * torch.tensor([1.0, 2.0, 4.0])).sum().backward()
    p = np.array([0.2, 0.5, 0.3])
    w = np.array([1.0, 2.0, 4.0])
    np.testing.assert_allclose(probs.grad.numpy(), 5 * (w - (w * p).sum()), rtol=1e-5)


def test_relaxed_samples():
    """Relaxed samples are inside the simplex and prefer the categories as the hard ones do."""
    torch.manual_seed(6)
    x = D.RelaxedOneHotCategorical(_t(0.5), _t(0.2, 0.5, 0.3)).rsample((N,)).numpy()
    np.testing.assert_allclose(x.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(np.bincount(x.argmax(-1)) / N, [0.2, 0.5, 0.3], atol=0.04)
    y = D.RelaxedBernoulli(_t(0.5), _t(0.3)).rsample((N,)).numpy()
    assert ((y > 0) & (y < 1)).all() and abs((y > 0.5).mean() - 0.3) < 0.04


def test_wishart_draws_singular_matrices_again():
    """``max_try_correction`` leaves good samples alone, and gives gradients."""
    scale = torch.eye(2).requires_grad_()
    d = D.Wishart(torch.tensor(3.0), scale_tril=scale)
    x = d.rsample((5,), max_try_correction=1)
    assert D.constraints.positive_definite.check(x).all()
    x.sum().backward()
    assert torch.isfinite(scale.grad).all()
