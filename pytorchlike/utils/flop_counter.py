"""``torch.utils.flop_counter``: floating-point operations of a piece of a program, by module and operation."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, Self

from ..engine.scope import settle
from ..nn import Module
from ..nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from ._shapes import Costs

__all__ = ["FlopCounterMode"]


class FlopCounterMode:
    """Counts what is recorded in a block: a context manager. Only matrix products and convolutions count, two for each
    multiply-add. Reverse passes are not counted: they are one recorded step, made of operations only when it is run.

    mods:     ignored by PyTorch as well; modules are found by themselves.
    depth:    of the modules that the table shows.   display: print the table at the end.
    """

    def __init__(self, mods: Module | list[Module] | None = None, depth: int = 2, display: bool = True,
                 custom_mapping: dict | None = None) -> None:  # fmt: skip
        if custom_mapping:
            raise NotImplementedError("FlopCounterMode: costs are found from the operations' own formulas")
        self.depth, self.display = depth, display
        self.flop_counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._stack: list[str] = ["Global"]

    def __enter__(self) -> Self:
        self.flop_counts.clear()
        self._stack = ["Global"]
        self._names: dict[int, str] = {}
        self._scope = Costs(self._add)
        self._hooks = [register_module_forward_pre_hook(self._enter), register_module_forward_hook(self._leave)]
        self._scope.open()
        return self

    def __exit__(self, *error: Any) -> None:
        self._scope.close()
        for hook in self._hooks:
            hook.remove()
        if self.display and error[0] is None:
            print(self.get_table(self.depth))

    def _add(self, op: str, flops: int) -> None:
        for name in dict.fromkeys(self._stack):
            self.flop_counts[name][f"aten.{op}"] += flops

    def _enter(self, module: Module, args: Any) -> None:
        settle()
        if id(module) not in self._names:
            top = type(module).__name__
            for name, m in module.named_modules():
                self._names.setdefault(id(m), f"{top}.{name}" if name else top)
        self._stack.append(self._names[id(module)])

    def _leave(self, module: Module, args: Any, result: Any) -> None:
        settle()
        self._stack.pop()

    def get_total_flops(self) -> int:
        """Of all operations."""
        return sum(self.flop_counts["Global"].values())

    def get_flop_counts(self) -> dict[str, dict[str, int]]:
        """By module ('Global': everywhere) and operation."""
        return {name: dict(counts) for name, counts in self.flop_counts.items()}

    def get_table(self, depth: int | None = None) -> str:
        """The counts as text."""
        depth = self.depth if depth is None else depth
        total = max(self.get_total_flops(), 1)
        rows = [("Module", "FLOP", "% Total")]
        for name, counts in self.flop_counts.items():
            level = name.count(".") + (name != "Global")
            if level <= depth:
                flops = sum(counts.values())
                rows.append((" " * level + name, f"{flops:,}", f"{100 * flops / total:.2f}%"))
                rows += [(" " * level + f" - {op}", f"{n:,}", f"{100 * n / total:.2f}%") for op, n in counts.items()]
        widths = [max(len(row[k]) for row in rows) for k in range(3)]
        lines = [f"{a.ljust(widths[0])}  {b.rjust(widths[1])}  {c.rjust(widths[2])}" for a, b, c in rows]
        return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])
