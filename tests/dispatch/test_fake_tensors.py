"""FakeTensorMode: shapes, dtypes and devices without data."""

import pytest

import pytorchlike as torch
from pytorchlike import nn
from pytorchlike._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorConverter,
    FakeTensorDeviceMismatchError,
    FakeTensorMode,
    is_fake,
    unset_fake_temporarily,
)


def test_shapes_and_devices_of_tensors_without_data():
    with FakeTensorMode():
        x = torch.empty(2, 3, device="cuda")
        assert repr(x) == "FakeTensor(..., device='cuda:0', size=(2, 3))" and x.is_cuda and not x.is_meta
        assert repr(torch.ones(2, 3, dtype=torch.float64) + 1) == "FakeTensor(..., size=(2, 3), dtype=torch.float64)"
        assert (torch.randn(10**6, 10**6) @ torch.randn(10**6, 3)).shape == (10**6, 3)
        assert x.cpu().device.type == "cpu" and torch.randn(3).to("cuda").device.index == 0
        assert x.t().reshape(-1)[2:5].shape == (3,) and torch.arange(5, device="cuda:1").float().device.index == 1
        assert is_fake(torch.tensor([1, 2])) and torch.zeros(3).add_(1).shape == (3,)
        with pytest.raises(FakeTensorDeviceMismatchError, match="cuda:0 and cpu"):
            x + torch.ones(2, 3)
        with pytest.raises(DataDependentOutputException):
            torch.ones(1).item()
        with pytest.raises(DynamicOutputShapeException):
            torch.ones(3).nonzero()
        with unset_fake_temporarily():
            assert torch.ones(2).sum().item() == 2


def test_a_model_that_does_not_fit_forward_and_backward():
    with FakeTensorMode():
        net = nn.Sequential(nn.Linear(100_000, 50_000), nn.ReLU(), nn.Linear(50_000, 10))
        out = net(torch.randn(7, 100_000))
        out.sum().backward()
        assert out.shape == (7, 10) and out.requires_grad and isinstance(net[0].weight, FakeTensor)
        assert type(net[0].weight.grad) is FakeTensor and net[0].weight.grad.shape == (50_000, 100_000)
        conv = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.MaxPool2d(2), nn.Flatten())
        assert conv(torch.randn(2, 3, 16, 16)).shape == (2, 8 * 49)
        assert nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)(torch.randn(2, 5, 16)).shape == (2, 5, 16)


def test_tensors_with_data_are_taken_over_first():
    mode = FakeTensorMode()
    real = torch.ones(2, 3, requires_grad=True)
    fake = mode.from_tensor(real)
    assert fake.requires_grad and type(fake * 2) is FakeTensor and mode.from_tensor(fake) is fake
    with pytest.raises(AssertionError, match="convert all Tensors to FakeTensors"):
        fake + torch.ones(2, 3)
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert is_fake(torch.ones(3) + 1) and is_fake(real.detach() + real.detach())
        with pytest.raises(NotImplementedError, match="from_tensor"):
            real + real
    with pytest.raises(NotImplementedError, match="dynamic_shapes"):
        FakeTensorMode(shape_env=object())


def test_a_converter_makes_one_fake_tensor_of_each():
    mode, converter, x = FakeTensorMode(), FakeTensorConverter(), torch.ones(2, 3, requires_grad=True)
    fake = converter.from_real_tensor(mode, x)
    assert is_fake(fake) and fake.shape == (2, 3) and fake.requires_grad and fake.is_leaf
    assert converter.from_real_tensor(mode, x) is fake and converter.from_real_tensor(mode, fake) is fake
    assert converter.from_real_tensor(mode, x.detach()) is not fake
