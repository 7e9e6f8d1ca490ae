"""Large blocks of memory stay with the process between runs, and what the compiler used does not."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import pytorchlike as torch
from pytorchlike.engine.memory import keep_large_blocks

(torch.ones(3, 3) @ torch.ones(3, 3)).sum().item()
print(keep_large_blocks() is not None)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
@pytest.mark.parametrize(
    ("variables", "kept"),
    [({}, "True"), ({"PYTORCHLIKE_MALLOC": "system"}, "False"), ({"MALLOC_TRIM_THRESHOLD_": "1000000"}, "False")],
)
def test_the_users_word_about_memory_counts(variables, kept, monkeypatch):
    for name in ("PYTORCHLIKE_MALLOC", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == kept, done.stderr
