"""The modules that a Python source imports, read off its syntax tree."""

from __future__ import annotations

import ast

__all__ = ["find_files_source_depends_on"]


class _Imports(ast.NodeVisitor):
    def __init__(self, package: str) -> None:
        self.package = package
        self.found: dict[tuple[str, str | None], None] = {}

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.found[alias.name, None] = None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = self.package
        if node.level:
            parts = base.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1])
            module = f"{base}.{node.module}" if node.module else base
        else:
            module = node.module or ""
        for alias in node.names:
            self.found[module, alias.name if alias.name != "*" else None] = None

    def visit_Call(self, node: ast.Call) -> None:
        named = isinstance(node.func, ast.Name) and node.func.id == "__import__"
        if named and node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
            self.found[node.args[0].value, None] = None
        self.generic_visit(node)


def find_files_source_depends_on(src: str, package: str) -> list[tuple[str, str | None]]:
    """(module, name imported from it or None) of each import in ``src``, relative ones resolved within ``package``."""
    visitor = _Imports(package)
    visitor.visit(ast.parse(src))
    return list(visitor.found)
