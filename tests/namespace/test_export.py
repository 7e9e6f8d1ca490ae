"""Exported programs compute, differentiate and write buffers as the module did, and come back from files."""

import copy

import pytest

import pytorchlike as torch
from pytorchlike import nn


def test_a_program_is_the_module_without_its_python():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh())
    x, twin = torch.randn(5, 3), copy.deepcopy(net)
    program = torch.export.export(net, (x,))
    assert net[1].running_mean.tolist() == [0, 0, 0, 0]  # tracing writes nothing
    module = program.module()
    assert list(module.state_dict()) == list(net.state_dict())
    assert torch.allclose(module(x), twin(x), atol=1e-6)
    assert torch.allclose(module.get_buffer("1.running_mean"), twin[1].running_mean)
    assert module.get_buffer("1.num_batches_tracked").item() == 1
    (module(x) ** 2).sum().backward()
    assert module.get_parameter("0.weight") is net[0].weight and net[0].weight.grad.abs().sum() > 0
    with pytest.raises(AssertionError, match="made for a tensor of shape"):
        module(torch.randn(6, 3))
    with pytest.raises(RuntimeError, match="module()"):
        program(x)
    assert "stablehlo" in program.stablehlo()


def test_a_value_that_is_needed_is_told_by_its_line():
    class Branch(nn.Module):
        def forward(self, x):
            return x.sin() if x.sum() > 0 else x.cos()

    with pytest.raises(torch._dynamo.exc.UserError, match=r"value of a tensor is needed at .*test_export.py:\d+"):
        torch.export.export(Branch(), (torch.ones(3),))


def test_structures_and_other_arguments():
    class Net(nn.Module):
        def forward(self, x, *, flag, mask=None):
            return {"a": x * 2 if flag else x, "b": (x.sum(), 3)}

    module = torch.export.export(Net(), (torch.ones(2),), {"flag": True}).module()
    found = module(torch.tensor([1.0, 2.0]), flag=True)
    assert found["a"].tolist() == [2, 4] and found["b"][0].item() == 3 and found["b"][1] == 3
    with pytest.raises(RuntimeError, match="made for True"):
        module(torch.ones(2), flag=False)
    with pytest.raises(ValueError, match="structure"):
        module(torch.ones(2))


def test_files(tmp_path):
    pytest.importorskip("flatbuffers")
    net, x = nn.Linear(3, 2), torch.randn(4, 3)
    torch.jit.trace(net, x).save(tmp_path / "net.pt")
    loaded = torch.jit.load(tmp_path / "net.pt")
    assert torch.allclose(loaded(x), net(x)) and list(loaded.state_dict()) == ["weight", "bias"]
    loaded(x).sum().backward()
    assert torch.allclose(loaded.bias.grad, torch.full((2,), 4.0))
    extra = {"note": ""}
    torch.export.save(torch.export.export(net, (x,)), tmp_path / "net.pt2", extra_files={"note": "hello"})
    torch.export.load(tmp_path / "net.pt2", extra_files=extra)
    assert extra == {"note": "hello"}
    torch.save({"a": x}, tmp_path / "other.pt")
    with pytest.raises(RuntimeError, match="not a program"):
        torch.export.load(tmp_path / "other.pt")
