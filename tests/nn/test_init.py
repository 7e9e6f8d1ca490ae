"""Initial values: their distributions, and those that layers choose."""

from __future__ import annotations

import math

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn

N = 100, 80


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def spread(values, std, mean=0.0):
    values = values.detach().numpy()
    n = values.size
    assert abs(values.mean() - mean) < 4.5 * std / math.sqrt(n)
    assert abs(values.std() / std - 1) < 4.5 / math.sqrt(2 * n)
    return values


@pytest.mark.parametrize("fill, std, bound", [
    (lambda w: nn.init.uniform_(w, -2, 2), 4 / math.sqrt(12), 2),
    (lambda w: nn.init.normal_(w, 0, 0.3), 0.3, None),
    (lambda w: nn.init.xavier_uniform_(w, 1.5), 1.5 * math.sqrt(2 / 180), 1.5 * math.sqrt(6 / 180)),
    (lambda w: nn.init.xavier_normal_(w), math.sqrt(2 / 180), None),
    (lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu"), math.sqrt(2 / 80), math.sqrt(6 / 80)),
    (lambda w: nn.init.kaiming_normal_(w, a=0.2, mode="fan_out"), math.sqrt(2 / 1.04 / 100), None),
], ids=["uniform", "normal", "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal"])  # fmt: skip
def test_spread(fill, std, bound):
    w = nn.Parameter(torch.empty(*N))
    assert fill(w) is w and w.requires_grad and w.is_leaf
    values = spread(w, std)
    if bound is not None:
        assert abs(values).max() <= bound and abs(values).max() > 0.99 * bound
    else:  # a normal distribution has 68.3 % within one deviation
        assert abs((abs(values) < std).mean() - 0.6827) < 0.03


def test_normal_mean():
    spread(nn.init.normal_(torch.empty(*N), 3.0, 0.5), 0.5, 3.0)


def test_trunc_normal():
    values = nn.init.trunc_normal_(torch.empty(200, 100), mean=0.5, std=1.0, a=-0.5, b=1.5).numpy()
    assert -0.5 <= values.min() < -0.45 and 1.45 < values.max() <= 1.5
    assert abs(values.mean() - 0.5) < 0.02
    assert abs(values.std() - 0.5396) < 0.01  # of a normal distribution cut at one deviation


def test_fixed_values():
    assert nn.init.constant_(torch.empty(3), 2.5).tolist() == [2.5] * 3
    assert nn.init.ones_(torch.empty(2)).tolist() == [1, 1]
    assert nn.init.zeros_(torch.ones(2)).tolist() == [0, 0]
    assert nn.init.eye_(torch.empty(2, 3)).tolist() == [[1, 0, 0], [0, 1, 0]]
    x = torch.randn(1, 4, 5)
    w = nn.init.dirac_(torch.empty(4, 2, 3), groups=2)
    np.testing.assert_allclose(nn.functional.conv1d(x, w, padding=1, groups=2).numpy(), x.numpy())


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (4, 3, 2)])
def test_orthogonal(shape):
    w = nn.init.orthogonal_(torch.empty(*shape), gain=2.0).numpy().reshape(shape[0], -1) / 2
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-5)


def test_sparse():
    w = nn.init.sparse_(torch.empty(50, 40), 0.3, std=2.0).numpy()
    assert ((w == 0).sum(0) == 15).all()
    assert abs(w[w != 0].std() - 2) < 0.2


def test_gains_and_errors():
    assert nn.init.calculate_gain("tanh") == 5 / 3
    assert nn.init.calculate_gain("leaky_relu", 0.2) == math.sqrt(2 / 1.04)
    with pytest.raises(ValueError, match="Unsupported nonlinearity"):
        nn.init.calculate_gain("step")
    with pytest.raises(ValueError, match="fewer than 2 dimensions"):
        nn.init.xavier_uniform_(torch.empty(3))
    with pytest.raises(ValueError, match="fan_in"):
        nn.init.kaiming_normal_(torch.empty(2, 3), mode="fan")
    with pytest.raises(ValueError, match="2 dimensions"):
        nn.init.eye_(torch.empty(3))
    with pytest.warns(UserWarning, match="zero-element"):
        nn.init.kaiming_uniform_(torch.empty(0, 3))
    with pytest.warns(FutureWarning, match="xavier_normal_"):
        nn.init.xavier_normal(torch.empty(2, 3))


def test_generator_and_seed_decide():
    first = nn.init.normal_(torch.empty(5), generator=torch.Generator().manual_seed(3))
    again = nn.init.normal_(torch.empty(5), generator=torch.Generator().manual_seed(3))
    assert first.tolist() == again.tolist()
    torch.manual_seed(7)
    a = nn.Linear(3, 3)
    torch.manual_seed(7)
    assert nn.Linear(3, 3).weight.tolist() == a.weight.tolist()


@pytest.mark.parametrize("make, name, bound", [
    (lambda: nn.Linear(64, 128), "weight", 1 / 8), (lambda: nn.Linear(16, 4000), "bias", 1 / 4),
    (lambda: nn.Conv2d(16, 32, 3, groups=4), "weight", 1 / 6),
    (lambda: nn.ConvTranspose1d(8, 64, 9, groups=2), "weight", 1 / math.sqrt(32 * 9)),
    (lambda: nn.LSTM(32, 64), "weight_ih_l0", 1 / 8), (lambda: nn.GRUCell(32, 64), "bias_hh", 1 / 8),
    (lambda: nn.Bilinear(16, 8, 64), "weight", 1 / 4),
    (lambda: nn.MultiheadAttention(48, 2), "in_proj_weight", math.sqrt(6 / (4 * 48))),
])  # fmt: skip
def test_layers_start_uniform(make, name, bound):
    values = dict(make().named_parameters())[name].detach().numpy()
    assert abs(values).max() <= bound and abs(values).max() > 0.95 * bound
    assert abs(values.std() / (bound / math.sqrt(3)) - 1) < 4.5 / math.sqrt(values.size)


def test_layers_start_normal_or_constant():
    spread(nn.Embedding(100, 80).weight, 1.0)
    assert not nn.Embedding(5, 3, padding_idx=2).weight[2].any()
    norm = nn.BatchNorm2d(3)
    assert norm.weight.tolist() == [1] * 3 and norm.bias.tolist() == [0] * 3
    assert norm.running_mean.tolist() == [0] * 3 and norm.running_var.tolist() == [1] * 3
    assert norm.num_batches_tracked.dtype == torch.int64
    assert nn.PReLU().weight.item() == 0.25
    assert not nn.MultiheadAttention(4, 2).in_proj_bias.any()
