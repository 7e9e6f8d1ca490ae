"""Where in the user's program a call was recorded, and whether that was before the loop that runs now.

What is made before a training loop – random data, a normalised data set, a first hidden state – is recorded into the
same trace as the loop's first iteration.  In the next iteration it is an input.  So that both are served by one
program, what was recorded before the loop becomes a program of its own, see ``fused``.  Python's frames tell: of the
loop's frame, the instruction then and the one now, and its bytecode where loops lie.
"""

from __future__ import annotations

import dis
import sys
from types import CodeType, FrameType
from typing import Any

from .errors import _PACKAGE

#: Contexts that are remembered at most; a new tree is begun then.
LIMIT = 50_000
#: Frames looked at, at most: of a recursion that is deeper only the innermost part is known.
DEEPEST = 200

_models: dict[int, CodeType] = {}
_jumps: dict[int, tuple[CodeType, list[tuple[int, int]]]] = {}
_BACKWARD = {code for name, code in dis.opmap.items() if "BACKWARD" in name and "NO_INTERRUPT" not in name}
_EXTENDED = dis.opmap["EXTENDED_ARG"]


class Context:
    """A chain of frames: the caller's context, and the code of a frame with the instruction it was at."""

    __slots__ = ("caller", "code", "at", "called", "model", "turned")

    def __init__(self, caller: Context | None, code: CodeType | None, at: int) -> None:
        self.caller, self.code, self.at = caller, code, at
        self.called: dict[tuple[int, int], Context] = {}
        #: the last answer of ``turns``, and for which context
        self.turned: tuple[Context | None, bool] = (None, False)
        #: whether a model's forward is under way
        self.model: bool = caller is not None and (caller.model or id(code) in _models)

    def chain(self) -> list[Context]:
        """From the outermost frame to this one."""
        found: list[Context] = []
        at: Context | None = self
        while at is not None and at.code is not None:
            found.append(at)
            at = at.caller
        found.reverse()
        return found


_root = Context(None, None, -1)
_count = 0


def runs_models(*functions: Any) -> None:
    """Declare in which functions modules call their ``forward``: what is below belongs to a model."""
    _models.update((id(f.__code__), f.__code__) for f in functions)


def here() -> Context:
    """The context of the innermost frame outside this package."""
    global _root, _count
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _ours(frame.f_code):
        frame = frame.f_back
    frames: list[tuple[CodeType, int]] = []
    while frame is not None and len(frames) < DEEPEST:
        frames.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    at = _root
    for code, instruction in reversed(frames):
        key = (id(code), instruction)
        following = at.called.get(key)
        if following is None:
            following = at.called[key] = Context(at, code, instruction)
            _count += 1
        at = following
    if _count > LIMIT:
        _root, _count = Context(None, None, -1), 0
    return at


def _ours(code: CodeType) -> bool:
    return code.co_filename.startswith((_PACKAGE, "<pytorchlike"))


def _apart(then: Context, now: Context) -> tuple[Context | None, list[Context | None]]:
    """The outermost frame in which two contexts differ, as it was then, and now with those that it calls; None for one
    that has none."""
    old, new = then.chain(), now.chain()
    k = next((k for k, (a, b) in enumerate(zip(old, new, strict=False)) if a is not b), min(len(old), len(new)))
    return (old[k] if k < len(old) else None), [*new[k:]] or [None]


def turns(then: Context, now: Context) -> bool:
    """Whether the loop that ran at ``then`` has gone into another round at ``now``."""
    asked, found = now.turned
    if asked is not then:
        old, (new, *_) = _apart(then, now)
        found = not (old is None or new is None or old.code is not new.code or new.at >= old.at)
        found = found and any(low <= new.at and old.at <= high for low, high in _loops(old.code))  # type: ignore
        now.turned = then, found
    return found


def before_loop(then: Context, now: Context) -> bool:
    """Whether ``then`` was before the loop of the user's program that runs at ``now``."""
    old, (new, *within) = _apart(then, now)
    if old is None or new is None:
        return False
    if old.code is not new.code:
        # one cell of a notebook after the other, or functions called in turn, which is a loop that holds both
        return old.code.co_name == new.code.co_name == "<module>"  # type: ignore[union-attr]
    if any(low <= new.at <= high and not low <= old.at <= high for low, high in _loops(new.code)):
        return True
    for c in within:
        if _ours(c.code):  # type: ignore[arg-type]
            return False
        if any(low <= c.at <= high for low, high in _loops(c.code)):
            return True
    return False


def _loops(code: Any) -> list[tuple[int, int]]:
    """First and last instruction of the loops in a function."""
    found = _jumps.get(id(code))
    if found is None:
        if len(_jumps) > 1000:
            _jumps.clear()
        found = _jumps[id(code)] = (code, _backward_jumps(code.co_code))
    return found[1]


def _backward_jumps(code: bytes) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    argument = 0
    for k in range(0, len(code), 2):
        op = code[k]
        argument = argument << 8 | code[k + 1]
        if op == _EXTENDED:
            continue
        if op in _BACKWARD:
            spans.append((k + 2 - 2 * argument, k))
        argument = 0
    return spans
