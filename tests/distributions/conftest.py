"""The committed answers of PyTorch, and the questions."""

import json
from pathlib import Path

import pytest

_FOLDER = Path(__file__).parents[1] / "reference"


@pytest.fixture(scope="session")
def reference():
    return json.loads((_FOLDER / "distributions.json").read_text())


@pytest.fixture(scope="session")
def ours(reference_script):
    """The same questions, answered here."""
    import pytorchlike as torch

    return reference_script("make_distributions").answers(torch)


def pytest_generate_tests(metafunc):
    told = json.loads((_FOLDER / "distributions.json").read_text())
    for argument, kind in {
        "distribution": "distributions", "gradient": "gradients", "pair": "kl", "transform": "transforms",
        "error": "errors",
    }.items():  # fmt: skip
        if argument in metafunc.fixturenames:
            metafunc.parametrize(argument, list(told[kind]))
