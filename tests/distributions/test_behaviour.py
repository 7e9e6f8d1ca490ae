"""Checks of arguments without reads, shapes, expansion, copies, constraints, transforms, the table of divergences."""

import copy
import functools
import pickle
import warnings

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.distributions import constraints

D = torch.distributions


# ---- checks ----------------------------------------------------------------------------------------------------------


def test_pending_parameters_are_checked_at_the_next_read():
    """A parameter that is not computed yet is not read; the error names it, at the next read."""
    scale = torch.tensor([1.0, -1.0]) * 2
    before = torch.compiler.stats()["flushes"]
    d = D.Normal(torch.zeros(2), scale)
    d.log_prob(torch.zeros(2))
    assert torch.compiler.stats()["flushes"] == before
    with pytest.raises(ValueError, match=r"parameter scale .* of distribution Normal to satisfy .*GreaterThan"):
        d.sample().numpy()


def test_pending_values_are_checked_at_the_next_read():
    """So is a value outside the support."""
    value = torch.tensor([1.0, -1.0]) * 2
    log_prob = D.Exponential(torch.ones(2)).log_prob(value)
    with pytest.raises(ValueError, match=r"within the support \(GreaterThanEq\(lower_bound=0.0\)\)"):
        log_prob.sum().item()
    assert float(torch.ones(2).sum()) == 2  # the error is told once


def test_bounds_that_are_pending():
    """The support of a distribution whose parameters are pending is checked with them."""
    d = D.Uniform(torch.zeros(2) * 2, torch.ones(2) * 2)
    assert np.isfinite(d.log_prob(torch.tensor([0.5, 1.5])).numpy()).all()
    with pytest.raises(ValueError, match="support"):
        d.log_prob(torch.tensor([0.5, 2.5])).numpy()


def test_a_failed_check_leaves_parameters_alone():
    """What an optimizer would have updated by a program with invalid parameters keeps its value."""
    p = torch.nn.Parameter(torch.tensor([0.5, -1.0]))
    opt = torch.optim.SGD([p], lr=0.1)
    loss = -D.Normal(torch.zeros(2), p * 2).log_prob(torch.ones(2)).sum()
    loss.backward()
    with pytest.raises(ValueError, match="scale"):
        opt.step()
        loss.item()
    np.testing.assert_array_equal(p.detach().numpy(), [0.5, -1.0])


def test_validation_can_be_switched_off():
    """By argument and for all."""
    assert D.Normal(0.0, -1.0, validate_args=False).scale.item() == -1
    D.Distribution.set_default_validate_args(False)
    try:
        d = D.Normal(0.0, -1.0)
        with pytest.raises(ValueError, match="scale"):
            D.Normal(0.0, -1.0, validate_args=True)
    finally:
        D.Distribution.set_default_validate_args(True)
    assert not np.isfinite(float(d.log_prob(torch.tensor(0.0))))
    with pytest.raises(ValueError, match="True or False"):
        D.Distribution.set_default_validate_args(None)


class Even(constraints.Constraint):
    """A constraint of a user's."""

    is_discrete = True

    def check(self, value):
        return torch.fmod(value, 2) == 0


class EvenNumbers(D.Distribution):
    arg_constraints = {"base": Even()}
    support = Even()

    def __init__(self, base, validate_args=None):
        self.base = base
        super().__init__(base.shape, validate_args=validate_args)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return value * 0


def test_constraints_of_users():
    """A user's constraint on a host value is checked at once, without cutting what is pending."""
    pending = torch.ones(3) * 2
    before = torch.compiler.stats()["flushes"]
    with pytest.raises(ValueError, match=r"Even\(\)"):
        EvenNumbers(torch.tensor([2.0, 3.0]))
    d = EvenNumbers(torch.tensor([2.0, 4.0]))
    with pytest.raises(ValueError, match="support"):
        d.log_prob(torch.tensor([1.0, 2.0]))
    assert torch.compiler.stats()["flushes"] == before
    with pytest.raises(ValueError, match="support"):
        d.log_prob(torch.tensor([1.0, 2.0]) * 1).sum().item()
    assert float(pending.sum()) == 6


def test_a_check_that_was_replaced_is_given_tensors(monkeypatch):
    """By a function that calls itself what the old one did, as pyro's."""
    given, old = [], type(constraints.corr_cholesky).check

    @functools.wraps(old)
    def check(self, value):
        given.append(type(value))
        return constraints.lower_cholesky.check(value.detach()) & (value[..., 0, 0] < 2)

    monkeypatch.setattr(type(constraints.corr_cholesky), "check", check)
    lkj = torch.distributions.LKJCholesky(2)
    lkj.log_prob(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="support"):
        lkj.log_prob(torch.tensor([[3.0, 0.0], [0.0, 3.0]]))
    assert given == [torch.Tensor] * 2


def test_distributions_that_tell_nothing():
    """Without constraints there is a warning; what is not defined says so."""

    class Bare(D.Distribution):
        pass

    with pytest.warns(UserWarning, match="does not define `arg_constraints`"):
        d = Bare()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Bare(validate_args=False)
    for what in ("mean", "variance", "support", "mode"):
        with pytest.raises(NotImplementedError):
            getattr(d, what)
    for call in ("entropy", "rsample", "sample", "enumerate_support"):
        with pytest.raises(NotImplementedError):
            getattr(d, call)()
    with pytest.raises(NotImplementedError):
        d.expand((2,))


def test_a_training_step_reads_nothing_and_compiles_once():
    """A policy gradient with validation on: one program per step, the same one every time."""
    torch.manual_seed(0)
    net = torch.nn.Linear(4, 3)
    opt = torch.optim.SGD(net.parameters(), lr=0.1)
    rng = np.random.RandomState(0)
    for i in range(7):
        if i == 4:
            before = torch.compiler.stats()
        d = D.Categorical(logits=net(torch.from_numpy(rng.randn(8, 4).astype(np.float32))))
        q = D.Normal(d.logits.mean(0), d.probs.sum(0) + 1)
        action = d.sample()
        loss = -(d.log_prob(action) * (action == 1).float()).mean() - 0.1 * d.entropy().mean()
        loss = loss + D.kl_divergence(q, D.Normal(torch.zeros(3), torch.ones(3))).sum() + q.rsample().sum() * 0.01
        opt.zero_grad()
        loss.backward()
        opt.step()
    after = torch.compiler.stats()
    assert after["compiles"] == before["compiles"] and after["kernels"] == before["kernels"]
    assert after["flushes"] - before["flushes"] == 3
    assert np.isfinite(loss.item())


# ---- shapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make,batch,event",
    [
        (lambda: D.Normal(0.0, 1.0), (), ()),
        (lambda: D.Normal(torch.zeros(3, 1), torch.ones(2)), (3, 2), ()),
        (lambda: D.Categorical(torch.ones(4, 3)), (4,), ()),
        (lambda: D.Dirichlet(torch.ones(4, 3)), (4,), (3,)),
        (lambda: D.MultivariateNormal(torch.zeros(5, 1, 2), torch.eye(2).expand(3, 2, 2)), (5, 3), (2,)),
        (lambda: D.LowRankMultivariateNormal(torch.zeros(3, 2), torch.ones(2, 1), torch.ones(2)), (3,), (2,)),
        (lambda: D.Independent(D.Normal(torch.zeros(2, 3), 1.0), 1), (2,), (3,)),
        (lambda: D.LKJCholesky(3, torch.ones(2)), (2,), (3, 3)),
        (lambda: D.Wishart(torch.tensor([3.0, 4.0]), torch.eye(2)), (2,), (2, 2)),
        (lambda: D.Multinomial(3, torch.ones(2, 4)), (2,), (4,)),
        (lambda: D.MixtureSameFamily(D.Categorical(torch.ones(3)), D.Normal(torch.zeros(2, 3), 1.0)), (2,), ()),
        (lambda: D.TransformedDistribution(D.Normal(torch.zeros(2, 3), 1.0), [D.StickBreakingTransform()]), (2,), (4,)),
        (lambda: D.TransformedDistribution(D.Normal(0.0, 1.0), [D.AffineTransform(torch.zeros(2), 1.0)]), (2,), ()),
        (lambda: D.LogisticNormal(0.0, 1.0), (), (2,)),
        (lambda: D.RelaxedOneHotCategorical(torch.tensor(0.5), torch.ones(2, 3)), (2,), (3,)),
        (lambda: D.Gumbel(torch.zeros(2), 1.0), (2,), ()),
        (lambda: D.Pareto(1.0, torch.ones(2)), (2,), ()),
        (lambda: D.Weibull(1.0, torch.ones(2)), (2,), ()),
        (lambda: D.Kumaraswamy(1.0, torch.ones(2)), (2,), ()),
        (lambda: D.Beta(1.0, torch.ones(2)), (2,), ()),
        (lambda: D.RelaxedBernoulli(torch.tensor(0.5), torch.tensor([0.2, 0.3])), (2,), ()),
        (lambda: D.OneHotCategorical(torch.ones(2, 3)), (2,), (3,)),
        (lambda: D.Chi2(torch.ones(2)), (2,), ()),
        (lambda: D.InverseGamma(torch.ones(2), 1.0), (2,), ()),
    ],
)
def test_shapes_and_expansion(make, batch, event):
    """Batch and event shapes, of samples too, before and after ``expand``; the density does not change."""
    torch.manual_seed(0)
    d = make()
    assert (tuple(d.batch_shape), tuple(d.event_shape)) == (batch, event)
    x = d.sample((4,))
    assert tuple(x.shape) == (4, *batch, *event)
    assert tuple(d.log_prob(x).shape) == (4, *batch)
    wide = d.expand((4, *batch))
    assert type(wide) is type(d) and tuple(wide.batch_shape) == (4, *batch) and wide.event_shape == d.event_shape
    assert tuple(wide.sample((2,)).shape) == (2, 4, *batch, *event)
    np.testing.assert_allclose(wide.log_prob(x).numpy(), d.log_prob(x).numpy(), rtol=1e-5, atol=1e-6)


def test_expand_of_subclasses():
    """A subclass with an ``__init__`` of its own must say how to expand; one without need not."""

    class Plain(D.Normal):
        pass

    class Own(D.Normal):
        def __init__(self, loc):
            super().__init__(loc, 1.0)

    class Told(Own):
        def expand(self, batch_shape, _instance=None):
            return super().expand(batch_shape, self._get_checked_instance(Told, _instance))

    assert type(Plain(0.0, 1.0).expand((2,))) is Plain
    with pytest.raises(NotImplementedError, match="must also define a custom .expand"):
        Own(0.0).expand((2,))
    assert type(Told(0.0).expand((2,))) is Told


def test_enumerate_support():
    """All values along a new dimension, expanded or not."""
    d = D.Categorical(torch.ones(2, 3))
    assert d.enumerate_support().tolist() == [[0, 0], [1, 1], [2, 2]]
    assert d.enumerate_support(expand=False).tolist() == [[0], [1], [2]]
    hot = D.OneHotCategorical(torch.ones(2, 3))
    assert tuple(hot.enumerate_support().shape) == (3, 2, 3)
    assert hot.log_prob(hot.enumerate_support()).exp().sum(0).tolist() == pytest.approx([1.0, 1.0])
    with pytest.raises(NotImplementedError, match="cartesian"):
        D.Independent(D.Bernoulli(torch.ones(2) / 2), 1).enumerate_support()


def test_probs_and_logits_follow_from_each_other():
    """Lazily, kept, and with gradients to the one that was given."""
    logits = torch.tensor([0.5, -1.0], requires_grad=True)
    d = D.Bernoulli(logits=logits)
    assert "probs" not in d.__dict__
    with torch.no_grad():
        probs = d.probs
    assert d.probs is probs and probs.requires_grad
    assert isinstance(D.Bernoulli.probs, property)
    assert tuple(d.param_shape) == (2,)


# ---- copies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: D.Normal(0.0, 1.0),
        lambda: D.Categorical(torch.ones(3)),
        lambda: D.LogNormal(0.0, 1.0),
        lambda: D.MultivariateNormal(torch.zeros(2), torch.eye(2)),
        lambda: D.Independent(D.Beta(torch.full((2,), 2.0, dtype=torch.float64), 1.0), 1),  # of ones it would be 0
        lambda: D.TransformedDistribution(D.Normal(0.0, 1.0), [D.TanhTransform(cache_size=1), D.ExpTransform()]),
    ],
)
def test_pickle_and_deepcopy(make):
    """Copies are the same distribution."""
    d = make()
    x = d.sample()
    want = d.log_prob(x).numpy()
    for other in (pickle.loads(pickle.dumps(d)), copy.deepcopy(d)):
        assert repr(other) == repr(d)
        np.testing.assert_allclose(other.log_prob(x).numpy(), want, rtol=1e-6)


def test_pickle_of_transforms():
    """An inverse keeps what it inverts, a cache its size but not its contents."""
    t = pickle.loads(pickle.dumps(D.AffineTransform(1.0, 2.0, cache_size=1).inv))
    assert float(t(torch.tensor(5.0))) == 2.0 and t.inv._cache_size == 1
    assert type(t).__module__ == "pytorchlike.distributions.transforms"


# ---- transforms ------------------------------------------------------------------------------------------------------


def test_cache():
    """With a cache the inverse of the latest result is the very argument."""
    t = D.TanhTransform(cache_size=1)
    x = torch.tensor([50.0])
    assert t.inv(t(x)) is x and t.inv.inv is t
    assert float(D.TanhTransform().inv(D.TanhTransform()(x))) == float("inf")
    assert t.with_cache(0)._cache_size == 0 and t.with_cache(1) is t
    chain = D.ComposeTransform([D.ExpTransform(), D.AffineTransform(0.0, 2.0)]).with_cache(1)
    assert chain.inv(chain(x)) is x
    assert chain.inv.inv is chain


def test_equality_of_transforms():
    """By class and parameters."""
    assert D.ExpTransform() == D.ExpTransform() != D.TanhTransform()
    assert D.AffineTransform(0.0, 1.0) == D.AffineTransform(0.0, 1.0) != D.AffineTransform(0.0, 2.0)
    assert D.AffineTransform(torch.zeros(2), 1.0) == D.AffineTransform(torch.zeros(2), 1.0)
    assert D.ExpTransform().inv == D.ExpTransform().inv != D.ExpTransform()
    assert D.PowerTransform(torch.tensor(2.0)) != D.PowerTransform(torch.tensor(3.0))


@pytest.mark.parametrize(
    "constraint,n",
    [
        (constraints.real, 1), (constraints.positive, 1), (constraints.greater_than(2.0), 1),
        (constraints.less_than(2.0), 1), (constraints.interval(-1.0, 2.0), 1), (constraints.unit_interval, 1),
        (constraints.half_open_interval(0.0, 3.0), 1), (constraints.simplex, 3), (constraints.corr_cholesky, 3),
        (constraints.independent(constraints.positive, 1), 3),
        (constraints.cat([constraints.positive] * 2, -1, [1, 2]), 3),
        (constraints.stack([constraints.positive, constraints.real], -1), 2),
    ],
)  # fmt: skip
def test_registry(constraint, n):
    """Both transforms lead into the region; the bijective one back."""
    x = torch.tensor(np.random.RandomState(0).randn(5, n).astype(np.float32))
    for registry in (D.transform_to, D.biject_to):
        t = registry(constraint)
        assert constraint.check(t(x)).all()
    assert t.bijective
    np.testing.assert_allclose(t.inv(t(x)).numpy(), x.numpy(), atol=1e-4)


@pytest.mark.parametrize("constraint", [constraints.lower_cholesky, constraints.positive_definite])
def test_registry_of_matrices(constraint):
    t = D.transform_to(constraint)
    x = torch.tensor(np.random.RandomState(0).randn(4, 3, 3).astype(np.float32))
    assert constraint.check(t(x)).all()
    with pytest.raises(NotImplementedError):
        D.biject_to(constraint)


def test_registry_takes_new_constraints():
    registry = D.constraint_registry.ConstraintRegistry()
    registry.register(constraints.positive, lambda c: D.ExpTransform())

    @registry.register(Even)
    def _even(constraint):
        return D.AffineTransform(0.0, 2.0)

    assert registry(constraints.greater_than(1.0)) == D.ExpTransform()
    assert registry(Even()) == D.AffineTransform(0.0, 2.0)
    with pytest.raises(TypeError):
        registry.register(3, lambda c: c)


@pytest.mark.parametrize("t", [D.CorrCholeskyTransform(), D.StickBreakingTransform()], ids=repr)
def test_jacobians_by_autograd(t):
    """Determinants of transforms of vectors, against those of autograd's Jacobians."""
    x = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64, requires_grad=True)
    y = t(x)
    free = y[:-1] if isinstance(t, D.StickBreakingTransform) else torch.stack([y[1, 0], y[2, 0], y[2, 1]])
    rows = [torch.autograd.grad(v, x, retain_graph=True)[0] for v in free]
    want = np.linalg.slogdet(np.stack([r.numpy() for r in rows]))[1]
    assert t.log_abs_det_jacobian(x, y).item() == pytest.approx(want, abs=1e-8)


# ---- constraints -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "constraint,good,bad",
    [
        (constraints.boolean, 1.0, 0.5), (constraints.nonnegative_integer, 3.0, -1.0),
        (constraints.positive_integer, 1.0, 0.0), (constraints.integer_interval(0, 3), 3.0, 4.0),
        (constraints.real, 1.0, float("nan")), (constraints.positive, 0.5, 0.0), (constraints.nonnegative, 0.0, -0.1),
        (constraints.half_open_interval(0.0, 1.0), 0.0, 1.0), (constraints.interval(0.0, 1.0), 1.0, 1.1),
        (constraints.one_hot, [0.0, 1.0], [1.0, 1.0]), (constraints.simplex, [0.3, 0.7], [0.3, 0.6]),
        (constraints.multinomial(3), [1.0, 2.0], [2.0, 2.0]), (constraints.symmetric, [[1.0, 2.0], [2.0, 1.0]],
                                                               [[1.0, 2.0], [0.0, 1.0]]),
        (constraints.positive_definite, [[2.0, 1.0], [1.0, 2.0]], [[1.0, 2.0], [2.0, 1.0]]),
        (constraints.positive_semidefinite, [[1.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, -1.0]]),
        (constraints.lower_cholesky, [[1.0, 0.0], [3.0, 1.0]], [[1.0, 0.0], [3.0, -1.0]]),
        (constraints.lower_triangular, [[1.0, 0.0], [3.0, -1.0]], [[1.0, 1.0], [3.0, -1.0]]),
        (constraints.corr_cholesky, [[1.0, 0.0], [0.6, 0.8]], [[1.0, 0.0], [0.6, 0.9]]),
        (constraints.square, [[1.0, 0.0], [0.6, 0.8]], [[1.0], [0.6]]),
        (constraints.cat([constraints.positive, constraints.real], -1), [1.0, -1.0], [-1.0, -1.0]),
        (constraints.stack([constraints.positive, constraints.real], -1), [1.0, -1.0], [-1.0, -1.0]),
        (constraints.MixtureSameFamilyConstraint(constraints.greater_than(torch.tensor([0.0, 1.0]))), 2.0, 0.5),
    ],
)  # fmt: skip
def test_constraints_on_tensors_and_arrays(constraint, good, bad):
    """The check that runs on host arrays is the one that runs on tensors."""
    for value, want in ((good, True), (bad, False)):
        assert bool(constraint.check(torch.tensor(value)).all()) is want
        assert bool(constraint.check(np.array(value, np.float32)).all()) is want


def test_dependent_constraints():
    """On the class a distribution's support may be unknown; what is declared of it is known."""
    assert constraints.is_dependent(D.Binomial.support) and not constraints.is_dependent(D.Binomial(3, 0.5).support)
    assert D.Binomial.support.is_discrete and D.Uniform.support.event_dim == 0
    with pytest.raises(NotImplementedError):
        constraints.dependent.event_dim  # noqa: B018
    assert constraints.dependent(event_dim=1).event_dim == 1


# ---- divergences -----------------------------------------------------------------------------------------------------


def test_register_kl():
    """The most specific entry is taken; a tie between the sides warns."""

    class A(D.Normal):
        pass

    class B(A):
        pass

    p, q = B(0.0, 1.0), B(0.0, 1.0)
    assert float(D.kl_divergence(p, q)) == 0.0
    keys = [(A, D.Normal), (D.Normal, A)]
    try:
        D.register_kl(A, D.Normal)(lambda p, q: "left")
        assert D.kl_divergence(p, q) == "left"
        D.register_kl(D.Normal, A)(lambda p, q: "right")
        with pytest.warns(RuntimeWarning, match="Ambiguous kl_divergence"):
            assert D.kl_divergence(p, q) == "left"
    finally:
        for key in keys:
            D.kl._KL_REGISTRY.pop(key, None)
        D.kl._KL_MEMOIZE.clear()


def test_pending_binomial_divergence():
    """What has no formula is told at the next read where the host does not know the counts."""
    kl = D.kl_divergence(
        D.Binomial(torch.tensor([2.0]) * 1, torch.tensor([0.5])), D.Binomial(torch.tensor([3.0]), torch.tensor([0.5]))
    )
    with pytest.raises(NotImplementedError, match="total_count"):
        kl.numpy()


def test_second_gradient_through_views_of_parameters():
    """Two losses of one distribution whose parameters were broadcast: the views lead back twice."""
    loc = torch.tensor([[0.5], [1.0]], requires_grad=True)
    d = D.Normal(loc, torch.ones(3))
    d.loc.sum().item()
    for _ in range(2):
        (g,) = torch.autograd.grad(d.rsample().sum(), loc)
        assert g.tolist() == [[3.0], [3.0]]


def test_submodules():
    """Classes are found where PyTorch has them."""
    import importlib

    for module, name in {
        "normal": "Normal", "studentT": "StudentT", "kl": "register_kl", "relaxed_bernoulli": "LogitRelaxedBernoulli",
        "relaxed_categorical": "ExpRelaxedCategorical", "utils": "vec_to_tril_matrix",
        "exp_family": "ExponentialFamily",
    }.items():  # fmt: skip
        assert hasattr(importlib.import_module(f"pytorchlike.distributions.{module}"), name)


def test_triangles():
    """Vectors to triangular matrices and back."""
    utils = D.utils
    vec = torch.arange(1.0, 7.0).expand(2, 6)
    mat = utils.vec_to_tril_matrix(vec)
    assert mat[0].tolist() == [[1, 0, 0], [2, 3, 0], [4, 5, 6]]
    assert utils.tril_matrix_to_vec(mat).tolist() == vec.tolist()
    assert utils.vec_to_tril_matrix(torch.ones(1), diag=-1).tolist() == [[0, 0], [1, 0]]
    with pytest.raises(ValueError, match="cannot be expressed"):
        utils.vec_to_tril_matrix(torch.ones(2))
    with pytest.raises(ValueError, match="outside"):
        utils.tril_matrix_to_vec(mat, 3)


def test_formulas_are_found_by_their_names():
    from pytorchlike.distributions.kl import _kl_categorical_categorical, _kl_normal_normal

    p, q = D.Categorical(logits=torch.arange(3.0)), D.Categorical(logits=torch.ones(3))
    assert torch.equal(_kl_categorical_categorical(p, q), D.kl_divergence(p, q))
    p, q = D.Normal(0.0, 1.0), D.Normal(1.0, 2.0)
    assert torch.equal(_kl_normal_normal(p, q), D.kl_divergence(p, q))


def test_distribution_functions_at_the_ends_of_the_support():
    """A transformed distribution's cdf is 0 where its open support begins, as in PyTorch."""
    assert torch.distributions.LogNormal(0.0, 1.0).cdf(torch.tensor([0.0])).item() == 0
    assert torch.distributions.Weibull(1.0, 2.0).cdf(torch.tensor(0.0)).item() == 0
