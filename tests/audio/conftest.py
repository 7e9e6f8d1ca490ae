"""The answers of torchaudio, and the cases that they are answers to."""

from pathlib import Path

import numpy as np
import pytest

_FOLDER = Path(__file__).parents[1] / "reference"


@pytest.fixture(scope="session")
def cases(reference_script):
    return reference_script("make_audio")


@pytest.fixture(scope="session")
def answers():
    with np.load(_FOLDER / "audio.npz") as file:
        return {name: file[name] for name in file.files}
