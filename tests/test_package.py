"""The package as a whole: importing it, and who imports whom."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pytorchlike as torch

ROOT = Path(torch.__file__).parent
#: From the bottom up; a package may import those below it and itself.
LAYERS = ["engine", "ops", "tensor", "autograd", "sparse", "nested", "nn"]
ABOVE = len(LAYERS)


def _imports(file: Path):
    """(module parts inside the package, line) of every import of our own that runs when the file is imported."""
    package = file.relative_to(ROOT.parent).with_suffix("").parts
    package = package[:-1]

    def walk(nodes):
        for node in nodes:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                continue
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
                continue
            if isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else ()
                whole = (*base, *(node.module.split(".") if node.module else ()))
                if whole[:1] == ("pytorchlike",):
                    if len(whole) == 1:
                        yield from (((a.name,), node.lineno) for a in node.names)
                    else:
                        yield whole[1:], node.lineno
            elif isinstance(node, ast.Import):
                yield from ((tuple(a.name.split(".")[1:]), node.lineno) for a in node.names if
                            a.name.split(".")[0] == "pytorchlike")  # fmt: skip
            yield from walk(ast.iter_child_nodes(node))

    return walk(ast.parse(file.read_text()).body)


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_downwards(layer):
    level = LAYERS.index(layer)
    upwards = []
    for file in sorted((ROOT / layer).rglob("*.py")):
        for target, line in _imports(file):
            if target[0] == "utils" and target[1:2] == ("hooks",):
                continue  # handles of hooks: a leaf module that imports nothing of ours
            if target[0] in LAYERS and LAYERS.index(target[0]) > level or target[0] not in LAYERS:
                upwards.append(f"{file.relative_to(ROOT)}:{line} imports {'.'.join(target)}")
    if layer == "nn":  # may use what stands beside it
        upwards = [u for u in upwards if not u.split()[-1].startswith(("utils", "_"))]
    assert not upwards, "\n".join(upwards)


def test_the_engine_knows_no_pytorch_name():
    for file in (ROOT / "engine").glob("*.py"):
        assert not [t for t, _ in _imports(file) if t[0] != "engine"], file.name


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_program_may_begin_with_any_method():
    _run("import pytorchlike as torch; assert len(torch.tensor([1.0, 2.0]).split(1)) == 2")


def test_importing_is_quiet_and_starts_no_backend():
    code = (
        "import time; import numpy, jax; t = time.perf_counter(); import pytorchlike; t = time.perf_counter() - t\n"
        "from jax._src import xla_bridge\n"
        "assert not xla_bridge._backends, 'a backend was started'\n"
        "assert t < 20, t\n"
        "import sys; assert 'torch' not in sys.modules"
    )
    assert _run(code) == ""


def test_importing_leaves_the_random_numbers_alone():
    code = (
        "import random, numpy as np; random.seed(0); np.random.seed(0)\n"
        "import pytorchlike\n"
        "a = random.random(), np.random.rand()\n"
        "random.seed(0); np.random.seed(0); assert a == (random.random(), np.random.rand())"
    )
    assert _run(code) == ""


def test_each_part_can_be_imported_first():
    parts = [
        ".".join(("pytorchlike", *p.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
        for p in [*ROOT.glob("*/__init__.py"), *ROOT.glob("autograd/*.py"), *ROOT.glob("tensor/*.py")]
    ]
    code = f"import importlib, sys\nfor name in {sorted(set(parts))!r}:\n    importlib.import_module(name)\n"
    assert _run(code) == ""


def test_public_names_resolve():
    import importlib

    for module in ("pytorchlike", "pytorchlike.nn", "pytorchlike.nn.functional", "pytorchlike.autograd",
                   "pytorchlike.optim", "pytorchlike.linalg", "pytorchlike.utils.data"):  # fmt: skip
        loaded = importlib.import_module(module)
        assert [n for n in getattr(loaded, "__all__", ()) if not hasattr(loaded, n)] == []
        listed = dir(loaded)
        assert listed == sorted(listed) and len(listed) == len(set(listed))
    lazily = {*torch._MODULES, *torch._ELSEWHERE}  # of parts that may not be there
    assert [n for n in dir(torch) if n not in lazily and not hasattr(torch, n)] == []
    assert [n for n in dir(torch.Tensor) if not hasattr(torch.Tensor, n)] == []


def test_missing_names():
    with pytest.raises(AttributeError, match=r"no attribute 'no_such_thing'.*lacks it"):
        torch.no_such_thing  # noqa: B018
    with pytest.raises(AttributeError, match="no_such_thing"):
        torch.nn.functional.no_such_thing  # noqa: B018
    with pytest.raises(AttributeError, match="'Tensor' object has no attribute 'no_such_thing'"):
        torch.ones(1).no_such_thing  # noqa: B018
    with pytest.raises(AttributeError, match="no_such_thing"):
        torch.Tensor.no_such_thing  # noqa: B018
    assert not hasattr(torch, "no_such_thing") and getattr(torch.ones(1), "no_such_thing", 5) == 5


def test_version():
    assert torch.version.pytorchlike.count(".") == 2 and torch.__version__.startswith(torch.__torch_version__ + "+")


def test_functions_ask_nobody_until_a_class_wants_to_be_asked():
    """Asking costs half a microsecond per call, which programs without such tensors must not pay."""
    program = (
        "import pytorchlike as torch\n"
        "import pytorchlike.vision, pytorchlike.distributions, pytorchlike.optim\n"
        "net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.MultiheadAttention(2, 1))\n"
        "from pytorchlike.tensor import asking\n"
        "assert not asking.installed\n"
        "torch.nn.attention.bias.CausalBias\n"
        "assert asking.installed\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
