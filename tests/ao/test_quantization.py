"""Integers in place of floats: rounding as PyTorch 2.13 rounds, and models that go on working afterwards."""

import copy

import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike.ao import quantization as aq
from pytorchlike.ao.nn.quantized import FloatFunctional


def test_older_places():
    from pytorchlike import quantization
    from pytorchlike.nn.quantized import dynamic

    assert torch.nn.quantized.FloatFunctional is FloatFunctional and quantization.QuantStub is aq.QuantStub
    assert dynamic.Linear is torch.ao.nn.quantized.dynamic.Linear


def test_quantised_tensors():
    x = torch.tensor([[-1.0, 0.04, 0.15], [0.25, 1.0, 30.0]])
    q = torch.quantize_per_tensor(x, 0.1, 10, torch.quint8)
    assert q.int_repr().tolist() == [[0, 10, 12], [12, 20, 255]] and q.is_quantized and q.dtype is torch.quint8
    assert (q.q_scale(), q.q_zero_point(), q.qscheme()) == (0.1, 10, torch.per_tensor_affine)
    assert torch.allclose(q.dequantize(), torch.tensor([[-1.0, 0.0, 0.2], [0.2, 1.0, 24.5]]))
    assert torch.relu(q).int_repr().tolist() == [[10, 10, 12], [12, 20, 255]]
    assert q.reshape(3, 2)[1].int_repr().tolist() == [12, 12] and torch.cat([q, q]).shape == (4, 3)
    c = torch.quantize_per_channel(x, torch.tensor([0.1, 0.5]), torch.tensor([0, 1]), 0, torch.qint8)
    assert c.int_repr().tolist() == [[-10, 0, 2], [1, 3, 61]] and c.q_per_channel_axis() == 0
    with pytest.raises(RuntimeError, match="per_tensor"):
        c.q_scale()
    with pytest.raises(NotImplementedError, match="quantised"):
        torch.exp(q)
    with pytest.raises(RuntimeError, match="Float"):
        torch.quantize_per_tensor(torch.ones(1, dtype=torch.int32), 1.0, 0, torch.qint8)


def test_observers():
    x = torch.tensor([[-1.0, 2.0], [0.5, 4.0]])
    scale, zero = _seen(aq.MinMaxObserver(), x).calculate_qparams()
    assert scale.item() == pytest.approx(5 / 255) and zero.item() == 51
    scale, zero = _seen(aq.default_per_channel_weight_observer(), x).calculate_qparams()
    assert scale.tolist() == pytest.approx([2 / 127.5, 4 / 127.5]) and zero.tolist() == [0, 0]
    moving = _seen(aq.MovingAverageMinMaxObserver(averaging_constant=0.5, reduce_range=True), x)
    moving(x * 3)
    assert (moving.min_val.item(), moving.max_val.item(), moving.quant_max) == (-2, 8, 127)
    four_bits = {"quant_min": 0, "quant_max": 15}
    outlier = torch.cat([torch.linspace(-1, 1, 2000), torch.tensor([3.0])])
    cut, whole = (_seen(kind(**four_bits), outlier).calculate_qparams()[0] for kind in (aq.HistogramObserver,
                                                                                       aq.MinMaxObserver))  # fmt: skip
    assert cut < 0.6 * whole and whole.item() == pytest.approx(4 / 15)
    with pytest.warns(UserWarning, match="must run observer"):
        aq.MinMaxObserver().calculate_qparams()


def _seen(observer, x):
    observer(x)
    return observer


def test_dynamic_quantisation_of_linear_and_recurrent_layers(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
    small = aq.quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8)
    x = torch.randn(5, 8)
    assert small[0].weight().dtype is torch.qint8 and type(net[0]) is nn.Linear and not hasattr(net[0], "qconfig")
    assert (small(x) - net(x)).abs().max() < 0.05
    torch.save(small.state_dict(), tmp_path / "small.pt")
    again = aq.quantize_dynamic(nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)), {nn.Linear})
    again.load_state_dict(torch.load(tmp_path / "small.pt"))
    assert torch.equal(again(x), small(x))
    lstm = nn.Sequential(nn.LSTM(4, 5))
    found = copy.deepcopy(aq.quantize_dynamic(lstm, {nn.LSTM}))(torch.ones(3, 2, 4))[0]
    assert (found - lstm(torch.ones(3, 2, 4))[0]).abs().max() < 0.02
    with pytest.raises(ValueError, match="Unknown dtype"):
        aq.quantize_dynamic(net, dtype=torch.float32)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.quant, self.dequant, self.plus = aq.QuantStub(), aq.DeQuantStub(), FloatFunctional()
        self.conv, self.bn, self.relu, self.fc = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Linear(8, 3)

    def forward(self, x):
        h = self.relu(self.bn(self.conv(self.quant(x)))).flatten(1)
        return self.dequant(self.fc(self.plus.add(h, h)))


def test_quantisation_after_training():
    torch.manual_seed(0)
    net, x = Net().eval(), torch.randn(16, 1, 4, 4)
    fused = aq.fuse_modules(net, [["conv", "bn", "relu"]])
    assert torch.allclose(fused(x), net(x), atol=1e-5)
    fused.qconfig = aq.get_default_qconfig("x86")
    ready = aq.prepare(fused)
    ready(x)
    done = aq.convert(ready)
    found = done(x)
    assert done.conv.weight().dtype is torch.qint8 and (found - net(x)).abs().max() < 0.1
    levels = found / done.fc.scale
    assert torch.allclose(levels, levels.round(), atol=1e-3)  # results are of one scale
    with pytest.raises(RuntimeError, match="QuantStub"):
        done.fc(torch.ones(1, 8))


def test_training_with_rounding():
    torch.manual_seed(0)
    net, x = Net().train(), torch.randn(16, 1, 4, 4)
    net.qconfig = aq.get_default_qat_qconfig("x86")
    ready = aq.prepare_qat(aq.fuse_modules_qat(net, [["conv", "bn", "relu"]]))
    opt = torch.optim.SGD(ready.parameters(), lr=0.1)
    losses = []
    for _ in range(4):
        loss = (ready(x) - 1).square().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss)
    assert losses[-1] < 0.8 * losses[0]
    ready.apply(aq.disable_observer)
    ready.eval()
    state = ready.state_dict()
    wanted = ready(x)
    assert (aq.convert(ready)(x) - wanted).abs().max() < 0.03
    assert "conv.weight_fake_quant.scale" in state and "conv.bn.running_mean" in state
    with pytest.raises(AssertionError, match="training"):
        aq.prepare_qat(Net().eval())


def test_convolutions_without_bias_train_with_rounding():
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 2, bias=False), torch.nn.BatchNorm2d(2)).train()
    net.qconfig = aq.get_default_qat_qconfig("x86")
    ready = aq.prepare_qat(aq.fuse_modules_qat(net, ["0", "1"]))
    assert ready[0].bias is None and "0.bias" not in ready.state_dict()
    ready(torch.rand(2, 1, 3, 3)).sum().backward()
    assert ready[0].weight.grad is not None


def test_a_batch_norm_of_its_own_is_converted():
    """One that no convolution takes in stands between quantised tensors; results as PyTorch rounds them."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.quant, self.norm, self.dequant = aq.QuantStub(), nn.BatchNorm2d(2), aq.DeQuantStub()

        def forward(self, x):
            return self.dequant(self.norm(self.quant(x)))

    net = Net().eval()
    with torch.no_grad():
        net.norm.running_mean.copy_(torch.tensor([0.5, -1.0]))
        net.norm.running_var.copy_(torch.tensor([4.0, 0.25]))
        net.norm.weight.copy_(torch.tensor([2.0, 1.0]))
    want, x = net.norm, torch.linspace(-2, 2, 36).reshape(2, 2, 3, 3)
    want = want(x)
    net.qconfig = aq.default_qconfig
    aq.prepare(net, inplace=True)
    net(x)
    aq.convert(net, inplace=True)
    assert type(net.norm) is torch.ao.nn.quantized.BatchNorm2d and repr(net.norm).startswith("QuantizedBatchNorm2d(2")
    torch.testing.assert_close(net(x), want, atol=2 * float(net.norm.scale), rtol=0)
    with pytest.raises(RuntimeError, match="QuantStub"):
        net.norm(x)


def test_printed_models_tell_sizes_scales_and_schemes():
    conv = nn.Conv2d(4, 8, (3, 1), padding=(1, 0), groups=2, bias=False)
    net = nn.Sequential(conv, nn.Linear(3, 4), FloatFunctional())
    net.qconfig = aq.default_qconfig
    aq.prepare(net.eval(), inplace=True)
    for layer in net:
        layer.activation_post_process(torch.tensor([0.0, 63.5]))
    aq.convert(net, inplace=True)
    assert repr(net).splitlines()[1:-1] == [
        "  (0): QuantizedConv2d(4, 8, kernel_size=(3, 1), stride=(1, 1), scale=0.5, zero_point=0, padding=(1, 0), "
        "groups=2, bias=False)",
        "  (1): QuantizedLinear(in_features=3, out_features=4, scale=0.5, zero_point=0, "
        "qscheme=torch.per_tensor_affine)",
        "  (2): QFunctional(", "    scale=0.5, zero_point=0", "    (activation_post_process): Identity()", "  )",
    ]  # fmt: skip
    dynamic = aq.quantize_dynamic(nn.Sequential(nn.Linear(8, 4), nn.LSTM(4, 5, 2), nn.GRUCell(3, 3)))
    assert repr(dynamic).splitlines()[1:-1] == [
        "  (0): DynamicQuantizedLinear(in_features=8, out_features=4, dtype=torch.qint8, "
        "qscheme=torch.per_tensor_affine)",
        "  (1): DynamicQuantizedLSTM(4, 5, num_layers=2)",
        "  (2): DynamicQuantizedGRUCell(3, 3)",
    ]


def test_statistics_of_batch_norm_are_frozen_during_training():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    net.qconfig = aq.get_default_qat_qconfig("x86")
    ready = aq.prepare_qat(aq.fuse_modules_qat(net.train(), [["0", "1", "2"]]))
    ready.apply(torch.nn.intrinsic.qat.freeze_bn_stats)
    before = ready[0].bn.running_mean.clone()
    ready.train()(torch.randn(2, 3, 6, 6))
    assert torch.equal(ready[0].bn.running_mean, before) and ready[0].training and not ready[0].bn.training
    ready.apply(torch.ao.nn.intrinsic.qat.update_bn_stats)
    ready(torch.randn(2, 3, 6, 6))
    assert not torch.equal(ready[0].bn.running_mean, before)
