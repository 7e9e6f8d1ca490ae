"""Shared settings of the tests: a compilation cache of their own, two fake devices' worth of nothing else."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

# Before pytorchlike is imported: workers of one run share a cache, which makes repeated runs quick.
os.environ.setdefault("PYTORCHLIKE_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"pytorchlike-tests-{os.getuid()}"))

import pytest


@pytest.fixture(autouse=True)
def _as_in_a_new_process():
    """Which executor serves a trace must not depend on the tests that ran before, nor whether functions are replayed,
    which ends once there is a tensor without data; nor may a slip of ours be taken for sizes that have nothing in
    common."""
    from pytorchlike.engine import errors, policy
    from pytorchlike.engine.stats import stats

    policy.reset()
    errors._given.clear()
    stats.unlike.clear()
    yield
    offers = sys.modules.get("pytorchlike._dispatch.offers")
    if offers is not None and offers._stays:
        offers._stays = False
        offers.disarm()
    assert not [why for why in stats.unlike if why.startswith(("AttributeError", "NameError", "ImportError"))]


@pytest.fixture(scope="session")
def reference_script():
    """Loads a script of ``tests/reference`` by its name: what made a reference can ask any library the same."""

    def load(name: str):
        path = Path(__file__).parent / "reference" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def tier():
    """Sets which executor serves every trace, and puts the policy back afterwards."""
    from pytorchlike.engine import config, flush

    before = config.tier

    def switch(name: str) -> None:
        flush("a test switches executors")
        config.tier = name

    yield switch
    flush("a test ends")
    config.tier = before


@pytest.fixture
def untouched(monkeypatch):
    """Nothing has been recorded so far: which numbers are constants of a program does not depend on other tests."""
    from pytorchlike.engine import flush, trace

    flush("a test begins anew")
    monkeypatch.setattr(trace, "_roots", {})
    trace.local.trace = trace.Trace(trace.local.trace.mode)
