"""Averages of weights, plain and exponential, batch norm statistics, and the schedule that goes with them."""

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.optim import SGD, swa_utils


class Net(nn.Module):
    """One parameter and one buffer."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2))
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        return x * self.w


def walk(averaged, net, values=(1.0, 2.0, 6.0)):
    for value in values:
        with torch.no_grad():
            net.w.fill_(value)
            net.seen.fill_(value)
        averaged.update_parameters(net)
    return averaged


def test_plain_average():
    net = Net()
    averaged = walk(swa_utils.AveragedModel(net), net)
    np.testing.assert_allclose(averaged.module.w.tolist(), [3, 3], rtol=1e-6)
    assert averaged.n_averaged.item() == 3
    assert averaged.module.seen.tolist() == [6]  # buffers are copied
    assert averaged(torch.ones(2)).tolist() == averaged.module.w.tolist()
    assert set(averaged.state_dict()) == {"n_averaged", "module.w", "module.seen"}


@pytest.mark.parametrize("how", [
    {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.5)}, {"avg_fn": swa_utils.get_ema_avg_fn(0.5)},
])  # fmt: skip
def test_exponential_average(how):
    net = Net()
    averaged = walk(swa_utils.AveragedModel(net, **how, use_buffers=True), net)
    np.testing.assert_allclose(averaged.module.w.tolist(), [3.75, 3.75], rtol=1e-6)
    np.testing.assert_allclose(averaged.module.seen.tolist(), [3.75], rtol=1e-6)


def test_goes_on_after_loading():
    net, other = Net(), Net()
    averaged = walk(swa_utils.AveragedModel(net), net, (1.0, 2.0))
    resumed = swa_utils.AveragedModel(other)
    resumed.load_state_dict(averaged.state_dict())
    np.testing.assert_allclose(walk(resumed, other, (6.0,)).module.w.tolist(), [3, 3], rtol=1e-6)


def test_functions_of_averages():
    a, b = torch.tensor([1.0]), torch.tensor([4.0])
    assert swa_utils.get_ema_avg_fn(0.75)(a, b, 1).tolist() == [1.75]
    assert swa_utils.get_swa_avg_fn()(a, b, torch.tensor(2)).tolist() == [2.0]
    with pytest.raises(ValueError, match="decay"):
        swa_utils.get_ema_avg_fn(1.5)
    with pytest.raises(AssertionError, match="avg_fn"):
        swa_utils.AveragedModel(Net(), avg_fn=swa_utils.get_ema_avg_fn(), multi_avg_fn=swa_utils.get_ema_multi_avg_fn())


def test_update_bn():
    x = torch.tensor(np.random.RandomState(0).randn(12, 3).astype(np.float32)) * 3 + 1
    net = nn.Sequential(nn.BatchNorm1d(3, momentum=0.3))
    net[0].running_mean.fill_(7.0)
    net.eval()
    swa_utils.update_bn([x[:4], [x[4:8], 0], x[8:]], net)
    means = [x[i : i + 4].numpy().mean(0) for i in (0, 4, 8)]
    np.testing.assert_allclose(net[0].running_mean.tolist(), np.mean(means, 0), rtol=1e-5, atol=1e-6)
    assert net[0].momentum == 0.3 and not net.training


def test_swalr_takes_one_rate_for_each_group():
    a, b = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    opt = SGD([{"params": [a]}, {"params": [b], "lr": 2.0}], lr=1.0)
    schedule = swa_utils.SWALR(opt, swa_lr=[0.1, 0.2], anneal_epochs=2, anneal_strategy="linear")
    for _ in range(4):
        opt.step()
        schedule.step()
    np.testing.assert_allclose([g["lr"] for g in opt.param_groups], [0.1, 0.2])
    with pytest.raises(ValueError, match="anneal_strategy"):
        swa_utils.SWALR(opt, swa_lr=0.1, anneal_strategy="no")
    with pytest.raises(ValueError, match="swa_lr"):
        swa_utils.SWALR(opt, swa_lr=[0.1])
