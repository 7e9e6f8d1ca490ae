"""Runs the variants of one workload in turns, so that a busy machine slows all of them alike."""

from __future__ import annotations

import gc
import importlib.util
import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from .workloads import Problem, Workload
from .workloads._problem import Step

PYTORCHLIKE, TORCH = "pytorchlike", "torch"


def cpus() -> int:
    """Processors that this process may use; XLA's thread pools have as many threads."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def torch_module(name: str) -> ModuleType:
    """``pytorchlike`` or ``torch``, the latter with as many threads as XLA has."""
    module = importlib.import_module(name)
    if name == TORCH:
        module.set_num_threads(cpus())
    return module


def variants_of(workload: Workload) -> list[str]:
    """The variants that are installed here: (a), then the ones in JAX, (b) first, then (c).  Imports nothing."""
    return [
        name
        for name in (PYTORCHLIKE, *workload.jax_loops, TORCH)
        if name in workload.jax_loops or importlib.util.find_spec(name) is not None
    ]


def build(workload: Workload, variant: str, problem: Problem) -> Step:
    """The training step of a variant, with its own copy of the weights."""
    if variant in workload.jax_loops:
        return workload.jax_loops[variant](problem)
    return workload.torch_loop(torch_module(variant), problem)


class CompileCounter:
    """Counts XLA compilations in this process, cache hits included, whoever asked for them."""

    EVENT = "/jax/core/compile/backend_compile_duration"

    def __init__(self) -> None:
        import jax

        self.count = 0
        jax.monitoring.register_event_duration_secs_listener(self._on_event)

    def _on_event(self, event: str, duration: float, **details: Any) -> None:
        self.count += event == self.EVENT


@dataclass
class Runner:
    """One variant: its step, where it has got to, and what was measured."""

    name: str
    step: Step
    done: int = 0
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)  # per step, one entry for each round
    compiles: int = 0  # during the timed rounds
    first_seconds: float = 0.0

    def run(self, steps: int) -> float:
        """Seconds that so many steps take, up to the point where the last loss can be read."""
        start = time.perf_counter()
        for i in range(self.done, self.done + steps):
            loss = self.step(i)
        loss.item()
        self.done += steps
        return time.perf_counter() - start

    def first_steps(self, steps: int) -> None:
        """Run and note the losses, all read at the end, as they would be if nobody looked."""
        start = time.perf_counter()
        losses = [self.step(i) for i in range(steps)]
        self.losses = [loss.item() for loss in losses]
        self.done = steps
        self.first_seconds = time.perf_counter() - start


def warm_up(runner: Runner, counter: CompileCounter, at_least: int, quiet: float, limit: float) -> bool:
    """Run until nothing has been compiled for ``quiet`` seconds; False if that took longer than ``limit`` seconds."""
    if runner.name == TORCH:
        runner.run(max(at_least, 3))
        return True
    start = changed = time.perf_counter()
    count, steps = counter.count, 0
    while True:
        runner.run(5)
        steps += 5
        now = time.perf_counter()
        if counter.count != count:
            count, changed = counter.count, now
        if steps >= at_least and now - changed >= quiet:
            return True
        if now - start >= limit:
            return False


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int = 15
    round_seconds: float = 0.25
    quiet: float = 2.0  # seconds without a compilation that end the warm-up
    limit: float = 60.0
    checked: int = 10  # steps whose losses are compared


QUICK = Effort(rounds=5, round_seconds=0.05, quiet=0.5, limit=20.0, checked=5)


def disagreement(runners: list[Runner]) -> tuple[float, str]:
    """Largest relative difference between losses of the first steps, and from which pair of variants."""
    worst, who = 0.0, ""
    reference = next((r for r in runners if r.name == "jax"), runners[0])
    for runner in runners:
        for ours, theirs in zip(runner.losses, reference.losses, strict=True):
            difference = abs(ours - theirs) / max(abs(theirs), 1e-6)
            if math.isnan(difference):
                difference = math.inf
            if difference > worst:
                worst, who = difference, f"{runner.name} / {reference.name}"
    return worst, who


def measure(
    workload: Workload, variants: list[str], counter: CompileCounter, effort: Effort, say: Callable[[str], None]
) -> dict[str, Any]:
    """Time the variants in turns.  Returns a dict ready for JSON; see ``benchmarks/README.md`` for its fields."""
    problem = workload.problem()
    runners = []
    for name in variants:
        say(f"{workload.name}: warming up {name}")
        runner = Runner(name, build(workload, name, problem))
        runner.first_steps(effort.checked)
        runners.append(runner)
    at_least = len(problem.batches[:40])
    unsettled = [r.name for r in runners if not warm_up(r, counter, at_least, effort.quiet, effort.limit)]

    # Every variant runs the same number of steps in a round: as many as fill it with the slowest of the main ones.
    slowest = max(runner.run(3) / 3 for runner in runners if runner.name in (PYTORCHLIKE, "jax", TORCH))
    steps = max(3, min(400, round(effort.round_seconds / slowest)))
    for turn in range(effort.rounds):
        say(f"{workload.name}: round {turn + 1} of {effort.rounds}, {steps} steps each")
        order = runners[turn % len(runners) :] + runners[: turn % len(runners)]
        for runner in order:
            gc.collect()
            time.sleep(0.01)  # idle threads of the one before stop spinning
            runner.run(1)
            compiles = counter.count
            runner.seconds.append(runner.run(steps) / steps)
            if runner.name != TORCH:
                runner.compiles += counter.count - compiles

    difference, who = disagreement(runners)
    by_name = {runner.name: runner for runner in runners}
    result: dict[str, Any] = {
        "workload": workload.name,
        "about": workload.about,
        "steps_per_round": steps,
        "rounds": effort.rounds,
        "step_ms": {r.name: 1e3 * statistics.median(r.seconds) for r in runners},
        "step_ms_min": {r.name: 1e3 * min(r.seconds) for r in runners},
        "first_steps_s": {r.name: r.first_seconds for r in runners},
        "compiles": {r.name: r.compiles for r in runners if r.name != TORCH},
        "losses": {r.name: r.losses for r in runners},
        "loss_difference": difference,
        "loss_difference_between": who,
        "losses_agree": difference <= workload.tolerance,
        "unsettled": unsettled,
        "ratios": {},
    }
    for top, bottom in ((PYTORCHLIKE, "jax"), (PYTORCHLIKE, TORCH), ("jax", TORCH)):
        if top in by_name and bottom in by_name:
            pairs = zip(by_name[top].seconds, by_name[bottom].seconds, strict=True)
            result["ratios"][f"{top}/{bottom}"] = statistics.median(a / b for a, b in pairs)
    return result
