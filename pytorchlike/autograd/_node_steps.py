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


def _step(stem: str, *after: Any, number: int = 0) -> Step:
    return Step(f"{stem}Backward{number}", after)


def _product(a: Any, b: Any, ndims: tuple[int, int]) -> Step | None:
    """``a @ b``, of which only the last two dims are multiplied: the others are folded, or those of both expanded."""
    m, n = ndims
    if m == n == 1:
        return _step("Dot", a, b)
    if m == 1 and n == 2:
        return _step("Squeeze", _step("Mm", _step("Unsqueeze", a), b), number=4)
    if m == 2 and n <= 2:
        return _step("Mv" if n == 1 else "Mm", a, b)
    if n <= 2:
        return _step("UnsafeView", _step("Mv" if n == 1 else "Mm", _step("View", a), b))
    if m == 2:
        folded = _step("Mm", _step("View", _step("Transpose", b)), _step("T", a))
        return _step("Clone", _step("Transpose", _step("UnsafeView", folded)))
    if m == 1:
        return None
    return _step("UnsafeView", _step("Bmm", _step("View", _step("Expand", a)), _step("View", _step("Expand", b))))


def _matmul(call: Call) -> Step | None:
    return _product(0, 1, tuple([m.ndim for m in call.metas])[:2])


def _linear(call: Call) -> Step:
    """Rows of ``input`` times the turned weight; a bias is added in the same step, if the weight is a matrix."""
    n, of_weight = [m.ndim for m in call.metas[:2]]
    weight = _step("T", 1)
    if len(call.metas) < 3:
        return _product(0, weight, (n, of_weight))
    if of_weight == 1:
        return _step("Add", _product(0, weight, (n, 1)), 2)
    if n == 2:
        return _step("Addmm", 2, 0, weight)
    return _step("View", _step("Addmm", 2, _step("View", 0), weight))


def _bilinear(call: Call) -> Step:
    product = _step("Trilinear", 0, 2, 1)
    if call.metas[0].ndim != 2:
        product = _step("View", _step("Trilinear", *[_step("View", i) if i != 2 else i for i in (0, 2, 1)]))
    return product if len(call.metas) < 4 else _step("Add", product, 3)


def _getitem(call: Call) -> Step:
    """Basic indexing goes from dim to dim; the last one gives the name."""
    spec = arguments_of(call).get("spec", call.static)
    found: Any = 0
    for item in spec if type(spec) is tuple else ():
        if item != ":":
            found = _step("Select" if item == "i" else "Unsqueeze" if item is None else "Slice", found)
    return found if found != 0 else _step("Alias", 0)


def _convolution(call: Call) -> Step:
    return _step("Convolution", 0, 1, 2 if len(call.metas) > 2 else None)


#: Operation -> its steps, given a call.
STEPS: dict[str, Any] = {
    "matmul": _matmul,
    "linear": _linear,
    "bilinear": _bilinear,
    "getitem": _getitem,
    "cross_entropy": lambda call: _step("NllLoss", _step("LogSoftmax", 0), None),
    "nll_loss": lambda call: _step("NllLoss", 0, None),
    "rdiv": lambda call: _step("Mul", _step("Reciprocal", 0), None) if len(call.metas) == 1 else None,
} | dict.fromkeys([f"conv{t}{d}d" for t in ("", "_transpose") for d in (1, 2, 3)], _convolution)

__all__ = ["STEPS", "Step", "arguments", "arguments_of"]
