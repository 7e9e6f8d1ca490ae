"""Profiles: what they hold, when they are taken, and that they change nothing about the results."""

import gzip
import json

import pytest

import pytorchlike as torch
import pytorchlike.nn.functional as F
from pytorchlike import nn
from pytorchlike.engine import flush
from pytorchlike.engine.trace import forget_all
from pytorchlike.profiler import (
    ProfilerAction,
    ProfilerActivity,
    profile,
    record_function,
    schedule,
    tensorboard_trace_handler,
    xla_trace,
)


def training():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.linspace(-1, 1, 30).reshape(5, 6), torch.tensor([0, 1, 2, 1, 0])

    def step():
        optimizer.zero_grad()
        with record_function("forward"):
            loss = F.cross_entropy(model(x), y)
        with record_function("backward"):
            loss.backward()
        optimizer.step()
        return loss

    return step


def test_events_of_a_step():
    flush()
    forget_all()  # a step that another test recorded alike would be known by the line there
    want, got = training(), training()
    first = [want().item() for _ in range(3)]
    assert got().item() == first[0]
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True, with_flops=True, profile_memory=True,
                 with_stack=True) as prof:
        second = got()
    assert second.item() == pytest.approx(first[1], rel=1e-5)  # one by one, sums may be in another order
    assert got().item() == pytest.approx(first[2], rel=1e-5)
    averages = {e.key: e for e in prof.key_averages()}
    assert averages["aten::linear"].count == 2 and averages["linearBackward"].count == 2
    assert averages["aten::linear"].flops == 2 * 5 * (6 * 8 + 8 * 3)
    assert averages["aten::relu"].cpu_memory_usage == 5 * 8 * 4
    linear = [e for e in prof.events() if e.name == "aten::linear"]
    assert linear[0].input_shapes == [[5, 6], [8, 6], [8]] and "test_profiler.py" in linear[0].stack[0]
    (forward,) = [e for e in prof.events() if e.name == "forward"]
    assert {"aten::linear", "aten::relu"} <= {e.name for e in forward.cpu_children}
    (backward,) = [e for e in prof.events() if e.name == "backward"]
    assert "linearBackward" in {e.name for e in backward.cpu_children} and backward.is_user
    assert 0 < forward.self_cpu_time_total < forward.cpu_time_total
    inside = sum(e.cpu_time_total for e in forward.cpu_children)
    assert forward.self_cpu_time_total == pytest.approx(forward.cpu_time_total - inside)
    by_shape = prof.key_averages(group_by_input_shape=True)
    assert sum(e.key == "aten::linear" for e in by_shape) == 2
    text = prof.key_averages().table(sort_by="self_cpu_time_total", row_limit=3)
    assert "Self CPU %" in text and "# of Calls" in text and "CPU Mem" in text and "Total MFLOPs" in text
    assert len(text.splitlines()) == 8 and prof.key_averages().total_average().count > 5
    assert sum(e.count for e in prof.key_averages()) == len(prof.events())


def test_schedules():
    plan = schedule(wait=1, warmup=1, active=2, repeat=2, skip_first=1)
    names = [plan(k).name for k in range(11)]
    cycle = ["NONE", "WARMUP", "RECORD", "RECORD_AND_SAVE"]
    assert names == ["NONE", *cycle, *cycle, "NONE", "NONE"]
    assert schedule(wait=2, warmup=1, active=1, skip_first_wait=1)(0) is ProfilerAction.WARMUP
    with pytest.raises(AssertionError):
        schedule(wait=0, warmup=1, active=0)
    with pytest.warns(UserWarning, match="warmup"):
        schedule(wait=0, warmup=0, active=1)
    step, seen = training(), []

    def ready(prof):
        seen.append((prof.step_num, [e.name for e in prof.events() if e.name.startswith("ProfilerStep")]))

    with profile(schedule=plan, on_trace_ready=ready) as prof:
        for _ in range(11):
            step()
            prof.step()
    assert seen == [(5, ["ProfilerStep#3", "ProfilerStep#4"]), (9, ["ProfilerStep#7", "ProfilerStep#8"])]
    assert not any(e.name.startswith("compile") for e in prof.events())  # that is what warming up is for


def test_traces(tmp_path):
    step = training()
    step().item()
    with profile(on_trace_ready=tensorboard_trace_handler(str(tmp_path), "w", use_gzip=True), with_stack=True) as prof:
        prof.add_metadata("note", "x")
        step()
    (path,) = tmp_path.glob("w.*.pt.trace.json.gz")
    with gzip.open(path, "rt") as file:
        trace = json.load(file)
    names = {e["name"] for e in trace["traceEvents"]}
    assert {"forward", "backward", "aten::linear"} <= names and trace["note"] == "x"
    assert all(e["ph"] == "X" and e["dur"] >= 0 for e in trace["traceEvents"])
    prof.export_chrome_trace(str(tmp_path / "t.json"))
    assert len(json.loads((tmp_path / "t.json").read_text())["traceEvents"]) == len(prof.events())
    prof.export_stacks(str(tmp_path / "stacks"))
    assert "test_profiler.py" in (tmp_path / "stacks").read_text()
    with xla_trace(tmp_path / "xla"):
        step().item()
    assert list((tmp_path / "xla").rglob("*.xplane.pb"))


def test_the_older_profiler():
    x = torch.ones(4, 4)
    with torch.autograd.profiler.profile(record_shapes=True) as prof:
        (x @ x).sum().item()
        with torch.autograd.profiler.record_function("mine"):
            x.exp()
    assert {"aten::matmul", "aten::sum", "mine"} <= {e.key for e in prof.key_averages()}
    assert "aten::matmul" in str(prof) and prof.total_average().count == len(prof.function_events)
    with torch.autograd.profiler.profile(enabled=False) as off:
        x.sum().item()
    with pytest.raises(RuntimeError, match="finish"):
        off.key_averages()

    @record_function("named")
    def double(x):
        return x * 2

    with profile() as prof:
        assert double(x).sum().item() == 32
    assert "named" in {e.name for e in prof.events()}


def test_errors_end_a_profile():
    x = torch.ones(3)
    prof = profile()
    with pytest.raises(ZeroDivisionError), prof:
        x.sum()
        raise ZeroDivisionError
    with profile() as again:  # nothing is left of it
        assert x.sum().item() == 3
        with pytest.raises(RuntimeError, match="already enabled"):
            profile().start()
    assert "aten::sum" in {e.name for e in again.events()}
    with pytest.raises(AssertionError):
        profile().events()
    with pytest.raises(NotImplementedError, match="nvtx"):
        torch.autograd.profiler.emit_nvtx()


def test_stacks_are_asked_for_in_full_as_programs_do():
    config = torch._C._profiler._ExperimentalConfig(verbose=True)
    with profile(with_stack=True, experimental_config=config) as prof:
        torch.ones(3).exp()
    assert "test_profiler.py" in prof.key_averages(group_by_stack_n=5).table(sort_by="self_cpu_time_total")
    with pytest.raises(NotImplementedError, match="profiler_metrics"):
        torch._C._profiler._ExperimentalConfig(profiler_metrics=["sm__warps"])
    with pytest.raises(TypeError, match="not dict"):
        profile(experimental_config={"verbose": True})


def test_calls_of_modules_are_ranges():
    class Twice(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner, self.fail = inner, False

        def forward(self, x):
            if self.fail:
                raise ZeroDivisionError
            return self.inner(self.inner(x))

    model = nn.Sequential(Twice(nn.Linear(3, 3)), nn.Linear(3, 2))
    x = torch.ones(2, 3)
    with profile(with_modules=True) as prof:
        model(x)
        model[0].fail = True
        with pytest.raises(ZeroDivisionError):
            model(x)
    named = {e.key.removeprefix("nn.Module: "): e for e in prof.key_averages() if e.key.startswith("nn.Module: ")}
    assert {k: e.count for k, e in named.items()} == {"Sequential_0": 2, "Twice_0": 2, "Linear_0": 2, "Linear_1": 1}
    assert named["Twice_0"].cpu_time_total >= named["Linear_0"].cpu_time_total
    nested = [e for e in prof.events() if e.name == "aten::linear"]
    assert [e.cpu_parent.name for e in nested] == ["nn.Module: Linear_0"] * 2 + ["nn.Module: Linear_1"]
    with profile() as plain:  # the hooks are gone
        model[1](x)
    assert not any(e.name.startswith("nn.Module") for e in plain.events())


def test_what_nobody_reads_is_profiled():
    """A model that is called for its time only, with its result dropped, runs within its block."""
    layer, x = torch.nn.Conv2d(1, 2, 3), torch.ones(1, 1, 8, 8)
    with torch.profiler.profile() as prof, torch.profiler.record_function("inference"):
        layer(x)
    assert {"inference", "aten::conv2d"} <= {e.key for e in prof.key_averages()}
    assert not torch.get_debug()


def test_steps_and_batches_are_ranges_under_pytorchs_names():
    """Tables of PyTorch's profiler are read by these names, to see what loading data and updating weights cost."""
    step = training()
    with profile() as prof:
        step()
        for _ in torch.utils.data.DataLoader([1, 2]):
            pass
    found = {e.key: e for e in prof.key_averages()}
    assert found["Optimizer.step#SGD.step"].count == found["Optimizer.zero_grad#SGD.zero_grad"].count == 1
    loading = found["enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"]
    assert loading.count == 3 and loading.device_type is torch.profiler.DeviceType.CPU
    assert loading.cpu_time_total_str.endswith("s") and not hasattr(loading, "no_time_str")
