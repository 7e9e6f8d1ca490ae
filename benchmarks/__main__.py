"""Command line of the benchmarks: see ``benchmarks/README.md``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from importlib import metadata
from typing import Any

from . import fresh
from .harness import PYTORCHLIKE, QUICK, TORCH, CompileCounter, Effort, cpus, measure, variants_of
from .workloads import WORKLOADS


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    versions = {}
    for name in ("pytorchlike", "jax", "jaxlib", "optax", "numpy", "torch"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpus": cpus(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "versions": versions,
    }


def say(text: str) -> None:
    """Progress, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def table(head: list[str], rows: list[list[str]]) -> str:
    """Left-aligned first column, the others right-aligned."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = []
    for row in [head, ["-" * width for width in widths], *rows]:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells))
    return "\n".join(lines)


def number(value: float | None, digits: int = 2, unit: str = "") -> str:
    return "-" if value is None else f"{value:.{digits}f}{unit}"


def show_warm(results: list[dict[str, Any]]) -> None:
    ratios = [f"{PYTORCHLIKE}/jax", f"{PYTORCHLIKE}/{TORCH}", f"jax/{TORCH}"]
    present = [ratio for ratio in ratios if any(ratio in r["ratios"] for r in results)]
    main = [name for name in (PYTORCHLIKE, "jax", TORCH) if any(name in r["step_ms"] for r in results)]
    rows = []
    for r in results:
        row = [r["workload"], *(number(r["step_ms"].get(name), 3) for name in main)]
        row += [number(r["ratios"].get(ratio)) for ratio in present]
        row.append(str(r["compiles"].get(PYTORCHLIKE, "-")))
        row.append(f"{r['loss_difference']:.0e}" + ("" if r["losses_agree"] else " !"))
        rows.append(row)
    print("\nTime of a training step (median, ms) and ratios (median over rounds)\n")
    print(table(["workload", *main, *present, "compiles", "loss diff"], rows))
    for r in results:
        for name in r["step_ms"].keys() - set(main):
            print(f"{r['workload']}: {name} takes {r['step_ms'][name]:.3f} ms")
        if r["unsettled"]:
            print(f"{r['workload']}: still compiling at the end of the warm-up: {', '.join(r['unsettled'])}")
        if not r["losses_agree"]:
            print(f"{r['workload']}: LOSSES DISAGREE ({r['loss_difference_between']}): the times say nothing")


def show_cold(results: dict[str, dict[str, Any]]) -> None:
    rows = []
    for workload, variants in results.items():
        for variant, r in variants.items():
            cells = [number(r[state][key], 1) for state in ("empty", "warm") for key in ("step_1_s", "step_20_s")]
            rows.append([workload, variant, *cells])
    print("\nSeconds from process start to the end of a step, compilation cache empty and warm\n")
    print(table(["workload", "variant", "empty: step 1", "step 20", "warm: step 1", "step 20"], rows))


def show_memory(results: dict[str, dict[str, Any]]) -> None:
    rows = []
    for workload, variants in results.items():
        base = variants.get("jax", {}).get("peak_mb")
        for variant, r in variants.items():
            ratio = r["peak_mb"] / base if base else None
            cells = [number(r["peak_mb"], 0), number(ratio), str(r["steps"]), number(r["growth_mb"], 1)]
            rows.append([workload, variant, *cells])
    print("\nMemory of a process: peak resident size (MB), ratio to jax, growth in the second half of the steps (MB)\n")
    print(table(["workload", "variant", "peak", "/ jax", "steps", "growth"], rows))


def show_recording(result: dict[str, Any]) -> None:
    print("\nRecording, nothing executed (microseconds for each recorded operation)\n")
    rows = [[name, str(r["ops"]), number(r["us_per_op"]), number(r["us_per_op_min"])] for name, r in result.items()]
    print(table(["loop", "operations", "median", "least"], rows))


def show_depth(result: dict[str, Any]) -> None:
    print("\nBy the number of layers: seconds of the first 6 steps, no cache; then milliseconds of a step\n")
    names = list(next(iter(result.values())))
    rows = [
        [layers, *(number(r[name]["first_s"], 1) for name in names), *(number(r[name]["step_ms"], 2) for name in names)]
        for layers, r in result.items()
    ]
    print(table(["layers", *(f"{n}: first" for n in names), *(f"{n}: step" for n in names)], rows))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=WORKLOADS, help="this workload (may be repeated)")
    parser.add_argument("--variants", help="comma-separated: pytorchlike, jax, torch, or a workload's further ones")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: a check, not a measurement")
    parser.add_argument("--cold", action="store_true", help="start-up times in fresh processes instead")
    parser.add_argument("--memory", action="store_true", help="memory in fresh processes instead")
    parser.add_argument("--steps", type=int, help="steps of a --memory run (default 2000, with --quick 100)")
    parser.add_argument("--recording", action="store_true", help="cost of recording an operation instead")
    parser.add_argument("--depth", action="store_true", help="networks of 10 to 300 layers instead")
    parser.add_argument("--json", metavar="FILE", help="also write all figures to this file")
    args = parser.parse_args()

    names = args.only or list(WORKLOADS)
    asked = args.variants.split(",") if args.variants else None
    known = {PYTORCHLIKE, TORCH, *(name for workload in WORKLOADS.values() for name in workload.jax_loops)}
    if asked and (unknown := set(asked) - known):
        parser.error(f"unknown variant {', '.join(sorted(unknown))}: choose from {', '.join(sorted(known))}")

    def chosen(name: str) -> list[str]:
        return [v for v in variants_of(WORKLOADS[name]) if asked is None or v in asked]

    report: dict[str, Any] = {"machine": machine()}
    about = report["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items() if v)
    print(f"{about['cpus']} CPUs, load {number(about['load'], 1)}, Python {about['python']}, {versions}")
    failed = False

    if args.recording:
        from .recording import measure_recording

        report["recording"] = measure_recording(repeats=5 if args.quick else 30)
        show_recording(report["recording"])
    elif args.depth:
        from .depth import LAYERS, measure_depth

        report["depth"] = measure_depth(LAYERS[:2] if args.quick else LAYERS, asked=asked)
        show_depth(report["depth"])
    elif args.cold or args.memory:
        results: dict[str, dict[str, Any]] = {}
        for name in names:
            results[name] = {}
            for variant in chosen(name):
                say(f"{name} on {variant}, in a process of its own")
                if args.cold:
                    results[name][variant] = fresh.cold(name, variant, repeats=1 if args.quick else 3)
                else:
                    steps = args.steps or (100 if args.quick else 2000)
                    results[name][variant] = fresh.memory(name, variant, steps)
        say("")
        report["cold" if args.cold else "memory"] = results
        (show_cold if args.cold else show_memory)(results)
    else:
        counter, effort = CompileCounter(), QUICK if args.quick else Effort()
        report["warm"] = []
        for name in names:
            variants = chosen(name)
            if variants:
                report["warm"].append(measure(WORKLOADS[name], variants, counter, effort, say))
        say("")
        show_warm(report["warm"])
        failed = not all(r["losses_agree"] for r in report["warm"])

    if args.json:
        with open(args.json, "w") as file:
            json.dump(report, file, indent=1)
        print(f"\nall figures are in {args.json}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
