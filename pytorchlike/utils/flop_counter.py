"""``torch.utils.flop_counter``: floating-point operations of a piece of a program, by module and operation."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Self

from .._dispatch.operators import Packet, aten
from ..nn import Module
from ..tensor import Tensor
from . import _pytree as pytree
from ._python_dispatch import TorchDispatchMode
from .module_tracker import ModuleTracker

__all__ = ["FlopCounterMode", "flop_registry", "register_flop_formula"]

#: By operator: a function of its arguments, with ``out_val=`` its result, that gives the number of operations.
flop_registry: dict[Any, Callable[..., int]] = {}


def _shape_of(x: Any) -> Any:
    return x.shape if isinstance(x, Tensor) else x


def shape_wrapper(f: Callable[..., int]) -> Callable[..., int]:
    """A formula on shapes as one on tensors; it gets the shapes of the results as ``out_shape=``."""

    def count(*args: Any, out_val: Any = None, **kwargs: Any) -> int:
        args, kwargs, out = pytree.tree_map(_shape_of, (args, kwargs, out_val))
        return f(*args, out_shape=out, **kwargs)

    return count


def register_flop_formula(targets: Any, get_raw: bool = False) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """A decorator: ``f(*shapes and other arguments, out_shape=…)`` counts these operators (``torch.ops.aten.mm``).

    get_raw: it is given the tensors themselves, and the result as ``out_val=``. Raises ValueError for something that is
    no operator, RuntimeError if it has a formula already.
    """

    def enter(formula: Callable[..., int]) -> Callable[..., int]:
        count = formula if get_raw else shape_wrapper(formula)
        for target in targets if isinstance(targets, (list, tuple)) else [targets]:
            if not isinstance(target, Packet):
                raise ValueError(f"register_flop_formula(targets): expected each target to be OpOverloadPacket (i.e. "
                                 f"torch.ops.mylib.foo), got {target} which is of type {type(target)}")  # fmt: skip
            if target in flop_registry:
                raise RuntimeError(f"duplicate registrations for {target}")
            flop_registry[target] = count
        return formula

    return enter


@register_flop_formula(aten.mm)
def mm_flop(a_shape: Any, b_shape: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """Of a product (m, k) by (k, n)."""
    (m, k), (_, n) = a_shape, b_shape
    return 2 * m * n * k


@register_flop_formula(aten.addmm)
def addmm_flop(self_shape: Any, a_shape: Any, b_shape: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """Of a product that is added to something; the sum is not counted."""
    return mm_flop(a_shape, b_shape)


@register_flop_formula(aten.bmm)
def bmm_flop(a_shape: Any, b_shape: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """Of products (b, m, k) by (b, k, n)."""
    return a_shape[0] * mm_flop(a_shape[1:], b_shape[1:])


@register_flop_formula(aten.baddbmm)
def baddbmm_flop(self_shape: Any, a_shape: Any, b_shape: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """Of products that are added to something."""
    return bmm_flop(a_shape, b_shape)


def conv_flop_count(x_shape: Sequence[int], w_shape: Sequence[int], out_shape: Sequence[int],
                    transposed: bool = False) -> int:  # fmt: skip
    """Of a convolution of x (n, c, *) with weights (o, c, *): two for each multiply-add."""
    places = (x_shape if transposed else out_shape)[2:]
    return 2 * x_shape[0] * math.prod(w_shape) * math.prod(places)


@register_flop_formula(aten.convolution)
def conv_flop(x_shape: Any, w_shape: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool,
              *args: Any, out_shape: Any = None, **kwargs: Any) -> int:  # fmt: skip
    """Of a convolution; the bias is not counted."""
    return conv_flop_count(x_shape, w_shape, out_shape, transposed)


@register_flop_formula(aten.convolution_backward)
def conv_backward_flop(
    grad_out_shape: Any, x_shape: Any, w_shape: Any, bias: Any, stride: Any, padding: Any, dilation: Any,
    transposed: bool, output_padding: Any, groups: int, output_mask: Any, out_shape: Any = None,
) -> int:  # fmt: skip
    """Of the gradients of a convolution that are asked for: as many multiply-adds each as the convolution has."""
    places = (x_shape if transposed else grad_out_shape)[2:]
    each = 2 * x_shape[0] * math.prod(w_shape) * math.prod(places)
    return each * (bool(output_mask[0]) + bool(output_mask[1]))


def sdpa_flop_count(query_shape: Any, key_shape: Any, value_shape: Any) -> int:
    """Of attention: the scores, and the weighted sum of the values; masks make no difference."""
    b, h, q, d = query_shape
    k, v = key_shape[-2], value_shape[-1]
    return bmm_flop((b * h, q, d), (b * h, d, k)) + bmm_flop((b * h, q, k), (b * h, k, v))


@register_flop_formula(aten._scaled_dot_product_flash_attention_for_cpu)
def sdpa_flop(query_shape: Any, key_shape: Any, value_shape: Any, *args: Any, out_shape: Any = None,
              **kwargs: Any) -> int:  # fmt: skip
    """Of attention (PyTorch counts that of CUDA's kernels so, and that of the CPU's not at all)."""
    return sdpa_flop_count(query_shape, key_shape, value_shape)


@register_flop_formula(aten._scaled_dot_product_flash_attention_for_cpu_backward)
def sdpa_backward_flop(grad_out_shape: Any, query_shape: Any, key_shape: Any, value_shape: Any, *args: Any,
                       out_shape: Any = None, **kwargs: Any) -> int:  # fmt: skip
    """Of its gradient: the scores once more, and two products for each of the two of the forward pass."""
    b, h, q, d = query_shape
    k, v = key_shape[-2], value_shape[-1]
    scores, values = 2 * b * h * q * k * d, 2 * b * h * q * k * v
    return 3 * scores + 2 * values


class FlopCounterMode(TorchDispatchMode):
    """Counts the operations of a block, forward and backward: a context manager.

    Only matrix products, convolutions and attention count, two for each multiply-add.

    mods:     ignored, as by PyTorch: modules are found by themselves.
    depth:    of the modules that the table shows.   display: print the table at the end.
    custom_mapping: by operator, formulas to use beside, or in place of, those of ``flop_registry``.
    """

    def __init__(self, mods: Module | list[Module] | None = None, depth: int = 2, display: bool = True,
                 custom_mapping: dict[Any, Callable[..., int]] | None = None) -> None:  # fmt: skip
        super().__init__()
        if mods is not None:
            warnings.warn("FlopCounterMode: mods is not needed any more, all modules are found", stacklevel=2)
        self.depth, self.display = depth, display
        self.flop_counts: dict[str, dict[Any, int]] = defaultdict(lambda: defaultdict(int))
        custom = custom_mapping or {}
        self.flop_registry = {
            **flop_registry,
            **{k: v if getattr(v, "_get_raw", False) else shape_wrapper(v) for k, v in custom.items()},
        }
        self.mod_tracker = ModuleTracker()

    def __enter__(self) -> Self:
        self.flop_counts.clear()
        self.mod_tracker.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.mod_tracker.__exit__()
        if self.display and (not error or error[0] is None):
            print(self.get_table(self.depth))

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = self.flop_registry.get(func.overloadpacket)
        if formula is not None:
            n = formula(*args, **kwargs, out_val=out)
            for name in self.mod_tracker.parents:
                self.flop_counts[name][func.overloadpacket] += n
        return out

    def get_total_flops(self) -> int:
        """Of all operations."""
        return sum(self.flop_counts["Global"].values())

    def get_flop_counts(self) -> dict[str, dict[Any, int]]:
        """By module ("Global": everywhere) and operator (``torch.ops.aten.mm`` …)."""
        return {name: dict(counts) for name, counts in self.flop_counts.items()}

    def get_table(self, depth: int | None = None) -> str:
        """The counts as text."""
        depth = self.depth if depth is None else depth
        total = max(self.get_total_flops(), 1)
        rows = [("Module", "FLOP", "% Total")]
        for name in sorted(self.flop_counts, key=lambda n: (n != "Global", n)):
            level = name.count(".") + (name != "Global")
            if level <= depth:
                counts = self.flop_counts[name]
                flops = sum(counts.values())
                rows.append((" " * level + name, f"{flops:,}", f"{100 * flops / total:.2f}%"))
                rows += [(" " * level + f" - {op}", f"{n:,}", f"{100 * n / total:.2f}%") for op, n in counts.items()]
        widths = [max(len(row[k]) for row in rows) for k in range(3)]
        lines = [f"{a.ljust(widths[0])}  {b.rjust(widths[1])}  {c.rjust(widths[2])}" for a, b, c in rows]
        return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])
