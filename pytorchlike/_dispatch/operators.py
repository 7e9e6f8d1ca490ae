"""``torch.ops.aten``: PyTorch's inner operators and their overloads, which can be called.

``aten.add.Tensor`` computes what ``torch.add`` does; called where a mode or a tensor class wants to be asked
(``__torch_dispatch__``), it asks first. An operator called without its overload finds out by its arguments.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import Any

from . import kernels, offers
from .schema import Schema, among, schemas

__all__ = ["Aten", "Overload", "Packet", "aten", "of_custom"]


class Overload:
    """One form of an operator: ``str`` as PyTorch's, ``_schema`` its signature (None if PyTorch has no such name)."""

    __module__ = "torch._ops.aten"

    def __init__(self, packet: Any, name: str) -> None:
        self.overloadpacket, self._overloadname, self._opname = packet, name, packet.__name__
        self._overloadpacket = packet  # libraries that count operations look here
        self.namespace = packet._namespace
        self.__module__ = f"torch._ops.{self.namespace}"
        self.__name__ = f"{self._opname}.{name}"
        self.__qualname__ = self.__name__
        self.tags: list[Any] = []

    @functools.cached_property
    def _schema(self) -> Schema | None:
        if self.overloadpacket.custom is not None:
            return self.overloadpacket.custom._schema
        return schemas(self._opname).get(self._overloadname) if self.namespace == "aten" else None

    @property
    def fused(self) -> bool:
        """Whether what computes it is several operations here, so that it gets its derivative as a whole."""
        return self._opname in kernels.FUSED

    @functools.cached_property
    def differentiable(self) -> bool:
        """Whether its result may require gradients."""
        return self._opname not in _NOT_DIFFERENTIABLE

    @property
    def is_view(self) -> bool:
        """Whether the result shares memory with an argument that it does not write to."""
        schema = self._schema
        return schema is not None and any(
            r.alias_info is not None and not r.alias_info.is_write for r in schema.returns
        )

    @property
    def op(self) -> Any:
        """What computes the operator."""
        return self.overloadpacket._function

    def name(self) -> str:
        """``aten::add.Tensor``; without the overload if that is the default one."""
        more = "" if self._overloadname == "default" else f".{self._overloadname}"
        return f"{self.namespace}::{self._opname}{more}"

    def compute(self, *args: Any, **kwargs: Any) -> Any:
        """The result, asking nobody."""
        return self.overloadpacket._compute(self._overloadname, args, kwargs)

    def decompose(self, *args: Any, **kwargs: Any) -> Any:
        """NotImplemented: what PyTorch makes of other operators is taken to pieces before anybody is asked."""
        return NotImplemented

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if offers.active(args, kwargs) or (offers.state.pending is not None and not offers.state.inside):
            return offers.at_autograd(self, args, kwargs)
        return self.compute(*args, **kwargs)

    def __str__(self) -> str:
        return f"{self.namespace}.{self.__name__}"

    def __repr__(self) -> str:
        return f"<OpOverload(op='{self.namespace}.{self._opname}', overload='{self._overloadname}')>"

    def __reduce__(self) -> tuple:
        return _found, (self.namespace, self._opname, self._overloadname)

    def __copy__(self) -> Overload:
        return self

    def __deepcopy__(self, memo: Any) -> Overload:
        return self


def _found(namespace: str, name: str, overload: str) -> Overload:
    ops = importlib.import_module(f"{__name__.split('.')[0]}.ops")
    return getattr(getattr(getattr(ops, namespace), name), overload)


class Packet:
    """An operator; its attributes are its overloads."""

    def __init__(self, function: Callable[..., Any], name: str, namespace: str = "aten") -> None:
        self.__name__, self._namespace = name, namespace
        self.__qualname__ = name
        self._qualified_op_name = f"{namespace}::{name}"
        self.__module__ = f"torch._ops.{namespace}"
        self._function = function
        self.custom: Any = None
        self._made: dict[str, Overload] = {}

    def _overload(self, name: str) -> Overload:
        found = self._made.get(name)
        if found is None:
            found = self._made[name] = Overload(self, name)
        return found

    def __getattr__(self, overload: str) -> Overload:
        if overload.startswith("__"):
            raise AttributeError(overload)
        if self.custom is not None and overload != "default":
            raise AttributeError(f"The underlying op of '{self._namespace}.{self.__name__}' has no overload name "
                                 f"'{overload}'")  # fmt: skip
        known = schemas(self.__name__) if self._namespace == "aten" else {}
        if known and overload not in known and not overload.endswith(("out", "_mode")):
            if overload != "default":
                raise AttributeError(f"The underlying op of 'aten.{self.__name__}' has no overload name '{overload}'; "
                                     f"it has {', '.join(known)}")  # fmt: skip
        return self._overload(overload)

    def _compute(self, overload: str, args: tuple, kwargs: dict[str, Any]) -> Any:
        if self._namespace != "aten":
            return self._function(*args, **kwargs)
        # layouts and page-locked memory are XLA's affair
        kwargs = {k: v for k, v in kwargs.items() if k not in ("layout", "pin_memory", "memory_format")}
        return kernels.BY_OVERLOAD.get((self.__name__, overload), self._function)(*args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.custom is not None:
            return self.custom(*args, **kwargs)
        if not offers.active(args, kwargs) and (offers.state.pending is None or offers.state.inside):
            return self._function(*args, **kwargs)
        overload, given, named = self._resolve(args, kwargs)
        return offers.at_autograd(overload, tuple(given), named)

    def _resolve(self, args: tuple, kwargs: dict[str, Any]) -> tuple[Overload, Any, dict[str, Any]]:
        """The overload that takes these arguments, with them as it is offered them."""
        for schema in schemas(self.__name__).values():
            if len(args) <= len(schema.arguments):
                bound = {**dict(zip((a.name for a in schema.arguments), args, strict=False)), **kwargs}
                found = among(self.__name__, bound)
                if found is not None:
                    return self._overload(found[0].overload_name or "default"), found[1], found[2]
        return self._overload("default"), args, kwargs

    def __copy__(self) -> Packet:
        return self

    def __deepcopy__(self, memo: Any) -> Packet:  # a copied table by operators is still found
        return self

    def overloads(self) -> list[str]:
        """The names of the overloads."""
        return ["default"] if self.custom is not None else list(schemas(self.__name__)) or ["default"]

    @property
    def op(self) -> Any:
        """What computes the operator."""
        return self._function

    def __str__(self) -> str:
        return f"{self._namespace}.{self.__name__}"

    def __repr__(self) -> str:
        return f"<OpOverloadPacket(op='{self._namespace}.{self.__name__}')>"


class Aten:
    """The namespace; AttributeError for a name that neither torch, torch.nn.functional nor Tensor has."""

    __name__ = "torch.ops.aten"

    def __init__(self) -> None:
        self._packets: dict[str, Packet] = {}

    def __getattr__(self, name: str) -> Packet:
        if name.startswith("__"):
            raise AttributeError(name)
        found = self._packets.get(name)
        if found is None:
            found = self._packets[name] = Packet(_function(name), name)
        return found

    def made(self, name: str, function: Callable[..., Any]) -> Packet:
        """The operator of a name that has no function of its own: computed by ``function``."""
        found = self._packets.get(name)
        if found is None:
            try:
                return getattr(self, name)
            except AttributeError:
                found = self._packets[name] = Packet(function, name)
        return found


aten = Aten()


def reducing(function: Callable[..., Any], default: int) -> Callable[..., Any]:
    """A loss whose reduction, a number, is ``default`` where none is given: operators take the mean, functions of
    ``torch`` of the same names reduce nothing.
    """
    names = list(inspect.signature(function).parameters)
    place = names.index("reduction")

    @functools.wraps(function)
    def loss(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs) if len(args) > place else function(*args, **{"reduction": default, **kwargs})

    return loss


#: Losses that are functions of ``torch`` as well.
_LOSSES = ("cosine_embedding_loss", "ctc_loss", "hinge_embedding_loss", "kl_div", "margin_ranking_loss",
           "triplet_margin_loss")  # fmt: skip


def _function(name: str) -> Callable[..., Any]:
    found = kernels.KERNELS.get(name)
    if found is not None:
        return found
    package = __name__.split(".")[0]
    torch = importlib.import_module(package)
    functional = importlib.import_module(f"{package}.nn.functional")
    places = [(torch, name), (functional, name), (torch.Tensor, name)]
    for prefix in ("linalg", "fft", "special", "_sparse"):
        if name.startswith(f"{prefix}_"):
            module = importlib.import_module(f"{package}.{prefix.removeprefix('_')}")
            places.append((module, name.removeprefix(f"{prefix}_")))
    for place, attribute in places:
        found = getattr(place, attribute, None)
        if callable(found):
            return reducing(found, 1) if name in _LOSSES else found
    raise AttributeError(f"torch.ops.aten has no operator '{name}': there is no such function or method of a tensor")


_customs: dict[str, Packet] = {}


def of_custom(op: Any) -> Overload:
    """The overload of an operator that a program has named (``torch.library``)."""
    found = _customs.get(op._qualname)
    if found is None or found.custom is not op:
        found = _customs[op._qualname] = Packet(op._run, op._name, op._namespace)
        found.custom = op
    return found._overload("default")


#: Operators that look at tensors, or compare them.
_NOT_DIFFERENTIABLE = frozenset(
    """detach detach_ _local_scalar_dense eq ne lt le gt ge isnan isinf isfinite argmax argmin sign_ equal any all
    zeros_like ones_like empty_like full_like rand_like randn_like new_zeros new_ones new_empty new_full sgn_ floor_
    logical_and logical_or logical_not logical_xor nonzero bincount bernoulli multinomial randint_like lift_fresh
    allclose isclose new_empty_strided argsort searchsorted bucketize""".split()
)
