"""Parts of the torch namespace that describe the machine, and small protocols: versions, devices, storages,
settings.
"""

import pickle
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import pytorchlike as torch


def test_version():
    v = torch.__version__
    assert isinstance(v, str) and v.startswith("2.13.0+") and v.split("+")[0] == torch.__torch_version__
    assert v >= (2, 1) and v > "2.9" and v >= "2.13.0" and v < "2.13.1" and v < (3,) and not v < "2.13.0.dev1"
    assert v != "2.12" and v == str(v) and hash(v) == hash(str(v)) and sorted([v, "2.2"])[0] == "2.2"
    project = (Path(torch.__file__).parent.parent / "pyproject.toml").read_text()
    assert re.search(r'^version = "(.+)"$', project, re.M)[1] == torch.version.pytorchlike


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_typed_storage():
    x = torch.arange(6.0)
    part = x.view(2, 3)[1]
    s = part.storage()
    assert len(s) == 6 and s.dtype is torch.float32 and s.tolist() == [0, 1, 2, 3, 4, 5]
    assert isinstance(s, torch.FloatStorage) and not isinstance(s, torch.LongStorage) and torch.is_storage(s)
    s[3] = 30
    s[:2] = 7
    assert x.tolist() == [7, 7, 2, 30, 4, 5] and part[0] == 30
    with pytest.raises(RuntimeError, match="slices"):
        s[1:2]
    with pytest.raises(IndexError):
        s[6]
    made = torch.LongStorage([1, 2, 3])
    assert made.double().tolist() == [1.0, 2.0, 3.0] and made.type() == "torch.LongStorage" and made.nbytes() == 24
    y = torch.empty(0).set_(s, 2, (2, 2), (2, 1))
    y[0, 0] = -1
    assert x[2] == -1 and y.shape == (2, 2)
    again = pickle.loads(pickle.dumps(made))
    assert again.tolist() == [1, 2, 3] and again.dtype is torch.int64
    assert torch.FloatStorage.from_buffer(np.arange(2, dtype=">f4").tobytes(), "big").tolist() == [0.0, 1.0]


def test_untyped_storage_is_written_through():
    x = torch.tensor([1, 2], dtype=torch.int16)
    u = x.untyped_storage()
    u[1] = 1
    assert x.tolist() == [257, 2] and u.nbytes() == 4
    u.fill_(0)
    assert x.tolist() == [0, 0] and torch.UntypedStorage(3).tolist() == [0, 0, 0]
    with pytest.raises(RuntimeError, match="not resizable"):
        u.resize_(8)


def test_machines_without_gpus():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert (
        torch.cuda.device_count() == 0 and torch.cuda.memory_allocated() == 0 and torch.cuda.get_rng_state_all() == []
    )
    assert not torch.xpu.is_available() and not torch.mps.is_available() and torch.cpu.is_available()
    torch.cuda.manual_seed_all(1)
    torch.cuda.empty_cache()
    for ask in (torch.cuda.current_device, torch.cuda.synchronize, torch.cuda.get_device_name, torch.cuda.Stream):
        with pytest.raises(RuntimeError, match="No CUDA GPUs|not available"):
            ask()
    with torch.cuda.device(None), torch.cuda.stream(None), torch.cuda.nvtx.range("a {}", 1):
        pass
    assert torch.get_device_module("cpu") is torch.cpu and torch.get_device_module("cuda") is torch.cuda


def test_events_measure_time():
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    x = torch.ones(50, 50) @ torch.ones(50, 50)
    end.record()
    assert begin.elapsed_time(end) > 0 and x[0, 0] == 50
    with pytest.raises(ValueError, match="enable_timing"):
        torch.Event().elapsed_time(end)


def test_settings():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    assert not cudnn.benchmark
    cudnn.benchmark = True
    with cudnn.flags(enabled=True, deterministic=True):
        assert cudnn.deterministic and not cudnn.benchmark
    assert cudnn.benchmark and not cudnn.deterministic
    cudnn.benchmark = False
    with pytest.raises(RuntimeError, match="bool"):
        cudnn.benchmark = 1
    try:
        matmul.allow_tf32 = True
        assert torch.get_float32_matmul_precision() == "high" and torch.backends.fp32_precision == "tf32"
        assert cudnn.allow_tf32
        cudnn.allow_tf32 = False
        assert not cudnn.allow_tf32 and matmul.allow_tf32
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = False, True
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.backends.mkl.is_available() and not torch.backends.openmp.is_available()


def test_hub(tmp_path, monkeypatch):
    import hashlib

    from pytorchlike import _hook

    torch.hub.set_dir(tmp_path / "hub")
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "hubconf.py").write_text(
        'dependencies = ["torch"]\nimport torch\n\n\ndef net(n=2):\n    "A net."\n    '
        'return '

                                     "torch.nn.Linear(n, 1)\n")  # fmt: skip
    installed = _hook.is_installed()
    try:
        assert torch.hub.list(str(repo), source="local") == ["net"]
        assert torch.hub.help(str(repo), "net", source="local") == "A net."
        assert torch.hub.load(str(repo), "net", 5, source="local").in_features == 5
        with pytest.raises(RuntimeError, match="Cannot find callable nothing"):
            torch.hub.load(str(repo), "nothing", source="local")
    finally:
        if not installed:
            _hook.uninstall_as_torch()
    torch.save({"a": torch.ones(2)}, tmp_path / "w.pt")
    data = (tmp_path / "w.pt").read_bytes()
    for name in (f"w-{hashlib.sha256(data).hexdigest()[:8]}.pt", "w-00000000.pt"):
        (tmp_path / name).write_bytes(data)
    assert name == "w-00000000.pt"
    good = next(p for p in tmp_path.glob("w-*.pt") if "0000" not in p.name)
    assert torch.hub.load_state_dict_from_url(good.as_uri(), check_hash=True, weights_only=True)["a"].tolist() == [1, 1]
    good.unlink()  # it is kept
    assert torch.hub.load_state_dict_from_url(good.as_uri(), check_hash=True, weights_only=True)["a"].shape == (2,)
    with pytest.raises(RuntimeError, match="invalid hash value"):
        torch.hub.load_state_dict_from_url((tmp_path / name).as_uri(), check_hash=True)
    assert [p.name for p in (tmp_path / "hub/checkpoints").iterdir()] == [good.name]
    monkeypatch.setitem(torch.hub._state, "dir", None)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_script_is_the_thing_itself():
    net = torch.nn.Linear(2, 2)
    assert torch.jit.script(net) is net and torch.jit.trace(net, torch.ones(1, 2)) is net
    assert torch.jit.isinstance([1, 2], list[int]) and not torch.jit.isinstance(["a"], list[int])
    assert (
        torch.jit.fork(lambda x: x + 1, 1).wait() == 2 and torch.jit.ignore(net) is net and not torch.jit.is_scripting()
    )
    with pytest.raises(NotImplementedError, match="TorchScript"):
        torch.jit.script(torch.nn.Linear(2, 2)).save("x")


def test_futures():
    future = torch.futures.Future()
    later = future.then(lambda f: f.wait() + 1)
    both = torch.futures.collect_all([future, later])
    assert not both.done()
    future.set_result(1)
    assert later.wait() == 2 and [f.value() for f in both.wait()] == [1, 2]
    with pytest.raises(RuntimeError, match="complete again"):
        future.set_result(2)
    broken = torch.futures.Future().then(lambda f: f)
    broken.set_exception(KeyError("x"))
    with pytest.raises(KeyError):
        torch.futures.wait_all([broken])


def test_custom_operators():
    @torch.library.custom_op("tests::scaled_square", mutates_args=())
    def scaled_square(x: torch.Tensor, k: float = 2.0) -> torch.Tensor:
        return x * x * k

    def keep(ctx, inputs, output):
        ctx.save_for_backward(inputs[0])
        ctx.k = inputs[1]

    x = torch.tensor([1.0, 3.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="no autograd formula"):
        scaled_square(x).sum().backward()
    scaled_square.register_autograd(lambda ctx, g: (g * 2 * ctx.k * ctx.saved_tensors[0], None), setup_context=keep)
    torch.ops.tests.scaled_square(x, k=3.0).sum().backward()
    assert x.grad.tolist() == [6.0, 18.0]
    with pytest.raises(AttributeError, match="namespace"):
        torch.ops.no_such_namespace.f  # noqa: B018
    with pytest.raises(ValueError, match="namespace::name"):
        torch.library.custom_op("bare", lambda x: x)


def test_operators_of_lists_and_words():
    """Lists of tensors have lists of gradients; words are told by ``keyword_only_inputs``."""

    @torch.library.custom_op("tests::joined", mutates_args=())
    def joined(xs: list[torch.Tensor], dim: int = 0) -> torch.Tensor:
        return torch.cat(xs, dim)

    @torch.library.custom_op("tests::both", mutates_args=())
    def both(x: torch.Tensor, *, by: float = 2.0) -> list[torch.Tensor]:
        return [x * by, x + by]

    needs = []

    def split(ctx, g):
        needs.append(ctx.needs_input_grad)
        return [g[:2], g[2:]], None

    joined.register_autograd(split)
    both.register_autograd(
        lambda ctx, gs: gs[0] * ctx.by + gs[1],
        setup_context=lambda ctx, inputs, keyword_only_inputs, output: setattr(ctx, "by", keyword_only_inputs["by"]),
    )
    x, y = torch.ones(2, requires_grad=True), torch.ones(2)
    (joined([x, y]) * torch.arange(4.0)).sum().backward()
    assert x.grad.tolist() == [0, 1] and needs == [([True, False], False)]
    x.grad = None
    a, b = both(x, by=3.0)
    (a + b).sum().backward()
    assert x.grad.tolist() == [4, 4]
    joined.register_autograd(lambda ctx, g: ([g],))
    with pytest.raises(RuntimeError, match="same structure"):
        joined([x, x]).sum().backward()


def test_operators_are_packets_with_schemas():
    @torch.library.custom_op("tests::told", mutates_args={"out"})
    def told(
        x: torch.Tensor, out: torch.Tensor, n: int = 3, name: str = "a", kind: torch.dtype = torch.float64
    ) -> None:
        out.copy_(x * n)

    op = torch.ops.tests.told
    assert str(op) == "tests.told" and op.overloads() == ["default"] and op.default.overloadpacket is op
    assert str(op.default._schema) == (
        'tests::told(Tensor x, Tensor(a1!) out, SymInt n=3, str name="a", ScalarType kind=float64) -> ()'
    )
    assert op.default._schema.is_mutable and torch.library.infer_schema(lambda_typed, mutates_args=()) == (
        "(Tensor? x, Scalar[] ks, Device at) -> (Tensor, SymInt)"
    )
    out = torch.zeros(2)
    op(torch.ones(2), out)
    assert out.tolist() == [3, 3]
    for call, text in (
        (lambda: op(torch.ones(2)), "missing value for argument 'out'"),
        (lambda: op(torch.ones(2), out, times=2), "Unknown keyword argument 'times'"),
        (lambda: op(3, out), "Expected a value of type 'Tensor' for argument 'x'"),
        (lambda: told.register_autograd(lambda ctx, g: g), "non-functional operator"),
    ):
        with pytest.raises(RuntimeError, match=text):
            call()
    with pytest.raises(ValueError, match="must have a type annotation"):
        torch.library.custom_op("tests::bare", lambda x: x, mutates_args=())
    with pytest.raises(ValueError, match="mutates_args were not found"):
        torch.library.infer_schema(lambda_typed, mutates_args={"y"})


def lambda_typed(
    x: torch.Tensor | None, ks: list[int | float | bool], at: torch.device
) -> tuple[torch.Tensor, int]: ...


def test_operators_give_tensors_of_their_own():
    @torch.library.custom_op("tests::first", mutates_args=())
    def first(x: torch.Tensor, own: bool) -> torch.Tensor:
        return x[:1].clone() if own else x[:1]

    assert first(torch.ones(2), True).tolist() == [1]
    with pytest.raises(RuntimeError, match="may not alias any inputs"):
        first(torch.ones(2), False)
    x = torch.ones(2, requires_grad=True)
    assert first(x, True).requires_grad
    with pytest.raises(RuntimeError, match="no autograd formula was registered"):
        first(x, True).sum().backward()


def test_autocast_of_operators():
    @torch.library.custom_op("tests::copied", mutates_args=())
    def copied(x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    torch.library.register_autocast("tests::copied", "cpu", torch.bfloat16)
    assert copied(torch.ones(1)).dtype is torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert copied(torch.ones(1)).dtype is torch.bfloat16


def test_libraries_for_a_while():
    with torch.library._scoped_library("tests_scoped", "FRAGMENT") as lib:
        lib.define("twice(Tensor x) -> Tensor")
        lib.impl("twice", lambda x: x * 2, "CompositeExplicitAutograd")
        assert torch.ops.tests_scoped.twice(torch.ones(1)).item() == 2
        with pytest.raises(RuntimeError, match="unknown type specifier"):
            lib.define("wrong(thing x) -> Tensor")
    assert not hasattr(torch.ops.tests_scoped, "twice")
    with pytest.raises(ValueError, match="expected schema to look like"):
        torch.library.define("tests_scoped::f", "f(Tensor x) -> Tensor")
    with pytest.raises(RuntimeError, match="Expected one of cpu, cuda"):
        torch.library.impl("tests::scaled_square", "nowhere", print)


def test_operators_by_schema_and_their_checks():
    library = torch.library.Library("tests_schema", "DEF")
    library.define("scaled(Tensor x, float k=2.0, *, int[] shift=[1, 2]) -> Tensor")
    with pytest.raises(NotImplementedError, match="no function is registered"):
        torch.ops.tests_schema.scaled(torch.ones(1))
    library.impl("scaled", lambda x, k, shift: x * k + shift[1], "CPU")
    assert torch.ops.tests_schema.scaled(torch.ones(1)).item() == 4
    assert torch.ops.tests_schema.scaled(torch.ones(1), 3.0, shift=[0, 0]).item() == 3
    torch.library.define("tests_schema::square", "(Tensor x) -> Tensor")
    torch.library.impl("tests_schema::square", "CompositeImplicitAutograd", lambda x: x * x)
    x = torch.tensor([3.0], requires_grad=True)
    torch.ops.tests_schema.square(x).backward()
    assert x.grad.item() == 6
    with pytest.raises(RuntimeError, match="already"):
        torch.library.define("tests_schema::square", "(Tensor x) -> Tensor")
    with pytest.raises(NotImplementedError, match="cannot be"):
        torch.library.Library("aten", "IMPL", "CPU")

    @torch.library.custom_op("tests_schema::halved", mutates_args=())
    def halved(x: torch.Tensor) -> torch.Tensor:
        return x[::2].clone()

    halved.register_fake(lambda x: torch.empty_like(x))
    found = torch.library.opcheck(halved, (torch.ones(4),), raise_exception=False)
    assert found["test_schema"] == "SUCCESS" and "(2,)" in found["test_faketensor"]


def test_torch_function_protocol():
    class Asked:
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return cls, func, types

    class Silent(Asked):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return NotImplemented

    o = torch.overrides
    assert o.has_torch_function((torch.ones(1), Asked())) and not o.has_torch_function((torch.ones(1), 2))
    with o.DisableTorchFunctionSubclass():
        assert not o.has_torch_function_unary(Asked())
    assert o.handle_torch_function(torch.add, (Asked(), Silent())) == (Asked, torch.add, (Silent, Asked))
    with pytest.raises(TypeError, match="all __torch_function__ handlers returned NotImplemented"):
        o.handle_torch_function(torch.add, (Silent(),))
    assert o.resolve_name(torch.add) == "torch.add" and o.is_tensor_like(Asked()) and not o.is_tensor_like(1)
    offered = o.get_overridable_functions()[torch.Tensor]
    assert torch.Tensor.__radd__ in offered and torch.Tensor.__setattr__ not in offered
    assert o.resolve_name(torch.Tensor.__getitem__) == "torch.Tensor.__getitem__"
    assert torch.Tensor.__iadd__ in o.get_testing_overrides()


def test_utilities():
    a, b = torch.ones(2, requires_grad=True), torch.zeros(3)
    torch.utils.swap_tensors(a, b)
    assert a.shape == (3,) and not a.requires_grad and b.requires_grad and b.tolist() == [1, 1]
    (b * 2).sum().backward()
    assert b.grad.tolist() == [2, 2]
    timer = torch.utils.benchmark.Timer("x + 1", globals={"x": torch.ones(3)}, label="a", description="b")
    found = timer.timeit(3)
    assert found.median > 0 and found.number_per_run == 3
    assert "b" in str(torch.utils.benchmark.Compare([found]))
    with pytest.raises(NotImplementedError, match="binary interface"):
        torch.utils.cpp_extension.load("x", [])
    seen = []
    net = torch.nn.Sequential(torch.nn.Identity())
    with torch.utils.module_tracker.ModuleTracker() as tracker:
        net[0].register_forward_pre_hook(lambda *a: seen.append(set(tracker.parents)))
        net(torch.ones(1))
    assert seen == [{"Global", "Sequential", "Sequential.0"}]


def test_fake_quantisation():
    x = torch.tensor([-2.0, -0.26, 0.0, 0.14, 2.0], requires_grad=True)
    y = torch.fake_quantize_per_tensor_affine(x, 0.1, 3, -8, 7)
    torch.testing.assert_close(y, torch.tensor([-1.1, -0.3, 0.0, 0.1, 0.4]))
    y.sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0]
    rows = torch.tensor([[0.26, 9.0], [0.26, 9.0]])
    y = torch.fake_quantize_per_channel_affine(
        rows, torch.tensor([0.1, 1.0]), torch.zeros(2, dtype=torch.int32), 0, 0, 9
    )
    torch.testing.assert_close(y, torch.tensor([[0.3, 0.9], [0.0, 9.0]]))
    with pytest.raises(RuntimeError, match="quant_min"):
        torch.fake_quantize_per_tensor_affine(x, 0.1, 0, 5, 1)


def test_modules_with_a_padding_row_are_made_on_meta():
    with torch.device("meta"):
        table = torch.nn.Embedding(5, 3, padding_idx=1)
    assert table.weight.is_meta and table(torch.zeros(2, dtype=torch.int64, device="meta")).shape == (2, 3)


def test_what_programs_import_without_using():
    from pytorchlike._utils import _accumulate, _flatten_dense_tensors, _unflatten_dense_tensors

    assert not torch.onnx.is_in_onnx_export()
    assert list(_accumulate([1, 2, 3])) == [1, 3, 6]
    parts = [torch.ones(2, 2), torch.zeros(3)]
    flat = _flatten_dense_tensors(parts)
    assert flat.tolist() == [1, 1, 1, 1, 0, 0, 0]
    assert [p.shape for p in _unflatten_dense_tensors(flat, parts)] == [(2, 2), (3,)]


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_modules_derived_from_script_modules_are_modules():
    class Cell(torch.jit.ScriptModule):
        __constants__ = ["size"]

        def __init__(self, size):
            super().__init__()
            self.size = size
            self.weight = torch.nn.Parameter(torch.ones(size, size))

        @torch.jit.script_method
        def forward(self, x):
            return x @ self.weight

    cell = Cell(2)
    cell(torch.ones(1, 2)).sum().backward()
    assert cell.weight.grad.tolist() == [[1, 1]] * 2 and list(cell.state_dict()) == ["weight"]
    assert not isinstance(torch.jit.script(torch.nn.Linear(1, 1)), torch.jit.ScriptModule)
    with pytest.raises(NotImplementedError, match="CompilationUnit"):
        torch.jit.CompilationUnit("def f(): pass")


def test_hub_offers_the_progress_bar_that_programs_take_from_it(monkeypatch):
    bar = object()
    monkeypatch.setitem(sys.modules, "tqdm", SimpleNamespace(tqdm=bar))
    from pytorchlike.hub import tqdm

    assert tqdm is bar


def test_a_tensor_lists_its_methods_before_they_are_used():
    x = torch.nn.Parameter(torch.ones(2))
    x.mark = 1
    assert {"logcumsumexp", "T", "split", "add_", "shape", "mark"} <= set(dir(x))
