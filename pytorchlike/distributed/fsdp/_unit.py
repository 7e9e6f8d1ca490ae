"""Parameters that are gathered for the passes through a module, and of which each process keeps a part otherwise.

A :class:`Unit` has the parameters of a module (those of units inside are theirs). Before the module's forward pass
everybody's parts are gathered, as one message for each dtype. The module then has the whole tensors, which the tape
ties to the parts: when their gradients are there, these are summed up, and each process gets its part of the sums.

Where the whole tensors are given up after the forward pass, what was recorded is executed first, and gradients keep a
note instead of the tensors: who asks for one in the backward pass has them gathered again.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ...autograd.mode import enable_grad, is_grad_enabled, no_grad
from ...autograd.nodes import CUSTOM
from ...autograd.passes import Task, current_task, give
from ...autograd.saved import Packing
from ...engine import Op, Value, concrete, flush, local, record
from ...engine.debug import held_back
from ...engine.grad import DETACH, Watch, is_retaining
from ...engine.memory import ALIGN, aligned_empty
from ...nn import Module
from ...tensor import Tensor
from ...tensor import functions as T
from ...tensor.device import place_for
from ...tensor.dtype import dtype as Dtype
from .._group import ProcessGroup
from .._processes import host_array, tensor_like
from .._reduce_op import ReduceOp
from ..device_mesh import DeviceMesh
from ..tensor._divided import Divided, Spread, become_divided, divided
from ..tensor.placement_types import Replicate, Shard

__all__ = ["Kept", "Unit", "outermost"]

#: A whole parameter, tied to its part: the gradient never comes to it, since a watch stops it before.
_GATHERED = Op("gathered", lambda static, args: args[0], alias=True, saves=False, info=CUSTOM)


#: Bytes of whole parameters that are not left lying until Python collects garbage by itself.
_LARGE = 1 << 20


class _Running(threading.local):
    def __init__(self) -> None:
        self.units: list[Unit] = []


_running = _Running()


def outermost() -> bool:
    """Whether no unit's module is running."""
    return not _running.units


class Kept(NamedTuple):
    """How a unit treats its parameters.

    gathered: the dtype in which they are gathered, and computed with (None: their own).   reduced: the dtype in which
    gradients are summed up (None: that of the gradients).   compute: the kind of device on which the whole ones are.
    """

    gathered: Dtype | None
    reduced: Dtype | None
    compute: str


class Unit:
    """See the module.

    modules: before the first of them runs, parameters are gathered, and given up after the last.   named: parameters
    with all the places (module, name) where they are.   mesh: its last axis divides, an axis before that repeats.
    release: whether to give the whole parameters up after the forward pass; None: unless it is the outermost unit.
    dim_of(parameter): along which dimension to divide it.   rest_on: a device for the parts, or None.
    """

    def __init__(self, modules: Sequence[Module], named: Sequence[tuple[Tensor, list[tuple[Module, str]]]],
                 mesh: DeviceMesh, kept: Kept, release: bool | None, dim_of: Callable[[Tensor], int],
                 rest_on: Any = None) -> None:  # fmt: skip
        self.modules, self.mesh, self.kept, self.rest_on = list(modules), mesh, kept, rest_on
        self.release, self.release_after_backward = release, True
        self.outer: bool | None = None if release is None else False
        self.group: ProcessGroup = mesh.get_group(mesh.ndim - 1)
        self.copies: ProcessGroup | None = mesh.get_group(0) if mesh.ndim > 1 else None
        self.sync = self.sync_copies = True
        self.divisor: float | None = None
        self.places = [places for _, places in named]
        self.next: list[Unit] = []
        self.next_back: list[Unit] = []
        self._whole: list[Tensor] | None = None
        self._from: list[Value] = []
        self._unsent: list[Tensor | None] = [None] * len(named)
        self._seen: set[Module] = set()
        self._pass = -1
        self._coming: Any = None
        self._saving: _Saving | None = None
        self._parts = [_divided_part(p, mesh, dim_of(p), rest_on) for p, _ in named]
        self._put(self._parts)

    # ------------------------------------------------------------------------------------------------------ the parts

    @property
    def alone(self) -> bool:
        """Whether parts are whole, and nobody has others."""
        return self.group.size() == 1 and (self.copies is None or self.copies.size() == 1)

    @property
    def plain(self) -> bool:
        """Whether the parts are what the module computes with."""
        return self.alone and self.kept.gathered is None

    @property
    def parts(self) -> list[Divided]:
        """The parts of the parameters, also while the module has the whole ones."""
        if self._whole is not None:
            return self._parts
        found = [places[0][0]._parameters[places[0][1]] for places in self.places]
        for k, (p, places) in enumerate(zip(found, self.places, strict=True)):
            if not isinstance(p, Divided):  # replaced by a whole one
                spread = self._parts[k]._spread
                if p is None or tuple(p.shape) != spread.shape:
                    raise RuntimeError(f"fully_shard: the parameter {places[0][1]!r} of {type(places[0][0]).__name__}, "
                                       f"of the shape {list(spread.shape)}, was replaced by "
                                       f"{'None' if p is None else list(p.shape)}")
                become_divided(p, _divided_part(p, self.mesh, spread.dim, self.rest_on))
            for module, name in places[1:]:  # load_state_dict(assign=True) replaces it in one place
                module._parameters[name] = p
        return found

    def _put(self, tensors: Iterable[Tensor]) -> None:
        for t, places in zip(tensors, self.places, strict=True):
            for module, name in places:
                module._parameters[name] = t

    # ---------------------------------------------------------------------------------------------- whole parameters

    @property
    def unsharded(self) -> bool:
        """Whether the module has the whole parameters."""
        return self._whole is not None

    def gather(self) -> None:
        """Have the whole parameters, detached, in the module; anew if the parts were changed."""
        parts = self.parts
        now = [p._get() for p in parts]
        if self._whole is not None and all(a is b for a, b in zip(now, self._from, strict=True)):
            return
        if any(p.is_meta for p in parts):
            raise RuntimeError("fully_shard: parameters are on the meta device; give them values by "
                               "model.to_empty(device=...) and an initialisation, or load a state_dict(assign=True)")
        self._whole, self._from, self._parts = self._gathered(parts), now, parts
        for t in self._whole:
            t._is_param = True
        self._put(self._whole)

    def begin(self) -> None:
        """Gather in the background."""
        if self._whole is None and self._coming is None and self.group.size() > 1:
            parts = self.parts
            sent = self._sent(parts)
            rows = [Tensor._of(concrete(flat, place_for("cpu"))) for _, _, flat in sent]
            self._coming = (sent, self.group.start(rows, lambda ts: [self.group.all_gather(t) for t in ts]))

    def _sent(self, parts: list[Divided]) -> list[tuple[list[int], list[int], np.ndarray]]:
        """Messages: which parameters are in it, where each begins, and the values of one's own parts."""
        kinds: dict[Any, list[int]] = {}
        for k, p in enumerate(parts):
            kinds.setdefault(self._gathered_as(p), []).append(k)
        out = []
        for kind, which in kinds.items():
            begins, size = _begins([_each(parts[k]._spread) for k in which], kind.itemsize)
            flat = aligned_empty((size,), kind.numpy)
            flat[...] = 0
            for k, a in zip(which, begins, strict=True):
                mine = np.moveaxis(host_array(parts[k].to_local()), parts[k]._spread.dim, 0)
                flat[a : a + mine.size].reshape(mine.shape)[...] = mine
            out.append((which, begins, flat))
        return out

    def _gathered_as(self, p: Tensor) -> Dtype:
        return self.kept.gathered if self.kept.gathered is not None and p.is_floating_point() else p.dtype

    def _gathered(self, parts: list[Divided]) -> list[Tensor]:
        if self.group.size() == 1:
            with no_grad():
                return [p.to_local().detach().to(device=self.kept.compute, dtype=self._gathered_as(p)) for p in parts]
        if self._coming is not None:
            (sent, promise), self._coming = self._coming, None
            answers = promise.result()
        else:
            sent = self._sent(parts)
            answers = [self.group.all_gather(Tensor._of(concrete(flat, place_for("cpu")))) for _, _, flat in sent]
        made: list[Any] = [None] * len(parts)
        for (which, begins, _), rows in zip(sent, answers, strict=True):
            arrays = [host_array(row) for row in rows]
            for k, a in zip(which, begins, strict=True):
                spread = parts[k]._spread
                whole = aligned_empty(spread.shape, arrays[0].dtype)
                view = np.moveaxis(whole, spread.dim, 0)
                for rank, row in enumerate(arrays):
                    n, begin = spread.part(rank)
                    shape = (n, *view.shape[1:])
                    view[begin : begin + n] = row[a : a + int(np.prod(shape))].reshape(shape)
                made[k] = Tensor._of(concrete(whole, place_for("cpu")))
                if self.kept.compute != "cpu":
                    made[k] = made[k].to(self.kept.compute)
        return made

    def connect(self) -> None:
        """Tie the whole parameters in the module to their parts, for a backward pass."""
        assert self._whole is not None
        if not is_grad_enabled():
            self._put(self._whole)
            return
        if self.plain:
            tied = [Tensor._of(p._get()) for p in self._parts]
        else:
            back = _Back(self)
            with held_back():
                values = [record(_GATHERED, (), (w._get(), p._get())) if p.requires_grad
                          else record(DETACH, (), (w._get(),))
                          for w, p in zip(self._whole, self._parts, strict=True)]  # fmt: skip
                back.slots = [v.slot if p.requires_grad else -1 for v, p in zip(values, self._parts, strict=True)]
                stop = Watch(tuple(s for s in back.slots if s >= 0), back)
                for s in stop.slots:
                    local.trace.watched[s] = stop
            tied = [Tensor._of(v) for v in values]
        for t in tied:
            t._is_param = True
        self._put(tied)

    def give_up(self, executed: bool = False) -> None:
        """Have the parts in the module again. executed: nothing pending needs the whole ones any more."""
        if self._whole is None:
            return
        parts, whole = self._parts, self._whole
        self._put(parts)
        self._whole, self._from = None, []
        if executed:
            for t in whole:  # the tape names the values of the inputs that it had, but does not look at them
                t._get().data = None
        size = sum(t.nbytes for t in whole)
        del whole
        if size > _LARGE and not self.alone:
            gc.collect(0)  # JAX lets go of memory of NumPy's only when Python collects garbage

    # -------------------------------------------------------------------------------------------------------- passes

    def before(self, module: Module) -> None:
        """The module's forward pass begins."""
        if self.outer is None:
            self.outer = outermost()
        _running.units.append(self)
        if self._seen and module not in self._seen:  # of several modules the second, say
            return
        self.gather()
        self.connect()
        for unit in self.next:
            unit.begin()
        if is_grad_enabled() and self._releases() and self._saving is None:
            self._saving = _Saving(self)
            self._saving.enter()

    def _releases(self) -> bool:
        # the outermost one's are needed soon again, if a backward pass follows
        release = not (self.outer and is_grad_enabled()) if self.release is None else self.release
        return release and self.group.size() > 1 and current_task() is None and not local.trace.nested

    def after(self, module: Module, failed: bool = False) -> None:
        """The module's forward pass has ended."""
        if self in _running.units:
            _running.units.remove(self)
        self._seen.add(module)
        if len(self._seen) < len(self.modules) and not failed:
            return
        self._seen.clear()
        saving, self._saving = self._saving, None
        if saving is not None:
            saving.leave()
        if self.plain:
            self.give_up()
        elif self._releases() and self._whole is not None:
            self._put(self._parts)  # so that nobody refers to what the tape was told
            flush("the parameters of a module are given up after its forward pass")
            self.give_up(executed=saving is not None)

    def watch(self, tensors: Iterable[Tensor]) -> None:
        """Have the whole parameters there when a gradient comes to one of these."""
        if self.plain:
            return
        for t in tensors:
            if t.requires_grad:
                t.register_hook(self._reached)

    def _reached(self, grad: Tensor) -> None:
        task = _outer_task()
        if task is not None and task.id != self._pass:
            self._pass = task.id
            task.callbacks.append(self._passed)
        if self._whole is None:  # it was given up, or another run of the module was gone through before
            self.gather()
            with enable_grad():
                self.connect()
        for unit in self.next_back:
            unit.begin()

    def _passed(self) -> None:
        if self.release_after_backward:
            self.give_up()

    # ----------------------------------------------------------------------------------------------------- gradients

    def received(self, grads: list[Tensor | None]) -> list[Tensor | None]:
        """What becomes of gradients of the whole parameters: those of the parts, or nothing yet."""
        parts = self._parts
        with no_grad():
            for k, more in enumerate(self._unsent):
                if more is not None:
                    grads[k] = more if grads[k] is None else more + grads[k]
            if not self.sync:
                self._unsent = list(grads)
                if self.release_after_backward:
                    self.give_up()
                return [None] * len(grads)
            self._unsent = [None] * len(grads)
            made = self._reduced(parts, grads)
        if self.release_after_backward:
            self.give_up()
        return made

    def _reduced(self, parts: list[Divided], grads: list[Tensor | None]) -> list[Tensor | None]:
        """Everybody's gradients added up and divided by their number; None for what nobody has."""
        n = self.group.size()
        count = n * (self.copies.size() if self.copies is not None else 1)
        scale = 1 / (self.divisor if self.divisor is not None else count)
        kinds: dict[Any, list[int]] = {}
        for k, p in enumerate(parts):
            if p.requires_grad:
                kinds.setdefault(self.kept.reduced or self._gathered_as(p), []).append(k)
        out: list[Tensor | None] = [None] * len(parts)
        for kind, which in kinds.items():
            begins, size = _begins([_each(parts[k]._spread) for k in which], kind.itemsize)
            sent = aligned_empty((n, _padded(size + len(which), kind.itemsize)), kind.numpy)
            sent[...] = 0
            for i, (k, a) in enumerate(zip(which, begins, strict=True)):
                grad = grads[k]
                if grad is None:
                    continue
                if grad.layout != parts[k].layout:
                    raise NotImplementedError("fully_shard: a gradient is sparse; use sparse=False")
                spread = parts[k]._spread
                whole = np.moveaxis(host_array(grad), spread.dim, 0)
                for rank in range(n):
                    m, begin = spread.part(rank)
                    piece = whole[begin : begin + m]
                    np.multiply(piece, np.asarray(scale, sent.dtype), casting="unsafe",
                                out=sent[rank, a : a + piece.size].reshape(piece.shape))
                sent[:, size + i] = 1
            rows = [Tensor._of(concrete(row, place_for("cpu"))) for row in sent]
            got = self.group.reduce_scatter(rows, ReduceOp.SUM)
            if self.copies is not None and self.sync_copies:
                got = self.copies.all_reduce(got, ReduceOp.SUM)
            sums = host_array(got)
            for i, (k, a) in enumerate(zip(which, begins, strict=True)):
                if not sums[size + i]:
                    continue
                spread = parts[k]._spread
                shape = np.moveaxis(np.broadcast_to(0, spread.local_shape), spread.dim, 0).shape
                mine = np.moveaxis(sums[a : a + int(np.prod(shape))].reshape(shape), 0, spread.dim)
                kept = aligned_empty(mine.shape, parts[k].dtype.numpy)
                kept[...] = mine
                out[k] = divided(tensor_like(kept, parts[k].to_local()), spread)
        return out


class _Back:
    """The handle of the whole parameters on the tape: takes their gradients."""

    def __init__(self, unit: Unit) -> None:
        self.unit, self.parts = unit, list(unit._parts)
        self.values = [p._get() for p in self.parts]
        self.slots: list[int] = []

    def __call__(self, cotangents: dict[int, Value]) -> dict[Any, Value]:
        given = [Tensor._of(cotangents[s]) if s in cotangents else None for s in self.slots]
        found = self.unit.received(given)
        values = self.values
        if not is_retaining():
            self.values = []  # the loss may live on after the parts have got new ones
        task = current_task()
        if task is not None and not task.plain:  # autograd.grad, which leaves .grad alone
            return {v: g._get() for v, g in zip(values, found, strict=True) if g is not None}
        for p, grad in zip(self.parts, found, strict=True):
            if grad is not None:
                give(p._get().node, grad, False)
        return {}


class _Saving(Packing):
    """What gradients keep of a unit's forward pass: of its whole parameters, only which they are."""

    def __init__(self, unit: Unit) -> None:
        super().__init__()
        self.unit = unit
        own = [places[0][0]._parameters[places[0][1]]._get() for places in unit.places]
        self.own = {id(v): (k, v) for k, v in enumerate(own)}

    def leave(self) -> None:
        super().leave()
        self.own = {}

    def pack(self, value: Value) -> Any:
        found = self.own.get(id(value))
        return super().pack(value) if found is None else found[0]

    def unpack(self, packed: Any) -> Tensor:
        if isinstance(packed, Tensor):
            return packed
        if self.unit._whole is None:
            self.unit.gather()
        return self.unit._whole[packed]


def _outer_task() -> Task | None:
    task = current_task()
    while task is not None and task.outer is not None:  # a pass within a hook of another
        task = task.outer
    return task


def _padded(size: int, itemsize: int) -> int:
    step = max(1, ALIGN // itemsize)
    return -(-size // step) * step


def _begins(sizes: Iterable[int], itemsize: int) -> tuple[list[int], int]:
    """Where parts of these sizes begin in a common array, and its length."""
    begins, at = [], 0
    for size in sizes:
        begins.append(at)
        at += _padded(size, itemsize)
    return begins, at


def _each(spread: Spread) -> int:
    """Elements of the largest part."""
    return spread.part(0)[0] * int(np.prod(spread.shape[: spread.dim] + spread.shape[spread.dim + 1 :]))


def _divided_part(p: Tensor, mesh: DeviceMesh, dim: int, rest_on: Any) -> Divided:
    """This process's part of a parameter, in memory of its own, as the parameter."""
    if isinstance(p, Divided):
        raise NotImplementedError("fully_shard: a parameter is a DTensor already; a parameter is divided along one "
                                  "axis of a mesh of processes")
    if not p.ndim:
        raise ValueError("fully_shard doesn't support scalar parameters. Make it a tensor of one dimension and one "
                         "element.")
    spread = Spread(mesh, [*[Replicate()] * (mesh.ndim - 1), Shard(dim)], tuple(p.shape))
    if p.is_meta:
        part = T.empty(spread.local_shape, dtype=p.dtype, device="meta")
    else:
        mine = host_array(spread.cut(p.detach()))
        kept = aligned_empty(mine.shape, mine.dtype)
        kept[...] = mine
        part = tensor_like(kept, p)
        part = part if rest_on is None else part.to(rest_on)
    made = divided(part, spread, p.requires_grad)
    made.requires_grad_(p.requires_grad)
    made._is_param = True
    return made
