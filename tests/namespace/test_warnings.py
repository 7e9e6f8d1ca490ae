"""Warnings that PyTorch gives for what is deprecated or hardly meant: their category; usual calls give none."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import pytorchlike as torch
import pytorchlike.nn.functional as F
from pytorchlike import functorch, nn


def _read_only():
    array = np.ones(3)
    array.setflags(write=False)
    return array


def _hooked(register: str, x, module=None) -> None:
    module = nn.Linear(2, 2) if module is None else module
    getattr(module, register)(lambda *args: None)
    module(x).sum().backward()


def _leaf(*size: int):
    return torch.ones(size, requires_grad=True)


GIVEN = {
    "meshgrid": (lambda: torch.meshgrid(torch.arange(2), torch.arange(3)), "torch.meshgrid: in an upcoming release"),
    "T": (lambda: torch.ones(2, 3, 4).T, r"The use of `x.T` on tensors of dimension other than 2"),
    "var": (lambda: torch.ones(1).var(), r"var\(\): degrees of freedom is <= 0"),
    "std": (lambda: torch.ones(1, 4).std(0), r"std\(\): degrees of freedom is <= 0"),
    "var_mean": (lambda: torch.var_mean(torch.ones(3), correction=3), r"var_mean\(\): degrees of freedom"),
    "cov": (lambda: torch.cov(torch.ones(3, 1)), r"cov\(\): degrees of freedom is <= 0"),
    "stft": (lambda: torch.stft(torch.ones(400), 64, return_complex=True), "A window was not provided"),
    "float": (lambda: float(_leaf(1) * 2), "Converting a tensor with requires_grad=True to a scalar"),
    "arrays": (lambda: torch.tensor([np.ones(2), np.ones(2)]), "Creating a tensor from a list of numpy.ndarrays"),
    "copy of": (lambda: torch.tensor(torch.ones(2)), r"rather than torch\.tensor\(sourceTensor\)"),
    "new_tensor": (lambda: torch.ones(2).new_tensor(torch.ones(2)), r"rather than tensor\.new_tensor\(sourceTensor\)"),
    "read-only": (lambda: torch.from_numpy(_read_only()), "The given NumPy array is not writable"),
    "storage": (lambda: torch.ones(2).storage(), "TypedStorage is deprecated"),
    "cast": (lambda: torch.ones(2, dtype=torch.complex64).float(), "Casting complex values to real discards"),
    "copy": (lambda: torch.ones(2).copy_(torch.tensor(1j)), "Casting complex values to real discards"),
    "cross": (lambda: torch.cross(torch.ones(2, 3), torch.ones(2, 3)), "Using torch.cross without specifying the dim"),
    "where": (lambda: torch.where(torch.ones(2, dtype=torch.uint8), 1.0, 0.0), "where received a uint8 condition"),
    "qr": (lambda: torch.qr(torch.eye(2)), "torch.qr is deprecated in favor of torch.linalg.qr"),
    "lu": (lambda: torch.lu(torch.eye(2)), "torch.lu is deprecated"),
    "range": (lambda: torch.range(0, 3), "torch.range is deprecated"),
    "same": (lambda: F.conv1d(torch.ones(1, 1, 5), torch.ones(1, 1, 4), padding="same"), "Using padding='same'"),
    "dropout2d": (lambda: F.dropout2d(torch.ones(2, 3, 4)), "dropout2d: Received a 3-D input"),
    "dropout3d": (lambda: F.dropout3d(torch.ones(2, 3)), "dropout3d: Received a 2-D input"),
    "upsample": (lambda: F.upsample(torch.ones(1, 1, 2, 2), scale_factor=2), "`nn.functional.upsample` is deprecated"),
    "encoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2), 1),
        "enable_nested_tensor is True, but self.use_nested_tensor is False because encoder_layer.self_attn.batch_first",
    ),
    "workers": (lambda: torch.utils.data.DataLoader([1], num_workers=4096), "This DataLoader will create 4096 worker"),
    "full hook": (lambda: _hooked("register_full_backward_hook", torch.ones(1, 2)), "Full backward hook is firing"),
    "volatile": (lambda: torch.autograd.Variable(torch.ones(2), volatile=True), "volatile was removed"),
}  # fmt: skip


@pytest.mark.parametrize("name", GIVEN)
def test_user_warnings(name):
    call, words = GIVEN[name]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.warns(UserWarning, match=words) as told:
            call()
    assert len(told) == 1 and told[0].filename == __file__


OTHERS = {
    "script": (lambda: torch.jit.script(nn.ReLU()), DeprecationWarning, "`torch.jit.script` is deprecated"),
    "trace": (lambda: torch.jit.trace(nn.ReLU(), torch.ones(1)), DeprecationWarning, "`torch.jit.trace` is deprecated"),
    "functorch": (lambda: functorch.vmap(torch.sin), FutureWarning, "`functorch.vmap` is deprecated"),
    "hook": (lambda: _hooked("register_backward_hook", _leaf(1, 2)), FutureWarning, "Using a non-full backward hook"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_categories(name):
    call, category, words = OTHERS[name]
    with pytest.warns(category, match=words) as told:
        call()
    assert len(told) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: torch.meshgrid(torch.arange(2), indexing="ij"),
        lambda: torch.ones(2, 3).T,
        lambda: torch.ones(2).var() + torch.ones(1).var(unbiased=False) + torch.ones(3, 2).std(0).sum(),
        lambda: torch.ones(2, 3).var((0, -1)),
        lambda: torch.cov(torch.ones(3, 1), correction=0),
        lambda: float((_leaf(1) * 2).detach()) + (_leaf(1) * 2).item(),
        lambda: torch.tensor([np.float32(1), np.float32(2)]),
        lambda: torch.ones(2, dtype=torch.complex64).to(torch.bool),
        lambda: torch.ones(2, dtype=torch.complex64).real.double(),
        lambda: F.conv1d(torch.ones(1, 1, 5), torch.ones(1, 1, 3), padding="same"),
        lambda: F.conv1d(torch.ones(1, 1, 9), torch.ones(1, 1, 4), padding="same", dilation=2),
        lambda: F.dropout3d(torch.ones(2, 3, 4, 5)),
        lambda: nn.Upsample(scale_factor=2)(torch.ones(1, 1, 2, 2)),
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, batch_first=True), 1),
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2), 1, enable_nested_tensor=False),
        lambda: _hooked("register_full_backward_hook", _leaf(1, 2)),
        lambda: _hooked("register_backward_hook", _leaf(1, 2) * 2, nn.ReLU()),
    ],
)
def test_usual_calls_give_none(call):
    call()


def _turned(x):
    return x.T


def test_some_are_given_once_in_a_process():
    """``set_warn_always`` says otherwise."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        _turned(torch.ones(2, 2, 2))
        _turned(torch.ones(3))
        assert len(told) == 1
        torch.set_warn_always(True)
        _turned(torch.ones(3))
        torch.set_warn_always(False)
        _turned(torch.ones(3))
        assert len(told) == 2
        torch.ones(1).var()
        torch.ones(1).var()
        assert len(told) == 4


def test_numbers_in_front_are_told_of_once_however_they_vary():
    """An optimizer of old gives another number at each step."""
    x = torch.zeros(2)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for i in range(3):
            x.add_(0.5 + i, torch.ones(2))
            x.addcmul_(1.0 + i, torch.ones(2), torch.ones(2))
        assert len(told) <= 1  # none where another test has been told
    assert x.tolist() == [10.5, 10.5]


def _out_of_another_size():
    torch.add(torch.ones(2), 1, out=torch.ones(3))


def _several_out_of_another_size():
    torch.max(torch.ones(2), 0, out=(torch.ones(3), torch.ones(3, dtype=torch.int64)))


def _bytes_as_index():
    torch.ones(2)[torch.ones(2, dtype=torch.uint8)]


@pytest.mark.parametrize("call", [_out_of_another_size, _several_out_of_another_size, _bytes_as_index])
def test_they_name_the_line_of_the_program(call):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        call()
    assert {(w.filename, w.lineno) for w in told} == {(__file__, call.__code__.co_firstlineno + 1)}


def test_complex_numbers_set_in_real_tensors():
    """JAX's own deprecation of such casts is none of the program's business."""
    x = torch.ones(2)
    x[0] = torch.tensor(2 + 1j)
    assert x.tolist() == [2, 1]
