"""What a call gives that differs from earlier ones in sizes alone, without tracing its body.

An operator may have a rule for the shapes of its results (``Op.shapes``).  It is trusted for a kind of call (operator,
static arguments, weights, dtypes, numbers of axes) once it has agreed with the body for one of that kind, which also
tells the dtypes; or for two, if the body demands something of its data, and the same of both: numbers in its messages
may differ that are sizes of the arguments.  A number that was the size of an argument in all calls may be that size or
not: the rule holds for this size only until calls have come that tell.  Never for empty arrays.
"""

from __future__ import annotations

import re
from collections import OrderedDict

import numpy as np

from .config import config
from .errors import DataError, let_go
from .meta import LEAF
from .op import ARRAY, Kernel, Lifted, without_numbers

__all__ = ["learn", "results"]


class _Kind:
    """What is known of a kind of call.  trusted: None until a second call has shown that the checks are the same.

    checks, first: of the first call, and its metas;  sizes: per check, where in its message (split at numbers) stands
    which argument's size: (position, argument, axis);  unsure: the same of what may be that size or always this number.
    """

    __slots__ = ("trusted", "dtypes", "checks", "first", "sizes", "unsure")

    def __init__(self, dtypes: tuple[np.dtype, ...], checks: tuple[DataError, ...], first: tuple) -> None:
        self.trusted: bool | None = None if checks else True
        self.dtypes, self.checks, self.first = dtypes, checks, first
        self.sizes: list[list[tuple[int, int, int]]] = [[] for _ in checks]
        self.unsure: list[list[tuple[int, int, int]]] = [
            [
                (k, i, axis) for k, part in enumerate(re.split(r"(\d+)", c.message)) for i, m in enumerate(first)
                for axis, n in enumerate(m.shape) if str(n) == part
            ]
            for c in checks
        ]  # fmt: skip

    def tells(self, metas: tuple) -> bool:
        """Whether the messages of a call on such arguments are known."""
        return all(
            metas[i].shape[axis] == self.first[i].shape[axis] for places in self.unsure for _, i, axis in places
        )

    def checks_for(self, metas: tuple) -> tuple[DataError, ...]:
        """The checks of a call on such arguments."""
        return tuple([self._told(c, sizes, metas) for c, sizes in zip(self.checks, self.sizes, strict=True)])

    @staticmethod
    def _told(check: DataError, sizes: list[tuple[int, int, int]], metas: tuple) -> DataError:
        if not sizes:
            return check
        parts = re.split(r"(\d+)", check.message)
        for position, argument, axis in sizes:
            parts[position] = str(metas[argument].shape[axis])
        return DataError(check.exception, "".join(parts))

    def compare(self, metas: tuple, checks: tuple[DataError, ...]) -> None:
        """Learn from the checks of another call which numbers in the messages are sizes."""
        if [c.exception for c in checks] != [c.exception for c in self.checks]:
            return
        for n, (mine, other) in enumerate(zip(self.checks, checks, strict=True)):
            parts, others = re.split(r"(\d+)", mine.message), re.split(r"(\d+)", other.message)
            if len(parts) != len(others):
                return
            still = []
            for k, i, axis in self.unsure[n]:
                if metas[i].shape[axis] == self.first[i].shape[axis]:
                    if parts[k] == others[k]:
                        still.append((k, i, axis))
                elif others[k] == str(metas[i].shape[axis]) and all(k != known for known, _, _ in self.sizes[n]):
                    self.sizes[n].append((k, i, axis))
            known = {k for k, _, _ in self.sizes[n]}
            self.unsure[n] = [place for place in still if place[0] not in known]


_known: OrderedDict[tuple, _Kind] = OrderedDict()


def results(kernel: Kernel, metas: tuple) -> list[tuple[tuple[int, ...], np.dtype]] | None:
    """Shape and dtype of each result, or None if the body has to be asked."""
    if kernel.op.shapes is None:
        return None
    known = _known.get(_name(kernel, metas))
    if known is None or not known.trusted or not known.tells(metas):
        return None
    shapes = _told(kernel, metas)
    if shapes is None:
        return None
    dtypes = known.dtypes
    if len(shapes) != len(dtypes):  # as many parts as there are rows
        if len(set(dtypes)) != 1:
            return None
        dtypes = dtypes[:1] * len(shapes)
    if known.checks:
        kernel.tell(kernel.shapes_of([m.shape for m in metas]), known.checks_for(metas))
    return list(zip(shapes, dtypes, strict=True))


def learn(kernel: Kernel, metas: tuple, found: list[tuple[tuple[int, ...], np.dtype]]) -> None:
    """Compare the rule with what the body has given."""
    if kernel.op.shapes is None:
        return
    told = _told(kernel, metas)
    if told is None:
        return
    name = _name(kernel, metas)
    checks = kernel.checks_of([m.shape for m in metas])
    known = _known.get(name)
    if known is None:
        known = _known[name] = _Kind(tuple([d for _, d in found]), checks, metas)
        while len(_known) > config.max_kernels:
            _known.popitem(last=False)
    elif known.trusted is None and metas != known.first or known.trusted and not known.tells(metas):
        known.compare(metas, checks)
        known.trusted = True
    if told != tuple([shape for shape, _ in found]) or checks != known.checks_for(metas):
        known.trusted = False


def _name(kernel: Kernel, metas: tuple) -> tuple:
    static = without_numbers(kernel.static, []) if kernel.op.measures else kernel.static
    arrays = [m if m.grad == LEAF else (m.dtype, len(m.shape)) for m in metas]
    return (kernel.op, static, kernel.pattern, kernel.mode, kernel.platform, *arrays)


def _told(kernel: Kernel, metas: tuple) -> tuple | None:
    if any(0 in m.shape for m in metas):
        return None
    rest = iter(metas)
    args = tuple([
        next(rest) if i is ARRAY else None if i is None else Lifted(i[1], None) if i[0] is Lifted else i[1]
        for i in kernel.pattern
    ])  # fmt: skip
    try:
        shapes = kernel.op.shapes(kernel.static, args)  # type: ignore[misc]
    except Exception as error:  # a view that cannot be had: the body says so
        let_go(error)
        return None
    if shapes is None or any(0 in s for s in shapes) or (kernel.op.inplace and shapes[0] != metas[0].shape):
        return None
    return tuple(shapes)
