"""Every operator of the table against PyTorch: values, dtypes, shapes, and gradients for a random cotangent.

The expressions, inputs and answers are in ``tests/reference/ops.json`` and ``ops.npz`` (see ``make_ops.py`` there).
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.engine import evaluators, host, stats
from pytorchlike.ops import TABLE

HERE = Path(__file__).parent.parent / "reference"
REFERENCE = json.loads((HERE / "ops.json").read_text())
CASES: dict[str, list[dict]] = REFERENCE["cases"]
#: Namespaces that have tests of their own.
ELSEWHERE = {"nn.functional"}
#: Operators without cases: internal ones, which others rest on, and random ones, whose numbers are not PyTorch's.
WITHOUT = re.compile(
    r"torch\.(_\w+|rand\w*|multinomial|poisson|binomial|rrelu|conv\w+|\w*pool\dd?|\w+_norm|\w+_cell"
    r"|pixel_\w+|channel_shuffle|pdist|bilinear|dropout\w*|\w*embedding\w*|alpha_dropout|feature_\w+|native_\w+|instance_norm)"
    r"|\._?\w*"
)
TOLERANCE = {"float32": 2e-5, "complex64": 2e-5, "bfloat16": 1e-2, "float64": 1e-6}
LOOSE = re.compile(r"linalg|svd|eig|inverse|logdet|fft|zeta|polygamma|cumprod|lgamma|cov|bessel|airy|polynomial|istft")

_arrays = np.load(HERE / "ops.npz")
FLAT = {name: _arrays[name] for name in _arrays.files}


def stored(told: list) -> np.ndarray:
    name, shape, at = told
    flat = FLAT["float32" if name == "bfloat16" else name]
    return flat[at : at + math.prod(shape)].reshape(shape)


def tensors(out: Any) -> list:
    return [out] if isinstance(out, torch.Tensor) else [x for part in out for x in tensors(part)]


def close(got: Any, told: list, what: str, loose: float) -> None:
    want = stored(told)
    assert str(got.dtype) == f"torch.{told[0]}", f"{what}: dtype {got.dtype} instead of {told[0]}"
    assert list(got.shape) == told[1], f"{what}: shape {list(got.shape)} instead of {told[1]}"
    data = got.detach().to(torch.float32).numpy() if told[0] == "bfloat16" else got.detach().numpy()
    if want.dtype.kind in "fc":
        size = np.abs(want[np.isfinite(want)]).max(initial=1.0)
        tolerance = TOLERANCE[told[0]] * loose
        np.testing.assert_allclose(data, want, rtol=tolerance, atol=tolerance * size, err_msg=what)
    else:
        np.testing.assert_array_equal(data, want, err_msg=what)


def check(case: dict) -> None:
    form = case["form"]
    named = {}
    for name, told in REFERENCE["inputs"].items():
        if re.search(rf"(?<![.\w']){name}\b(?!\s*=[^=])", form):
            named[name] = torch.tensor(stored(told), requires_grad=told[0] in ("float32", "complex64"))
    outs = tensors(eval(form, {"t": torch, **named}))
    assert len(outs) == len(case["out"])
    if case["grad"]:
        rng = np.random.RandomState(7)
        pairs = []
        for o in outs:
            c = rng.standard_normal((2, *o.shape))
            if o.requires_grad:
                c = np.asarray(c[0] + 1j * c[1] if o.is_complex() else c[0])
                pairs.append((o, torch.tensor(c).to(o.dtype)))
        if pairs:
            torch.autograd.backward([o for o, _ in pairs], [c for _, c in pairs])
    loose = 20.0 if LOOSE.search(form) else 1.0
    for number, (o, told) in enumerate(zip(outs, case["out"], strict=True)):
        close(o, told, f"{form}: result {number}", loose)
    for name, told in case["grad"].items():
        grad = named[name].grad
        if told is None:
            assert grad is None or not grad.numpy().any(), f"{form}: gradient of {name} is not zero"
        elif grad is None:
            assert not stored(told).any(), f"{form}: no gradient of {name}"
        else:
            close(grad, told, f"{form}: gradient of {name}", 3 * loose)


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradients(name: str, tier) -> None:
    tier("ops")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in CASES[name]:
            check(case)


SOME = ("add", "where", "sum", "gather", "matmul", "eigh")


@pytest.mark.parametrize("name", [n for n in CASES if n.split(".")[-1] in SOME])
def test_fused(name: str, tier) -> None:
    """The same as one program each."""
    tier("fused")
    for case in CASES[name]:
        check(case)


def test_every_operator_has_cases() -> None:
    lacking = []
    for (space, name), entry in TABLE.items():
        known = f"{space}.{name}" in CASES or f"{space}.{entry.name}" in CASES
        if not known and space not in ELSEWHERE and not WITHOUT.fullmatch(f"{space}.{name}"):
            lacking.append(f"{space}.{name}")
    assert not lacking


@pytest.mark.parametrize("name", [*list(CASES)[::4], *(n for n in CASES if n.split(".")[-1] in SOME)])
def test_by_numpy(name: str, monkeypatch) -> None:
    """The same as forked processes and data loading evaluate them; what NumPy does not have falls to XLA."""
    monkeypatch.setattr(evaluators, "_forward", OrderedDict())
    compiled = stats.kernels
    with host.apart(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in CASES[name]:
            check(case)
    if re.match(r"torch\.(add|where|sum|gather)$", name):
        assert stats.kernels == compiled
