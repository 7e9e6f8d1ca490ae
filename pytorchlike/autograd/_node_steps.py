"""Which steps of a backward graph PyTorch has for what is one operation here."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..engine.trie import Call


def arguments_of(call: Call) -> dict[str, Any]:
    """Static arguments of a call by name; tensors as their metas."""
    metas = iter(call.metas)
    return arguments(call, tuple([next(metas) if type(i) is int else i for i in call.ins]))


def arguments(call: Call, args: tuple) -> dict[str, Any]:
    """Arguments of a call by name; ``args`` stand for those that are not static."""
    bind = getattr(call.op.info, "bind", None)
    if bind is None:
        return {}
    try:
        return bind(call.static, args)
    except Exception:  # an operation made of others has another layout; its plain name will do
        return {}


class Step(NamedTuple):
    """A step by its name, and what it leads on to: steps, arguments of the operation by number, None for nothing."""

    name: str
    after: tuple


def step(stem: str, *after: Any, number: int = 0) -> Step:
    return Step(f"{stem}Backward{number}", after)


def _product(a: Any, b: Any, ndims: tuple[int, int]) -> Step | None:
    """``a @ b``, of which only the last two dims are multiplied: the others are folded, or those of both expanded."""
    m, n = ndims
    if m == n == 1:
        return step("Dot", a, b)
    if m == 1 and n == 2:
        return step("Squeeze", step("Mm", step("Unsqueeze", a), b), number=4)
    if m == 2 and n <= 2:
        return step("Mv" if n == 1 else "Mm", a, b)
    if n <= 2:
        return step("UnsafeView", step("Mv" if n == 1 else "Mm", step("View", a), b))
    if m == 2:
        folded = step("Mm", step("View", step("Transpose", b)), step("T", a))
        return step("Clone", step("Transpose", step("UnsafeView", folded)))
    if m == 1:
        return None
    return step("UnsafeView", step("Bmm", step("View", step("Expand", a)), step("View", step("Expand", b))))


def _matmul(call: Call) -> Step | None:
    return _product(0, 1, tuple([m.ndim for m in call.metas])[:2])


def _linear(call: Call) -> Step:
    """Rows of ``input`` times the turned weight; a bias is added in the same step, if the weight is a matrix."""
    n, of_weight = [m.ndim for m in call.metas[:2]]
    weight = step("T", 1)
    if len(call.metas) < 3:
        return _product(0, weight, (n, of_weight))
    if of_weight == 1:
        return step("Add", _product(0, weight, (n, 1)), 2)
    if n == 2:
        return step("Addmm", 2, 0, weight)
    return step("View", step("Addmm", 2, step("View", 0), weight))


def _bilinear(call: Call) -> Step:
    product = step("Trilinear", 0, 2, 1)
    if call.metas[0].ndim != 2:
        product = step("View", step("Trilinear", *[step("View", i) if i != 2 else i for i in (0, 2, 1)]))
    return product if len(call.metas) < 4 else step("Add", product, 3)


def _getitem(call: Call) -> Step:
    """Basic indexing goes from dim to dim; the last one gives the name. One slice is a step also if it takes all."""
    spec = arguments_of(call).get("spec", call.static)
    found: Any = step("Slice", 0) if type(spec) is tuple and spec[-1:] == (":",) and {*spec} == {":"} else 0
    for item in spec if type(spec) is tuple else ():
        if item != ":":
            found = step("Select" if item == "i" else "Unsqueeze" if item is None else "Slice", found)
    return found if found != 0 else step("Alias", 0)


def _where(call: Call) -> Step:
    """Both choices, of which one may be a number."""
    at = iter(range(len(call.metas)))
    return step("Where", *[next(at) if type(i) is int else None for i in call.ins][1:])


def _convolution(call: Call) -> Step:
    bias = 2 if len(call.metas) > 2 else None
    if call.metas[0].ndim == call.metas[1].ndim:
        return step("Convolution", 0, 1, bias)
    return step("Squeeze", step("Convolution", step("Unsqueeze", 0), 1, bias), number=1)  # one image


#: Operation -> its steps, given a call.
STEPS: dict[str, Any] = {
    "matmul": _matmul,
    "linear": _linear,
    "bilinear": _bilinear,
    "getitem": _getitem,
    "where": _where,
    "rdiv": lambda call: step("Mul", step("Reciprocal", 0), None) if len(call.metas) == 1 else None,
} | dict.fromkeys([f"conv{t}{d}d" for t in ("", "_transpose") for d in (1, 2, 3)], _convolution)
STEPS |= dict.fromkeys(["dropout", "dropout1d", "dropout2d", "dropout3d"], lambda call: step("Mul", 0, None))

__all__ = ["STEPS", "Step", "arguments", "arguments_of", "step"]
