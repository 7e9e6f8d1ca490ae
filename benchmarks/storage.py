"""Saving, loading and data loading beside PyTorch: ``python -m benchmarks.storage [--rounds N] [--mb N] [case ...]``.

Each measurement is a process of its own; the libraries take turns, and the ratios within the rounds count. Without
PyTorch only our own times are shown. Files are read from the page cache: the disk is not what is measured (but ``save``
waits for it, which PyTorch does not: choose a folder in memory by TMPDIR to compare the rest). The processor's time is
shown, too: on a busy machine it says more. What a process does once, as importing, starting XLA's client and compiling
the sum, has been done by a small file before the clock starts, unless ``--cold`` is given.

save, load, mmap:   a state dict of ``--mb`` megabytes in 40 tensors; mmap: every tensor is summed after loading.
safetensors:        load_file, every tensor summed; safetensors_save: save_file.
small_save, small_load: a state dict of 1000 tensors of 1 KiB, ten times.
state_dict:         a module's load_state_dict(assign=True) from a mapped file; its peak memory over the file's size.
images0 … images2:  pictures a second, decoded by Pillow and augmented with NumPy, with that many workers.
tensors0 … tensors2: the same augmented with tensor operations in ``__getitem__``.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import io
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

CASES = ["save", "load", "mmap", "safetensors", "safetensors_save", "small_save", "small_load", "state_dict",
         "images0", "images1", "images2", "tensors0", "tensors1", "tensors2"]  # fmt: skip
_TENSORS = 40


def _state(torch: Any, megabytes: int) -> dict[str, Any]:
    rng, rows = np.random.default_rng(0), (megabytes << 20) // 4 // 1024 // _TENSORS
    return {
        f"layer{i}.weight": torch.from_numpy(rng.standard_normal((rows, 1024), np.float32)).clone()
        for i in range(_TENSORS)
    }


def _seconds(run: Any) -> list[float]:
    """Seconds by the clock, and of the processor; those of worker processes, too, if they have ended."""
    start, used = time.perf_counter(), _used()
    run()
    return [time.perf_counter() - start, _used() - used]


def _used() -> float:
    """Seconds of the processor that this process, and its children that have ended, have had."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(p.ru_utime + p.ru_stime for p in parts)


def _warm(torch: Any, files: Any, path: str, megabytes: int, mmap: bool) -> None:
    """Do once, with little data, what will be measured."""
    part = next(iter(_state(torch, megabytes).values()))
    small = f"{path}.small.safetensors" if files is not torch else f"{path}.small"
    (files.save_file if files is not torch else torch.save)({"part": part}, small)
    found = files.load_file(small) if files is not torch else torch.load(small, mmap=mmap)
    _total(found.values())


def _total(tensors: Any) -> float:
    return sum(float(t.sum()) for t in tensors)


def _peak() -> int:
    """Peak resident size in bytes since it was last reset."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))


def _files(torch: Any, case: str, path: str, megabytes: int, cold: bool) -> list[float]:
    if case == "save":
        state = _state(torch, megabytes)
        _total(state.values())
        torch.save(state, path)
        return _seconds(lambda: torch.save(state, path))
    if case.startswith("small"):
        state = {f"layer{i}.weight": torch.full((16, 16), float(i)) for i in range(1000)}
        _total(state.values())
        small = path + ".small"
        torch.save(state, small)
        run = (lambda: torch.save(state, small)) if case == "small_save" else (lambda: torch.load(small))
        run()
        return _seconds(lambda: [run() for _ in range(10)])
    if case.startswith("safetensors"):
        files = importlib.import_module(
            "safetensors.torch" if torch.__name__ == "torch" else "pytorchlike.utils.safetensors"
        )
        if case == "safetensors_save":
            state = _state(torch, megabytes)
            files.save_file(state, path + ".safetensors")
            return _seconds(lambda: files.save_file(state, path + ".safetensors"))
        if not os.path.exists(path + ".safetensors"):
            files.save_file(_state(torch, megabytes), path + ".safetensors")
        if not cold:
            _warm(torch, files, path, megabytes, True)
        return _seconds(lambda: _total(files.load_file(path + ".safetensors").values()))
    if not os.path.exists(path):
        torch.save(_state(torch, megabytes), path)
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.storage", *sys.argv[1:]])  # measured freshly
    if not cold:
        _warm(torch, torch, path, megabytes, case != "load")
    if case == "load":
        return _seconds(lambda: torch.load(path))
    if case == "mmap":
        return _seconds(lambda: _total(torch.load(path, mmap=True).values()))
    module = torch.nn.Module()
    for i in range(_TENSORS):
        layer = torch.nn.Module()
        layer.weight = torch.nn.Parameter(torch.empty((megabytes << 20) // 4 // 1024 // _TENSORS, 1024, device="meta"))
        module.add_module(f"layer{i}", layer)
    _total([torch.ones(2, 2)])
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    before = _peak()

    def run() -> None:
        module.load_state_dict(torch.load(path, mmap=True), assign=True)
        _total(p.detach() for p in module.parameters())

    return [*_seconds(run), (_peak() - before) / (megabytes << 20)]


class _Pictures:
    """JPEGs from memory, cropped, mirrored and normalised at random."""

    def __init__(self, torch: Any, tensors: bool, n: int = 600) -> None:
        from PIL import Image

        rng = np.random.default_rng(0)
        self.files, self.torch, self.tensors, self.n = [], torch, tensors, n
        for _ in range(8):
            small = Image.fromarray(rng.integers(0, 255, (24, 24, 3), np.uint8)).resize((192, 192), Image.BICUBIC)
            small.save(file := io.BytesIO(), "JPEG", quality=90)
            self.files.append(file.getvalue())
        self.mean, self.std = np.float32([0.48, 0.45, 0.4]), np.float32([0.23, 0.22, 0.22])

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> tuple[Any, int]:
        from PIL import Image

        picture = np.array(Image.open(io.BytesIO(self.files[i % 8])))
        return (self._by_tensors if self.tensors else self._by_numpy)(picture), i % 10

    def _by_numpy(self, picture: np.ndarray) -> Any:
        top, left = np.random.randint(0, 32, 2)
        x = picture[top : top + 160, left : left + 160].astype(np.float32) / 255
        if np.random.rand() < 0.5:
            x = x[:, ::-1]
        return self.torch.from_numpy(np.ascontiguousarray(((x - self.mean) / self.std).transpose(2, 0, 1)))

    def _by_tensors(self, picture: np.ndarray) -> Any:
        torch = self.torch
        top, left = torch.randint(0, 32, (2,)).tolist()
        x = torch.from_numpy(picture).permute(2, 0, 1)[:, top : top + 160, left : left + 160].float().div(255)
        if torch.rand(1).item() < 0.5:
            x = x.flip(-1)
        return (x - torch.from_numpy(self.mean)[:, None, None]) / torch.from_numpy(self.std)[:, None, None]


def _data(torch: Any, case: str) -> list[float]:
    data, workers = _Pictures(torch, case.startswith("tensors")), int(case[-1])
    loader = torch.utils.data.DataLoader(data, 32, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    for _ in loader:
        pass
    seconds, used = _seconds(lambda: [float(x[0, 0, 0, 0]) for x, _ in loader])
    if workers:  # whose time is known once they have ended: that of all they did
        del loader
        gc.collect()
        used = _used()
    return [seconds, used]


def _child(library: str, case: str, folder: str, megabytes: int, cold: bool) -> None:
    torch = importlib.import_module(library)
    importlib.import_module(f"{library}.utils.data")
    files = not case[-1].isdigit()
    path = os.path.join(folder, f"{library}.pt")
    print(*(_files(torch, case, path, megabytes, cold) if files else _data(torch, case)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=CASES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mb", type=int, default=500)
    parser.add_argument("--cold", action="store_true", help="measure the first use in a process")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        library, folder = options.child
        _child(library, options.cases[0], folder, options.mb, options.cold)
        return
    libraries = ["pytorchlike"] + ["torch"] * (importlib.util.find_spec("torch") is not None)
    with tempfile.TemporaryDirectory() as folder:
        # bytecode is kept, as it is for whoever installs a package
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment.setdefault("PYTHONPYCACHEPREFIX", os.path.join(folder, "bytecode"))
        for name in libraries:
            subprocess.run([sys.executable, "-c", f"import {name}, {name}.nn, {name}.utils.data"], env=environment)
        for case in options.cases:
            taken: dict[str, list[list[float]]] = {name: [] for name in libraries}
            for k in range(options.rounds):
                for name in libraries[:: 1 if k % 2 else -1]:
                    command = [sys.executable, "-m", "benchmarks.storage", case, "--mb", str(options.mb)]
                    command += ["--child", name, folder, *["--cold"] * options.cold]
                    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
                    taken[name].append([float(x) for x in done.stdout.split()])
            times = {name: statistics.median(t[0] for t in runs) for name, runs in taken.items()}
            line = f"{case:12}" + "".join(f"{name} {t:8.3f} s   " for name, t in times.items())
            if len(libraries) > 1:
                ratios = [a[0] / b[0] for a, b in zip(taken["pytorchlike"], taken["torch"], strict=True)]
                line += f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
                used = [a[1] / b[1] for a, b in zip(taken["pytorchlike"], taken["torch"], strict=True)]
                line += f"   processor {statistics.median(used):.2f}"
            if case == "state_dict":
                line += "   peak/file " + ", ".join(f"{max(t[2] for t in runs):.2f}" for runs in taken.values())
            print(line, flush=True)


if __name__ == "__main__":
    main()
