"""What tensors know of gradients."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine import Leaf, Value, local
from ..engine.grad import watch
from ..engine.meta import INTERIOR, LEAF, NO_GRAD
from ..engine.segment import Freed
from ._cell import Cell, frozen_of, part_of_tensor
from ._values import _as_leaf, _kept_apart, _leaf_of, _plain, _straightened
from .dtype import dtype as torch_dtype
from .storage import Alias, shortest

if TYPE_CHECKING:
    from ._tensor import Tensor

#: The package above this one, once it is needed.
_autograd: Any = None


@part_of_tensor
class Taped(Cell):
    """The part of :class:`~._tensor.Tensor` that has gradients, hooks, and a way to detach from the tape."""

    __slots__ = ()

    _own_grad: Any = None  # .grad of a tensor that does not accumulate
    _hooks: Any = None
    _watch: Any = None
    _name: str | None = None

    @property
    def requires_grad(self) -> bool:
        """Whether operations on the tensor are recorded for a backward pass."""
        if self._alias is not None:
            self._fresh()
        return self._value.meta.grad != NO_GRAD

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not isinstance(value, (bool, np.bool_)):
            raise RuntimeError("requires_grad must be a bool")
        if self._get().meta.grad == INTERIOR:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables; for a computed one that does not require "
                "gradients use .detach(), to keep its gradient use .retain_grad()"
            )
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Start or stop recording operations on a leaf, in place."""
        value = self._get()
        now = value.meta.grad
        if requires_grad:
            if now:
                return self
            if value.meta.dtype.kind in "biu":
                raise RuntimeError("only Tensors of floating point and complex dtype can require gradients")
            if value.meta.inference and not local.trace.mode.inference:
                raise RuntimeError(
                    "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed."
                )
            try:
                leaf = frozen_of(self)  # it has the hooks, and what was recorded before leads there
            except AttributeError:
                leaf = _leaf_of(self)
            if self._alias is not None:
                self._alias.leaf = leaf
            leaf.grad, self._own_grad = self._own_grad, None
            self._value = _as_leaf(value, leaf)
            self._tell_storage()
            return self
        if now == INTERIOR:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a computed variable "
                "in a "
                "subgraph that doesn't require differentiation use var_no_grad = var.detach()."
            )
        if now == LEAF:
            self._frozen = leaf = value.node
            self._value = _plain(value)
            self._own_grad = leaf.grad
            if leaf.owner is not None and leaf.owner() is self:
                leaf.grad = None  # what still comes from passes over earlier work is nobody's
            if self._alias is not None:
                self._alias.leaf = None
            self._tell_storage()
        return self

    def _tell_storage(self) -> None:
        """Where the tensor is the one that the storage was made for, others see whether it is a leaf."""
        alias = self._alias
        if alias is not None and not alias.chain and not alias.detached:
            alias.storage.value = self._value

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was not computed from tensors that require gradients."""
        return self._get().meta.grad != INTERIOR

    @property
    def grad(self) -> Tensor | None:
        """The gradient that backward passes have accumulated, or None."""
        value = self._value if self._alias is None else self._fresh()
        node = value.node
        if type(node) is Leaf:
            return node.grad
        if value.meta.grad == INTERIOR and self._own_grad is None and self._watch is None:
            import warnings

            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute "
                "won't be "
                "populated during autograd.backward(). If you indeed want the .grad field to be populated for a "
                "non-leaf "
                "Tensor, use .retain_grad() on the non-leaf Tensor.",
                UserWarning,
                stacklevel=2,
            )
        return self._own_grad

    @grad.setter
    def grad(self, grad: Tensor | None) -> None:
        if grad is not None:
            if not isinstance(grad, Cell):
                raise TypeError(
                    "assigned grad expected to be a Tensor or None but got grad of type "
                    f"{type(grad).__name__}"
                )
            if grad is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if tuple(grad.shape) != self._value.meta.shape:
                raise RuntimeError(
                    f"attempting to assign a gradient of size '{list(grad.shape)}' to a tensor of size "
                    f"'{list(self.shape)}'. Please ensure that the gradient and the tensor are the same size"
                )
            if grad.dtype is not self.dtype:
                raise RuntimeError(
                    f"attempting to assign a gradient with dtype '{grad.dtype}' to a tensor with grad_dtype "
                    f"'{self.dtype}'. The gradient must match the tensor's grad_dtype, which is its own dtype."
                )
            if grad.device.type != self.device.type:
                raise RuntimeError(
                    f"attempting to assign a gradient with device type '{grad.device.type}' to a tensor with device "
                    f"type '{self.device.type}'. Please ensure that the gradient and the tensor are on the same device"
                )
        node = self._get().node
        if type(node) is Leaf:
            if local.trace.nested:
                (local.trace.clear if grad is None else local.trace.replaced)(node)
            node.grad = grad
        else:
            self._own_grad = grad

    @grad.deleter
    def grad(self) -> None:
        self.grad = None

    _grad = grad  # the name by which training in several processes hands gradients over

    @property
    def grad_fn(self) -> Any:
        """The node of the backward graph that made the tensor; None for a leaf."""
        if self._get().meta.grad != INTERIOR:
            return None
        from ..autograd.graph import node_of

        return node_of(self)

    @property
    def output_nr(self) -> int:
        """Which of its :attr:`grad_fn`'s results the tensor is."""
        if self._get().meta.grad != INTERIOR:
            return 0
        from ..autograd.nodes import edge_of_value

        return edge_of_value(self._get())[1]

    def backward(
        self, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False,
        inputs: Any = None,
    ) -> None:  # fmt: skip
        """Accumulate d(self)/d(leaf), weighted by ``gradient``, into the ``.grad`` of every leaf (or of ``inputs``).

        Raises RuntimeError if the tensor does not require gradients, is not a scalar and no ``gradient`` is given, or
        if the graph was already given up by an earlier backward pass without ``retain_graph=True``.
        """
        global _autograd
        if _autograd is None:
            from .. import autograd as _autograd
        weights = gradient if gradient is None or isinstance(gradient, (list, tuple)) else (gradient,)
        _autograd.backward((self,), weights, retain_graph, create_graph, inputs=inputs)

    def detach(self) -> Tensor:
        """The same data, in the same storage, cut off from the graph."""
        value = self._get()
        alias = self._shared()
        t = self._of(_kept_apart(value))
        t._alias = Alias(alias.storage, alias.chain, None, True, len(alias.chain), alias.writes, group=object())
        return t

    def detach_(self) -> Tensor:
        """Cut the tensor off from the graph that made it; it becomes a leaf."""
        if self._is_view():
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self._value = value = _plain(self._get())
        alias = self._alias
        if alias is not None:
            alias.leaf = None
            if alias.group is not None and alias.storage.apart is alias.group and not alias.chain:
                alias.storage.value, alias.storage.apart = value, None
        self._tell_storage()
        return self

    @property
    def data(self) -> Tensor:
        """The same data without the history, as :meth:`detach`; assigning replaces the tensor's data."""
        t = self.detach()
        t._alias.writes = [0]
        return t

    @data.setter
    def data(self, new: Tensor) -> None:
        if not isinstance(new, Cell):
            raise TypeError(f"Variable data has to be a tensor, but got {type(new).__name__}")
        old = self._get()
        node = old.node
        value = _plain(new._get())
        if old.meta.grad and value.meta.dtype.kind in "biu":
            raise RuntimeError(
                "data set to a tensor that requires gradients must be floating point or complex dtype"
            )
        if old.meta.grad == INTERIOR and (value.meta.shape, value.meta.dtype) == (old.meta.shape, old.meta.dtype):
            self._bumps, self._alias = self._version, None  # it keeps its history, and so shares nothing
            self._value = _straightened(value, old)
            return
        leaf = node if type(node) is Leaf else None
        alias = new._shared()
        chain = shortest(alias.chain, alias.storage.value.meta, value.meta)
        self._alias = Alias(alias.storage, chain, leaf, True, len(chain), alias.writes)
        self._value = value if leaf is None else _as_leaf(value, leaf)

    def retain_grad(self) -> None:
        """Keep the gradient of a tensor that is not a leaf in its ``.grad`` after backward."""
        value = self._get()
        if not value.meta.grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if value.meta.grad == LEAF:
            return
        self._hook_table()
        self._retains = True

    @property
    def retains_grad(self) -> bool:
        return bool(self.__dict__.get("_retains", False))

    @property
    def grad_dtype(self) -> torch_dtype | None:
        """The dtype of the gradients of a leaf: its own; None if it requires none."""
        return self.dtype if self.requires_grad else None

    @property
    def name(self) -> str | None:
        """The name given in a graph; None."""
        return self._name

    @property
    def volatile(self) -> bool:
        """False: use ``torch.no_grad()``."""
        import warnings

        warnings.warn("volatile was removed (Variable.volatile is always False)", UserWarning, stacklevel=2)
        return False

    def reinforce(self, reward: Any) -> None:
        """Refused, as in PyTorch: see ``torch.distributions``."""
        raise RuntimeError("reinforce() was removed. Use torch.distributions instead: its log_prob")

    def register_hook(self, hook: Any) -> Any:
        """Call ``hook(grad)`` whenever the gradient of the tensor is there; what it returns, if not None, replaces it.

        Returns a handle with ``remove()``.
        """
        from ..utils.hooks import RemovableHandle

        value = self._get()
        if not value.meta.grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if value.meta.grad == LEAF:
            leaf = value.node
            if leaf.hooks is None:
                leaf.hooks = OrderedDict()
            table = leaf.hooks
        else:
            table = self._hook_table()
        handle = RemovableHandle(table)
        table[handle.id] = hook
        return handle

    def register_post_accumulate_grad_hook(self, hook: Any) -> Any:
        """Call ``hook(tensor)`` after a backward pass has accumulated into the ``.grad`` of this leaf."""
        from ..utils.hooks import RemovableHandle

        value = self._get()
        if not value.meta.grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if value.meta.grad != LEAF:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        leaf = value.node
        leaf.owner = weakref.ref(self)
        if leaf.post_hooks is None:
            leaf.post_hooks = OrderedDict()
        handle = RemovableHandle(leaf.post_hooks)
        leaf.post_hooks[handle.id] = hook
        return handle

    def _hook_table(self) -> dict:
        """Hooks on the gradient of an interior tensor; a reverse pass stops here for them."""
        value = self._get()
        if self._hooks is not None and self._watch is value:
            return self._hooks
        self._hooks = table = OrderedDict()
        self._watch = value
        owner = weakref.ref(self)

        def handle(cotangents: dict[Any, Value]) -> dict[Any, Value]:
            from .wrapped import carry, tensor_of

            (slot, value), *_ = cotangents.items()
            grad = tensor_of(value)
            for hook in list(table.values()):
                new = hook(grad)
                if new is not None:
                    if not isinstance(new, Cell):
                        raise TypeError(f"hook returned a {type(new).__name__}, expected a Tensor or None")
                    if new.shape != grad.shape:
                        raise RuntimeError(
                            f"hook '{getattr(hook, '__name__', hook)}' has changed the size of value: "
                            f"{list(grad.shape)} became {list(new.shape)}"
                        )
                    grad = new
            me = owner()
            if me is not None and me._hooks is table and me.retains_grad:
                me._own_grad = grad if me._own_grad is None else me._own_grad + grad
            return {slot: carry(grad)}

        if value.trace is not None:
            watch(value.trace.watched, value.slot, handle)
        elif type(value.node) is tuple:
            segment, slot = value.node
            watch(segment.watched, slot, handle)
        elif type(value.node) is Freed:
            raise RuntimeError("cannot register a hook on a tensor whose graph was freed by a backward pass")
        return table
