"""The text of tensors against PyTorch's, and the HTML view."""

import base64
import json
import math
import warnings
import xml.dom.minidom
import zlib
from pathlib import Path

import numpy as np
import pytest

from pytorchlike.tensor import dtype as dt
from pytorchlike.tensor import printing
from pytorchlike.tensor.device import device
from pytorchlike.tensor.printing import edge_indices, format_tensor, set_printoptions
from pytorchlike.tensor.rich import html_tensor

CASES = json.loads((Path(__file__).parents[1] / "reference" / "printing.json").read_text())
CPU = device("cpu")


@pytest.fixture(autouse=True)
def _default_options():
    set_printoptions(profile="default")
    yield
    set_printoptions(profile="default")
    dt.set_default_dtype(dt.float32)


def array_of(case) -> np.ndarray:
    raw = zlib.decompress(base64.b64decode(case["data"]))
    return np.frombuffer(raw, dt.NAMES[case["dtype"]].numpy).reshape(case["shape"])


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['dtype']}-{c['shape']}")
def test_as_torch(case):
    set_printoptions(**case["options"])
    array = array_of(case)
    rest = {"is_parameter": case["parameter"], "size": case["shape"]}
    about = (dt.NAMES[case["dtype"]], CPU, case["requires_grad"], case["grad_fn"])
    assert format_tensor(array, *about, **rest) == case["text"]
    indices = edge_indices(case["shape"])
    if indices is not None:
        for axis, index in enumerate(indices):
            array = array if index is None else array.take(index, axis)
        assert format_tensor(array, *about, **rest) == case["text"]


def test_meta_and_devices():
    meta, f64 = device("meta"), dt.float64
    text = format_tensor(None, f64, meta, grad_fn_name="MulBackward0", size=(3,))
    assert text == ("tensor(..., device='meta', size=(3,), dtype=torch.float64,\n       grad_fn=<MulBackward0>)")
    assert format_tensor(None, dt.float32, meta, size=()) == "tensor(..., device='meta', size=())"
    shown = format_tensor(np.float32([1, 2]), dt.float32, device("cuda:0"), True)
    assert shown == "tensor([1., 2.], device='cuda:0', requires_grad=True)"
    with pytest.raises(ValueError, match="size"):
        format_tensor(None, dt.float32, meta)


def test_default_dtype_is_not_shown():
    dt.set_default_dtype(dt.float64)
    assert format_tensor(np.zeros(2), dt.float64, CPU) == "tensor([0., 0.])"
    assert format_tensor(np.zeros(2, "f4"), dt.float32, CPU) == "tensor([0., 0.], dtype=torch.float32)"
    assert format_tensor(np.zeros(0, "c16"), dt.complex128, CPU) == "tensor([], dtype=torch.complex128)"
    assert format_tensor(np.zeros(0, "f8"), dt.float64, CPU) == "tensor([])"


def test_subclass_name_sets_the_indent():
    text = format_tensor(np.zeros((2, 2), "f4"), dt.float32, CPU, name="Mask")
    assert text == "Mask([[0., 0.],\n      [0., 0.]])"


def test_options():
    set_printoptions(precision=2)
    assert format_tensor(np.array(3.14159, "f4"), dt.float32, CPU) == "tensor(3.14)"
    assert printing.get_printoptions() == {
        "precision": 2, "threshold": 1000, "edgeitems": 3, "linewidth": 80, "sci_mode": None,
    }  # fmt: skip
    with printing.printoptions(sci_mode=True, profile="full"):
        assert printing.get_printoptions()["threshold"] == math.inf
        assert format_tensor(np.array(3.5, "f4"), dt.float32, CPU) == "tensor(3.5000e+00)"
    assert printing.get_printoptions()["precision"] == 2
    with pytest.warns(UserWarning, match="unknown profile 'long' sets nothing"):  # YOLOv5 asks for it
        set_printoptions(linewidth=320, profile="long")
    assert printing.get_printoptions()["linewidth"] == 320
    with pytest.raises(TypeError, match="precision must be an int"):
        set_printoptions(precision="a")
    assert printing.get_printoptions()["precision"] == 2


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(()),
        np.eye(3, dtype=np.float32),
        np.zeros((0, 3)),
        np.array([[1e308, -1e308, np.nan, np.inf]]),
        np.array([-1e308, 1e308] * 50),
        np.full((3, 4, 5), 1e308),
        np.full(300, np.nan),
        np.array([1 + 2j, 3]),
        np.array([True, False]),
        np.zeros((10, 10), np.complex128) + 1e-5,
        np.zeros(2_500_001, np.int8),
    ],
    ids=lambda a: f"{a.dtype}-{a.shape}",
)
def test_html_is_small_and_well_formed(array):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = html_tensor(array, dt.from_numpy_dtype(array.dtype), CPU)
    xml.dom.minidom.parseString(text)
    assert len(text) < 20_000
    assert f"tensor{list(array.shape)}" in text


def test_html_says_what_it_is():
    text = html_tensor(None, dt.float32, device("meta"), grad_fn_name="<b>", size=(2, 3), is_parameter=True)
    assert "Parameter tensor[2, 3]" in text
    assert "&lt;b&gt;" in text
    text = html_tensor(np.array([1.0, np.nan, np.inf, 3.0]), dt.float64, CPU, True)
    for words in ("float64", "cpu", "requires_grad", "min 1, mean 2, max 3", "1 nan", "1 inf", "<table"):
        assert words in text
    set_printoptions(sci_mode=False, precision=300)
    assert len(html_tensor(np.full((10, 10), 1e300 / 3), dt.float64, CPU)) < 20_000
    with pytest.raises(ValueError, match="size"):
        html_tensor(None, dt.float32, CPU)


def test_without_edge_items_the_size_is_shown():
    set_printoptions(edgeitems=0)
    assert format_tensor(np.zeros((2, 2), np.float32), dt.float32, CPU).endswith("[0., 0.]], size=(2, 2))")
