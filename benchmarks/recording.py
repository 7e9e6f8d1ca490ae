"""What it costs to record an operation: the time a step takes in Python, less the time in which it was executed."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .harness import PYTORCHLIKE, build
from .workloads import WORKLOADS

LOOPS = ("tiny_ops", "mlp_small", "mlp_deep", "gpt")


class Executions:
    """Seconds spent executing, and operations executed, since the last :meth:`reset`."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.seconds, self.ops = 0.0, 0


@contextmanager
def watched_executions() -> Iterator[Executions]:
    """Measure every execution of a trace meanwhile.  The one place here that knows the engine's insides."""
    from pytorchlike.engine import execute
    from pytorchlike.engine.trie import Call, Reverse

    seen, run = Executions(), execute.run

    def timed_run(trace, reason):
        start = time.perf_counter()
        seen.ops += sum(isinstance(entry, Call | Reverse) for entry in trace.state.entries())
        try:
            run(trace, reason)
        finally:
            seen.seconds += time.perf_counter() - start

    execute.run = timed_run
    try:
        yield seen
    finally:
        execute.run = run


def measure_recording(repeats: int, warm: int = 30) -> dict[str, Any]:
    """For each loop: operations of a step (a backward pass counts as one), and the median microseconds for each.

    All of ``zero_grad``, forward, ``backward``, clipping, ``optimizer.step`` and the scheduler is counted, and all
    Python on the way, modules' ``forward`` included.
    """
    results = {}
    for name in LOOPS:
        workload = WORKLOADS[name]
        step = build(workload, PYTORCHLIKE, workload.problem())
        for i in range(warm):
            step(i).item()
        costs, ops = [], 0
        with watched_executions() as seen:
            for i in range(warm, warm + repeats):
                seen.reset()
                start = time.perf_counter()
                loss = step(i)
                recorded = time.perf_counter() - start - seen.seconds
                loss.item()  # whatever is still pending is counted, and awaited, before the next step
                ops = seen.ops
                costs.append(1e6 * recorded / ops)
        results[name] = {"ops": ops, "us_per_op": statistics.median(costs), "us_per_op_min": min(costs)}
    return results
