"""The answers of torchaudio, and the cases that they are answers to."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

_FOLDER = Path(__file__).parents[1] / "reference"


@pytest.fixture(scope="session")
def cases():
    spec = importlib.util.spec_from_file_location("make_audio", _FOLDER / "make_audio.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def answers():
    with np.load(_FOLDER / "audio.npz") as file:
        return {name: file[name] for name in file.files}
