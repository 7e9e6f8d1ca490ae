"""autocast: which dtypes come out, where it acts, how regions nest, what gradients and custom functions see."""

import threading
import warnings

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.engine.meta import meta_of, mode_of
from pytorchlike.engine.op import kernel_for
from pytorchlike.engine.trace import infer
from pytorchlike.ops import TABLE
from pytorchlike.ops._autocast import POLICIES

F = torch.nn.functional
BF16, F16, F32, F64 = torch.bfloat16, torch.float16, torch.float32, torch.float64


@pytest.mark.parametrize("lower", ["bfloat16", "float16"])
def test_dtypes_are_pytorchs(lower, cases, reference):
    """Layer by layer and function by function, on the CPU."""
    want = reference["dtypes"][lower]
    got = cases.table(torch, lower)
    assert {k: got[k] for k in want} == want


@pytest.mark.parametrize("ours, theirs", [("cpu", "CPU"), ("gpu", "CUDA")])
def test_every_operator_that_pytorch_lists_is_listed(ours, theirs, reference):
    """No operator that exists here under PyTorch's name is missing from a list."""
    known = {e.name for e in TABLE.values()} | {f"{s}_{e.name}" for e in TABLE.values() for s in e.namespaces}
    listed = {n for n in reference["lists"][theirs] if n in known}
    assert len(listed) > 60 and listed - set(POLICIES[ours]) == set()


class Gpu:
    """Stands for a GPU: enough to infer what would come out there."""

    platform = "gpu"


def on_gpu(name, *dtypes, lower=F16, space="torch", shape=(3, 3), static=None):
    """Dtype of an operator's result on a GPU under autocast."""
    entry, place = TABLE[space, name], Gpu()
    given = tuple(
        p.default for p in entry.params if p.kind is None or p.kind.__name__ == "Sizes"
    ) if static is None else static  # fmt: skip
    metas = tuple(meta_of(shape, d.numpy, place) for d in dtypes)
    mode = mode_of(autocast=(("gpu", lower.numpy),))
    numbers = [(type(p.default), p.default) for p in entry.params if p.kind and p.kind.__name__ == "Scalar"]
    missing = [None for p in entry.params if p.kind and p.kind.__name__ == "Array"][len(metas) :]
    kernel = kernel_for(entry.op, given, (*range(len(metas)), *missing, *numbers), mode, "gpu")
    return infer(kernel, metas, place, mode)[0].dtype.name


def test_lists_of_the_gpu():
    assert on_gpu("matmul", F32, F32) == "float16"
    assert on_gpu("matmul", F32, F32, lower=BF16) == "bfloat16"
    assert on_gpu("exp", F16) == on_gpu("log", BF16) == on_gpu("softmax", F16, static=(-1, None)) == "float32"
    assert on_gpu("sum", F16, static=(None, False, np.dtype("float16"))) == "float16"  # a dtype was asked for
    assert on_gpu("add", F16, F16) == on_gpu("relu", F16) == "float16"
    assert on_gpu("addcmul", F16, F32, F16) == "float32" and on_gpu("addcmul", F16, F16, F16) == "float16"
    assert on_gpu("atan2", F64, F64) == on_gpu("matmul", F64, F64) == "float64"
    assert on_gpu("mse_loss", F16, F16, space="nn.functional") == "float32"
    with pytest.raises(RuntimeError, match="binary_cross_entropy_with_logits"):
        on_gpu("binary_cross_entropy", F16, F16, space="nn.functional")


def test_only_tensors_of_that_device():
    x = torch.ones(2, 2)
    with torch.autocast("tpu"):
        assert (x @ x).dtype is F32
    with pytest.warns(UserWarning, match="CUDA is not available"):
        region = torch.autocast("cuda")
    with region:
        assert not torch.is_autocast_enabled() and (x @ x).dtype is F32


def test_regions_nest():
    x = torch.ones(2, 2)
    with torch.autocast("cpu"):
        assert (x @ x).dtype is BF16
        with torch.autocast("cpu", enabled=False):
            assert (x @ x).dtype is F32
            with torch.autocast("cpu", dtype=F16):
                assert (x @ x).dtype is F16
            assert (x @ x).dtype is F32
        assert (x @ x).dtype is BF16
    assert (x @ x).dtype is F32
    with pytest.raises(ZeroDivisionError), torch.autocast("cpu"):
        raise ZeroDivisionError
    assert not torch.is_autocast_enabled("cpu")


def test_as_a_decorator_and_again_inside_itself():
    @torch.autocast("cpu")
    def power(x, n):
        """Powers."""
        return x if n == 1 else power(x, n - 1) @ x

    assert power(torch.ones(2, 2), 3).dtype is BF16 and power.__name__ == "power"
    assert not torch.is_autocast_enabled("cpu")
    with pytest.raises(TypeError, match="callable"):
        torch.autocast("cpu")(torch.ones(2))


def test_state_functions():
    assert torch.get_autocast_dtype("cpu") is BF16 and torch.get_autocast_dtype("cuda") is F16
    assert torch.get_autocast_dtype("xla") is torch.get_autocast_dtype("tpu") is BF16
    assert torch.get_autocast_cpu_dtype() is BF16 and torch.get_autocast_gpu_dtype() is F16
    torch.set_autocast_dtype("cpu", F16)
    torch.set_autocast_enabled("cpu", True)
    try:
        x = torch.ones(2, 2)
        assert torch.is_autocast_enabled("cpu") and torch.is_autocast_cpu_enabled() and (x @ x).dtype is F16
        torch.set_autocast_cpu_dtype(BF16)
        assert (x @ x).dtype is BF16
        seen = []
        thread = threading.Thread(target=lambda: seen.append((torch.is_autocast_enabled("cpu"), (x @ x).dtype)))
        thread.start()
        thread.join()
        assert seen == [(False, F32)]
    finally:
        torch.set_autocast_cpu_enabled(False)
    assert torch.is_autocast_cache_enabled()
    with torch.autocast("cpu", cache_enabled=False):
        assert not torch.is_autocast_cache_enabled()
    assert torch.is_autocast_cache_enabled()
    assert torch.autocast_increment_nesting() == 1 and torch.autocast_decrement_nesting() == 0
    torch.clear_autocast_cache()
    assert torch.amp.is_autocast_available("cpu") and not torch.amp.is_autocast_available("meta")


def test_errors():
    with pytest.raises(ValueError, match="type `str`"):
        torch.autocast(torch.device("cpu"))
    with pytest.raises(RuntimeError, match="unsupported autocast device_type 'meta'"):
        torch.autocast("meta", dtype=BF16)
    with pytest.raises(RuntimeError, match="device type"):
        torch.autocast("nonsense")
    with pytest.warns(UserWarning, match="Disabling autocast"), torch.autocast("cpu", dtype=F64):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is F32
    with torch.autocast("cpu"), pytest.raises(RuntimeError, match="float16"):
        torch.cat([torch.ones(2).half(), torch.ones(2).half()])


def test_gradients_come_in_the_parameters_dtype_and_are_right():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.LayerNorm(16), torch.nn.GELU(), torch.nn.Linear(16, 4))
    x, y = torch.randn(6, 8), torch.tensor([0, 1, 2, 3, 0, 1])

    def grads(lower):
        model.zero_grad()
        with torch.autocast("cpu", enabled=lower):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        return [p.grad for p in model.parameters()]

    full, half = grads(False), grads(True)
    for a, b in zip(full, half, strict=True):
        assert b.dtype is F32
        np.testing.assert_allclose(b.numpy(), a.numpy(), atol=2e-2 * float(a.abs().max()) + 1e-3)
    assert any(not np.array_equal(a.numpy(), b.numpy()) for a, b in zip(full, half, strict=True))


@pytest.mark.parametrize("executor", ["fused", "ops"])
def test_both_executors_round_to_the_lower_precision(executor, tier):
    tier(executor)
    x = torch.tensor([[1.0, 1 / 3]])
    with torch.autocast("cpu"):
        assert (x @ x.t()).item() == torch.tensor(1.0 + float(torch.tensor(1 / 3).bfloat16()) ** 2).bfloat16().item()


class Product(torch.autograd.Function):
    """Records under what it ran."""

    seen: list = []

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu")
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        Product.seen.append(torch.is_autocast_enabled("cpu"))
        return a @ b

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        Product.seen.append(torch.is_autocast_enabled("cpu"))
        return g @ b.t(), a.t() @ g


def test_custom_functions_run_backward_as_forward():
    a, b = (torch.ones(2, 2, requires_grad=True) for _ in range(2))
    Product.seen = []
    with torch.autocast("cpu"):
        out = Product.apply(a, b)
    out.sum().backward()
    assert out.dtype is BF16 and a.grad.dtype is F32 and Product.seen == [True, True]
    Product.seen = []
    with torch.autocast("cpu", enabled=False):
        out = Product.apply(a, b)
    with torch.autocast("cpu"):
        out.sum().backward()
    assert out.dtype is F32 and Product.seen == [False, False]


def test_custom_functions_that_cast_their_inputs():
    class Cast(torch.autograd.Function):
        @staticmethod
        @torch.amp.custom_fwd(device_type="cpu", cast_inputs=F16)
        def forward(ctx, x, more, n):
            assert more["y"].dtype is (F16 if expect else F32) and n.dtype is torch.int64
            assert not torch.is_autocast_enabled("cpu")
            return x + more["y"]

        @staticmethod
        @torch.amp.custom_bwd(device_type="cpu")
        def backward(ctx, g):
            return g, None, None

    x = torch.ones(2, requires_grad=True)
    given = {"y": torch.ones(2)}, torch.tensor([1, 2])
    expect = True
    with torch.autocast("cpu"):
        out = Cast.apply(x, *given)
    assert out.dtype is F16
    out.float().sum().backward()
    assert x.grad.dtype is F32
    expect = False
    assert Cast.apply(x, *given).dtype is F32
    with pytest.raises(ValueError, match="type `str`"):
        torch.amp.custom_fwd(device_type=1)


def test_a_training_step_compiles_once():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(5, 4)

    def step():
        opt.zero_grad()
        with torch.autocast("cpu"):
            loss = model(x).float().square().mean()
        loss.backward()
        opt.step()
        return loss

    first = [step().item() for _ in range(3)]
    before = torch.compiler.stats()["compiles"]
    last = [step().item() for _ in range(5)]
    assert torch.compiler.stats()["compiles"] == before and last[-1] < first[0]


def test_autocast_warns_nothing_on_the_way():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with torch.autocast("cpu"):
            torch.ones(2, 2).mm(torch.ones(2, 2)).tolist()


def test_older_names():
    """``torch.cpu.amp`` and ``torch.cuda.amp`` with their parameters, and PyTorch's warning."""
    from pytorchlike.cpu.amp import GradScaler, autocast
    from pytorchlike.cuda.amp import custom_bwd, custom_fwd
    from pytorchlike.cuda.amp.common import amp_definitely_not_available

    with pytest.warns(FutureWarning, match=r"torch.amp.autocast\('cpu', args...\)"):
        region = autocast(True, F16)
    with region:
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is F16
    with pytest.warns(FutureWarning, match="deprecated"):
        scaler = GradScaler(8.0, growth_interval=3)
    assert scaler.scale(torch.ones(())).item() == 8 and isinstance(scaler, torch.amp.GradScaler)
    with pytest.warns(FutureWarning, match="device_type='cuda'"):

        class Twice(torch.autograd.Function):
            forward = staticmethod(custom_fwd(lambda ctx, x: x * 2))
            backward = staticmethod(custom_bwd(lambda ctx, g: g * 2))

    x = torch.ones(2, requires_grad=True)
    Twice.apply(x).sum().backward()
    assert x.grad.tolist() == [2, 2]
    with pytest.warns(FutureWarning), pytest.warns(UserWarning, match="CUDA is not available"):
        assert not torch.cuda.amp.GradScaler().is_enabled()
    assert amp_definitely_not_available() and torch.cuda.amp.autocast is not torch.cpu.amp.autocast
