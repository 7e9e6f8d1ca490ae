"""torch.package: sources and models in one archive."""

import io
import sys

import pytest

import pytorchlike as torch
from pytorchlike.package import (
    EmptyMatchError,
    GlobGroup,
    ObjMismatchError,
    PackageExporter,
    PackageImporter,
    PackagingError,
    analyze,
    is_from_package,
    sys_importer,
)
from pytorchlike.package.find_file_dependencies import find_files_source_depends_on

SOURCES = {
    "packed_model/__init__.py": "from .layers import Block\n",
    "packed_model/layers.py": (
        "import math\nfrom pytorchlike import nn\nfrom . import util\nimport not_needed\n"
        "class Block(nn.Module):\n    class Inner: pass\n"
        "    def __init__(self, n):\n        super().__init__()\n"
        "        self.l, self.i = nn.Linear(n, n), Block.Inner()\n"
        "    def forward(self, x): return self.l(x) * util.K\n"
    ),
    "packed_model/util.py": "K = 3\n",
    "not_needed.py": "def f(): return 1\n",
}


@pytest.fixture
def model(tmp_path, monkeypatch):
    for name, text in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    import packed_model

    yield packed_model.Block(3)
    for name in [n for n in sys.modules if n.partition(".")[0] in ("packed_model", "not_needed")]:
        del sys.modules[name]


def _packed(model, importer=sys_importer, file=None):
    file = io.BytesIO() if file is None else file
    with PackageExporter(file, importer) as e:
        e.intern("packed_model.**")
        e.mock("not_needed")
        e.save_pickle("model", "model.pkl", model)
        e.save_text("model", "readme.txt", "hello")
        e.save_source_string("extra.more", "from packed_model.util import K\nimport packed_model.layers as m\n")
    return e, file


def test_a_model_and_its_sources_come_back_apart_from_those_of_the_process(model):
    e, file = _packed(model)
    assert e.interned_modules() == ["extra.more", "packed_model", "packed_model.layers", "packed_model.util"]
    assert e.mocked_modules() == ["not_needed"] and {"math", "builtins"} <= set(e.externed_modules())
    assert e.get_rdeps("not_needed") == ["packed_model.layers"] and '"packed_model"' in e.dependency_graph_string()
    assert '"packed_model.layers" -> "not_needed"' in e.all_paths("packed_model", "not_needed")
    x = torch.ones(2, 3)
    found = []
    for _ in range(2):
        file.seek(0)
        i = PackageImporter(file)
        again = i.load_pickle("model", "model.pkl")
        assert torch.equal(again(x), model(x)) and type(again) is not type(model)
        assert type(again).__module__.startswith("<torch_package_") and type(again.i).__qualname__ == "Block.Inner"
        found.append(type(again))
    assert found[0] is not found[1] and is_from_package(again) and not is_from_package(model)
    assert i.load_text("model", "readme.txt") == "hello" and i.import_module("extra.more").K == 3
    assert i.import_module("extra.more").m.Block is type(again) and "class Block" in i.get_source("packed_model.layers")
    tree = i.file_structure(include="packed_model/*")
    assert tree.has_file("packed_model/util.py") and not tree.has_file("extra") and "util.py" in str(tree)
    with pytest.raises(NotImplementedError, match="'not_needed.f' was mocked out"):
        i.import_module("not_needed").f()
    with pytest.raises(ModuleNotFoundError, match="self-contained archive"):
        i.import_module("nowhere")
    file.seek(0)
    with pytest.raises(ImportError, match="disallowed"):
        PackageImporter(file, module_allowed=lambda name: name != "math")


def test_what_came_out_of_a_package_can_be_packed_again(model, tmp_path):
    _, file = _packed(model)
    file.seek(0)
    first = PackageImporter(file)
    taken = first.load_pickle("model", "model.pkl")
    path = tmp_path / "again.pt"
    _packed(taken, (first, sys_importer), path)
    x = torch.ones(1, 3)
    assert torch.equal(PackageImporter(path).load_pickle("model", "model.pkl")(x), model(x))
    with pytest.raises(ObjMismatchError, match="importer that the object came from"):
        _packed(taken)


def test_modules_without_a_place(model):
    with pytest.raises(PackagingError, match="not_needed: it matches no pattern") as error, PackageExporter(
        io.BytesIO()
    ) as e:
        e.intern("packed_model.**")
        e.save_pickle("model", "model.pkl", model)
    ways = analyze.find_first_use_of_broken_modules(error.value)
    assert ways["not_needed"][-2:] == ["packed_model.layers", "not_needed"]
    with pytest.raises(PackagingError, match="denied"), PackageExporter(io.BytesIO()) as e:
        e.deny("packed_model.util")
        e.intern("packed_model.**")
        e.mock("**")
        e.save_module("packed_model")
    assert e.denied_modules() == ["packed_model.util"]
    with pytest.raises(EmptyMatchError), PackageExporter(io.BytesIO()) as e:
        e.intern("nothing.*", allow_empty=False)
    seen = []
    with PackageExporter(io.BytesIO()) as e:
        e.intern("packed_model.*")
        handle = e.register_intern_hook(lambda exporter, name: seen.append(name))
        e.register_mock_hook(lambda exporter, name: seen.append(f"mock {name}"))
        e.mock("**")
        e.save_module("packed_model.util")
    handle.remove()
    assert "packed_model.util" in seen and "mock packed_model" in seen


def test_patterns_and_imports_of_a_source():
    assert GlobGroup("torch.**").matches("torch") and GlobGroup("torch.**").matches("torch.nn.init")
    assert GlobGroup("torch.*").matches("torch.nn") and not GlobGroup("torch.*").matches("torch.nn.init")
    assert not GlobGroup(["a.**", "b"], exclude="a.x").matches("a.x") and GlobGroup(["a.**", "b"]).matches("b")
    with pytest.raises(ValueError, match="entire path segment"):
        GlobGroup("a.**b")
    found = find_files_source_depends_on("import a.b\nfrom . import c\nfrom ..d import e\n__import__('f')\n", "p.q")
    assert found == [("a.b", None), ("p.q", "c"), ("p.d", "e"), ("f", None)]
    ran = analyze.trace_dependencies(find_files_source_depends_on, [("import a", "p")])
    assert "pytorchlike.package.find_file_dependencies" in ran
