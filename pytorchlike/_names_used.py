"""``python -m pytorchlike check``: which names of torch a program uses that are missing here, or differ."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ._hook import ROOTS, ours

__all__ = ["Finding", "check_file", "check_files", "find"]

#: What exists but does not do all that PyTorch's does. ``*`` stands for everything below a name.
DIFFERS = {
    "torch.jit.script": "returns the function or module itself: programs are compiled without it",
    "torch.jit.trace": "returns the function or module itself: programs are compiled without it",
    "torch.jit.save": "raises: there is no TorchScript",
    "torch.jit.load": "raises: there is no TorchScript",
    "torch.jit._get_trace_graph": "raises: there is no TorchScript",
    "torch.cuda.graph": "raises: recorded programs take the place of CUDA graphs",
    "torch.cuda.CUDAGraph": "raises: recorded programs take the place of CUDA graphs",
    "torch.cuda.make_graphed_callables": "raises: recorded programs take the place of CUDA graphs",
    "torch.cuda.reset_peak_memory_stats": "warns: XLA's allocator keeps its peaks",
    "torch.cuda.set_per_process_memory_fraction": "raises: set XLA_PYTHON_CLIENT_MEM_FRACTION instead",
    "torch.utils.cpp_extension.*": "raises: C++ extensions need PyTorch's binary interface",
    "torch.utils.mobile_optimizer.*": "raises: there is no TorchScript",
    "torch.autograd.set_detect_anomaly": "values do not change under the tape; see torch.autograd",
    "torch.set_num_threads": "warns unless it is what XLA uses",
    "torch.set_flush_denormal": "returns False: XLA does not let it be chosen",
    "torch.complex32": "does not exist; complex64 is used",
}
#: Methods of tensors that differ; found by name, whatever they are called on.
METHODS = {
    "to_mkldnn": "raises: XLA has no layout of that kind",
}


class Finding(NamedTuple):
    """A use of a name: where, which, 'missing' or 'differs', and how."""

    file: str
    line: int
    name: str
    kind: str
    why: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.name} {self.kind}{': ' if self.why else ''}{self.why}"


class _Names(ast.NodeVisitor):
    """Full names of torch's that a file uses, with their lines; aliases are followed in the order of the text."""

    def __init__(self) -> None:
        self.aliases: dict[str, str] = {}
        self.used: list[tuple[int, str]] = []
        self.methods: list[tuple[int, str]] = []

    def visit_Import(self, node: ast.Import) -> None:
        for item in node.names:
            root = item.name.partition(".")[0]
            if root in ROOTS:
                self.used.append((node.lineno, item.name))
                self.aliases[item.asname or root] = item.name if item.asname else root

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if node.level or module.partition(".")[0] not in ROOTS:
            return
        for item in node.names:
            if item.name == "*":
                self.used.append((node.lineno, module))
                continue
            full = f"{module}.{item.name}"
            self.used.append((node.lineno, full))
            self.aliases[item.asname or item.name] = full

    def visit_Attribute(self, node: ast.Attribute) -> None:
        parts, at = [node.attr], node.value
        while isinstance(at, ast.Attribute):
            parts.append(at.attr)
            at = at.value
        root = self.aliases.get(at.id) if isinstance(at, ast.Name) else None
        if root is not None:
            self.used.append((node.lineno, ".".join((root, *reversed(parts)))))
            return
        if node.attr in METHODS:
            self.methods.append((node.lineno, node.attr))
        self.visit(node.value)


def find(name: str) -> str | None:
    """The shortest beginning of a full name of torch's that is missing here; None if it is all there.

    What lies below a class or function is not looked at beyond its own attributes.
    """
    parts = name.split(".")
    for used in range(1, len(parts) + 1):
        here = ".".join(parts[:used])
        if used == 1:
            target = ours(here)
            try:
                found = importlib.import_module(target)  # type: ignore[arg-type]
            except ModuleNotFoundError:
                return here
            continue
        try:
            found = getattr(found, parts[used - 1])
        except AttributeError:
            try:
                found = importlib.import_module(ours(here))  # type: ignore[arg-type]
            except ImportError:
                return here
        if not isinstance(found, (type(sys), type)):
            return None
    return None


def _differs(name: str) -> tuple[str, str] | None:
    for known, why in DIFFERS.items():
        stem = known.removesuffix(".*")
        if name == stem or name.startswith(stem + "."):
            return stem, why
    return None


def check_file(path: str) -> Iterator[Finding]:
    """Findings of one file, by line. Raises OSError and SyntaxError."""
    names = _Names()
    names.visit(ast.parse(Path(path).read_bytes(), path))
    told: set[tuple[int, str]] = set()
    found = []
    for line, name in names.used:
        missing = find(name)
        differs = _differs(name)
        if missing is not None:
            found.append(Finding(path, line, missing, "is missing", ""))
        elif differs is not None:
            found.append(Finding(path, line, differs[0], "differs", differs[1]))
    found += [Finding(path, line, f"Tensor.{name}", "differs", METHODS[name]) for line, name in names.methods]
    for item in sorted(found, key=lambda f: (f.line, f.name)):
        if (item.line, item.name) not in told:
            told.add((item.line, item.name))
            yield item


def check_files(paths: list[str]) -> int:
    """Print the findings of files (and of all Python files below directories); 1 if a name is missing, 2 for errors."""
    if not paths:
        print("python -m pytorchlike check: which files?", file=sys.stderr)
        return 2
    files = [
        str(file) for path in paths for file in (sorted(Path(path).rglob("*.py")) if Path(path).is_dir() else [path])
    ]
    status = count = 0
    for file in files:
        try:
            for item in check_file(file):
                print(item)
                count += 1
                status = max(status, int(item.kind == "is missing"))
        except (OSError, SyntaxError) as error:
            print(f"{file}: {error}", file=sys.stderr)
            status = 2
    if not count and status == 0:
        print(f"{len(files)} file{'s' * (len(files) != 1)}: every name of torch that is used is here")
    return status
