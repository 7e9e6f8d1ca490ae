"""A save that is killed leaves the whole old or the whole new file."""

import os
import pathlib
import pickle
import random
import signal
import subprocess
import sys
import time

import pytest

from pytorchlike.serialization import _atomic, _reading, _zip

#: Saves without importing JAX, so that a process is there at once: the files that do the work need nothing else.
CHILD = r"""
import pickle, sys, types

package = sys.modules["serialization"] = types.ModuleType("serialization")
package.__path__ = [sys.argv[1]]
from serialization import _atomic as atomic, _zip as zips
generation = int(sys.argv[3])
while True:
    with atomic.replacing(sys.argv[2]) as file, zips.ZipWriter(file, "model") as writer:
        writer.add("data.pkl", pickle.dumps(generation, 2))
        for key in range(3):
            writer.add(f"data/{key}", generation.to_bytes(8, "little") * 20_000)
    if not generation % 1000:
        print("saved", flush=True)
    generation += 1
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_thirty_kills(tmp_path):
    path = tmp_path / "model.pt"
    code = pathlib.Path(_atomic.__file__).parent
    rng, seen, leftovers = random.Random(0), [], 0
    for kill in range(30):
        arguments = [sys.executable, "-S", "-c", CHILD, str(code), str(path), str(kill * 1000)]
        child = subprocess.Popen(arguments, stdout=subprocess.PIPE)
        try:
            assert child.stdout.readline() == b"saved\n"
            time.sleep(rng.random() * 0.02)
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
            child.stdout.close()
        with open(path, "rb", buffering=0) as file:
            reader = _zip.ZipReader(_reading.Source(file, "model.pt"))
            generation = pickle.loads(reader.read("data.pkl"))
            for key in range(3):
                assert reader.read(f"data/{key}") == generation.to_bytes(8, "little") * 20_000
        assert kill * 1000 <= generation < (kill + 1) * 1000
        seen.append(generation)
        leftovers += len(os.listdir(tmp_path)) - 1
        assert len(os.listdir(tmp_path)) <= 2  # what one kill leaves behind, the next save removes
    assert leftovers > 0, "no kill fell into a save: the test tests nothing"
    with _atomic.replacing(os.fspath(path)) as file:
        file.write(b"done")
    assert os.listdir(tmp_path) == ["model.pt"]
