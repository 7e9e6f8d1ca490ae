"""What PyTorch answers to questions about distributions, transforms and divergences: run it with PyTorch installed.

    python tests/reference/make_distributions.py

The cases below are built with whichever library is handed in, so that the tests ask the same questions.  Left out are
answers of PyTorch 2.13 that are wrong: the mode of Kumaraswamy (always NaN), and divergences between a uniform and a
continuous Bernoulli distribution whose intervals touch (infinite).
"""

import json
import math
from pathlib import Path

P3, L3 = [0.2, 0.5, 0.3], [0.2, -0.5, 0.3]
PD, TRIL = [[2.0, 0.3], [0.3, 1.0]], [[1.0, 0.0], [0.5, 1.2]]
CORR = [[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, -0.6, 0.8]]

#: name -> (builder of library.distributions and a function that makes parameters, values)
DISTRIBUTIONS = {
    "Bernoulli": (lambda D, t: D.Bernoulli(t([0.2, 0.7])), [0.0, 1.0]),
    "Bernoulli.logits": (lambda D, t: D.Bernoulli(logits=t([0.2, -0.7])), [1.0, 0.0]),
    "Beta": (lambda D, t: D.Beta(t([0.7, 2.0]), t([1.5, 3.0])), [0.3, 0.6]),
    "Binomial": (lambda D, t: D.Binomial(7, t([0.2, 0.7])), [0.0, 5.0]),
    "Binomial.logits": (lambda D, t: D.Binomial(5, logits=t([0.4, 80.0])), [2.0, 5.0]),
    "Categorical": (lambda D, t: D.Categorical(t([P3, [0.6, 0.1, 0.3]])), [2.0, 0.0]),
    "Categorical.logits": (lambda D, t: D.Categorical(logits=t(L3)), [2.0, 1.0]),
    "Cauchy": (lambda D, t: D.Cauchy(t([0.5, -1.0]), t([1.0, 2.0])), [0.3, -7.0]),
    "Chi2": (lambda D, t: D.Chi2(t([1.5, 4.0])), [0.3, 6.0]),
    "ContinuousBernoulli": (lambda D, t: D.ContinuousBernoulli(t([0.2, 0.7])), [0.3, 0.9]),
    "ContinuousBernoulli.half": (lambda D, t: D.ContinuousBernoulli(t([0.5, 0.5002])), [0.3, 0.9]),
    "Dirichlet": (lambda D, t: D.Dirichlet(t([0.8, 1.5, 3.0])), P3),
    "Exponential": (lambda D, t: D.Exponential(t([0.5, 2.0])), [0.3, 1.7]),
    "FisherSnedecor": (lambda D, t: D.FisherSnedecor(t([3.0, 5.0]), t([6.0, 9.0])), [0.3, 1.7]),
    "Gamma": (lambda D, t: D.Gamma(t([0.7, 3.0]), t([1.5, 0.5])), [0.3, 6.0]),
    "GeneralizedPareto": (
        lambda D, t: D.GeneralizedPareto(t([0.5, 1.0, 0.0]), t([1.0, 2.0, 1.0]), t([0.1, -0.2, 0.0])), [0.7, 3.0, 2.0],
    ),
    "Geometric": (lambda D, t: D.Geometric(t([0.3, 0.8])), [0.0, 3.0]),
    "Gumbel": (lambda D, t: D.Gumbel(t([0.5, -1.0]), t([1.0, 2.0])), [0.3, -2.0]),
    "HalfCauchy": (lambda D, t: D.HalfCauchy(t([1.0, 2.0])), [0.3, 4.0]),
    "HalfNormal": (lambda D, t: D.HalfNormal(t([1.0, 2.0])), [0.3, 4.0]),
    "Independent": (lambda D, t: D.Independent(D.Normal(t([0.0, 1.0]), t([1.0, 0.5])), 1), [0.3, 0.4]),
    "InverseGamma": (lambda D, t: D.InverseGamma(t([3.0, 5.0]), t([1.5, 2.0])), [0.3, 0.9]),
    "Kumaraswamy": (lambda D, t: D.Kumaraswamy(t([0.9, 2.0]), t([1.5, 3.0])), [0.3, 0.6]),
    "LKJCholesky": (lambda D, t: D.LKJCholesky(3, t([0.8, 2.0])), CORR),
    "Laplace": (lambda D, t: D.Laplace(t([0.5, -1.0]), t([1.0, 2.0])), [0.3, -2.0]),
    "LogNormal": (lambda D, t: D.LogNormal(t([0.5, -1.0]), t([0.4, 0.7])), [0.3, 2.0]),
    "LogisticNormal": (lambda D, t: D.LogisticNormal(t([0.3, -0.2]), t([0.8, 1.1])), P3),
    "LowRankMultivariateNormal": (
        lambda D, t: D.LowRankMultivariateNormal(t([0.5, 1.0]), t([[0.7], [0.2]]), t([0.5, 1.5])), [0.3, 0.4],
    ),
    "MixtureSameFamily": (
        lambda D, t: D.MixtureSameFamily(D.Categorical(t(P3)), D.Normal(t([-1.0, 0.5, 2.0]), t([0.5, 1.0, 0.3]))),
        [0.3, -2.0],
    ),
    "MixtureSameFamily.vectors": (
        lambda D, t: D.MixtureSameFamily(
            D.Categorical(t([0.4, 0.6])), D.Independent(D.Normal(t([[0.0, 1.0], [2.0, -1.0]]), t(1.0)), 1)
        ),
        [0.3, -2.0],
    ),
    "Multinomial": (lambda D, t: D.Multinomial(6, t(P3)), [1.0, 3.0, 2.0]),
    "MultivariateNormal": (lambda D, t: D.MultivariateNormal(t([0.5, 1.0]), t(PD)), [0.3, 0.4]),
    "MultivariateNormal.scale_tril": (lambda D, t: D.MultivariateNormal(t([0.5, 1.0]), scale_tril=t(TRIL)), [0.3, 4.0]),
    "MultivariateNormal.precision": (
        lambda D, t: D.MultivariateNormal(t([[0.5, 1.0], [0.0, 0.0]]), precision_matrix=t(PD)), [0.3, 0.4],
    ),
    "NegativeBinomial": (lambda D, t: D.NegativeBinomial(t([3.0, 5.0]), t([0.2, 0.6])), [0.0, 9.0]),
    "Normal": (lambda D, t: D.Normal(t([0.5, -1.0]), t([1.0, 2.0])), [0.3, -2.0]),
    "OneHotCategorical": (lambda D, t: D.OneHotCategorical(t(P3)), [0.0, 1.0, 0.0]),
    "Pareto": (lambda D, t: D.Pareto(t([1.0, 0.5]), t([3.0, 4.0])), [1.3, 2.0]),
    "Poisson": (lambda D, t: D.Poisson(t([0.7, 4.0])), [0.0, 6.0]),
    "RelaxedBernoulli": (lambda D, t: D.RelaxedBernoulli(t([0.7]), t([0.3, 0.8])), [0.3, 0.9]),
    "RelaxedOneHotCategorical": (lambda D, t: D.RelaxedOneHotCategorical(t([0.7]), t(P3)), P3),
    "StudentT": (lambda D, t: D.StudentT(t([3.5, 1.5]), t([0.5, -1.0]), t([1.0, 2.0])), [0.3, -9.0]),
    "TransformedDistribution": (
        lambda D, t: D.TransformedDistribution(
            D.Uniform(t([0.1]), t([0.9])), [D.SigmoidTransform().inv, D.AffineTransform(t([1.0]), t([-2.0]))]
        ),
        [0.3, -1.0],
    ),
    "Uniform": (lambda D, t: D.Uniform(t([-6.0, 0.0]), t([7.0, 2.0])), [0.3, 1.0]),
    "VonMises": (lambda D, t: D.VonMises(t([0.5, -1.0]), t([0.8, 30.0])), [0.3, -1.2]),
    "Weibull": (lambda D, t: D.Weibull(t([1.0, 2.0]), t([1.2, 2.5])), [0.3, 2.0]),
    "Wishart": (lambda D, t: D.Wishart(t([4.0]), t(PD)), [[3.0, 0.5], [0.5, 2.0]]),
}  # fmt: skip

#: What is asked of each; a case that raises NotImplementedError in PyTorch must do so here.
QUESTIONS = {
    "mean": lambda d, v: d.mean,
    "mode": lambda d, v: d.mode,
    "variance": lambda d, v: d.variance,
    "entropy": lambda d, v: d.entropy(),
    "log_prob": lambda d, v: d.log_prob(v),
    "cdf": lambda d, v: d.cdf(v),
    "icdf": lambda d, v: d.icdf(v * 0 + 0.3),
    "enumerate_support": lambda d, v: d.enumerate_support(),
}
SKIPPED = {("Kumaraswamy", "mode")}

#: pairs of classes with a divergence
PAIRS = [
    ("Bernoulli", "Bernoulli.logits"), ("Beta", "Beta"), ("Binomial", "Binomial"),
    ("Categorical", "Categorical.logits"),
    ("ContinuousBernoulli", "ContinuousBernoulli"), ("Dirichlet", "Dirichlet"), ("Exponential", "Exponential"),
    ("Gamma", "Gamma"), ("Gumbel", "Gumbel"), ("Geometric", "Geometric"), ("HalfNormal", "HalfNormal"),
    ("Laplace", "Laplace"), ("LowRankMultivariateNormal", "LowRankMultivariateNormal"),
    ("MultivariateNormal", "LowRankMultivariateNormal"), ("LowRankMultivariateNormal", "MultivariateNormal"),
    ("MultivariateNormal", "MultivariateNormal.scale_tril"), ("MultivariateNormal.precision", "MultivariateNormal"),
    ("Normal", "Normal"), ("OneHotCategorical", "OneHotCategorical"), ("Pareto", "Pareto"), ("Poisson", "Poisson"),
    ("LogNormal", "LogNormal"), ("Uniform", "Uniform"), ("Bernoulli", "Poisson"), ("Beta", "Pareto"),
    ("Beta", "Exponential"), ("Beta", "Gamma"), ("Beta", "Normal"), ("Beta", "Uniform"), ("Exponential", "Uniform"),
    ("Exponential", "Gamma"), ("Exponential", "Gumbel"), ("Exponential", "Normal"), ("Gamma", "Exponential"),
    ("Gamma", "Gumbel"), ("Gamma", "Normal"), ("Gamma", "Beta"), ("Gumbel", "Normal"), ("Gumbel", "Pareto"),
    ("Laplace", "Normal"), ("Laplace", "Gamma"), ("Normal", "Gumbel"), ("Normal", "Laplace"), ("Normal", "Beta"),
    ("Pareto", "Exponential"), ("Pareto", "Gamma"), ("Pareto", "Normal"), ("Poisson", "Binomial"),
    ("Wishart", "Wishart"),
    ("Uniform", "Normal"), ("Uniform", "Gumbel"), ("Uniform", "Exponential"), ("Uniform", "Pareto"),
    ("Independent", "Independent"), ("Cauchy", "Cauchy"), ("ContinuousBernoulli", "Exponential"),
    ("ContinuousBernoulli", "Normal"), ("Chi2", "Chi2"), ("Chi2", "Gamma"), ("Beta", "ContinuousBernoulli"),
]  # fmt: skip

V, M = [0.3, -0.7, 1.1], [[0.3, -0.7], [0.9, 1.2]]
#: name -> (builder, input)
TRANSFORMS = {
    "Abs": (lambda D, t: D.AbsTransform(), V),
    "Affine": (lambda D, t: D.AffineTransform(t([1.0, 2.0, 3.0]), t([0.5, -2.0, 1.0])), V),
    "Affine.event": (lambda D, t: D.AffineTransform(1.0, 2.0, event_dim=1), V),
    "Cat": (lambda D, t: D.CatTransform([D.ExpTransform(), D.AffineTransform(1.0, 2.0)], dim=0, lengths=[1, 2]), V),
    "Compose": (lambda D, t: D.ComposeTransform([D.AffineTransform(0.5, 2.0), D.SigmoidTransform()]), V),
    "CorrCholesky": (lambda D, t: D.CorrCholeskyTransform(), V),
    "Cdf": (lambda D, t: D.CumulativeDistributionTransform(D.Normal(0.0, 1.5)), V),
    "Exp": (lambda D, t: D.ExpTransform(), V),
    "Independent": (lambda D, t: D.IndependentTransform(D.ExpTransform(), 1), M),
    "LowerCholesky": (lambda D, t: D.LowerCholeskyTransform(), M),
    "PositiveDefinite": (lambda D, t: D.PositiveDefiniteTransform(), M),
    "Power": (lambda D, t: D.PowerTransform(t(2.5)), [0.3, 0.7, 1.1]),
    "Reshape": (lambda D, t: D.ReshapeTransform((4,), (2, 2)), [0.1, 0.2, 0.3, 0.4]),
    "Sigmoid": (lambda D, t: D.SigmoidTransform(), V),
    "Softmax": (lambda D, t: D.SoftmaxTransform(), V),
    "Softplus": (lambda D, t: D.SoftplusTransform(), V),
    "Stack": (lambda D, t: D.StackTransform([D.ExpTransform(), D.AffineTransform(1.0, 2.0)], dim=0), M),
    "StickBreaking": (lambda D, t: D.StickBreakingTransform(), V),
    "Tanh": (lambda D, t: D.TanhTransform(), V),
}

#: constructions and calls that must raise ValueError or another error at once
ERRORS = {
    "scale": lambda D, t: D.Normal(t([0.0, 0.0]), t([1.0, -1.0])),
    "probs": lambda D, t: D.Bernoulli(t([0.5, 1.5])),
    "simplex": lambda D, t: D.Categorical(t([-0.1, 1.1])),
    "df": lambda D, t: D.Chi2(t(-1.0)),
    "both": lambda D, t: D.Bernoulli(t(0.5), logits=t(0.5)),
    "neither": lambda D, t: D.Categorical(),
    "covariance": lambda D, t: D.MultivariateNormal(t([0.0, 0.0]), t([[1.0, 2.0], [2.0, 1.0]])),
    "two matrices": lambda D, t: D.MultivariateNormal(t([0.0, 0.0]), t(PD), scale_tril=t(TRIL)),
    "vector": lambda D, t: D.MultivariateNormal(t(0.0), t(PD)),
    "uniform": lambda D, t: D.Uniform(1.0, 0.0),
    "support": lambda D, t: D.Exponential(1.0).log_prob(t(-1.0)),
    "integer": lambda D, t: D.Poisson(1.0).log_prob(t(0.5)),
    "upper": lambda D, t: D.Binomial(3, t(0.5)).log_prob(t(4.0)),
    "event shape": lambda D, t: D.Dirichlet(t(P3)).log_prob(t([0.5, 0.5])),
    "batch shape": lambda D, t: D.Normal(t([0.0, 0.0]), 1.0).log_prob(t(V)),
    "no tensor": lambda D, t: D.Normal(0.0, 1.0).log_prob(1.0),
    "strings": lambda D, t: D.Normal("a", 1.0),
    "wishart df": lambda D, t: D.Wishart(0.5, t(PD), validate_args=False),
    "lkj dim": lambda D, t: D.LKJCholesky(1),
    "total_count": lambda D, t: D.Multinomial(t(3.0), t(P3)),
    "inhomogeneous": lambda D, t: D.Binomial(t([1.0, 2.0]), t(0.5)).entropy(),
    "independent": lambda D, t: D.Independent(D.Normal(0.0, 1.0), 1),
    "mixture": lambda D, t: D.MixtureSameFamily(D.Normal(0.0, 1.0), D.Normal(0.0, 1.0)),
    "components": lambda D, t: D.MixtureSameFamily(D.Categorical(t(P3)), D.Normal(t([0.0, 1.0]), 1.0)),
    "transforms": lambda D, t: D.TransformedDistribution(D.Normal(0.0, 1.0), [1]),
    "event dim": lambda D, t: D.TransformedDistribution(D.Normal(0.0, 1.0), [D.StickBreakingTransform()]),
    "kl": lambda D, t: D.kl_divergence(D.Cauchy(0.0, 1.0), D.Normal(0.0, 1.0)),
    "kl binomial": lambda D, t: D.kl_divergence(D.Binomial(2, t(0.5)), D.Binomial(3, t(0.5))),
    "register": lambda D, t: D.register_kl(1, D.Normal),
    "transform_to": lambda D, t: D.transform_to(D.constraints.square),
    "dependent": lambda D, t: D.constraints.dependent.check(t(1.0)),
    "cache": lambda D, t: D.ExpTransform(cache_size=2),
    "reshape": lambda D, t: D.ReshapeTransform((2,), (3,)),
    "corr": lambda D, t: D.CorrCholeskyTransform().forward_shape((4,)),
    "mode": lambda D, t: D.LKJCholesky(3).mode,
    "default": lambda D, t: D.Distribution.set_default_validate_args("yes"),
    "cross family": lambda D, t: D.kl_divergence(D.Poisson(1.0), D.Gamma(1.0, 1.0)),
}


def numbers(tensor):
    """Nested lists; what JSON does not have as strings."""
    if tensor is None or isinstance(tensor, str):
        return tensor

    def plain(x):
        if isinstance(x, list):
            return [plain(y) for y in x]
        x = float(x)
        return float(f"{x:.8g}") if math.isfinite(x) else repr(x)

    return plain(tensor.detach().tolist())


def answers(library):
    """Everything above, answered by a library of PyTorch's interface, in double precision."""
    before = library.get_default_dtype()
    library.set_default_dtype(library.float64)
    try:
        return _answers(library)
    finally:
        library.set_default_dtype(before)


def _answers(library):
    D = library.distributions
    double = {"dtype": library.float64}

    def t(value):
        return library.tensor(value, **double)

    def ask(question, *args):
        try:
            return question(*args)
        except NotImplementedError:
            return "NotImplementedError"

    out = {"distributions": {}, "gradients": {}, "kl": {}, "transforms": {}, "errors": {}}
    for name, (make, value) in DISTRIBUTIONS.items():
        leaves = []

        def leaf(v, leaves=leaves):
            leaves.append(library.tensor(v, requires_grad=True, **double))
            return leaves[-1]

        d = make(D, t)
        told = {q: ask(f, d, t(value)) for q, f in QUESTIONS.items() if (name, q) not in SKIPPED}
        grads = library.autograd.grad(make(D, leaf).log_prob(t(value)).sum(), leaves, allow_unused=True)
        out["distributions"][name] = {q: numbers(answer) for q, answer in told.items()} | {"repr": repr(d)}
        out["gradients"][name] = [numbers(g) for g in grads]
    kl = {}
    for p, q in PAIRS:
        factor = 1.1 if p == q else 1.0
        first, second = DISTRIBUTIONS[p][0](D, t), DISTRIBUTIONS[q][0](D, lambda v, f=factor: t(v) * f)
        kl[f"{p} {q}"] = ask(D.kl_divergence, first, second)
    out["kl"] = {name: numbers(answer) for name, answer in kl.items()}
    for name, (make, value) in TRANSFORMS.items():
        f, x = make(D, t), t(value)
        y = f(x)
        told = {"forward": y, "inverse": f.inv(y), "jacobian": ask(f.log_abs_det_jacobian, x, y)}
        told = {what: numbers(answer) for what, answer in told.items()} | {"repr": repr(f)}
        told["shapes"] = [list(f.forward_shape(x.shape)), list(f.inverse_shape(y.shape))]
        told["bijective"] = bool(f.bijective)
        out["transforms"][name] = told
    for name, wrong in ERRORS.items():
        try:
            wrong(D, t)
            out["errors"][name] = None
        except Exception as error:
            out["errors"][name] = type(error).__name__
    return out


if __name__ == "__main__":
    import torch

    where = Path(__file__).with_name("distributions.json")
    where.write_text(json.dumps(answers(torch), separators=(",", ":")) + "\n")
    print(f"{where}: {where.stat().st_size / 1024:.0f} KiB")
