"""Devices: parsing, identity, defaults, and the JAX devices behind them."""

import ast
import copy
import pickle
import threading
from pathlib import Path

import jax
import pytest

from pytorchlike.tensor import device as dev
from pytorchlike.tensor.device import device


@pytest.mark.parametrize(
    ("text", "kind", "index"),
    [("cpu", "cpu", None), ("cuda:1", "cuda", 1), ("tpu", "tpu", None), ("meta:0", "meta", 0), ("mps", "mps", None)],
)
def test_parse(text, kind, index):
    made = device(text)
    assert (made.type, made.index) == (kind, index)
    assert str(made) == text
    assert made == device(kind, index) == device(made) == device(device=text) == dev.as_device(text)
    assert hash(made) == hash(device(text))
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made


def test_repr_and_equality():
    assert repr(device("cuda", 1)) == "device(type='cuda', index=1)"
    assert repr(device("cpu")) == "device(type='cpu')"
    assert device("cuda") != device("cuda:0")
    assert device("cuda") != "cuda"
    with pytest.raises(AttributeError):
        device("cpu").type = "cuda"
    with pytest.raises(TypeError):
        device("cpu") < device("cuda")  # noqa: B015


@pytest.mark.parametrize("text", ["cuda:", "cuda:-1", "cuda:01", "cuda:1:2", "cuda:x", "cpu: 1", " cpu"])
def test_invalid_strings(text):
    with pytest.raises(RuntimeError, match=f"Invalid device string: '{text}'"):
        device(text)


def test_wrong_names_and_arguments():
    with pytest.raises(RuntimeError, match="Expected one of cpu, cuda, .* device type at start of device string: foo"):
        device("foo:1")
    with pytest.raises(RuntimeError, match="must not be empty"):
        device("")
    with pytest.raises(RuntimeError, match="must not include an index"):
        device("cuda:1", 1)
    with pytest.raises(RuntimeError, match="must not be negative"):
        device("cuda", -1)
    with pytest.raises(TypeError, match="argument 'index'"):
        device("cuda", 1.5)
    for args in ((), (None,), (1.5,), (True,), ("cpu", 1, 2)):
        with pytest.raises(TypeError, match="invalid combination"):
            device(*args)
    with pytest.raises(TypeError, match="invalid combination"):
        device("cpu", foo=1)


def test_default_device():
    assert dev.get_default_device() == device("cpu")
    with device("meta") as entered:
        assert entered == device("meta") == dev.get_default_device()
        with device("cpu"):
            assert dev.get_default_device() == device("cpu")
        assert dev.default_device() == device("meta")
        assert dev.as_device(None) == device("meta")
    assert dev.get_default_device() == device("cpu")
    try:
        dev.set_default_device("cuda")  # need not exist until it is used
        assert dev.default_device() == device("cuda")
        assert dev.get_default_device() == device("cuda:0")
        seen = []
        thread = threading.Thread(target=lambda: seen.append(dev.get_default_device()))
        thread.start()
        thread.join()
        assert seen == [device("cpu")]
    finally:
        dev.set_default_device(None)
    assert dev.get_default_device() == device("cpu")


def test_block_ends_also_by_an_error():
    with pytest.raises(KeyError), device("meta"):
        raise KeyError
    assert dev.get_default_device() == device("cpu")


def test_jax_devices():
    host = device("cpu").jax()
    assert host == jax.local_devices(backend="cpu")[0]
    assert dev.from_jax_device(host) == device("cpu")
    assert device("cpu:999").jax() == host
    assert "cpu" in dev.available()
    assert dev.device_count("cpu") >= 1
    assert dev.device_count("mps") == 0
    for kind in ("mps", "xpu", "meta"):
        with pytest.raises(RuntimeError, match=r"available: cpu"):
            device(kind).jax()


@pytest.mark.parametrize("kind", ["cuda", "tpu"])
def test_accelerators_present_or_refused(kind):
    count = dev.device_count(kind)
    with pytest.raises(RuntimeError, match="available"):
        device(kind, count).jax()
    for index in range(count):
        assert dev.from_jax_device(device(kind, index).jax()) == device(kind, index)
    if not count:
        with pytest.raises(RuntimeError, match=f"device '{kind}' is not available"):
            device(kind).jax()


def test_integers_mean_the_accelerator():
    if dev.device_count("cuda") or dev.device_count("tpu"):
        assert device(0).index == 0
    else:
        with pytest.raises(RuntimeError, match="Cannot access accelerator device when none is available"):
            device(0)


def test_canonical_and_current_index():
    assert device("cpu:0").canonical() == device("cpu")
    assert device("meta:0").canonical() == device("meta")
    assert device("cuda").canonical() == device("cuda:0")
    try:
        dev.set_current_index("cuda", 2)
        assert device("cuda").canonical() == device("cuda:2")
    finally:
        dev.set_current_index("cuda", 0)


def test_places():
    from pytorchlike.engine.meta import SHAPE_ONLY

    host = device("cpu").jax()
    assert dev.place_for(None) == dev.place_for("cpu") == dev.place_for(device("cpu:0")) == host
    with device("meta"):
        assert dev.place_for(None) == SHAPE_ONLY
        assert dev.place_for("cpu") == host
    with pytest.raises(RuntimeError, match="available"):
        dev.place_for("mps")


def test_small_modules_import_no_jax():
    folder = Path(dev.__file__).parent
    for name in ("dtype", "device", "size", "random", "printing", "interop"):
        tree = ast.parse((folder / f"{name}.py").read_text())
        for node in tree.body:
            if isinstance(node, ast.Import):
                assert all(alias.name.split(".")[0] != "jax" for alias in node.names), name
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] != "jax", name
