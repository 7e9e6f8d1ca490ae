"""``python -m pytorchlike``: unmodified programs run as under Python itself, with ``import torch`` meaning this
package.
"""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import pytorchlike

ROOT = Path(pytorchlike.__file__).parent.parent


def start(*args, cwd):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", "pytorchlike", *map(str, args)], cwd=cwd, env=env, text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


def run_all(*commands, cwd):
    """(status, stdout, stderr) of several programs that run at the same time."""
    running = [start(*command, cwd=cwd) for command in commands]
    told = [program.communicate(timeout=300) for program in running]
    return [(program.returncode, *text) for program, text in zip(running, told, strict=True)]


def write(path, text):
    path.write_text(textwrap.dedent(text))
    return path


PROGRAM = """
    import sys
    import importlib.metadata, importlib.util
    import torch, pytorchlike
    import torch.nn.functional as F
    import torch.multiprocessing as mp
    from torch import nn, optim
    from torch.optim.lr_scheduler import StepLR
    from torch.utils.data import DataLoader, Dataset
    import beside

    class Numbers(Dataset):
        def __len__(self):
            return 4
        def __getitem__(self, i):
            return torch.full((3,), float(i)), i % 2

    def child(rank, base):
        assert torch.__name__ == "torch" and torch.version.pytorchlike
        sys.stdout.write(f"child {rank + base}\\n")  # at once, also where output is not buffered

    def failing(rank):
        raise ValueError(f"from process {rank}")

    if __name__ == "__main__":
        assert torch is pytorchlike and sys.modules["torch.nn"] is nn is pytorchlike.nn
        assert F is pytorchlike.nn.functional and nn.__spec__.name == "pytorchlike.nn"
        assert sys.modules["__main__"].__dict__ is globals() and "torch" in beside.__dict__
        assert importlib.metadata.version("torch") == torch.__version__
        for name in ("torchvision", "torchaudio", "torchtext", "torchdata"):
            assert importlib.metadata.version(name) == importlib.import_module(name).__version__
        assert importlib.util.find_spec("torch.no_such_part") is None
        print(sys.argv[1:], sys.path[0] == __file__.rpartition("/")[0])
        model = nn.Linear(3, 2)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        for context in ("fork", "spawn"):
            for x, y in DataLoader(Numbers(), batch_size=4, num_workers=1, multiprocessing_context=context):
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
        StepLR(optimizer, 1).step()
        mp.spawn(child, args=(10,), nprocs=2)
        try:
            mp.spawn(failing, nprocs=1)
        except mp.ProcessRaisedException as error:
            print("from process 0" in str(error) and error.error_index == 0 < error.error_pid)
"""


def test_a_program_with_processes(tmp_path):
    write(tmp_path / "beside.py", "import torch\n")
    script = write(tmp_path / "program.py", PROGRAM)
    ((status, out, err),) = run_all((script, "-x", "1"), cwd=tmp_path.parent)
    assert status == 0, err
    lines = out.splitlines()
    assert lines[0] == "['-x', '1'] True" and sorted(lines[1:3]) == ["child 10", "child 11"] and lines[3] == "True"


def test_how_programs_end_and_begin(tmp_path):
    script = write(tmp_path / "ends.py", """
        import sys, os, signal
        def inner():
            import torch
            torch.ones(2) + torch.ones(3)
        how = sys.argv[1]
        if how == "error": inner()
        if how == "exit": sys.exit(7)
        if how == "missing": import torch.no_such_part
        if how == "interrupt": os.kill(os.getpid(), signal.SIGINT)
    """)  # fmt: skip
    wrong = write(tmp_path / "wrong.py", "x = = 1\n")
    package = tmp_path / "some_package"
    package.mkdir()
    write(package / "__init__.py", "")
    write(
        package / "__main__.py", "import sys, torch\nprint(__name__, __package__, sys.argv[1:], torch.ones(1).item())\n"
    )
    error, ended, missing, interrupted, unread, module, folder = run_all(
        (script, "error"), (script, "exit"), (script, "missing"), (script, "interrupt"), (wrong,),
        ("-m", "some_package", "a"), (package,), cwd=tmp_path,
    )  # fmt: skip
    lines = error[2].splitlines()
    assert error[0] == 1 and lines[0].startswith("Traceback")
    assert f'File "{script}", line 7, in <module>' in lines[1] and any("line 5, in inner" in line for line in lines)
    assert "_run.py" not in error[2] and "must match the size of tensor b (3)" in error[2]
    assert ended == (7, "", "") and interrupted[0] == -signal.SIGINT
    assert "No module named 'torch.no_such_part'" in missing[2] and "docs/differences.md" in missing[2]
    assert unread[0] == 1 and "SyntaxError" in unread[2] and "_run.py" not in unread[2]
    assert module[1].strip() == "__main__ some_package ['a'] 1.0" and folder[1].strip() == "__main__  [] 1.0"


def test_report_and_check(tmp_path, capsys):
    from pytorchlike.__main__ import main

    def told(*args):
        status = main([str(a) for a in args])
        return status, *capsys.readouterr()

    status, out, _ = told()
    assert status == 0 and all(word in out for word in ("pytorchlike  ", "devices", "cache", "safetensors"))
    assert told("no_such.py")[0] == 2 and told("--nonsense")[0] == 2 and "SCRIPT" in told("--help")[1]
    script = write(tmp_path / "uses.py", """\
        import torch, torch.nn as nn
        import torch.nn.functional as F
        from torch.utils.data import DataLoader, NoSuchLoader
        raise SystemExit("must not run")
        x = torch.no_such(1); nn.Linear(2, 2); F.relu(x); F.no_such_either(x)
        torch.jit.script(nn.Linear)
        x.to_mkldnn()
    """)  # fmt: skip
    status, out, _ = told("check", script)
    found = [line.removeprefix(f"{script}:").split(": ")[:2] for line in out.splitlines()]
    assert status == 1 and found == [
        ["3", "torch.utils.data.NoSuchLoader is missing"], ["5", "torch.nn.functional.no_such_either is missing"],
        ["5", "torch.no_such is missing"], ["6", "torch.jit.script differs"], ["7", "Tensor.to_mkldnn differs"],
    ]  # fmt: skip
    status, out, _ = told("check", write(tmp_path / "fine.py", "import torch\ntorch.nn.Linear(1, 1)\n"))
    assert status == 0 and "every name" in out


def test_installing_and_uninstalling():
    code = """
        import sys, importlib.util, importlib.metadata, multiprocessing.spawn
        before = multiprocessing.spawn.get_preparation_data
        import pytorchlike
        pytorchlike.install_as_torch(); pytorchlike.install_as_torch()
        import torch.nn, torch.utils.data as data
        assert torch is pytorchlike and data is pytorchlike.utils.data
        # libraries find the functions for an array by the package that its class names; pickles do not rest on that
        kinds = torch.Tensor, torch.nn.Parameter
        assert [k.__module__ for k in kinds] == ["torch", "torch.nn.parameter"]
        import pickle
        packed = pickle.dumps([torch.ones(1), torch.nn.Parameter(torch.ones(1))])
        for name in ("torchvision", "torchaudio"):
            ours = importlib.util.find_spec("pytorchlike." + name[5:])
            assert (importlib.util.find_spec(name) is None) == (ours is None)
        pytorchlike.uninstall_as_torch()
        assert not [n for n in sys.modules if n.partition(".")[0] in ("torch", "torchvision")]
        assert multiprocessing.spawn.get_preparation_data is before
        assert [k.__module__ for k in kinds] == ["pytorchlike.tensor._tensor", "pytorchlike.nn.parameter"]
        assert [type(x) for x in pickle.loads(packed)] == [*kinds]
        import types
        sys.modules["torch"] = types.ModuleType("torch")
        try:
            pytorchlike.install_as_torch()
        except RuntimeError as error:
            assert "imported already" in str(error)
        else:
            raise AssertionError("a foreign torch was replaced")
    """
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, env=env,
                          timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_missing_names_say_so():
    for module, name in ((pytorchlike, "no_such"), (pytorchlike.cuda, "no_such"), (pytorchlike.utils, "no_such"),
                         (pytorchlike.multiprocessing, "no_such")):  # fmt: skip
        with pytest.raises(AttributeError, match="no_such.*differences.md"):
            getattr(module, name)


def test_modules_are_known_under_their_names_in_torch(tmp_path):
    """Libraries look into ``sys.modules``, for example for ``torch.nn.init``, to replace functions there."""
    program = write(tmp_path / "program.py", """
        import sys
        import torch
        torch.nn
        assert sys.modules["torch.nn.init"] is torch.nn.init
        assert sys.modules["torch.nn.modules.activation"] is torch.nn.modules.activation
        plain = torch.nn.init.xavier_uniform_
        sys.modules["torch.nn.init"].xavier_uniform_ = lambda tensor, *args: tensor.fill_(3)
        with torch.no_grad():
            assert torch.nn.MultiheadAttention(2, 1).in_proj_weight.eq(3).all()
        print("done")
    """)
    (result,) = run_all([program], cwd=tmp_path)
    assert result[:2] == (0, "done\n"), result[2]


def test_code_on_the_command_line_is_a_program_too(tmp_path):
    told = "import sys, torch; print(sys.argv, repr(sys.path[0]), torch.version.pytorchlike is not None)"
    (status, shown, errors), (failed, _, trace), (missing, _, why) = run_all(
        ["-c", told, "a"], ["-c", "import torch; torch.ones(2) + torch.ones(3)"], ["-c"], cwd=tmp_path
    )
    assert (status, shown.strip(), errors) == (0, "['-c', 'a'] '' True", "")
    assert failed == 1 and 'File "<string>", line 1, in <module>' in trace and "_run.py" not in trace
    assert missing == 2 and "the code is missing" in why
