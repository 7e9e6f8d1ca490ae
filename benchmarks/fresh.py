"""Figures that need a process of their own: cold starts (empty and warm compilation cache) and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def run_child(workload: str, variant: str, cache: Path, steps: int, timeout: float = 1800) -> dict[str, Any]:
    """Run ``benchmarks.child`` with its compilation cache in ``cache``."""
    env = dict(os.environ)
    if variant == "pytorchlike":
        env["PYTORCHLIKE_CACHE_DIR"] = str(cache)
        env.pop("JAX_COMPILATION_CACHE_DIR", None)
    else:  # as a user who has read about the cache would set it up
        env["JAX_COMPILATION_CACHE_DIR"] = str(cache)
        env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        env["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    command = [sys.executable, "-m", "benchmarks.child", workload, variant, "--steps", str(steps)]
    command += ["--started", repr(time.time())]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise RuntimeError(f"{workload} on {variant} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def cold(workload: str, variant: str, repeats: int = 1) -> dict[str, Any]:
    """Seconds from process start to the end of steps 1 and 20, with an empty cache and with the one this filled.

    The best of ``repeats`` pairs of runs.  PyTorch has no such cache, so its two runs differ by chance only.
    """
    runs: dict[str, list[dict[str, Any]]] = {"empty": [], "warm": []}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:  # private (0700), as pytorchlike demands
            for state in ("empty", "warm"):
                runs[state].append(run_child(workload, variant, Path(folder), 20))
    return {
        state: {key: min(run[key] for run in results) for key in ("ready_s", "step_1_s", "step_20_s")}
        for state, results in runs.items()
    }


def memory(workload: str, variant: str, steps: int) -> dict[str, Any]:
    """Peak resident size, and the growth from half-way to the end of the steps; compilation is part of the peak."""
    with tempfile.TemporaryDirectory() as folder:
        result = run_child(workload, variant, Path(folder), steps)
    growth = None if result["half_mb"] is None else result["end_mb"] - result["half_mb"]
    return {"steps": steps, "peak_mb": result["peak_mb"], "growth_mb": growth}
