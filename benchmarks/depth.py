"""How the cost of a step, and of the first steps with their compilation, grows with the number of layers."""

from __future__ import annotations

import os
import statistics
import tempfile
from typing import Any

from .harness import Runner, build, variants_of
from .workloads import mlp

LAYERS = (10, 30, 100, 300)
FIRST = 6  # steps: a program of many calls is compiled when it comes a second time


def measure_depth(layers: tuple[int, ...] = LAYERS, rounds: int = 7, asked: list[str] | None = None) -> dict[str, Any]:
    """For each number of layers (64 wide, batch 32, AdamW) and variant: seconds that the first steps take, nothing
    being in a cache, and milliseconds of a later step, the variants in turns."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PYTORCHLIKE_CACHE_DIR"] = folder
        results: dict[str, Any] = {}
        for n in layers:
            workload = mlp.deep(n)
            problem = workload.problem()
            names = [v for v in variants_of(workload) if asked is None or v in asked]
            runners = [Runner(name, build(workload, name, problem)) for name in names]
            for r in runners:
                r.first_steps(FIRST)
                r.run(FIRST)
            for _ in range(rounds):
                for r in runners:
                    steps = 10 if n < 100 else 3
                    r.seconds.append(r.run(steps) / steps)
            results[str(n)] = {
                r.name: {"first_s": r.first_seconds, "step_ms": 1e3 * statistics.median(r.seconds)} for r in runners
            }
        return results
