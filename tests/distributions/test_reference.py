"""Values, gradients, texts and errors are PyTorch's (see ``tests/reference/make_distributions.py``)."""

import numpy as np
import pytest


def _array(told):
    return np.vectorize(float)(np.array(told, dtype=object)) if told != [] else np.array([])


def _close(got, want, what, rtol=1e-6):
    assert (got is None) == (want is None), f"{what}: {got}, PyTorch has {want}"
    if isinstance(want, (str, type(None))) and want not in ("nan", "inf", "-inf"):
        assert got == want, what
        return
    got, want = _array(got), _array(want)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, PyTorch has {want.shape}"
    np.testing.assert_allclose(got, want, rtol=rtol, atol=1e-8, err_msg=what)


def test_distribution(distribution, ours, reference):
    """Moments, entropy, densities, quantiles and the text of each distribution."""
    got, want = ours["distributions"][distribution], reference["distributions"][distribution]
    assert got.pop("repr") == (text := want["repr"]), text
    for question, answer in want.items():
        if question != "repr":
            _close(got[question], answer, f"{distribution}.{question}")


def test_gradient_of_log_prob(gradient, ours, reference):
    """By every parameter."""
    for k, (got, want) in enumerate(zip(ours["gradients"][gradient], reference["gradients"][gradient], strict=True)):
        if want is None:  # a gradient of None and of zeros are the same
            assert got is None or not np.any(got)
            continue
        # PyTorch's Bessel functions are polynomials of single precision
        _close(got, want, f"{gradient}: parameter {k}", rtol=1e-5 if gradient == "VonMises" else 1e-6)


def test_divergence(pair, ours, reference):
    """KL of two distributions."""
    _close(ours["kl"][pair], reference["kl"][pair], pair)


def test_transform(transform, ours, reference):
    """Values, inverse, Jacobian, shapes and text of each transform."""
    got, want = ours["transforms"][transform], reference["transforms"][transform]
    for what in ("repr", "shapes", "bijective"):
        assert got[what] == want[what], what
    for what in ("forward", "inverse", "jacobian"):
        _close(got[what], want[what], f"{transform}: {what}")


def test_error(error, ours, reference):
    """Wrong arguments that are known on the host raise at once, what PyTorch raises."""
    assert ours["errors"][error] == reference["errors"][error]


@pytest.mark.parametrize("low,high,want", [(0.0, 1.0, True), (0.0, 2.0, True), (0.1, 2.0, False)])
def test_divergence_from_a_touching_uniform_is_finite(low, high, want):
    """A uniform distribution that just covers the unit interval has a finite divergence (PyTorch's is infinite)."""
    import pytorchlike as torch

    D = torch.distributions
    p = D.ContinuousBernoulli(torch.tensor(0.3))
    kl = float(D.kl_divergence(p, D.Uniform(low, high)))
    assert np.isfinite(kl) == want
    if want:
        assert kl == pytest.approx(float(-p.entropy()) + np.log(high - low), abs=1e-5)


def test_mode_of_kumaraswamy():
    """Where the density has its greatest value."""
    import pytorchlike as torch

    d = torch.distributions.Kumaraswamy(torch.tensor([2.0, 3.0]), torch.tensor([3.0, 1.5]))
    grid = torch.linspace(0.001, 0.999, 999).unsqueeze(-1)
    best = grid.squeeze(-1).numpy()[d.log_prob(grid).argmax(0).numpy()]
    np.testing.assert_allclose(d.mode.numpy(), best, atol=1e-3)
