"""Large blocks of memory stay with the process between runs, and what the compiler used does not; Python does not look
for garbage while a program is compiled."""

import gc
import platform
import subprocess
import sys

import pytest

from pytorchlike.engine import evaluators
from pytorchlike.engine.memory import Uncollected

PROGRAM = """
import pytorchlike as torch
from pytorchlike.engine.memory import keep_large_blocks

(torch.ones(3, 3) @ torch.ones(3, 3)).sum().item()
print(keep_large_blocks() is not None)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
@pytest.mark.parametrize(
    ("variables", "kept"),
    [({}, "True"), ({"PYTORCHLIKE_MALLOC": "system"}, "False"), ({"MALLOC_TRIM_THRESHOLD_": "1000000"}, "False"),
     ({"MALLOC_ARENA_MAX": "4"}, "False")],
)
def test_the_users_word_about_memory_counts(variables, kept, monkeypatch):
    for name in ("PYTORCHLIKE_MALLOC", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_ARENA_MAX",
                 "GLIBC_TUNABLES"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == kept, done.stderr


PAGES = """
import re, threading
import pytorchlike as torch

done = threading.Thread(target=lambda: torch.ones(1 << 20).exp().sum().item())  # memory of its own, as XLA's threads
done.start()
done.join()
text = open("/proc/self/smaps").read()
print(len(re.findall("^[0-9a-f]+-[0-9a-f]+ ---p 00000000 00:00 0 *\\nSize: +(?:6[0-5][0-9]{3}) kB", text, re.M)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left alone")
def test_threads_have_no_heaps_of_their_own():
    """glibc gives these back whatever it is told; each is a reservation of 64 MiB of which most is not in use."""
    done = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "0", done.stderr


@pytest.fixture
def collecting():
    was = gc.isenabled()
    gc.enable()
    yield
    (gc.enable if was else gc.disable)()


def test_garbage_is_looked_for_again_once_the_last_pause_is_over(collecting):
    first, second = Uncollected(), Uncollected()
    first.__enter__()
    with pytest.raises(KeyError), second:
        raise KeyError
    assert not gc.isenabled()
    first.__exit__()
    assert gc.isenabled()
    first.__exit__()  # twice is once
    assert gc.isenabled()


def test_a_pause_that_is_never_left_ends_with_its_object(collecting):
    """As when an interrupt comes between a pause's beginning and the body of the with statement."""
    lost = Uncollected()
    lost.__enter__()
    assert not gc.isenabled()
    del lost
    assert gc.isenabled()


def test_who_has_switched_the_collector_off_finds_it_off(collecting):
    gc.disable()
    with Uncollected():
        pass
    assert not gc.isenabled()


def test_nothing_is_collected_while_a_program_is_compiled(collecting):
    seen = []

    def function(x):
        seen.append(gc.isenabled())
        return x + 1

    import jax

    spec = jax.ShapeDtypeStruct((3,), "float32")
    evaluators.compile_at(function, None, (spec,))
    assert seen == [False]
    assert gc.isenabled()
