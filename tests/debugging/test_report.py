"""What is told of compilations: their causes and lines, in reports, warnings and logs."""

from __future__ import annotations

import copy
import inspect
import logging
import os
from collections import OrderedDict
from types import SimpleNamespace

import pytest

import pytorchlike as torch
from pytorchlike.engine import causes, fused, stats

HERE = os.path.basename(__file__)


def line() -> int:
    return inspect.currentframe().f_back.f_lineno


@pytest.fixture
def whole(tier, monkeypatch, untouched):
    """Whole traces are compiled, whatever the policy would say, and none has been so far."""
    tier("fused")
    monkeypatch.setattr(fused, "_pieces", OrderedDict())


def last_cause(*calls):
    """The cause of the last compilation while these are called, one after the other."""
    with torch.compiler.report() as report:
        for call in calls:
            call().tolist()
    assert len(report.compilations) == 2, report
    return report.compilations[-1].cause


def f(x, *, add=1.0, dim=0, up=True):
    y = (x * 3 + 0.5).abs()
    y = y.exp() if up else y.sin()
    return y.sum(dim) + add


F_LINE = inspect.getsourcelines(f)[1]


@pytest.mark.parametrize(
    ("first", "second", "kind", "text", "at"),
    [
        (lambda: f(torch.tensor([[1.0, 2.0]])), lambda: f(torch.tensor([[1.0]])), "shape",
         "input of mul was float32[1, 2] and is float32[1, 1]", 1),
        (lambda: f(torch.tensor([1.0])), lambda: f(torch.tensor([1], dtype=torch.float64)), "dtype",
         "input of mul was float32[1] and is float64[1]", 1),
        (lambda: f(torch.tensor([1.0]), add=2.5), lambda: f(torch.tensor([1.0]), add=4.5), "number",
         "a number of add, 2.5 before, has changed", 3),
        (lambda: f(torch.tensor([[7.0]])), lambda: f(torch.tensor([[7.0]]), dim=-1), "argument",
         "an argument of sum was", 3),
        (lambda: f(torch.tensor([[7.0]])), lambda: f(torch.tensor([[7.0]]), up=False), "structure",
         "operation 4 is sin", 2),
        (lambda: f(torch.tensor([9.0])), lambda: torch.tensor([9.0]) * 3 + 0.5 - 2, "first", "nothing like it", None),
        (lambda: f(torch.tensor([9.0])), lambda: f(torch.tensor([9.0]).requires_grad_()), "requires_grad",
         "input of mul requires grad now", 1),
    ],
    ids=lambda v: v if isinstance(v, str) and " " not in v else "",
)  # fmt: skip
def test_causes(first, second, kind, text, at, whole):
    cause = last_cause(first, second)
    assert (cause.kind, text in cause.text) == (kind, True), cause
    if at is not None:
        assert cause.location == (__file__, F_LINE + at)


def loop(batches, read_first=False):
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    for k, n in enumerate(batches):
        optimizer.zero_grad()
        loss = (torch.ones(n, 3) * weight).square().sin().sum()
        if read_first and k == 2:
            loss.item()
        loss.backward()
        optimizer.step()
        loss.item()


LOOP = inspect.getsourcelines(loop)[1]


def test_report_of_a_loop(whole):
    with torch.compiler.report() as report:
        loop([4, 4, 4, 4, 2])
    assert report.steps == 5 and report.executions[("an optimizer step ended", (__file__, LOOP + 10))] == 5
    assert report.reads == {(__file__, LOOP + 11): 5} and report.cuts.total() == 0
    kinds = [e.cause.kind for e in report.compilations]
    assert kinds[-1] == "shape" and kinds.count("shape") == 1
    assert 0 < report.compile_seconds <= report.seconds
    text = str(report)
    assert "5 optimizer steps in " in text and f"{HERE}:{LOOP + 6}" in text
    assert "was of shape [4, 3] and is [2, 3]" in text and "Values read" in text
    html = report._repr_html_()
    assert "<table>" in html and "Values read" in html and "<script" not in html


def test_a_read_in_the_middle_is_told_apart(whole):
    with torch.compiler.report() as report:
        loop([4] * 4, read_first=True)
    assert report.cuts[(__file__, LOOP + 8)] == 1
    (cause,) = [e.cause for e in report.compilations if e.cause.kind == "read"]
    assert cause.location == (__file__, LOOP + 8) and "a backward pass" in cause.text


def test_operations_run_one_by_one_are_listed(tier):
    tier("ops")
    with torch.compiler.report() as report:
        (torch.ones(7, 2).cosh() + 1.25).tolist()
    assert not report.compilations and report.op_runs == 1
    assert "operation by operation" in str(report)


def test_nothing_is_watched_outside_of_a_block():
    report = torch.compiler.report()
    with pytest.raises(ZeroDivisionError), report:
        raise ZeroDivisionError
    assert not stats.observers
    with report, pytest.raises(RuntimeError, match="written already"):
        report.__enter__()
    assert not stats.observers


def test_explain():
    def g(x):
        return (x * 2).cos()

    told = torch.compiler.explain(torch.compile(g))(torch.ones(2))
    assert told.graph_count == 1 and told.graph_break_count == 0 and told.op_count >= 1
    assert str(told).startswith("Captured: yes")
    told = torch.compiler.explain(lambda x: x * 2 if x.sum() > 0 else x)(torch.ones(2))
    assert told.graph_count == 0 and f"the value of a tensor is read ({__file__}:{line() - 1})" in told.break_reasons
    assert told.cuts.total() == 1 and not any("etils" in r for r in told.break_reasons)


def test_a_loop_that_keeps_compiling_is_warned_of_once(whole, monkeypatch):
    monkeypatch.setattr(causes, "COSTLY", 0.0)
    with pytest.warns(torch.compiler.RecompilationWarning) as caught:
        loop(range(1, 9))
    (told,) = [w for w in caught if "shape" in str(w.message)]
    assert (told.filename, told.lineno) == (__file__, LOOP + 6)
    assert "compiled 5 times" in str(told.message) and "pad inputs" in str(told.message)


def test_kernels_for_ever_new_shapes_are_warned_of_once(tier, monkeypatch):
    tier("ops")
    monkeypatch.setattr(causes, "COSTLY", 0.0)
    monkeypatch.setattr(causes, "KERNELS", 3)

    def grow(n):
        return torch.ones(n).atanh()

    with pytest.warns(torch.compiler.RecompilationWarning, match="compiled 3 times") as caught:
        for n in range(7001, 7007):  # of no other test
            grow(n).tolist()
    assert sorted(str(w.message).partition(" for float")[0].rpartition(" ")[2] for w in caught)[0] == "atanh"
    assert len(caught) == 2  # ones, and atanh


def test_logs(whole, caplog):
    try:
        torch._logging.set_logs(recompiles=True, graph_breaks=True)
        for n in (3, 4):
            (torch.ones(n) * 2 + 0.25).tanh().sum().tolist()
        torch.compile(lambda x: x if x.sum() > 0 else -x)(torch.ones(2))
    finally:
        torch._logging.set_logs()
    told = [r.getMessage() for r in caplog.records]
    assert any("cause: shape: the result of ones was of shape [3] and is [4]" in m for m in told)
    assert any("is not replayed" in m and "the value of a tensor is read" in m for m in told)
    assert not logging.getLogger("torch.recompiles").isEnabledFor(logging.INFO) and not stats.observers


def test_names_of_parts_that_are_missing():
    with pytest.warns(UserWarning, match="nothing to tell of dynamo here"):
        torch._logging.set_logs(dynamo=logging.DEBUG)
    with pytest.raises(TypeError, match="unexpected keyword argument 'dynamos'"):
        torch._logging.set_logs(dynamos=True)


def test_log_tells_causes(whole):
    f(torch.tensor([[1.0, 2.0, 3.0]])).tolist()
    f(torch.tensor([[1.0, 2.0, 3.0, 4.0]])).tolist()
    assert "input of mul was float32[1, 3] and is float32[1, 4]" in torch.compiler.log()[-1]


def test_compiling_keeps_what_python_remembers_of_warnings():
    import warnings

    w = torch.randn(8, 8, requires_grad=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        with torch.compiler.report() as report:
            for n in (3, 5, 7):
                loss = (torch.ones(n, 8) @ w).tanh().sum() * n
                (w.grad,) = torch.autograd.grad(loss, w)
                torch.optim.SGD([w], 0.1).step()
                float(loss.detach())
                warnings.warn("of the loop", stacklevel=1)
    assert len(report.compilations) >= 2 and [str(c.message) for c in caught] == ["of the loop"]


def test_a_program_whose_kind_was_forgotten_is_the_first_of_it_again(whole):
    """In a long process its operations may be among the last that were compiled, but no more among the families."""
    steps = [SimpleNamespace(op=object(), location=("train.py", k)) for k in range(causes.ALIKE + 2)]
    assert causes.cause_of(steps, "a value was read").kind == "first"
    causes._families.clear()
    assert causes.cause_of(steps, "a value was read").kind == "first"


@pytest.mark.parametrize("keep", [
    lambda model: model.state_dict(), lambda model: copy.deepcopy(model.state_dict()),
    lambda model: [b.detach() for b in model.buffers()], copy.deepcopy,
])  # fmt: skip
def test_a_state_that_is_kept_has_no_step_compiled_anew(whole, keep):
    """Its buffers are replaced by each step as before."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)

    def step():
        optimizer.zero_grad()
        loss = model(torch.ones(2, 3)).sum()
        loss.backward()
        optimizer.step()
        return loss.item()

    for _ in range(3):
        step()
    with torch.compiler.report() as report:
        kept = keep(model)
        mean = model[1].running_mean.clone()
        step(), step()
    assert not report.compilations, report
    assert not torch.equal(model[1].running_mean, mean)
    if isinstance(kept, dict):  # deep copies keep the old numbers, the others share the module's
        shared = kept["1.running_mean"]
        assert torch.equal(shared, mean) or torch.equal(shared, model[1].running_mean)
