"""From Python objects to host arrays: values, dtypes and errors as torch.tensor has them."""

import array
import json
import warnings
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from pytorchlike.tensor import dtype as dt
from pytorchlike.tensor.interop import aligned_empty, cast_host, check_from_numpy, host_copy, infer_dtype

CASES = json.loads((Path(__file__).parents[1] / "reference" / "interop.json").read_text())
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


@pytest.mark.filterwarnings("ignore:Creating a tensor from a list of numpy.ndarrays")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def test_as_torch(case):
    expression, name, *want = case
    value = eval(expression, {"np": np, "array": array})
    np_dtype = None if name is None else dt.NAMES[name].numpy
    if len(want) == 2:
        kind, words = want
        with pytest.raises(Exception) as caught:
            host_copy(value, np_dtype)
        assert type(caught.value).__name__ == kind
        unsigned = name == "uint64" and kind == "TypeError"  # PyTorch says "an integer is required" of everything
        assert unsigned or str(caught.value).startswith(words)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Creating a tensor from a list of numpy.ndarrays")
        made = host_copy(value, np_dtype)
    dtype_name, shape, values = want
    wide = made if made.dtype.kind in "biuc" else made.astype(np.float64)
    assert repr(dt.from_numpy_dtype(made.dtype)) == dtype_name
    assert list(made.shape) == shape
    assert repr(wide.tolist()) == values
    if name is None:
        assert infer_dtype(value) == made.dtype


def test_default_dtype_counts():
    try:
        dt.set_default_dtype(dt.float64)
        assert host_copy([1.0]).dtype == np.float64
        assert host_copy([]).dtype == np.float64
        assert host_copy(1j).dtype == np.complex128
        dt.set_default_dtype(dt.bfloat16)
        assert host_copy([1.0, 2]).dtype == BFLOAT16
    finally:
        dt.set_default_dtype(dt.float32)


@pytest.mark.parametrize("n", [3, 5000, 100_001])
@pytest.mark.parametrize("np_dtype", [None, np.dtype("f4"), np.dtype("f8"), np.dtype("i8"), BFLOAT16])
def test_copies_never_share(n, np_dtype):
    source = np.arange(n, dtype=np.float32)
    made = host_copy(source, np_dtype)
    assert not np.shares_memory(made, source)
    assert made.flags.c_contiguous
    assert made.flags.writeable
    if made.nbytes >= 4096:
        assert made.ctypes.data % 64 == 0


def test_layouts_and_readonly_arrays():
    base = np.arange(24.0).reshape(4, 6)
    for view in (base.T, base[::-1], base[:, ::2], base[1:1], np.broadcast_to(base, (2, 4, 6))):
        made = host_copy(view)
        assert made.flags.c_contiguous
        assert np.array_equal(made, view)
    frozen = base.copy()
    frozen.flags.writeable = False
    assert host_copy(frozen).flags.writeable


def test_aligned_empty():
    for shape in ((), (0,), (3, 0), (1024,), (33, 77)):
        made = aligned_empty(shape, np.dtype("f8"))
        assert made.shape == shape
        made[...] = 1


def test_check_from_numpy():
    good = np.zeros((3, 4), np.float32)
    assert check_from_numpy(good.T) == np.float32
    with pytest.raises(ValueError, match="negative"):
        check_from_numpy(good[::-1])
    assert check_from_numpy(good[::-1], share=False) == np.float32
    with pytest.raises(ValueError, match="not a multiple of the element byte size"):
        check_from_numpy(np.zeros(8, "i4,i1")["f0"])
    with pytest.raises(ValueError, match="byte order"):
        check_from_numpy(np.zeros(3, ">i4"))
    with pytest.raises(TypeError, match=r"expected np.ndarray \(got list\)"):
        check_from_numpy([1])
    with pytest.raises(TypeError, match=r"got numpy.float32"):
        check_from_numpy(np.float32(1))
    with pytest.raises(TypeError, match="can't convert np.ndarray of type numpy.object_"):
        check_from_numpy(np.array([object()]))


def test_rounding_of_small_floats():
    # 1 + 2**-11 + 2**-40 lies above a tie of float16, but float32 in between rounds it to the tie.
    value = np.array([1 + 2.0**-11 + 2.0**-40])
    assert cast_host(value, np.dtype(np.float16))[0] == 1.0
    assert host_copy(value.tolist(), np.dtype(np.float16))[0] == 1.0
    e4m3 = cast_host(np.array([1e6, -np.inf, 449.0, np.nan]), np.dtype(ml_dtypes.float8_e4m3fn)).astype(np.float32)
    assert np.array_equal(e4m3, [448, -448, 448, np.nan], equal_nan=True)
    e8m0 = cast_host(np.array([-4.0, 0.0, np.inf, 1e-45]), np.dtype(ml_dtypes.float8_e8m0fnu)).astype(np.float32)
    assert np.array_equal(e8m0, np.float32([4, 2.0**-127, np.nan, 2.0**-127]), equal_nan=True)


def test_casts_of_arrays_are_unchecked():
    assert cast_host(np.array([300, -1]), np.dtype("u1")).tolist() == [44, 255]
    assert cast_host(np.array([-1.5, 300.7]), np.dtype("u1")).tolist() == [255, 44]
    assert cast_host(np.array([1 + 2j]), np.dtype("f4")).tolist() == [1.0]
    assert cast_host(np.array([2j, 0]), np.dtype("?")).tolist() == [True, False]


class _OneElement:
    """Stands for a tensor: what interop looks at."""

    def __init__(self, value, n=1):
        self.value, self.n, self.shape, self.dtype = value, n, (n,), dt.float32 if type(value) is float else dt.int64

    def detach(self):
        return self

    def numel(self):
        return self.n

    def item(self):
        return self.value


def test_tensors_in_lists():
    made = host_copy([[_OneElement(1.5), 2], [3, _OneElement(4)]])
    assert made.dtype == np.float32
    assert made.tolist() == [[1.5, 2], [3, 4]]
    assert host_copy([_OneElement(1), 2]).dtype == np.int64
    with pytest.raises(ValueError, match="only one element tensors"):
        host_copy([_OneElement(1.5, 2)])
    with pytest.raises(TypeError, match="interpreted as an integer"):
        host_copy([_OneElement(1.5)], np.dtype("i8"))


def test_other_arrays_and_number_like_objects():
    import jax.numpy as jnp

    made = host_copy(jnp.arange(3, dtype=jnp.float16))
    assert made.dtype == np.float16
    assert made.tolist() == [0, 1, 2]

    class Index:
        def __index__(self):
            return 3

    assert host_copy([Index()], np.dtype("i4")).tolist() == [3]
    with pytest.raises(RuntimeError, match="Could not infer dtype of Index"):
        host_copy([Index()])


def test_ragged_tails_are_refused():
    # PyTorch drops the tail here without a word.
    with pytest.raises(ValueError, match=r"expected sequence of length 0 at dim 1 \(got 1\)"):
        host_copy([[], [1]])


def test_tables_are_refused():
    """A table of named columns (a DataFrame) has no first row: the error says so, not that there is no column 0."""

    class Table:
        def __len__(self):
            return 2

        def __getitem__(self, name):
            return {"a": [1, 2]}[name]

    with pytest.raises(ValueError, match="could not determine the shape of object type 'Table'"):
        host_copy(Table())


def test_endless_nesting():
    endless: list = []
    endless.append(endless)
    with pytest.raises(ValueError, match="too many dimensions 'list'"):
        host_copy(endless)


def test_lowering_and_shapes_of_functions_of_tensors():
    """JAX puts descriptions of arguments in the places of arrays."""
    import jax

    import pytorchlike as torch

    x = torch.ones(2, 3)
    lowered = jax.jit(lambda t: {"sum": t.sum(0)}).lower(x)
    assert "f32[2,3]" in lowered.compile().as_text()
    out = jax.eval_shape(lambda t: {"sum": t.sum(0)}, x)
    assert jax.tree.leaves(out)[0].shape == (3,)
