"""``torch._logging``: what is told of compilations while a program runs, as ``TORCH_LOGS`` or ``set_logs`` say.

There are two things to tell here: ``recompiles``, each compilation with its cause, and ``graph_breaks``, why a compiled
function cannot be replayed.  They go to the logger ``torch.recompiles`` and ``torch.graph_breaks``, which write to
stderr unless logging is configured.  The other names of PyTorch's concern parts that do not exist (Dynamo, Inductor …):
they are accepted with a warning.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from ..engine import stats
from ..engine.errors import describe, warn
from ..engine.stats import Event, Observer

__all__ = ["getArtifactLogger", "set_logs", "warning_once"]

_KNOWN = ("recompiles", "graph_breaks")
#: PyTorch's other names, for parts that do not exist here.
_ABSENT = frozenset((
    "aot", "aot_graphs", "aot_joint_graph", "autograd", "autotuning", "benchmarking", "bytecode", "c10d", "caching",
    "compiled_autograd", "compiled_autograd_verbose", "compute_dependencies", "cudagraph_static_inputs", "cudagraphs",
    "ddp", "ddp_graphs", "distributed", "dtensor", "dynamic", "dynamo", "export", "fsdp", "fusion", "graph",
    "graph_code", "graph_code_verbose", "graph_region_expansion", "graph_sizes", "guards", "hierarchical_compile",
    "incremental", "inductor", "inductor_metrics", "ir_post_fusion", "ir_pre_fusion", "kernel_code", "onnx",
    "onnx_diagnostics", "output_code", "overlap", "perf_hints", "post_grad_graphs", "pre_grad_graphs",
    "recompiles_verbose", "schedule", "side_effects", "sym_node", "trace_bytecode", "trace_call", "trace_source",
))  # fmt: skip


class _Teller(Observer):
    def compiled(self, event: Event) -> None:
        if event.kind != "program" or event.cause.kind == "first":
            return
        _logger("recompiles").info(
            "Recompiling %d operations (%.2f s), executed at %s because %s\n    cause: %s: %s, at %s",
            event.operations, event.seconds, describe(event.ended), event.why, event.cause.kind, event.cause.text,
            describe(event.cause.location),
        )  # fmt: skip


_teller = _Teller()


def _logger(name: str) -> logging.Logger:
    return logging.getLogger(f"torch.{name}")


def _show(name: str, on: bool) -> None:
    logger = _logger(name)
    logger.setLevel(logging.INFO if on else logging.WARNING)
    if on and not logger.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("[%(name)s] %(message)s"))
        logger.addHandler(handler)


def set_logs(*, all: int | None = None, recompiles: bool = False, graph_breaks: bool = False,
             modules: dict[str, int | bool] | None = None, **others: Any) -> None:  # fmt: skip
    """Choose what is told; everything that is not named is switched off.  See the module.

    all:  a level; INFO or below tells everything.
    Raises:  TypeError for a name that PyTorch does not know either.
    """
    for name in others:
        if name not in _ABSENT:
            raise TypeError(f"set_logs() got an unexpected keyword argument '{name}'")
    idle = [name for name, value in others.items() if value] + ["modules"] * bool(modules)
    if idle:
        warn(f"set_logs: nothing to tell of {', '.join(sorted(idle))} here; there are {', '.join(_KNOWN)}")
    every = all is not None and all <= logging.INFO
    if _teller in stats.observers:
        stats.observers.remove(_teller)
    if recompiles or every:
        stats.observers.append(_teller)
    _show("recompiles", recompiles or every)
    _show("graph_breaks", graph_breaks or every)


def from_environment(text: str) -> None:
    """Obey ``TORCH_LOGS``: names with commas between them, each with '+' or '-' before it or not.

    Raises:  ValueError for a name that PyTorch does not know either.
    """
    names = [word.strip() for word in text.split(",") if word.strip()]
    wanted = {name.lstrip("+") for name in names if not name.startswith("-")}
    unknown = sorted(wanted - {"all", "help", *_KNOWN, *_ABSENT})
    if unknown:
        raise ValueError(f"TORCH_LOGS: unknown {unknown[0]!r}; here there are {', '.join(_KNOWN)}")
    if "help" in wanted:
        print(__doc__)
    verbose = "recompiles_verbose" in wanted
    chosen: dict[str, Any] = dict.fromkeys(wanted - {"all", "help", "recompiles_verbose"}, True)
    set_logs(all=logging.INFO if "all" in wanted else None, **{**chosen, **({"recompiles": True} if verbose else {})})


def getArtifactLogger(module_qname: str, artifact_name: str) -> logging.Logger:
    """The logger for one of the names that :func:`set_logs` takes."""
    if artifact_name not in _KNOWN and artifact_name not in _ABSENT:
        raise ValueError(f"getArtifactLogger: unknown {artifact_name!r}")
    return _logger(artifact_name)


@functools.lru_cache(1024)
def warning_once(logger: logging.Logger, *args: Any, **kwargs: Any) -> None:
    """``logger.warning(...)``, once for the same arguments."""
    logger.warning(*args, **kwargs)
