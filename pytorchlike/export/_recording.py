"""What a module does with arguments of given sizes, as a list of operator calls.

The module runs once on stand-ins, which have shapes and dtypes but no values (a nested recording of the engine).
Nothing is computed, and nothing that exists is changed.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..autograd.mode import no_grad
from ..engine import Value, flush
from ..engine.errors import describe
from ..engine.meta import NO_GRAD, Meta, meta_of
from ..engine.nested import Nested, seeds_of
from ..engine.op import Op, Wide
from ..engine.trie import Call, Input
from ..nn.modules.module import Module
from ..nn.utils.stateless import _reparametrize_module
from ..ops._table import OpDef
from ..tensor import Tensor
from ..tensor.random import default_generator
from ..tensor.staged import stand_in, writes
from ..utils import _pytree as pytree

__all__ = ["PLACE", "SEED", "TENSOR", "Number", "Recording", "Ref", "Source", "Step", "attributes", "exporting",
           "is_same", "live", "record", "running"]

_state = threading.local()

#: Stands for a tensor in the structures of arguments and results.
TENSOR = "<a tensor>"


class _Mark:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


#: Among static arguments: the device that the program runs on.   Among arguments: a part of a fresh random key.
PLACE, SEED = _Mark("device"), _Mark("seed")


class Ref(NamedTuple):
    """A value of the program, by its slot."""

    slot: int


class Number(NamedTuple):
    """A Python number; in programs for several sizes maybe one made of sizes."""

    type: type
    value: Any


class Step(NamedTuple):
    """One call. static: as recorded, with sizes and PLACE in it.  args: Ref, Number, SEED or None for each.

    outs: (shape, dtype) of the results, which have the slots from ``first`` on.   mode: autocast and default dtype.
    """

    op: Op
    static: Any
    args: tuple
    first: int
    outs: tuple
    location: tuple[str, int]
    mode: tuple

    @property
    def where(self) -> str:
        """The operator and the line that called it."""
        return f"{self.op.name} ({describe(self.location)})"

    @property
    def entry(self) -> OpDef | None:
        """The operator's declaration; None for one that is made of a recorded function."""
        return self.op.info if isinstance(self.op.info, OpDef) else None


class Source(NamedTuple):
    """Where a value comes from that no step makes.

    kind: "parameter", "buffer", "constant" (an attribute, or what was captured: ``value``), "input".
    """

    kind: str
    name: str
    slot: int
    shape: tuple
    dtype: Any
    value: Any = None


class Recording(NamedTuple):
    """A program. outs: the slots of the results, then of the changed buffers and inputs named in ``changed``.

    output: the structure of the results, with TENSOR for each tensor.
    """

    sources: tuple[Source, ...]
    steps: tuple[Step, ...]
    outs: tuple[int, ...]
    changed: tuple[str, ...]
    output: Any


def running() -> bool:
    """Whether this thread is running a module for an export."""
    return getattr(_state, "depth", 0) > 0


@contextlib.contextmanager
def exporting() -> Iterator[None]:
    """While a module runs for an export. The keys that it draws are given back: an export changes no later numbers."""
    _state.depth = getattr(_state, "depth", 0) + 1
    offset = default_generator.get_offset()
    try:
        yield
    finally:
        default_generator.set_offset(offset)
        _state.depth -= 1


def attributes(mod: Module) -> dict[str, Tensor]:
    """Tensors that are attributes of modules without being parameters or buffers, by qualified name."""
    return {
        f"{path}.{name}" if path else name: x
        for path, each in mod.named_modules() for name, x in vars(each).items()
        if isinstance(x, Tensor) and name not in each._parameters and name not in each._buffers
    }  # fmt: skip


def record(mod: Module, args: tuple, kwargs: dict[str, Any], names: Sequence[str],
           shapes: Sequence[tuple[int, ...]] | None = None) -> Recording:  # fmt: skip
    """Run ``mod(*args, **kwargs)`` on stand-ins for its state and for the tensors among its arguments.

    names: of these tensors, in order.   shapes: theirs, if not those that they have.
    RuntimeError if the module reads a value; NotImplementedError if it writes to a tensor that is no buffer.
    """
    flush("torch.export traces")
    params, buffers, others = dict(mod.named_parameters()), dict(mod.named_buffers()), attributes(mod)
    state = {**params, **buffers, **others}
    tensors = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    shapes = [tuple(x.shape) for x in tensors] if shapes is None else shapes
    nested = Nested(
        "torch.export: the module reads the value of a tensor (.item(), bool(), if, .tolist() …) that depends on its "
        "arguments, parameters or buffers. Use torch.where or torch.cond inside, or pass the number as an argument"
    )
    sources: list[Source] = []
    with nested, no_grad():

        def stand(kind: str, name: str, x: Tensor, shape: tuple[int, ...]) -> Tensor:
            made = stand_in(nested, shape, _plain(x._get().meta), None)
            sources.append(Source(kind, name, made._get().slot, tuple(shape), made._get().meta.dtype,
                                  x if kind == "constant" else None))  # fmt: skip
            return made

        given = {
            n: stand("parameter" if n in params else "buffer" if n in buffers else "constant", n, x, tuple(x.shape))
            for n, x in state.items()
        }
        stood = [stand("input", n, x, s) for n, x, s in zip(names, tensors, shapes, strict=True)]
        before = {n: x._get() for n, x in given.items()}
        arrived = [x._get() for x in stood]
        rest = iter(stood)
        its_args, its_kwargs = pytree.tree_map(lambda x: next(rest) if isinstance(x, Tensor) else x, (args, kwargs))
        tied = dict(given)
        with _reparametrize_module(mod, tied, tie_weights=True), exporting():
            result = mod(*its_args, **its_kwargs)
        changed = {n: tied[n] for n in given if tied[n]._get() is not before[n]}
        written = {id(x): f"input {n}" for n, x in zip(names, stood, strict=True)}
        moved = {n: x for n, x, v in zip(names, stood, arrived, strict=True) if x._get() is not v}
        known = {id(x) for x in given.values()} | set(written)
        foreign = [o for o, _ in writes(nested) if isinstance(o, Tensor) and id(o) not in known]
        constants = [n for n in changed if n not in params and n not in buffers]
        found = [x for x in pytree.tree_leaves(result) if isinstance(x, Tensor)]
        outs = tuple([nested.slot_of(x._get()) for x in (*found, *changed.values(), *moved.values())])
        entries = nested.state.graph().entries
    nested.undo()
    if foreign or constants:
        raise NotImplementedError("torch.export: the module writes to a tensor that is neither a buffer of it nor an "
                                  f"argument ({', '.join(constants) or list(foreign[0].shape)}): register it by "
                                  "register_buffer")  # fmt: skip
    output = pytree.tree_map(lambda x: TENSOR if isinstance(x, Tensor) else x, result)
    own = {s.slot for s in sources}
    steps = []
    for e in entries:
        if type(e) is Call:
            steps.append(_step(e, nested))
        elif type(e) is Input and e.first not in own:
            value = nested.values[e.first]
            sources.append(Source("constant", f"lifted_tensor_{sum(s.kind == 'constant' for s in sources)}", e.first,
                                  value.meta.shape, value.meta.dtype, value))  # fmt: skip
        elif type(e) is tuple and e:
            raise NotImplementedError("torch.export: the module updates tensors by an optimizer, which is no part of "
                                      "an exported program")  # fmt: skip
    names_changed = (*changed, *(f"input {n}" for n in moved))
    return Recording(tuple(sources), tuple(steps), outs, names_changed, output)


def _plain(meta: Meta) -> Meta:
    return meta_of(meta.shape, meta.dtype, meta.place, NO_GRAD)


def _step(call: Call, nested: Nested) -> Step:
    entry = call.op.info if isinstance(call.op.info, OpDef) else None
    seeds = set(seeds_of(call))
    if entry is not None and entry.random:
        seeds = {len(call.ins) - 2, len(call.ins) - 1}
    args: list[Any] = []
    for k, i in enumerate(call.ins):
        if k in seeds:
            args.append(SEED)
        elif i is None:
            args.append(None)
        elif type(i) is int:
            args.append(Ref(i))
        elif type(i) is Wide:
            vector = {bool: nested.ints, int: nested.ints, float: nested.floats, complex: nested.complexes}[i.type]
            args.append(Number(i.type, i.type(vector[i.index])))
        else:
            args.append(Number(*i))
    static = call.static
    if entry is not None and entry.factory and static and hasattr(static[-1], "platform"):
        static = (*static[:-1], PLACE)
    if entry is not None and entry.name in ("_getitem", "_setitem"):
        static, args = _spelled_out(static, args, call.metas[0].shape)
    outs = tuple([(m.shape, m.dtype) for m in call.outs])
    return Step(call.op, static, tuple(args), call.first, outs, call.location,
                (call.mode.autocast, call.mode.default_float))  # fmt: skip


def _spelled_out(static: tuple, args: list[Any], shape: tuple[int, ...]) -> tuple[tuple, list[Any]]:
    """Basic indexing with a start and a length for each dimension: whole ones would be left out at some sizes only."""
    n, spec = static
    starts, at = iter(args[len(args) - n :]), 0
    entries, begins = [], []
    for entry in spec:
        if entry is None:
            entries.append(None)
            continue
        whole = entry == ":"
        entries.append((shape[at], 1) if whole else entry)
        begins.append(Number(int, 0) if whole else next(starts))
        at += 1
    entries += [(size, 1) for size in shape[at:]]
    begins += [Number(int, 0)] * (len(shape) - at)
    return (len(begins), tuple(entries)), [*args[: len(args) - n], *begins]


def live(recording: Recording) -> Recording:
    """The recording without what its results do not need."""
    wanted = set(recording.outs)
    kept = []
    for step in reversed(recording.steps):
        if any(s in wanted for s in range(step.first, step.first + len(step.outs))):
            kept.append(step)
            wanted.update(a.slot for a in step.args if type(a) is Ref)
    sources = [s for s in recording.sources if s.kind != "constant" or s.slot in wanted]
    return recording._replace(steps=tuple(reversed(kept)), sources=tuple(sources))


def is_same(a: Any, b: Any) -> bool:
    """Whether two captured constants are the same: one tensor, or equal arrays."""
    import numpy as np

    from ..engine import peek

    if a is b:
        return True
    a, b = (x._get() if isinstance(x, Tensor) else x for x in (a, b))
    if not isinstance(a, Value) or a.meta.shape != b.meta.shape or a.meta.dtype != b.meta.dtype:
        return False
    return bool(np.array_equal(np.asarray(peek(a)), np.asarray(peek(b)), equal_nan=a.meta.dtype.kind in "fc"))
