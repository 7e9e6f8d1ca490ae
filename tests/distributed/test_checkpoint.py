"""Checkpoints by Orbax: what comes back, that background saves see the values of their start, and whole files."""

import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import nn

pytest.importorskip("orbax.checkpoint")
dcp = torch.distributed.checkpoint


def trained(steps=2, seed=0):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    step = stepper(model, optimizer)
    for _ in range(steps):
        step()
    return model, optimizer, step


def stepper(model, optimizer):
    x = torch.linspace(-1, 1, 12).reshape(3, 4)

    def step():
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    return step


def test_everything_comes_back(tmp_path):
    kinds = [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.complex64, torch.uint8]
    state = {
        "kinds": {str(k): (torch.arange(6).reshape(2, 3) * 3).to(k) for k in kinds},
        "empty": torch.zeros(0, 3), "scalar": torch.tensor(2.5), "huge": torch.tensor([2**60 + 1]),
        "list": [torch.ones(2), {"a/b c": torch.ones(1) * 7}], "epoch": 3, "name": "x", "rates": [0.1, 0.2],
        "none": None, "odd.key": torch.from_numpy(np.arange(3)),
    }  # fmt: skip
    dcp.save(state, checkpoint_id=tmp_path / "c")
    into = {
        "kinds": {str(k): torch.zeros(2, 3, dtype=k) for k in kinds}, "empty": torch.ones(0, 3),
        "scalar": torch.tensor(0.0), "huge": torch.tensor([0]), "list": [torch.zeros(2), {"a/b c": torch.zeros(1)}],
        "epoch": 0, "name": "", "rates": [], "none": 1, "odd.key": torch.zeros(3, dtype=torch.int64),
    }  # fmt: skip
    same = into["kinds"]["torch.float32"]
    dcp.load(into, checkpoint_id=tmp_path / "c")
    assert into["kinds"]["torch.float32"] is same  # into the tensors that are there
    for k in kinds:
        got, want = into["kinds"][str(k)], state["kinds"][str(k)]
        assert got.dtype == k and torch.equal(got, want)
    assert into["huge"].item() == 2**60 + 1 and into["scalar"].item() == 2.5 and into["empty"].shape == (0, 3)
    assert into["list"][1]["a/b c"].item() == 7 and into["odd.key"].tolist() == [0, 1, 2]
    assert [into[k] for k in ("epoch", "name", "rates", "none")] == [3, "x", [0.1, 0.2], None]
    names = dcp.FileSystemReader(tmp_path / "c").names()
    assert names["kinds.torch.bfloat16"] == ((2, 3), "bfloat16") and names["epoch"] is None


def test_a_run_goes_on(tmp_path):
    """Objects with a state are saved and loaded as such; the resumed losses are those of the run that went on."""
    model, optimizer, step = trained()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    dcp.save({"model": model, "optimizer": optimizer, "scheduler": scheduler, "step": 2}, checkpoint_id=tmp_path / "c")
    want = [step().item() for _ in range(3)]
    model, optimizer, step = trained(steps=1, seed=5)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    state = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "step": 0}
    dcp.load(state, checkpoint_id=tmp_path / "c")
    assert state["step"] == 2 and state["model"] is model
    assert [step().item() for _ in range(3)] == want


def test_by_parameter_names(tmp_path):
    model, optimizer, step = trained()
    states = dcp.state_dict.get_state_dict(model, optimizer)
    assert "0.weight" in states[1]["state"] and states[1]["param_groups"][0]["params"][0] == "0.weight"
    dcp.save({"model": states[0], "optim": states[1]}, checkpoint_id=tmp_path / "c")
    want = [step().item() for _ in range(2)]
    model, optimizer, step = trained(steps=0, seed=3)
    before = [p.tolist() for p in model.parameters()]
    m, o = dcp.state_dict.get_state_dict(model, optimizer)  # an optimizer that has not stepped has a state to load into
    assert [p.tolist() for p in model.parameters()] == before and optimizer.param_groups[0]["lr"] == 0.01
    state = {"model": m, "optim": o}
    dcp.load(state, checkpoint_id=tmp_path / "c")
    missing = dcp.state_dict.set_state_dict(model, optimizer, model_state_dict=state["model"],
                                            optim_state_dict=state["optim"])
    assert not missing.missing_keys and [step().item() for _ in range(2)] == want


def test_training_goes_on_while_it_writes(tmp_path):
    model, optimizer, step = trained()
    big = torch.ones(400_000)
    shared = np.zeros(4)
    want = {k: v.numpy().copy() for k, v in model.state_dict().items()}
    future = dcp.async_save({"model": model.state_dict(), "big": big, "shared": torch.from_numpy(shared)},
                            checkpoint_id=tmp_path / "c")
    with pytest.raises(RuntimeError, match="under way"):
        dcp.save({"big": big}, checkpoint_id=tmp_path / "c")
    shared += 1
    big.add_(1)
    for _ in range(3):
        step().item()
    future.result(timeout=60)
    assert future.done()
    into = {"model": trained(0, 1)[0].state_dict(), "big": torch.zeros(400_000), "shared": torch.ones(4).double()}
    dcp.load(into, checkpoint_id=tmp_path / "c")
    for name, value in want.items():
        np.testing.assert_array_equal(into["model"][name].numpy(), value)
    assert into["big"].sum().item() == 400_000 and into["shared"].tolist() == [0, 0, 0, 0]
    assert not np.array_equal(model.state_dict()["0.weight"].numpy(), want["0.weight"])


def test_errors(tmp_path, monkeypatch):
    path = tmp_path / "c"
    with pytest.raises(FileNotFoundError, match="no checkpoint directory"):
        dcp.load({"a": torch.ones(2)}, checkpoint_id=path)
    dcp.save({"a": torch.ones(2), "b": 1}, checkpoint_id=path)
    into = {"a": torch.zeros(2), "c": torch.zeros(1)}
    with pytest.raises(RuntimeError, match="Missing key in checkpoint state_dict: c"):
        dcp.load(into, checkpoint_id=path)
    with pytest.raises(ValueError, match=r"saved \[2\] and current: \[3\] for a"):
        dcp.load({"b": 0, "a": torch.zeros(3)}, checkpoint_id=path)
    assert into["a"].tolist() == [0, 0]
    with pytest.raises(RuntimeError, match="overwrite=False"):
        dcp.save({"a": torch.ones(2)}, storage_writer=dcp.FileSystemWriter(path, overwrite=False))
    with pytest.raises(ValueError, match="checkpoint_id"):
        dcp.save({"a": torch.ones(2)})
    with pytest.raises(NotImplementedError, match="planners"):
        dcp.save({"a": torch.ones(2)}, checkpoint_id=path, planner=object())
    with pytest.raises(RuntimeError, match="meta"):
        dcp.save({"a": torch.ones(2, device="meta")}, checkpoint_id=path)
    with pytest.raises(RuntimeError, match=r"both called 'a\.b'"):
        dcp.save({"a": {"b": 1}, "a.b": 2}, checkpoint_id=path)
    dcp.load(into := {"a": torch.zeros(2)}, checkpoint_id=path)  # what failed has spoilt nothing
    assert into["a"].tolist() == [1, 1]
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(ImportError, match=r"pytorchlike\[checkpoint\]"):
        dcp.save({"a": torch.ones(2)}, checkpoint_id=path)


PROGRAM = """
    import os, pytorchlike as torch
    dcp = torch.distributed.checkpoint
    dcp.save({"a": torch.zeros(300_000)}, checkpoint_id="c")
    future = dcp.async_save({"a": torch.ones(300_000)}, checkpoint_id="c")
    os._exit(3)
"""


def test_a_killed_save_leaves_a_whole_checkpoint(tmp_path):
    env = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(torch.__file__))}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(PROGRAM)], cwd=tmp_path, env=env)
    assert done.returncode == 3
    into = {"a": torch.full((300_000,), 5.0)}
    dcp.load(into, checkpoint_id=tmp_path / "c")
    assert into["a"].unique().tolist() in ([0], [1])
    dcp.save({"a": torch.ones(300_000)}, checkpoint_id=tmp_path / "c")
    dcp.load(into, checkpoint_id=tmp_path / "c")
    assert into["a"].unique().tolist() == [1]
    assert len([n for n in os.listdir(tmp_path / "c") if n.isdigit()]) == 1
    shutil.rmtree(tmp_path / "c")


SHARDED = """
    import os
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
    import jax, numpy as np, pytorchlike as torch
    from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
    dcp, mesh = torch.distributed.checkpoint, Mesh(np.array(jax.devices()), ("d",))
    def put(array, *spec):
        with jax.enable_x64(True):
            return torch.from_jax(jax.device_put(array, NamedSharding(mesh, P(*spec))))
    a, b = np.arange(16, dtype=np.float32).reshape(8, 2), np.arange(8) + 2**40
    dcp.save({"a": put(a, "d"), "b": put(b, "d")}, checkpoint_id="c")
    state = {"a": put(np.zeros((8, 2), np.float32)), "b": put(np.zeros(8, np.int64), "d")}
    dcp.load(state, checkpoint_id="c")
    assert state["a"].tolist() == a.tolist() and state["b"].tolist() == b.tolist()
    assert state["a"].jax().sharding.spec == P() and state["b"].jax().sharding.spec == P("d")
    alone = {"a": torch.zeros(8, 2)}
    dcp.load(alone, checkpoint_id="c")
    assert alone["a"].tolist() == a.tolist()
"""


def test_sharded_tensors_are_saved_and_loaded_in_other_shards(tmp_path):
    env = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(torch.__file__))}
    code = textwrap.dedent(SHARDED)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
