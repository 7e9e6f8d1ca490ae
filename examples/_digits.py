"""The handwritten digits that several examples share: 1,797 pictures of 8 x 8 pixels, see data/README.md."""

import gzip
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parent / "data" / "optdigits.csv.gz"


def load_digits():
    """All pictures, float32 (1797, 1, 8, 8) from 0 to 1, and which digit each shows, int64 (1797,)."""
    with gzip.open(DATA, "rt") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.float32)
    pictures = torch.from_numpy(rows[:, :-1] / 16).view(-1, 1, 8, 8)
    return pictures, torch.from_numpy(rows[:, -1].astype(np.int64))
