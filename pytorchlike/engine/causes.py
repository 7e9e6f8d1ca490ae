"""Why something was compiled: how what was recorded differs from what was compiled before; and who should hear of it.

Nothing here runs unless something is compiled, and that takes a thousand times as long.
"""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from . import errors
from .errors import name_of, user_location, warn
from .op import Wide
from .trie import Call

#: The same cause is warned of when it has led to so many compilations that took so many seconds together.
REPEATS, COSTLY = 5, 3.0
#: Kernels of one operation at one line, which are cheaper, before that is warned of.
KERNELS = 16
#: Operations in which two programs must begin alike to be compared.
ALIKE = 3


class RecompilationWarning(UserWarning):
    """A loop keeps compiling anew, for the cause and with the remedy that the message tells."""


class Cause(NamedTuple):
    """kind: a word, see ``REMEDIES``, or 'first';  text: what changed;  location: the user's line where it did.

    subject: of a kernel, the operation.
    """

    kind: str
    text: str
    location: tuple[str, int]
    subject: str = ""


REMEDIES = {
    "shape": "Keep to a few sizes: pad inputs to the next of them, or leave out a smaller last batch "
             "(DataLoader(drop_last=True)). If sizes hardly ever come again, PYTORCHLIKE_TIER=ops compiles single "
             "operations instead of whole steps.",
    "dtype": "Convert to one dtype before the loop.",
    "device": "Move tensors to one device before the loop.",
    "requires_grad": "Set requires_grad once, before the loop, or detach() what needs no gradient at every step.",
    "number": "Nothing, if it happens once: a number that varies becomes an input of the program.",
    "argument": "Sizes, dims and flags are part of the program: keep to a few of them, or compute with a tensor (a "
                "mask, an index) instead.",
    "mode": "Keep grad mode, autocast and the default dtype the same from step to step.",
    "read": "Read values at the same place of every step, best after optimizer.step(), or keep them as tensors "
            "(loss.detach()) and read them once in a while.",
    "structure": "The Python code calls other operations each time. Use torch.where or masks instead of branches, or, "
                 "if every step must be another program, PYTORCHLIKE_TIER=ops.",
    "results": "Keep the same tensors alive from step to step, and drop those that are not needed (del, detach()).",
    "kernel": "Operations are run one by one here, for ever new shapes. Pad to a few sizes.",
}  # fmt: skip

#: What was compiled, by its operations; and all of it, the latest last.
_families: OrderedDict[tuple, deque] = OrderedDict()
_recent: deque = deque(maxlen=16)
#: (kind, location, subject) -> [compilations, seconds]
_repeats: dict[tuple, list] = {}


def reset() -> None:
    """Forget what was compiled and warned of."""
    _families.clear()
    _recent.clear()
    _repeats.clear()


def cause_of(steps: Sequence[Any], why: str) -> Cause:
    """Why the program of ``steps`` is not among those that exist; it counts as one of them from now on."""
    ops = tuple([getattr(e, "op", None) for e in steps])
    family = _families.get(ops)
    here = getattr(steps[0], "location", None) or user_location()
    if family:
        others = "other results or inputs are still in use than when it was compiled before"
        found = _difference(steps, family[-1]) or Cause("results", others, here)
    else:
        found = _structure(steps, ops, why) or Cause("first", "nothing like it was compiled before", here)
        family = _families[ops] = deque(maxlen=2)
        while len(_families) > 256:
            _families.popitem(last=False)
    family.append(tuple(steps))
    _recent.append((ops, tuple(steps)))
    return found


def noted(cause: Cause, seconds: float) -> None:
    """Warn, once, when a cause has cost much time again and again."""
    if cause.kind == "first" or errors.at_once:
        return
    if len(_repeats) > 10_000:
        _repeats.clear()
    found = _repeats.setdefault((cause.kind, cause.location, cause.subject), [0, 0.0])
    found[0] += 1
    before, found[1] = found[1], found[1] + seconds
    least = KERNELS if cause.kind == "kernel" else REPEATS
    if found[0] < least or found[1] < COSTLY or (found[0] > least and before >= COSTLY):
        return
    warn(
        f"compiled {found[0]} times, {found[1]:.1f} s together, for the same cause; the last time {cause.text}. "
        f"{REMEDIES[cause.kind]} (torch.compiler.report() tells more.)",
        RecompilationWarning, cause.location,
    )  # fmt: skip


# ---- differences ---------------------------------------------------------------------------------------------------


def _structure(steps: Sequence[Any], ops: tuple, why: str) -> Cause | None:
    """How the operations differ from those of the program that begins most alike; None if none does for long."""
    best, length = None, 0
    for others, old in reversed(_recent):
        n = _common(ops, others)
        if n > length and 2 * n >= min(len(ops), len(others)):
            best, length = old, n
    if best is None or length < ALIKE or length == len(steps) == len(best):  # the same, whose family was forgotten
        return None
    if length == len(steps):
        text = f"it ends after {length} operations, where {_named(best[length])} came next before"
        if why == "a value was read":
            return Cause("read", f"a value was read, so that {text}", user_location())
        return Cause("structure", f"{text} ({why})", getattr(steps[-1], "location", None) or user_location())
    new = steps[length]
    here = getattr(new, "location", None) or user_location()
    if length == len(best):
        text = f"it goes on with {_named(new)} after {length} operations, where it ended before"
        return Cause("structure", text, here)
    return Cause("structure", f"operation {length + 1} is {_named(new)} and was {_named(best[length])} before", here)


def _common(a: tuple, b: tuple) -> int:
    n = 0
    for x, y in zip(a, b, strict=False):
        if x is not y:
            break
        n += 1
    return n


def _named(step: Any) -> str:
    name = name_of(step.op.name) if type(step) is Call else "a backward pass"
    location = getattr(step, "location", None)
    return f"{name} ({os.path.basename(errors.describe(location))})" if location else name


def _difference(new: Sequence[Any], old: Sequence[Any]) -> Cause | None:
    """The first difference between programs of the same operations; what follows from it comes after it."""
    for a, b in zip(new, old, strict=True):
        if type(a) is not Call:
            continue
        found = _inputs(a, b) or _numbers(a, b)
        if found is None and a.static != b.static:
            found = _arguments(a, b)
        if found is None and a.mode.plain is not b.mode.plain:
            changes = [f"{k} was {getattr(b.mode, k)} and is {getattr(a.mode, k)}" for k in a.mode._fields
                       if getattr(a.mode, k) != getattr(b.mode, k)]  # fmt: skip
            found = "mode", f"at {name_of(a.op.name)} {', '.join(changes)}"
        if found is not None:
            return Cause(found[0], found[1], a.location)
    return None


def _inputs(a: Call, b: Call) -> tuple[str, str] | None:
    for k, (x, y) in enumerate(zip(a.metas, b.metas, strict=False)):
        if x is y:
            continue
        kind = next((name for name, attribute in _MEASURES if getattr(x, attribute) != getattr(y, attribute)), None)
        if kind is None:
            continue
        which = "the input" if len(a.metas) == 1 else f"input {k}"
        if kind in ("shape", "dtype"):
            told = f"was {y.dtype}{list(y.shape)} and is {x.dtype}{list(x.shape)}"
        elif kind == "device":
            told = f"was on {y.place} and is on {x.place}"
        else:
            told = "requires grad now" if x.grad else "does not require grad any more"
        return kind, f"{which} of {name_of(a.op.name)} {told}"
    return None


def _arguments(a: Call, b: Call) -> tuple[str, str]:
    name = name_of(a.op.name)
    if [m.shape for m in a.outs] != [m.shape for m in b.outs]:
        was, now = (", ".join(str(list(m.shape)) for m in c.outs) for c in (b, a))
        return "shape", f"the result of {name} was of shape {was} and is {now}"
    return "argument", f"an argument of {name} was {_short(b.static)} and is {_short(a.static)}"


_MEASURES = (("shape", "shape"), ("dtype", "dtype"), ("device", "place"), ("requires_grad", "grad"))


def _numbers(a: Call, b: Call) -> tuple[str, str] | None:
    for x, y in zip(a.ins, b.ins, strict=False):
        if type(y) is tuple and type(x) is Wide:
            return "number", (f"a number of {name_of(a.op.name)}, {y[1]!r} before, has changed and is an input of the "
                              "program from now on")  # fmt: skip
        if type(x) is tuple and type(y) is tuple and (x[0] is not y[0] or repr(x[1]) != repr(y[1])):
            return "number", f"a number of {name_of(a.op.name)} was {y[1]!r} and is {x[1]!r}"
    return None


def _short(x: Any) -> str:
    text = repr(x)
    return text if len(text) <= 60 else text[:57] + "..."


__all__ = ["COSTLY", "KERNELS", "REMEDIES", "REPEATS", "Cause", "RecompilationWarning", "cause_of", "noted", "reset"]
