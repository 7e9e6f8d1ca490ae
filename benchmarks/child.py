"""One variant of one workload alone in a process: how soon its first steps are done, and the memory it takes.

Started by ``benchmarks.fresh``; prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time


def peak_mb() -> float:
    """Largest resident size so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def resident_mb() -> float | None:
    """Resident size now, in MB, where the system tells."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
    except OSError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("workload")
    parser.add_argument("variant")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--started", type=float, required=True, help="time.time() just before this process was started")
    args = parser.parse_args()

    from .harness import build
    from .workloads import WORKLOADS

    workload = WORKLOADS[args.workload]
    step = build(workload, args.variant, workload.problem())
    ready = time.time()
    marks = {1, 20, args.steps // 2, args.steps}
    seconds, resident = {}, {}
    for i in range(args.steps):
        loss = step(i)
        if i + 1 in marks:
            loss.item()
            seconds[i + 1] = time.time() - args.started
            resident[i + 1] = resident_mb()
    print(
        json.dumps(
            {
                "ready_s": ready - args.started,
                "step_1_s": seconds[1],
                "step_20_s": seconds.get(20),
                "peak_mb": peak_mb(),
                "half_mb": resident.get(args.steps // 2),
                "end_mb": resident[args.steps],
            }
        )
    )


if __name__ == "__main__":
    main()
