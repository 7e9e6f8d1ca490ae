"""Dtypes: traits, promotion and limits against PyTorch's tables; singletons; defaults."""

import copy
import json
import math
import pickle
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.tensor import dtype as dt

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "dtype.json").read_text())
DTYPES = [dt.NAMES[name] for name in REFERENCE["names"]]


@pytest.fixture(autouse=True)
def _default_dtype():
    yield
    dt.set_default_dtype(dt.float32)


def position(question) -> int:
    try:
        return DTYPES.index(question())
    except RuntimeError:
        return -1


def test_traits():
    got = [[d.is_floating_point, d.is_complex, d.is_signed, d.itemsize] for d in DTYPES]
    assert got == REFERENCE["traits"]


def test_promote_types_all_pairs():
    assert [[position(lambda: dt.promote_types(a, b)) for b in DTYPES] for a in DTYPES] == REFERENCE["promote"]  # noqa: B023


def test_can_cast_all_pairs():
    assert [[int(dt.can_cast(a, b)) for b in DTYPES] for a in DTYPES] == REFERENCE["cast"]


@pytest.mark.parametrize("default", ["float32", "float64"])
def test_result_type_all_pairs(default):
    dt.set_default_dtype(dt.NAMES[default])
    operands = [(d.numpy, ndim, False) for d in DTYPES for ndim in (1, 0)]
    operands += [(dt.python_number_dtype(number), 0, True) for number in (True, 2, 1.5, 1j)]
    got = [
        [position(lambda: dt.from_numpy_dtype(dt.result_type_of([x, y]))) for y in operands]  # noqa: B023
        for x in operands
    ]
    assert got == REFERENCE["result_type"][f"torch.{default}"]


def test_result_type_of_three_operands():
    half, single, number = (np.dtype(np.float16), 2, False), (np.dtype(np.float32), 0, False), (np.dtype("f8"), 0, True)
    assert dt.result_type_of([half, single, number]) == np.float16
    with pytest.raises(RuntimeError, match="at least one"):
        dt.result_type_of([])


@pytest.mark.parametrize("kind", ["finfo", "iinfo"])
@pytest.mark.parametrize("name", REFERENCE["names"])
def test_limits(kind, name):
    want = REFERENCE[kind][REFERENCE["names"].index(name)]
    make = getattr(dt, kind)
    if want is None:
        with pytest.raises(TypeError):
            make(dt.NAMES[name])
        return
    info = make(dt.NAMES[name])
    assert repr(info) == want[0]
    assert {key: getattr(info, key) for key in want[1]} == want[1]


def test_limits_follow_the_default_and_compare():
    assert dt.finfo() == dt.finfo(dt.float32) != dt.finfo(dt.float64)
    dt.set_default_dtype(dt.float64)
    assert dt.finfo().bits == 64
    assert pickle.loads(pickle.dumps(dt.iinfo(dt.int8))) == dt.iinfo(dt.int8)
    with pytest.raises(AttributeError):
        dt.finfo().eps = 1
    with pytest.raises(TypeError, match="must be torch.dtype, not int"):
        dt.finfo(3)


@pytest.mark.parametrize("d", dt.NAMES.values(), ids=dt.NAMES)
def test_singletons(d):
    assert pickle.loads(pickle.dumps(d)) is copy.deepcopy(d) is copy.copy(d) is d
    if d is dt.complex32 or d in dt._PARTS_OF_BYTES.values():  # NumPy has none
        return
    if d in (dt.qint8, dt.quint8, dt.qint32):  # NumPy's integers are not quantised
        assert repr(d) == f"torch.q{d.numpy.name}" and dt.from_numpy_dtype(d.numpy) is not d
        return
    assert dt.from_numpy_dtype(d.numpy) is d
    assert repr(d) == f"torch.{d.numpy.name}"


def test_aliases_and_immutability():
    assert dt.NAMES["half"] is dt.half is dt.float16
    assert dt.NAMES["float"] is dt.float_ is dt.float32
    assert dt.NAMES["int"] is dt.int_ is dt.int32
    assert dt.NAMES["bool"] is dt.bool_
    with pytest.raises(TypeError, match="cannot create"):
        dt.dtype()
    with pytest.raises(AttributeError):
        dt.float32.itemsize = 3


def test_python_types_and_numpy_types():
    assert dt.to_numpy_dtype(float) == np.float64
    assert dt.to_numpy_dtype(int) == np.int64
    assert dt.to_numpy_dtype(bool) == np.bool_
    assert dt.to_numpy_dtype(complex) == np.complex128
    assert dt.to_numpy_dtype(None) is None
    assert dt.to_numpy_dtype(dt.bfloat16) == ml_dtypes.bfloat16
    assert dt.from_numpy_dtype(">f4") is dt.float32
    assert dt.promote_types(float, dt.float32) is dt.float64
    for wrong in (str, np.float32, "float32", 3):
        with pytest.raises(TypeError, match="must be torch.dtype"):
            dt.to_numpy_dtype(wrong)
    for wrong in (np.longdouble, "U3", object, "M8[s]"):
        with pytest.raises(TypeError, match="only supported types"):
            dt.from_numpy_dtype(wrong)


def test_to_real_and_to_complex():
    assert dt.complex64.to_real() is dt.float32
    assert dt.int8.to_real() is dt.int8
    assert dt.float64.to_complex() is dt.complex128
    assert dt.bfloat16.to_complex() is dt.complex64
    with pytest.raises(RuntimeError, match="Unknown Complex ScalarType for Int"):
        dt.int32.to_complex()


def test_default_dtype_and_subscribers(monkeypatch):
    monkeypatch.setattr(dt, "_subscribers", [])
    seen = []
    dt.subscribe(seen.append)
    dt.set_default_dtype(dt.float64)
    assert seen == [dt.float32, dt.float64]
    assert dt.get_default_dtype() is dt.default is dt.float64
    assert dt.get_default_complex_dtype() is dt.complex128
    for wrong in (dt.int32, dt.float8_e5m2, dt.complex64, float, "float32"):
        with pytest.raises(TypeError, match="only floating-point types"):
            dt.set_default_dtype(wrong)
    assert dt.default is dt.float64


def test_memory_formats_and_layouts():
    assert repr(dt.channels_last) == "torch.channels_last"
    assert repr(dt.strided) == "torch.strided"
    assert pickle.loads(pickle.dumps(dt.preserve_format)) is dt.preserve_format
    assert copy.deepcopy(dt.sparse_csr) is dt.sparse_csr
    assert isinstance(dt.contiguous_format, dt.memory_format)
    assert not isinstance(dt.contiguous_format, dt.layout)
    with pytest.raises(TypeError, match="cannot create"):
        dt.layout()


def test_complex32_is_a_name_only():
    assert torch.chalf is torch.complex32 and repr(torch.complex32) == "torch.complex32"
    assert torch.complex32.is_complex and torch.complex32.itemsize == 4
    assert torch.complex32.to_real() is torch.float16 and torch.finfo(torch.complex32).bits == 16
    assert pickle.loads(pickle.dumps(torch.complex32)) is torch.complex32
    x = torch.ones(1)
    for refused in (lambda: torch.zeros(2, dtype=torch.complex32), lambda: torch.tensor([1j], dtype=torch.chalf),
                    x.chalf, lambda: x.to(torch.complex32)):  # fmt: skip
        with pytest.raises(NotImplementedError, match="complex64"):
            refused()


def test_float8_e4m3fn_saturates():
    x = torch.tensor([500.0, 1e10, float("inf"), -float("inf"), float("nan")])
    want = [448, 448, 448, -448]
    for y in (x, x * 1, x.double() * 1):
        got = y.to(torch.float8_e4m3fn).float().tolist()
        assert got[:4] == want and math.isnan(got[4])


def test_a_short_array_of_numpy_is_cast_at_once(tier):
    """A window that a model makes in its first step and keeps would make that step a program of its own."""
    from pytorchlike.engine.stats import stats

    tier("auto")
    torch.manual_seed(0)
    kept, model = {}, torch.nn.Linear(16, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.from_numpy(np.ones((5, 16), np.float32))

    def step():
        if not kept:
            kept["window"] = torch.from_numpy(np.hanning(16)).float()
        optimizer.zero_grad()
        model(x * kept["window"]).square().mean().backward()
        optimizer.step()

    step()
    before = stats.compiles
    step()
    assert stats.compiles == before
    shared = np.arange(3.0)
    cast = torch.from_numpy(shared).float()
    shared[0] = 7
    assert cast.dtype == torch.float32 and cast.tolist() == [0, 1, 2]
    cast[1] = 5
    assert shared.tolist() == [7, 1, 2]
    with torch.inference_mode():
        assert torch.from_numpy(shared).float().is_inference()
    assert torch.tensor([1e300, -1e300], dtype=torch.float64).float().tolist() == [np.inf, -np.inf]
    assert torch.tensor([2**40 + 5]).int().tolist() == [5]
