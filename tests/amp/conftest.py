"""The committed answers of PyTorch, and the cases they are about."""

import json
from pathlib import Path

import pytest

_FOLDER = Path(__file__).parents[1] / "reference"


@pytest.fixture(scope="session")
def cases(reference_script):
    """The script that made the reference: its cases run with any library."""
    return reference_script("make_amp")


@pytest.fixture(scope="session")
def reference():
    return json.loads((_FOLDER / "amp.json").read_text())
