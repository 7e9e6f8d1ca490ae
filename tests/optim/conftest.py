"""The committed answers of PyTorch, and the problem they are about."""

import json
from pathlib import Path

import pytest

_FOLDER = Path(__file__).parents[1] / "reference"


@pytest.fixture(scope="session")
def problem(reference_script):
    """The script that made the reference: its problem runs with any library."""
    return reference_script("make_optim")


@pytest.fixture(scope="session")
def reference():
    return json.loads((_FOLDER / "optim.json").read_text())


def cases(kind):
    """Names of the reference cases, for parametrize."""
    found = json.loads((_FOLDER / "optim.json").read_text())[kind]
    return [pytest.param(i, id=f"{c['name']}-{i}") for i, c in enumerate(found)]


def pytest_generate_tests(metafunc):
    for argument, kind in (("optimizer_case", "optimizers"), ("scheduler_case", "schedulers")):
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, cases(kind))
