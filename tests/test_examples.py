"""The example programs run as they are, with ``import torch`` meaning pytorchlike, and learn something sensible."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from pathlib import Path

import pytest

from pytorchlike import _hook

EXAMPLES = Path(__file__).parent.parent / "examples"

#: Program, its arguments, and bounds of the first number of its last line of output (the runs are short, the
#: numbers seldom good).
RUNS = [
    ("char_rnn_classification", "--quick", 0, 100),
    ("char_rnn_generation", "--quick", 2.5, 4.1),
    ("data_loading", "--quick", 1, 12),
    ("dcgan", "--quick", 0.01, 10),
    ("ddpm", "--quick", 0, 1e4),
    ("dqn", "--quick", 8, 60),
    ("gcn", "--quick", 10, 100),
    pytest.param("gpt", "--quick", 3, 4.6, marks=pytest.mark.slow),
    ("keyword_spotting", "--quick", 10, 100),
    ("keyword_spotting", "--quick --model spectrogram", 10, 100),
    ("maml", "--quick", 0, 10),
    ("mnist", "--quick", 30, 100),
    ("pinn", "--quick", 1, 150),
    ("policy_gradient", "--quick", 9, 12),
    ("policy_gradient", "--quick --method actor-critic", 9, 12),
    ("resnet", "--quick", 10, 100),
    ("seq2seq_attention", "--quick", 0, 100),
    ("siamese", "--quick", 30, 100),
    ("simclr", "--quick", 5, 100),
    ("style_transfer", "--quick", 0, 50),
    ("super_resolution", "--quick", 5, 30),
    ("time_sequence", "--quick", 0, 2),
    pytest.param("transformer_translation", "--quick", 0, 100, marks=pytest.mark.slow),
    ("tree_lstm", "--quick", 0, 100),
    ("unet", "--quick", 0, 1),
    ("vae", "--quick", 20, 46),
    ("word2vec", "--quick", 2, 8),
    ("word2vec", "--quick --model skipgram", 1, 4.2),
    ("word_language_model", "--quick", 20, 400),
    ("word_language_model", "--quick --model Transformer", 20, 400),
]


@pytest.fixture
def as_torch(monkeypatch):
    """``import torch`` gives pytorchlike, and the examples find each other, for the time of a test."""
    before = set(sys.modules)
    was = _hook.is_installed()
    monkeypatch.syspath_prepend(str(EXAMPLES))
    _hook.install_as_torch()
    yield
    if not was:
        _hook.uninstall_as_torch()
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and Path(sys.modules[name].__file__).parent == EXAMPLES:
            del sys.modules[name]


def run(name: str, args: str, monkeypatch, capsys) -> str:
    """What an example prints."""
    path = str(EXAMPLES / f"{name}.py")
    monkeypatch.setattr(sys, "argv", [path, *args.split()])
    runpy.run_path(path, run_name="__main__")
    return capsys.readouterr().out


@pytest.mark.parametrize(("name", "args", "low", "high"), RUNS, ids=lambda v: str(v).replace(" ", ""))
@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")  # PyTorch's own programs get it, too
def test_example(name, args, low, high, as_torch, monkeypatch, capsys):
    out = run(name, args, monkeypatch, capsys)
    last = out.strip().splitlines()[-1]
    assert "nan" not in out
    number = re.search(r"-?\d+\.?\d*(e-?\d+)?", last)
    assert number, last
    assert low <= float(number.group()) <= high, last


def test_weights_that_an_example_saves_load_again(as_torch, monkeypatch, capsys, tmp_path):
    out = run("mnist", f"--quick --save-model {tmp_path / 'mnist.pt'}", monkeypatch, capsys)
    assert out.count("Test set: average loss") == 2
    assert (tmp_path / "mnist.pt").stat().st_size > 50_000


def programs() -> list[Path]:
    return sorted(p for p in EXAMPLES.glob("*.py") if p.name != "digits.py")


def test_every_example_is_run_and_listed():
    names = {p.stem for p in programs() if not p.name.startswith("_")}
    assert names == {getattr(run, "values", run)[0] for run in RUNS}
    table = (EXAMPLES / "README.md").read_text()
    assert not [name for name in [*names, "digits"] if f"{name}.py" not in table]


@pytest.mark.parametrize("path", programs(), ids=lambda p: p.stem)
def test_examples_are_plain_pytorch_programs(path):
    """Nothing but the standard library, numpy, torch and each other is imported."""
    allowed = {"numpy", "torch", *sys.stdlib_module_names, *(p.stem for p in programs())}
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        assert not {n.partition(".")[0] for n in names} - allowed
