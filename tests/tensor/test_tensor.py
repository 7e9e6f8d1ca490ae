"""Tensors as Python objects: making, converting, copying, passing to other libraries and threads."""

import copy
import pickle
import threading

import numpy as np
import pytest

import pytorchlike as torch


def test_dtypes_of_new_tensors():
    made = [torch.tensor(1), torch.tensor(1.0), torch.tensor(True), torch.tensor(1j), torch.tensor([]),
            torch.tensor(np.arange(3.0)), torch.tensor(np.float32(1)), torch.arange(3), torch.arange(3.0),
            torch.full((1,), 2), torch.full((1,), True), torch.Tensor([1]), torch.zeros(1), torch.eye(1)]  # fmt: skip
    names = "int64 float32 bool complex64 float32 float64 float32 int64 float32 int64 bool float32 float32 float32"
    assert [str(t.dtype) for t in made] == [f"torch.{n}" for n in names.split()]


def test_factories():
    assert torch.zeros(2, 3).shape == torch.zeros((2, 3)).shape == torch.zeros([2, 3]).shape == (2, 3)
    assert torch.zeros(()).shape == () and torch.Tensor(2, 3).shape == (2, 3) and torch.Tensor().shape == (0,)
    assert torch.arange(5, 0, -2).tolist() == [5, 3, 1] and torch.arange(0, 1, 0.25).tolist() == [0, 0.25, 0.5, 0.75]
    assert torch.linspace(0, 1, 3).tolist() == [0, 0.5, 1] and torch.eye(2, 3).tolist() == [[1, 0, 0], [0, 1, 0]]
    like = torch.ones(2, dtype=torch.int8)
    assert torch.zeros_like(like).dtype == torch.int8 and torch.full_like(like, 7, dtype=torch.float64).tolist() == [
        7,
        7,
    ]
    assert like.new_zeros(3).dtype == torch.int8 and like.new_tensor([1]).dtype == torch.int8
    assert like.new_full((2, 2), 3).tolist() == [[3, 3], [3, 3]]
    for bad in (lambda: torch.zeros(-1), lambda: torch.arange(0, 5, 0), lambda: torch.arange(0, 5, -1)):
        with pytest.raises(RuntimeError):
            bad()
    for bad in (lambda: torch.zeros(2.5), lambda: torch.zeros("a"), lambda: torch.tensor("a")):
        with pytest.raises(TypeError):
            bad()
    with pytest.raises(ValueError, match="expected sequence of length 2"):
        torch.tensor([[1, 2], [3]])
    with pytest.warns(UserWarning, match="copy construct"):
        torch.tensor(like)


def test_numbers_out():
    x = torch.tensor(3.75)
    assert (x.item(), int(x), float(x), bool(x), complex(x), x.tolist()) == (3.75, 3, 3.75, True, 3.75 + 0j, 3.75)
    assert type(torch.tensor(2).item()) is int and torch.tensor([[1]]).tolist() == [[1]]
    assert [10, 20, 30][torch.tensor(1)] == 20 and "ab" * torch.tensor(2) == "abab"
    assert list(range(torch.tensor(3))) == [0, 1, 2] and f"{torch.tensor(2.5):.2f}" == "2.50"
    assert f"{torch.tensor(3)}" == "3" and f"{torch.tensor(7):03d}" == "007" and f"{torch.tensor(5):>3}" == "  5"
    assert f"{torch.tensor([1, 2])}" == "tensor([1, 2])" and str(torch.tensor(3)) == "tensor(3)"
    with pytest.raises(RuntimeError, match="2 elements cannot be converted to Scalar"):
        torch.ones(2).item()
    with pytest.raises(ValueError, match="only one element tensors"):
        int(torch.ones(2))
    with pytest.raises(RuntimeError, match="more than one value is ambiguous"):
        bool(torch.ones(2))
    with pytest.raises(RuntimeError, match="no values is ambiguous"):
        bool(torch.ones(0))
    with pytest.raises(TypeError, match="integer tensors of a single element"):
        [1][torch.tensor(0.0)]
    with pytest.raises(TypeError):
        f"{torch.ones(2):.2f}"


def test_as_a_sequence():
    x = torch.arange(6).view(2, 3)
    assert (
        len(x) == 2
        and [r.tolist() for r in x] == x.tolist()
        and [r.tolist() for r in reversed(x)] == [[3, 4, 5], [0, 1, 2]]
    )
    (a, b, c), last = x
    assert (a.item(), b.item(), c.item(), last.tolist()) == (0, 1, 2, [3, 4, 5])
    assert 3 in x and 7 not in x and torch.tensor(5) in x
    assert sum(x).tolist() == [3, 5, 7] and max(x[0]) == 2
    for bad in (lambda: len(torch.tensor(1)), lambda: list(torch.tensor(1)), lambda: "a" in torch.tensor([1])):
        with pytest.raises((TypeError, RuntimeError)):
            bad()
    assert len({x, x, x.clone()}) == 2


def test_invert_is_for_integers():
    assert (~torch.tensor([True, False])).tolist() == [False, True] and (~torch.tensor(3)).item() == -4
    for dtype in (torch.float32, torch.bfloat16, torch.complex64):
        with pytest.raises(TypeError, match="only implemented on integer and Boolean"):
            ~torch.ones(2, dtype=dtype)


def test_operators_with_other_types():
    x = torch.arange(3.0)
    assert (x == None) is False and (x != None) is True and (x == "a") is False  # noqa: E711
    for bad in (lambda: x + "a", lambda: x + None, lambda: [1] + x, lambda: x < "a", lambda: x + [1, 2, 3]):
        with pytest.raises(TypeError):
            bad()
    got = x * np.ones(3)
    assert isinstance(got, torch.Tensor) and got.dtype == torch.float64
    assert (x * np.float64(2)).tolist() == (np.float64(2) * x).tolist() == [0, 2, 4]

    class Right:
        def __radd__(self, other):
            return "added"

    assert x + Right() == "added"
    assert (
        (2 - x).tolist() == [2, 1, 0]
        and (2**x).tolist() == [1, 2, 4]
        and (7 // torch.tensor([2, 3])).tolist() == [3, 2]
    )
    with pytest.raises(RuntimeError, match="size of tensor a"):
        x + torch.ones(2)


def test_numpy():
    x = torch.arange(3.0)
    a = x.numpy()
    assert a.dtype == np.float32 and a.flags.writeable
    assert np.asarray(x).tolist() == [0, 1, 2] and np.array(x, dtype=np.float64).dtype == np.float64
    assert np.stack([x, x]).shape == (2, 3) and isinstance(np.sin(x), torch.Tensor)
    x.add_(1)
    assert a.tolist() == [1, 2, 3]
    grad = torch.ones(2, requires_grad=True)
    for read in (grad.numpy, lambda: np.asarray(grad)):
        with pytest.raises(RuntimeError, match="requires grad"):
            read()
    assert grad.detach().numpy().tolist() == grad.numpy(force=True).tolist() == [1, 1]
    with pytest.raises(ValueError, match="negative"):
        torch.from_numpy(np.arange(3)[::-1])
    with pytest.raises(TypeError):
        torch.from_numpy([1])


def test_numpy_is_written_to():
    """An array shares memory with its tensor for as long as it exists; afterwards the tensor is as fast as ever."""
    x = torch.ones(5)
    a = x.numpy()
    a[0] = 9
    x.mul_(2)
    assert x.tolist() == a.tolist() == [18, 2, 2, 2, 2] and (x + 1).tolist()[0] == 19 and x._version == 1
    view = a[1:]
    del a
    view += 1
    assert x.tolist() == [18, 3, 3, 3, 3]
    del view
    assert (x * 1).tolist() == [18, 3, 3, 3, 3] and x._alias.storage.host is None

    base = torch.zeros(2, 3)
    part = base.t()[1:].numpy()
    part[0, 1] = 5
    assert base.tolist() == [[0, 0, 0], [0, 5, 0]] and base.clone().numpy().base is None
    big = torch.zeros(100, 1000)
    row = big[0].numpy()
    row += 1
    assert row.sum() == 1000  # a part of a large tensor: a copy


def test_numpy_of_what_requires_gradients_where_they_are_off():
    w = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="requires grad"):
        w.numpy()
    with torch.no_grad():
        a = w.numpy()
        assert np.asarray(w).tolist() == (w * 1).numpy().tolist() == [1, 1]
    a[0] = 5  # shared, as what it makes of itself without gradients is
    assert w.tolist() == [5, 1] and w.requires_grad
    optimizer = torch.optim.SGD([w], lr=1.0)
    w.pow(2).sum().backward()
    optimizer.step()
    assert w.tolist() == a.tolist() == [-5, -1]
    with torch.inference_mode():
        assert (w * 2).numpy().tolist() == [-10, -2]


def test_numpy_of_parameters_and_of_the_tape():
    p = torch.nn.Parameter(torch.ones(3))
    array = p.detach().numpy()
    optimizer = torch.optim.SGD([p], lr=0.25)
    for _ in range(2):
        optimizer.zero_grad()
        (p**2).sum().backward()
        optimizer.step()
    assert array.tolist() == p.tolist() == [0.25] * 3
    array *= 4
    y = p * 3
    y.detach().numpy()[:] = 0  # what backward needs does not change
    optimizer.zero_grad()
    (y * y).sum().backward()
    del array
    optimizer.step()
    assert p.tolist() == [1 - 0.25 * 9 * 2] * 3


def test_jax():
    import jax
    import jax.numpy as jnp

    x = torch.arange(3.0)
    assert isinstance(x.jax(), jax.Array) and jnp.sum(x.jax()) == 3
    assert torch.from_jax(jnp.arange(3)).tolist() == [0, 1, 2]
    assert torch.tensor(jnp.ones(2), requires_grad=True).requires_grad
    assert not hasattr(x, "__cuda_array_interface__")  # libraries take what has it for an array on a GPU
    assert torch.from_dlpack(np.arange(3.0)).tolist() == [0, 1, 2] and np.from_dlpack(x).tolist() == [0, 1, 2]
    assert torch.from_dlpack(jnp.arange(3)).tolist() == jnp.from_dlpack(x).tolist() == [0, 1, 2]
    with pytest.raises(BufferError, match="detach"):
        torch.ones(2, requires_grad=True).__dlpack__()


def test_pytrees_under_jax_transformations():
    import jax

    def f(x, y):
        z = (x * y + 1).sin()
        z[0] = 2 * z[1]
        return z.sum()

    x, y = torch.arange(3.0), torch.ones(3)
    want = f(x, y).item()
    assert float(jax.jit(f)(x, y)) == pytest.approx(want, rel=1e-6)
    found = jax.grad(lambda x, y: f(x, y).jax())(x, y)
    x.requires_grad_()
    f(x, y).backward()
    assert isinstance(found, torch.Tensor)
    assert np.allclose(found.numpy(), x.grad.numpy(), atol=1e-6)
    rows = jax.vmap(lambda r: r * 2 + r.sum())(torch.ones(2, 3))
    assert rows.tolist() == [[5, 5, 5], [5, 5, 5]]
    leaves, tree = jax.tree.flatten({"a": torch.ones(2), "b": [torch.zeros(1)]})
    assert len(leaves) == 2 and jax.tree.unflatten(tree, leaves)["a"].tolist() == [1, 1]
    with pytest.raises(jax.errors.TracerArrayConversionError):
        jax.jit(lambda t: t.tolist())(torch.ones(2))


def test_pickle():
    x = torch.arange(6.0).view(2, 3)[:, 1:]
    assert pickle.loads(pickle.dumps(x)).tolist() == [[1, 2], [4, 5]]
    leaf = pickle.loads(pickle.dumps(torch.ones(2, requires_grad=True)))
    assert leaf.requires_grad and leaf.is_leaf
    p = pickle.loads(pickle.dumps(torch.nn.Parameter(torch.ones(2))))
    assert type(p) is torch.nn.Parameter and p.requires_grad
    half = pickle.loads(pickle.dumps(torch.ones(2, dtype=torch.bfloat16)))
    assert half.dtype == torch.bfloat16


def test_what_programs_note_on_tensors_goes_with_copies_whatever_it_is_called():
    leaf = torch.ones(2, requires_grad=True)
    leaf._note, leaf.kind = {"of": 1}, "a"
    leaf.register_hook(lambda g: g)
    (leaf * 2).sum().backward()
    for twin in (pickle.loads(pickle.dumps(leaf)), copy.copy(leaf), copy.deepcopy(leaf)):
        assert twin.__dict__ == {"_note": {"of": 1}, "kind": "a"}


def test_deepcopy():
    x = torch.arange(4.0)
    a, part, b = copy.deepcopy((x, x[1:3], x))
    assert a is b
    a[1] = 100
    part[1] = 50
    assert a.tolist() == [0, 100, 50, 3] and part.tolist() == [100, 50] and x.tolist() == [0, 1, 2, 3]
    leaf = torch.ones(2, requires_grad=True)
    leaf.grad, leaf.note = torch.ones(2), [1]
    twin = copy.deepcopy(leaf)
    twin.grad.zero_()
    twin.note.append(2)
    with torch.no_grad():
        twin.add_(1)
    assert leaf.grad.tolist() == [1, 1] and leaf.note == [1] and leaf.tolist() == [1, 1] and twin.requires_grad
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(leaf * 2)
    shallow = copy.copy(x)
    shallow[0] = 9
    assert x[0] == 9


def test_conversions():
    x = torch.tensor([1.9, -1.9])
    assert x.int().tolist() == [1, -1] and x.to(torch.float32) is x and x.cpu() is x and x.float() is x
    assert x.to("cpu", torch.float64).dtype == x.double().dtype == x.type("torch.DoubleTensor").dtype == torch.float64
    assert x.to(torch.ones(1, dtype=torch.int8)).dtype == torch.int8 and x.type() == "torch.FloatTensor"
    y = x.to(torch.float32, copy=True)
    y[0] = 0
    assert x[0] != 0
    with pytest.raises(TypeError):
        x.to([1])
    with pytest.raises(RuntimeError):
        x.to("no such device")
    with pytest.raises(RuntimeError, match="not available"):
        x.to("xpu:7") if not torch.ones(1).is_cuda else pytest.skip("has devices")


def test_default_dtype():
    try:
        torch.set_default_dtype(torch.float64)
        made = [torch.tensor(1.0), torch.zeros(1), torch.tensor([1]) / 2, torch.arange(2.0), torch.linspace(0, 1, 2)]
        assert {t.dtype for t in made} == {torch.float64}
    finally:
        torch.set_default_dtype(torch.float32)
    with pytest.raises(TypeError):
        torch.set_default_dtype(torch.int64)


def test_gradients_on_meta_survive_an_execution_in_between():
    layer, x = torch.nn.Linear(3, 2, device="meta"), torch.empty(4, 3, device="meta")
    loss = layer(x).relu().sum()
    assert torch.ones(2).sum().item() == 2  # executes what is pending
    loss.backward()
    assert layer.weight.grad.is_meta and layer.weight.grad.shape == (2, 3)


def test_meta():
    x = torch.zeros(2, 3, device="meta")
    y = (x @ torch.zeros(3, 4, device="meta")).sum(0)
    assert y.shape == (4,) and y.device.type == "meta" and y.is_meta
    x[0] = 1
    x.add_(1)
    assert repr(x) == "tensor(..., device='meta', size=(2, 3))"
    for read in (lambda: x.tolist(), lambda: x[0, 0].item(), lambda: bool(x[0, 0]), lambda: x.cpu()):
        with pytest.raises(RuntimeError, match="meta"):
            read()
    with pytest.raises(TypeError, match="meta"):
        x.numpy()
    assert torch.zeros(2).to("meta").shape == (2,) and torch.empty_like(x, device="cpu").device.type == "cpu"


def test_attributes():
    x = torch.ones(2, 3)
    x.note = 3
    assert x.note == 3
    assert (x.size(1), x.size(-1), x.ndim, x.numel(), x.element_size(), x.nbytes) == (3, 3, 2, 6, 4, 24)
    with pytest.raises(IndexError, match="Dimension out of range"):
        x.size(2)
    with pytest.raises(AttributeError):
        x.shape = (3, 2)
    with pytest.raises(AttributeError):
        x.dtype = torch.int32
    assert x.T.shape == (3, 2) and x.mT.shape == (3, 2) and x.shape.numel() == 6


def test_threads_record_and_read_by_themselves():
    shared = torch.arange(4.0)
    pending = shared * 3  # recorded here, read elsewhere
    barrier, results = threading.Barrier(4), {}

    def work(k):
        barrier.wait()
        w = torch.ones(4, requires_grad=True)
        with torch.set_grad_enabled(k % 2 == 0):
            own = (w * shared * (k + 1)).sum()
        if k % 2 == 0:
            own.backward()
        results[k] = (
            own.item(),
            None if w.grad is None else w.grad.tolist(),
            pending.tolist(),
            torch.is_grad_enabled(),
        )

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k in range(4):
        grad = [i * (k + 1.0) for i in range(4)] if k % 2 == 0 else None
        assert results[k] == (6.0 * (k + 1), grad, [0, 3, 6, 9], True)
    assert pending.sum().item() == 18


def test_what_another_thread_has_used_stays_in_its_place():
    """Small arrays count how often they were passed on; not where a thread still goes by the place of a pending one."""
    a = torch.ones(3) * 2
    b = a * 5
    results = []

    def work():
        for k in range(3):
            results.append((a + k).tolist())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert (a + 10).tolist() == [12, 12, 12] and (b - a).tolist() == [8, 8, 8]
    assert results == [[2, 2, 2], [3, 3, 3], [4, 4, 4]]


@pytest.mark.parametrize("other", [1, 1.5, True, torch.tensor(2), torch.tensor([True])])
def test_booleans_are_not_subtracted(other):
    mask = torch.tensor([True, False])
    for difference in (lambda: mask - other, lambda: other - mask, lambda: torch.rsub(mask, other)):
        with pytest.raises(RuntimeError, match="Subtraction"):
            difference()


def test_methods_are_tensors_own_wherever_they_are_written():
    for name in ("item", "detach", "stride", "to", "_get", "shape", "numpy"):
        found = getattr(torch.Tensor, name)
        found = getattr(found, "fget", found)
        assert (found.__module__, found.__qualname__) == (torch.Tensor.__module__, f"Tensor.{name}")
    assert pickle.loads(pickle.dumps(torch.Tensor.numpy)) is torch.Tensor.numpy
    with pytest.raises(TypeError, match=r"^Tensor\.item\(\) takes"):
        torch.ones(1).item(1)
    assert [c.__module__.split(".")[0] for c in torch.Tensor.__mro__] == ["pytorchlike"] * 6 + ["builtins"]


def test_pickles_of_before_are_read():
    from pytorchlike.tensor import _tensor

    read = _tensor._rebuild(torch.Tensor, np.ones(2, np.float32), "cpu", True, {"note": 1})
    assert read.tolist() == [1, 1] and read.requires_grad and read.note == 1


def test_arrays_beside_tensors():
    """What PyTorch leaves to NumPy: comparing with ``==``, and dividing by a tensor."""
    x, array = torch.tensor([1.0, 2]), np.array([1.0, 3])
    for same in (x == array, array == x, torch.tensor([1, 2]) == np.array([1, 3])):
        assert isinstance(same, torch.Tensor) and same.tolist() == [True, False]
    assert (array / x).tolist() == [1, 1.5] and (array / x).dtype == torch.float64
    assert (x == "a") is False


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float64])
def test_reductions_keep_the_dtype_that_was_asked_for(dtype):
    x = torch.tensor([[1, 2], [3, 1]])
    columns = x.prod(1, keepdim=True, dtype=dtype)
    for found, expected in ((x.sum(dtype=dtype), 7), (x.sum(0, dtype=dtype), [4, 3]), (x.prod(dtype=dtype), 6),
                            (columns, [[2], [3]]), (x.nansum(dtype=dtype), 7)):  # fmt: skip
        assert found.dtype == dtype and found.tolist() == expected


def test_conversions_do_not_call_what_a_subclass_has_in_place_of_to():
    class Drawn(torch.Tensor):
        def to(self, *args, **kwargs):
            made = super().to(*args, **kwargs).as_subclass(Drawn)
            made.kind = self.kind
            return made

    x = torch.ones(2).as_subclass(Drawn)
    y = x * 2  # a result, which has no kind
    assert y.double().dtype == y.type(torch.float64).dtype == y.type_as(torch.ones(1).double()).dtype == torch.float64
    assert type(y.cpu()) is type(y.half()) is Drawn and y.byte().dtype == torch.uint8
    x.kind = "normal"
    assert x.to(torch.float64).kind == "normal"
    names = [getattr(torch.Tensor, n).__name__ for n in ("byte", "char", "float")]
    assert names == ["byte", "char", "float"] and torch.Tensor.to.__name__ == "to"
