"""Tensors of which each process of a mesh has a part.

The value of such a tensor is the part; ``shape`` tells the whole.  Functions that treat each element for itself are
computed part by part, all others on the whole, which every process then gathers (see ``_PARTWISE``): the results of
those are ordinary tensors.  So optimizers, which update elements, never communicate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...autograd import Function
from ...autograd.mode import is_grad_enabled, no_grad
from ...engine import concrete
from ...engine.memory import aligned_empty
from ...nn import Parameter
from ...tensor import Tensor
from ...tensor import functions as T
from ...tensor.asking import Disabled, state
from ...tensor.device import place_for
from ...tensor.size import Size
from .._processes import host_array, tensor_like
from .._reduce_op import ReduceOp
from .._world import get_world_size
from ..device_mesh import DeviceMesh
from ._dtensor import DTensor
from .placement_types import Placement, Replicate, Shard

__all__ = ["Divided", "Spread", "become_divided", "distribute", "divided", "from_local", "world_mesh"]

#: Functions, without underscores before and behind, that treat each element for itself, or the object as such.
_PARTWISE = frozenset("""
    abs absolute add addcdiv addcmul and bfloat16 bool byte ceil char clamp clamp_max clamp_min clip clone
    contiguous copy cos cpu cuda detach div divide double empty_like eq erf exp expm1 fill float floor fmax fmin
    full_like ge gt half iadd idiv imul int invert ipow isfinite isinf isnan isub itruediv le lerp log log1p
    logical_and logical_not logical_or long lt masked_fill maximum minimum mul multiply nan_to_num ne neg
    negative new_empty new_full new_ones new_zeros ones_like or pos positive pow radd reciprocal relu rmul round
    rpow rsqrt rsub rtruediv sgn short sigmoid sign sin sqrt square sub subtract tanh to true_divide truediv
    trunc type type_as where xor zero zeros_like backward data_ptr element_size get_device is_complex
    is_contiguous is_conj is_floating_point is_inference is_neg is_pinned is_shared is_signed pin_memory
    register_hook register_post_accumulate_grad_hook requires_grad retain_grad share_memory storage
    untyped_storage
""".split())  # fmt: skip
_INPLACE = frozenset(f"__{name}__" for name in "iadd isub imul itruediv ipow iand ior ixor setitem".split())


class Spread:
    """How a tensor of ``shape`` lies on the axes of a mesh: at most one of them divides it, along ``dim``.

    Raises NotImplementedError for Partial and for two axes that divide, ValueError for placements that do not fit.
    """

    __slots__ = ("mesh", "placements", "shape", "dim", "group", "axis", "here")

    def __init__(self, mesh: DeviceMesh, placements: Sequence[Placement], shape: Sequence[int]) -> None:
        self.mesh, self.placements, self.shape = mesh, tuple(placements), tuple(shape)
        if len(self.placements) != mesh.ndim:
            raise ValueError(f"`placements` must have one entry for each of the {mesh.ndim} axes of the mesh, but got "
                             f"{list(self.placements)}")
        cuts = []
        for axis, placement in enumerate(self.placements):
            if type(placement) is Shard:
                if not -len(self.shape) <= placement.dim < len(self.shape):
                    raise ValueError(f"Shard({placement.dim}): the tensor has the shape {list(self.shape)}")
                cuts.append((axis, placement.dim % len(self.shape)))
            elif type(placement) is not Replicate:
                raise NotImplementedError(f"a tensor of several processes cannot be placed as {placement}; use "
                                          "Replicate(), or Shard(dim) for one axis of the mesh")
        if len(cuts) > 1:
            raise NotImplementedError("a tensor is divided along one axis of a mesh of processes; use Replicate() for "
                                      "the others")
        self.axis, self.dim = cuts[0] if cuts else (None, None)
        self.group = mesh.get_group(self.axis) if cuts else None
        #: the members' parts along ``dim``: (size, begin)
        self.here = self.part(self.group.rank()) if self.group is not None else None

    @property
    def members(self) -> int:
        """Among how many processes it is divided."""
        return 1 if self.group is None else self.group.size()

    def part(self, rank: int) -> tuple[int, int]:
        """Length and beginning of a member's part along ``dim``."""
        return Shard.local_shard_size_and_offset(self.shape[self.dim], self.members, rank)

    @property
    def local_shape(self) -> tuple[int, ...]:
        """The shape of this process's part."""
        if self.dim is None:
            return self.shape
        return (*self.shape[: self.dim], self.here[0], *self.shape[self.dim + 1 :])

    def cut(self, whole: Tensor) -> Tensor:
        """This process's part of a tensor."""
        return whole if self.dim is None else whole.narrow(self.dim, self.here[1], self.here[0])

    def whole(self, part: Tensor) -> Tensor:
        """The tensor of everybody's parts, without history. Called by all members."""
        if self.members == 1 or part.is_meta:
            return part if self.members == 1 else T.empty(self.shape, dtype=part.dtype, device="meta")
        each = -(-self.shape[self.dim] // self.members)
        mine = np.moveaxis(host_array(part), self.dim, 0)
        sent = aligned_empty((each, *mine.shape[1:]), mine.dtype)
        sent[: len(mine)], sent[len(mine) :] = mine, 0
        made = aligned_empty(self.shape, mine.dtype)
        view = np.moveaxis(made, self.dim, 0)
        got = self.group.all_gather(Tensor._of(concrete(sent, place_for("cpu"))))
        for rank, theirs in enumerate(got):
            n, begin = self.part(rank)
            view[begin : begin + n] = host_array(theirs)[:n]
        return tensor_like(made, part)

    def total_norm(self, norm: Tensor, order: float) -> Tensor:
        """The norm of everybody's parts together, from that of one's own, ()."""
        if self.members == 1:
            return norm
        if order in (float("inf"), float("-inf")):
            return self.group.all_reduce(norm, ReduceOp.MAX if order > 0 else ReduceOp.MIN)
        if order == 0:
            return self.group.all_reduce(norm, ReduceOp.SUM)
        return self.group.all_reduce(norm**order, ReduceOp.SUM) ** (1 / order)

    def any_of(self, flag: Tensor) -> Tensor:
        """The largest of everybody's flags."""
        return flag if self.members == 1 else self.group.all_reduce(flag, ReduceOp.MAX)

    def dress(self, part: Any) -> Any:
        """A tensor of the part's shape as the tensor of which it is a part; other things as they are."""
        if isinstance(part, Tensor) and not isinstance(part, Divided) and part._value.meta.shape == self.local_shape:
            return divided(part, self)
        return part

    def __eq__(self, other: object) -> bool:
        return self is other or isinstance(other, Spread) and (self.shape, self.placements, self.mesh) == (
            other.shape, other.placements, other.mesh)

    def __hash__(self) -> int:
        return hash((self.shape, self.placements))

    def __deepcopy__(self, memo: dict) -> Spread:
        return self


class _Whole(Function):
    @staticmethod
    def forward(ctx: Any, spread: Spread, part: Tensor) -> Tensor:
        ctx.spread = spread
        return spread.whole(part)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return None, ctx.spread.cut(grad)


class Divided(DTensor):
    """See the module. Within ``Disabled`` it is the part."""

    _spread: Spread

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "__get__":  # a property: T, mT, real
            name = func.__self__.fget.__name__
        if name.strip("_").removeprefix("foreach_") in _PARTWISE:
            spread = next((t._spread for t in _flat((args, kwargs)) if isinstance(t, Divided)), None)
            parts = _parts(spread, args, kwargs)
            if parts is not None:
                with Disabled():
                    result = func(*parts[0], **parts[1])
                    return _map(result, spread.dress) if isinstance(result, (list, tuple)) else spread.dress(result)
        return _on_the_whole(func, name, args, kwargs)

    @property
    def device_mesh(self) -> DeviceMesh:
        """The processes that have parts."""
        return self._spread.mesh

    @property
    def placements(self) -> tuple[Placement, ...]:
        """How it lies along each axis of the mesh."""
        return self._spread.placements

    def to_local(self, *, grad_placements: Any = None) -> Tensor:
        """This process's part, an ordinary tensor of the same storage."""
        if grad_placements is not None:
            raise NotImplementedError("DTensor.to_local: the gradient is placed as the tensor is; leave "
                                      "grad_placements out")
        if self.requires_grad:
            with Disabled():
                return Tensor.view(self, self._value.meta.shape)
        return Tensor._make_subclass(Tensor, self, False)

    @property
    def _local_tensor(self) -> Tensor:
        return self.to_local()

    def full_tensor(self, *, grad_placements: Any = None) -> Tensor:
        """The whole, an ordinary tensor in each process. Called by all members; the gradient is that of one's part."""
        if grad_placements is not None:
            raise NotImplementedError("DTensor.full_tensor: each process's gradient is that of its part; leave "
                                      "grad_placements out")
        part = Tensor._of(self._get())
        if self._spread.members == 1:
            return part
        return _Whole.apply(self._spread, part) if part.requires_grad else self._spread.whole(part)

    def redistribute(self, device_mesh: DeviceMesh | None = None, placements: Sequence[Placement] | None = None, *,
                     async_op: bool = False) -> DTensor:  # fmt: skip
        """The same tensor, placed in another way on its mesh. ValueError for another mesh."""
        if device_mesh is not None and device_mesh != self.device_mesh:
            raise ValueError("DTensor.redistribute: a tensor stays on its mesh; for another one use "
                             "distribute_tensor(x.full_tensor(), mesh, placements)")
        spread = Spread(self.device_mesh, self.placements if placements is None else placements, self._spread.shape)
        return self if spread == self._spread else divided(spread.cut(self.full_tensor()), spread)

    @property
    def shape(self) -> Size:
        return Size(self._value.meta.shape if state.disabled else self._spread.shape)

    def size(self, dim: int | None = None) -> Any:
        shape = self.shape
        return shape if dim is None else shape[dim]

    def numel(self) -> int:
        return self.shape.numel()

    nelement = numel

    def stride(self, dim: int | None = None) -> Any:
        if state.disabled:
            return Tensor.stride(self, dim)
        strides = tuple(int(np.prod(self.shape[d + 1 :])) for d in range(len(self.shape)))
        return strides if dim is None else strides[dim]

    @property
    def data(self) -> Tensor:
        with Disabled():
            made = Tensor.data.fget(Tensor._make_subclass(Tensor, self, False))
        return divided(made, self._spread)

    @data.setter
    def data(self, new: Tensor) -> None:
        given = self._spread.cut(new) if not isinstance(new, Divided) and new.shape == self.shape else new
        if given._value.meta.shape != self._spread.local_shape:
            raise RuntimeError(f"a DTensor of the shape {list(self.shape)} cannot get data of {list(new.shape)}")
        with Disabled():
            Tensor.data.fset(self, given)

    @property
    def grad(self) -> Tensor | None:
        with Disabled():
            found = Tensor.grad.fget(self)
            if found is not None and not isinstance(found, Divided):
                found = self._spread.dress(found)
                Tensor.grad.fset(self, found)
        return found

    @grad.setter
    def grad(self, grad: Tensor | None) -> None:
        if isinstance(grad, Tensor) and not isinstance(grad, Divided):
            grad = self._spread.dress(self._spread.cut(grad) if tuple(grad.shape) == self._spread.shape else grad)
        with Disabled():
            Tensor.grad.fset(self, grad)

    @grad.deleter
    def grad(self) -> None:
        self.grad = None

    def _write(self, whole: Tensor) -> None:
        with no_grad(), Disabled():
            if not self.is_meta:
                self.copy_(self._spread.cut(whole.detach()))

    def __deepcopy__(self, memo: dict) -> Divided:
        with Disabled():
            return Tensor.__deepcopy__(self, memo)

    def __reduce_ex__(self, protocol: Any) -> tuple:
        raise NotImplementedError(
            "a DTensor cannot be pickled, as its mesh consists of running processes; save x.full_tensor() or "
            "x.to_local(), or take torch.distributed.checkpoint.state_dict.get_model_state_dict(model, "
            "options=StateDictOptions(full_state_dict=True))"
        )

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        part = Tensor._of(self._get()).detach()
        return f"DTensor(local_tensor={part!r}, device_mesh={self.device_mesh!r}, placements={self.placements})"


Divided.__name__ = Divided.__qualname__ = "DTensor"  # as which it is known


def divided(part: Tensor, spread: Spread, requires_grad: bool = False) -> Divided:
    """The tensor of which ``part`` is this process's, sharing its storage; with its history unless it is a new leaf."""
    with Disabled():
        if part._value.meta.shape != spread.local_shape:
            raise ValueError(f"a part of the shape {list(part._value.meta.shape)} is none of {list(spread.shape)} "
                             f"placed as {spread.placements}, which would be {list(spread.local_shape)}")
        if not requires_grad and part.requires_grad:
            made = object.__new__(Divided)
            made._value, made._alias = part._get(), None
        else:
            made = Tensor._make_subclass(Divided, part, requires_grad)
    made._spread = spread
    return made


def become_divided(whole: Tensor, part: Divided) -> None:
    """Turn a leaf that an optimizer may know already into the tensor of which ``part`` is this process's."""
    whole.grad = None
    with Disabled():
        Tensor.data.fset(whole, part)
    whole.__class__ = Divided
    whole._spread, whole._is_param = part._spread, True


def _flat(tree: Any) -> list[Any]:
    if isinstance(tree, (list, tuple)):
        return [t for item in tree for t in _flat(item)]
    return [t for item in tree.values() for t in _flat(item)] if type(tree) is dict else [tree]


def _map(tree: Any, fn: Any) -> Any:
    if type(tree) in (list, tuple):
        return type(tree)(_map(item, fn) for item in tree)
    return {k: _map(v, fn) for k, v in tree.items()} if type(tree) is dict else fn(tree)


class _Unlike(Exception):
    pass


def _parts(spread: Spread | None, args: tuple, kwargs: dict) -> Any:
    """The arguments as parts of tensors placed in one way; None if they are not."""
    if spread is None:
        return None

    def of(x: Any) -> Any:
        if isinstance(x, Divided):
            if x._spread != spread:
                raise _Unlike
        elif type(x) is Size and tuple(x) == spread.shape:  # of new_zeros and its kind
            return Size(spread.local_shape)
        elif isinstance(x, Tensor) and x.ndim:
            if tuple(x.shape) == spread.shape:
                return spread.cut(x)
            if tuple(x.shape) != spread.local_shape and x.numel() != 1:
                raise _Unlike
        return x

    try:
        args = tuple(_sizes(a, spread) for a in args)
        return _map(args, of), _map(kwargs, of)
    except _Unlike:
        return None


def _sizes(x: Any, spread: Spread) -> Any:
    """A shape that is given as a tuple or list, as a Size."""
    whole = type(x) in (tuple, list) and x and all(type(n) is int for n in x) and tuple(x) == spread.shape
    return Size(x) if whole else x


def _on_the_whole(func: Any, name: str, args: tuple, kwargs: dict) -> Any:
    def whole(x: Any) -> Any:
        return x.full_tensor() if isinstance(x, Divided) else x

    in_place = name in _INPLACE or name.endswith("_") and not name.endswith("__")
    targets = [t for t in _flat(args[:1]) if isinstance(t, Divided)] if in_place else []
    if is_grad_enabled() and any(t.requires_grad and t.is_leaf for t in targets):
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
    wholes, named = _map(args, whole), _map(kwargs, whole)
    with Disabled():
        result = func(*wholes, **named)
    written = [(args[0], wholes[0])] if in_place else []
    if kwargs.get("out") is not None:
        written.append((kwargs["out"], named["out"]))
    for target, made in written:
        for t, value in zip(_flat([target]), _flat([made]), strict=True):
            if isinstance(t, Divided):
                t._write(value)
    return args[0] if in_place and name != "__setitem__" else kwargs["out"] if kwargs.get("out") is not None else result


def world_mesh(device_type: str = "cpu") -> DeviceMesh:
    """All processes, in one axis."""
    return DeviceMesh(device_type, np.arange(get_world_size()))


def from_local(part: Tensor, mesh: DeviceMesh | None, placements: Sequence[Placement] | None, run_check: bool,
               shape: Any, stride: Any) -> Divided:  # fmt: skip
    """See ``DTensor.from_local``."""
    if stride is not None:
        raise NotImplementedError("DTensor.from_local: tensors are contiguous; leave stride out")
    mesh = world_mesh(part.device.type) if mesh is None else mesh
    placements = [Replicate()] * mesh.ndim if placements is None else list(placements)
    whole = list(part.shape) if shape is None else list(shape)
    if shape is None:
        for axis, placement in enumerate(placements):
            if type(placement) is Shard:
                whole[placement.dim] *= mesh.size(axis)
    if run_check:
        for axis, placement in enumerate(placements):
            if type(placement) is Replicate:
                part = mesh.get_group(axis).broadcast(part.detach(), 0)
    return divided(part, Spread(mesh, placements, whole))


def distribute(tensor: Tensor, mesh: DeviceMesh, placements: Sequence[Placement] | None, source: int | None) -> Divided:
    """``distribute_tensor`` over processes: the parts of the tensor of the member ``source`` (None: of one's own)."""
    placements = [Replicate()] * mesh.ndim if placements is None else list(placements)
    spread = Spread(mesh, placements, tuple(tensor.shape))
    value = tensor.detach()
    if source is not None and not tensor.is_meta:
        for axis in range(mesh.ndim):
            value = mesh.get_group(axis).broadcast(value, source)
    with no_grad():
        part = spread.cut(value).clone()
    made = divided(part, spread, tensor.requires_grad)
    if isinstance(tensor, Parameter):
        made._is_param = True
    return made
