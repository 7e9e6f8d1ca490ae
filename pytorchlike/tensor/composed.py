"""Tensors made of several tensors: the base of sparse and nested ones.

A composed tensor holds ordinary recorded tensors (its *parts*) and a shape.  One part, the *carrier*, holds the
numbers: dtype, device and gradients are the carrier's, so recording, differentiation and compilation need to know
nothing about it.  The generated wrappers of the operators reach a tensor's value through ``_alias`` and ``_fresh``; a
composed tensor has an ``_alias`` that says nothing and a ``_fresh`` that raises, so calls with it leave the fast path
by the way that every unusual argument takes, at no cost for others.  There, :func:`call_operator` looks up the handler
that the kind of tensor has for the operator; without one the call is refused.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from ..ops._sizes import wrap_dim
from ..ops._table import OpDef
from ._arguments import NOT_GIVEN, Unusual
from ._cell import write_out
from ._conversions import _parse_to
from ._general import bind
from ._register import KINDS
from ._tensor import Tensor
from .asking import disabled
from .size import Size


class NotPlain(Unusual, NotImplementedError):
    """A composed tensor came where an operation needs one array."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __str__(self) -> str:
        return refusal(_called(self.__traceback__), self.kind)


def _called(trace: Any) -> str:
    """The name of the outermost function of the package on the way to an exception."""
    while trace is not None:
        code = trace.tb_frame.f_code
        if "pytorchlike" in code.co_filename:
            return code.co_name
        trace = trace.tb_next
    return "the operation"


def refusal(name: str, kind: str) -> str:
    """What is said about an operation that a kind of tensor does not have."""
    if kind == "masked":
        return (f"{name}: not implemented for masked tensors. Apply it to .get_data() or .to_tensor(value), and give "
                "the result its mask by torch.masked.as_masked_tensor")  # fmt: skip
    return (
        f"{name}: not implemented for tensors of layout {kind}. If a dense result is what you want, convert first: "
        f"{'.to_padded_tensor(padding) or .unbind()' if 'jagged' in kind or 'nested' in kind else '.to_dense()'}"
    )


class Composed(Tensor):
    """A tensor that is made of other tensors; see the module's text."""

    __torch_function__ = disabled  # type: ignore[assignment]
    _alias: ClassVar[Any] = ()  # neither None nor an alias: see the module's text
    #: Operator or function name -> what is called instead with its arguments.
    _handlers: ClassVar[dict[str, Callable[..., Any]]]
    _carrier: Tensor
    _size: tuple[int, ...]

    def __init_subclass__(cls, abstract: bool = False, **kwargs: Any) -> None:
        from jax import tree_util

        type.__init_subclass__(**kwargs)
        if abstract:
            return
        cls._handlers = dict(getattr(cls, "_handlers", {}))
        KINDS.append(cls)
        tree_util.register_pytree_node(cls, cls._flatten, cls._unflatten)

    # ---- what a kind defines -----------------------------------------------------------------------------------

    def _with(self, carrier: Tensor) -> Any:
        """The same structure around other numbers."""
        raise NotImplementedError

    def _moved(self, where: Any) -> Any:
        """The structure's parts on another device, around the present numbers."""
        raise NotImplementedError

    def _same_structure(self, other: Any) -> bool:
        """Whether the carriers of both can be combined element by element."""
        raise NotImplementedError

    def _take_structure(self, other: Any) -> None:
        """Become what ``other`` is, for in-place operations."""
        raise NotImplementedError

    def _flatten(self) -> tuple[tuple, Any]:
        """Children and static data, as a JAX pytree."""
        raise NotImplementedError

    @classmethod
    def _unflatten(cls, told: Any, children: Any) -> Any:
        raise NotImplementedError

    @property
    def _kind(self) -> str:
        return str(self.layout)

    # ---- out of the fast path ----------------------------------------------------------------------------------

    def _fresh(self, trace: Any = None) -> Any:
        raise NotPlain(self._kind)

    _get = _read = _host = _shared = _fresh

    @property
    def _value(self) -> Any:  # type: ignore[override]
        raise NotPlain(self._kind)

    # ---- what it is --------------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """The size of each dimension."""
        return Size(self._size)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        if dim is None:
            return Size(self._size)
        return self._size[self._dim(dim)]

    def _dim(self, dim: int) -> int:
        return wrap_dim(dim, len(self._size))

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self._size)

    def dim(self) -> int:
        """Number of dimensions."""
        return len(self._size)

    ndimension = dim

    def numel(self) -> int:
        """Number of elements of the whole tensor, stored or not."""
        n = 1
        for s in self._size:
            n *= s
        return n

    def nelement(self) -> int:
        """Number of elements of the whole tensor, stored or not."""
        return self.numel()

    dtype = property(lambda self: self._carrier.dtype)
    device = property(lambda self: self._carrier.device)
    is_meta = property(lambda self: self._carrier.is_meta)
    itemsize = property(lambda self: self._carrier.itemsize)
    nbytes = property(lambda self: self._carrier.nbytes)
    requires_grad = property(
        lambda self: self._carrier.requires_grad, lambda self, value: setattr(self._carrier, "requires_grad", value)
    )
    is_leaf = property(lambda self: self._carrier.is_leaf)
    grad_fn = property(lambda self: self._carrier.grad_fn)
    retains_grad = property(lambda self: self._carrier.retains_grad)
    _version = property(lambda self: self._carrier._version)
    _base = None

    def element_size(self) -> int:
        """Bytes of one element."""
        return self._carrier.element_size()

    def _is_view(self) -> bool:
        return False

    def _no_memory(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(f"a tensor of layout {self._kind} has no storage of its own: look at its parts")

    data_ptr = untyped_storage = storage = storage_offset = const_data_ptr = _no_memory

    def __len__(self) -> int:
        if not self._size:
            raise TypeError("len() of a 0-d tensor")
        return self._size[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self._size:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    # ---- gradients ---------------------------------------------------------------------------------------------

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Start or stop recording operations on a leaf, in place."""
        self._carrier.requires_grad_(requires_grad)
        return self

    @property
    def grad(self) -> Any:
        """The gradient that backward passes have accumulated, with the structure of the tensor; or None."""
        found = self._carrier.grad
        return None if found is None else self._with(found)

    @grad.setter
    def grad(self, grad: Any) -> None:
        if grad is not None:
            if not isinstance(grad, type(self)) or not self._same_structure(grad):
                raise RuntimeError(f"assigned grad must have the structure of the tensor (layout {self._kind}, shape "
                                   f"{list(self._size)})")  # fmt: skip
            grad = grad._carrier
        self._carrier.grad = grad

    @grad.deleter
    def grad(self) -> None:
        self._carrier.grad = None

    def backward(
        self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
    ) -> None:
        """Accumulate d(self)/d(leaf), weighted by ``gradient`` of the same structure, into the ``.grad`` of leaves."""
        from ..autograd import backward

        backward((self,), None if gradient is None else (gradient,), retain_graph, create_graph, inputs=inputs)

    def detach(self) -> Any:
        """The same parts, cut off from the graph."""
        return self._with(self._carrier.detach())

    def detach_(self) -> Any:
        """Cut the tensor off from the graph that made it."""
        self._carrier.detach_()
        return self

    @property
    def data(self) -> Any:
        """The same parts without the history; assigning replaces them."""
        return self.detach()

    @data.setter
    def data(self, new: Any) -> None:
        if not isinstance(new, type(self)):
            raise TypeError(f"Variable data has to be a tensor of layout {self._kind}, got {type(new).__name__}")
        self._take_structure(new)
        self._carrier.data = new._carrier

    def retain_grad(self) -> None:
        """Keep the gradient of a tensor that is not a leaf in its ``.grad`` after backward."""
        self._carrier.retain_grad()

    def register_hook(self, hook: Callable[[Any], Any]) -> Any:
        """Call ``hook(grad)`` whenever the gradient is there, with the structure of the tensor."""

        def on_carrier(grad: Tensor) -> Tensor | None:
            new = hook(self._with(grad))
            return new._carrier if isinstance(new, Composed) else new

        return self._carrier.register_hook(on_carrier)

    # ---- conversion --------------------------------------------------------------------------------------------

    def clone(self, *, memory_format: Any = None) -> Any:
        """A copy of the numbers, through which gradients flow."""
        return self._with(self._carrier.clone())

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Convert to a dtype and/or device; see :meth:`Tensor.to`."""
        args = tuple(a._carrier if isinstance(a, Composed) else a for a in args)
        if isinstance(kwargs.get("other"), Composed):
            kwargs["other"] = kwargs["other"]._carrier
        where, kind, copied = _parse_to(args, kwargs)
        carrier = self._carrier.to(where, kind) if where is not None else self._carrier
        if where is None and kind is not None:
            carrier = self._carrier.to(kind)
        if carrier is self._carrier:
            return self.clone() if copied else self
        found = self._with(carrier)
        return found if where is None else found._moved(where)

    _to = to

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """Not possible for such a layout.

        Raises:  TypeError.
        """
        raise TypeError(f"can't convert {self._kind} layout tensor to numpy. Use Tensor.to_dense() first.")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.numpy()

    def jax(self) -> Any:
        """Not possible for such a layout: ask its parts.

        Raises:  TypeError.
        """
        raise TypeError(f"a tensor of layout {self._kind} is several arrays: call .jax() on its parts, or .to_dense()")

    __jax_array__ = __dlpack__ = __dlpack_device__ = jax

    def item(self) -> Any:
        """The value of a tensor with one element."""
        if self.numel() != 1:
            raise RuntimeError(f"a Tensor with {self.numel()} elements cannot be converted to Scalar")
        return self.to_dense().item()

    def tolist(self) -> Any:
        raise RuntimeError(f"tolist: a tensor of layout {self._kind} has no storage; use .to_dense().tolist()")

    def __bool__(self) -> bool:
        if self.numel() != 1:
            many = "no values" if self.numel() == 0 else "more than one value"
            raise RuntimeError(f"Boolean value of Tensor with {many} is ambiguous")
        return bool(self.to_dense())

    def __hash__(self) -> int:
        return id(self)

    def __format__(self, spec: str) -> str:
        return object.__format__(self, spec)

    def _repr_html_(self) -> str:
        import html

        return f"<pre>{html.escape(repr(self))}</pre>"

    def __deepcopy__(self, memo: dict) -> Any:
        found = memo.get(id(self))
        if found is None:
            found = memo[id(self)] = self._with(copy.deepcopy(self._carrier, memo))
        return found

    def __copy__(self) -> Any:
        return self._with(self._carrier)

    # ---- in place ----------------------------------------------------------------------------------------------

    def _become(self, new: Any, name: str) -> Any:
        """Take over the result of an in-place operation."""
        from ..engine import get_mode

        if not isinstance(new, type(self)):
            raise RuntimeError(f"{name}: the result is a dense tensor, which cannot be written into one of layout "
                               f"{self._kind}")  # fmt: skip
        if new is self:
            return self
        if self._same_structure(new) and new._carrier.shape == self._carrier.shape:
            self._carrier.copy_(new._carrier)
            return self
        if get_mode().grad and self.requires_grad and self.is_leaf:
            raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
        carrier = new._carrier
        self._take_structure(new)
        self._carrier = carrier if carrier.dtype == self.dtype else carrier.to(self.dtype)
        return self

    def copy_(self, src: Any, non_blocking: bool = False) -> Any:
        """Take over the numbers and the structure of ``src``, a tensor of the same layout."""
        if not isinstance(src, type(self)) or src._kind != self._kind:
            raise RuntimeError(f"copy_: a tensor of layout {self._kind} takes one of the same layout, not "
                               f"{getattr(src, 'layout', type(src).__name__)}")  # fmt: skip
        return self._become(src.to(self.device, self.dtype), "copy_")

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(f"Cannot assign to a tensor of layout {self._kind}")


# ---- dispatch ------------------------------------------------------------------------------------------------------


def kind_among(args: tuple, kwargs: dict[str, Any]) -> type[Composed] | None:
    """The class of the first composed tensor among the arguments of a call, or in a sequence among them."""
    for a in (*args, *kwargs.values()):
        if isinstance(a, Composed):
            return type(a)
        if a.__class__ is list or a.__class__ is tuple:
            for b in a:
                if isinstance(b, Composed):
                    return type(b)
    return None


def _layout_among(values: Any) -> str:
    for a in values:
        if isinstance(a, Composed):
            return a._kind
        if isinstance(a, (list, tuple)) and (found := _layout_among(a)):
            return found
    return ""


def call_operator(kind: type[Composed], entry: OpDef, inplace: bool, args: tuple, kwargs: dict[str, Any]) -> Any:
    """An operator of the table on composed tensors: the kind's handler, given all of the operator's parameters."""
    name = entry.name + ("_" if inplace else "")
    kwargs = {k: v for k, v in kwargs.items() if v is not NOT_GIVEN}
    for ignored in ("layout", "pin_memory", "device", "requires_grad", "generator"):
        kwargs.pop(ignored, None)
    inplace = kwargs.pop("inplace", False) or inplace
    out = kwargs.pop("out", None)
    handler = kind._handlers.get(entry.name)
    if handler is None:
        raise NotImplementedError(refusal(name, _layout_among((*args, *kwargs.values()))))
    bound = bind(entry, name, args, kwargs)
    result = handler(**bound)
    if inplace:
        first = bound[entry.params[0].name]
        return first._become(result, name) if isinstance(first, Composed) else _write_dense(first, result, name)
    if out is None:
        return result
    return out._become(result, name) if isinstance(out, Composed) else write_out(out, result, name)


def _write_dense(first: Tensor, result: Any, name: str) -> Tensor:
    if isinstance(result, Composed):
        raise RuntimeError(f"{name}: the result has layout {result._kind}, which a dense tensor cannot take")
    if result.shape != first.shape:
        raise RuntimeError(f"{name}: output with shape {list(first.shape)} doesn't match the broadcast shape "
                           f"{list(result.shape)}")  # fmt: skip
    return first.copy_(result)


def call_function(kind: type[Composed], name: str, args: tuple, kwargs: dict[str, Any]) -> Any:
    """A composite function on composed tensors: the kind's handler, or the method of that name."""
    handler = kind._handlers.get(name)
    if handler is None:
        raise NotImplementedError(refusal(name, _layout_among((*args, *kwargs.values()))))
    return handler(*args, **kwargs)


def carriers(tensors: Any) -> tuple:
    """Composed tensors replaced by their carriers, for the reverse passes."""
    return tuple(t._carrier if isinstance(t, Composed) else t for t in tensors)


def like(tensor: Any, grad: Any) -> Any:
    """A gradient with the structure of the tensor that it is the gradient of."""
    return tensor._with(grad) if isinstance(tensor, Composed) and grad is not None else grad


def gradients(tensors: Any, grads: Any) -> Any:
    """The carriers of given gradients; those of a composed tensor must have its structure, or be dense."""
    if grads is None or not any(isinstance(t, Composed) for t in tensors):
        return grads
    if isinstance(grads, Tensor):
        grads = (grads,)
    return tuple(t._grad_of(g) if isinstance(t, Composed) and g is not None else g
                 for t, g in zip(tensors, grads, strict=False))  # fmt: skip
