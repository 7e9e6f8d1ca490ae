"""The committed answers of PyTorch, and the cases they are about."""

import importlib.util
import json
from pathlib import Path

import pytest

_FOLDER = Path(__file__).parents[1] / "reference"


@pytest.fixture(scope="session")
def cases():
    """The script that made the reference: its cases run with any library."""
    spec = importlib.util.spec_from_file_location("make_amp", _FOLDER / "make_amp.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def reference():
    return json.loads((_FOLDER / "amp.json").read_text())
