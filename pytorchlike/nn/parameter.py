"""Parameters and buffers: tensors that a Module recognises when they are assigned to it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from ..autograd.mode import no_grad
from ..tensor import Tensor
from ..tensor import functions as T
from ..tensor.asking import disabled

__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter", "UninitializedTensorMixin",
           "is_lazy"]


class _ParameterMeta(type(Tensor)):
    """A tensor of a user's own subclass that was passed through ``Parameter`` counts as a Parameter."""

    def __instancecheck__(self, instance: Any) -> bool:
        if super().__instancecheck__(instance):
            return True
        return self is Parameter and isinstance(instance, Tensor) and getattr(instance, "_is_param", False)


class Parameter(Tensor, metaclass=_ParameterMeta):
    """A tensor that a module counts among its parameters when it is assigned as an attribute.

    Shares the storage of ``data``; an empty float tensor if ``data`` is None. ``requires_grad`` is True by default,
    whatever ``data`` has. The result is a leaf.

    Raises:  RuntimeError if requires_grad is asked of an integer or bool tensor.
    """

    __torch_function__ = disabled  # type: ignore[assignment]

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        if data is None:
            data = T.empty(0)
        if type(data) is Tensor or type(data) is Parameter or type(data) is cls:
            return Tensor._make_subclass(cls, data, requires_grad)
        if not isinstance(data, Tensor):
            raise TypeError(f"Parameter: data must be a Tensor or None, got {type(data).__name__}. "
                            "Wrap it with torch.tensor(...) first.")
        # A subclass keeps its own type, so that its methods survive; only a mark is added.
        marked = data.detach().requires_grad_(requires_grad)
        if type(marked) is not type(data):
            raise RuntimeError(f"Creating a Parameter from an instance of type {type(data).__name__} requires that "
                               f"detach() returns an instance of the same type, but got {type(marked).__name__}.")
        marked._is_param = True
        return marked

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Everything is done in __new__, a subclass's with arguments of its own, which refuses what it does not take.
        # Tensor.__init__ must not run on the finished object.
        pass

    def __repr__(self, **kwargs: Any) -> str:
        return "Parameter containing:\n" + super().__repr__(**kwargs)

    def __deepcopy__(self, memo: dict) -> Parameter:
        if id(self) in memo:
            return memo[id(self)]
        with no_grad():
            data = self.detach().clone()
        result = Tensor._make_subclass(type(self), data, self.requires_grad)
        memo[id(self)] = result
        return result

    def __reduce_ex__(self, proto: int) -> tuple:
        state = {k: v for k, v in self.__dict__.items() if not k.startswith("__")} if hasattr(self, "__dict__") else {}
        plain = Tensor._make_subclass(Tensor, self.detach(), False)
        if state:
            return _rebuild_parameter_with_state, (plain, self.requires_grad, OrderedDict(), state)
        return _rebuild_parameter, (plain, self.requires_grad, OrderedDict())


def _rebuild_parameter(data: Tensor, requires_grad: bool, backward_hooks: Any) -> Parameter:
    return Parameter(data, requires_grad)


def _rebuild_parameter_with_state(data: Tensor, requires_grad: bool, backward_hooks: Any, state: dict) -> Parameter:
    param = Parameter(data, requires_grad)
    for name, value in state.items():
        setattr(param, name, value)
    return param


class UninitializedTensorMixin:
    """A tensor whose shape is not known yet. ``materialize`` gives it one and turns it into an ordinary tensor."""

    __slots__ = ()
    cls_to_become: type = Tensor

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Give the tensor ``shape`` (uninitialised values); device and dtype default to the present ones."""
        self.data = T.empty(shape, device=self.device if device is None else device,
                            dtype=self.dtype if dtype is None else dtype)
        self.__class__ = self.cls_to_become

    @property
    def shape(self) -> Any:
        """Not known yet.

        Raises:  RuntimeError.
        """
        raise RuntimeError("Can't access the shape of an uninitialized parameter or buffer. This error usually "
                           "happens in `load_state_dict` when trying to load an uninitialized parameter into an "
                           "initialized module. Call `forward` to initialize the parameters before accessing them.")

    def _unknown(self, *args: Any, **kwargs: Any) -> Any:
        """What a program does with a tensor's values and sizes. Raises ValueError."""
        raise ValueError("Attempted to use an uninitialized parameter. This error happens when you are using a "
                         f"`LazyModule` or explicitly manipulating `torch.nn.parameter.{type(self).__name__}` objects. "
                         "When using LazyModules Call `forward` with a dummy batch to initialize the parameters before "
                         "calling torch functions")

    numel = nelement = __len__ = dim = ndimension = _unknown
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __matmul__ = __truediv__ = __getitem__ = _unknown
    sum = mean = norm = abs = view = reshape = zero_ = fill_ = normal_ = uniform_ = clone = _unknown

    def share_memory_(self) -> Any:
        """Impossible before the shape is known.

        Raises:  RuntimeError.
        """
        raise RuntimeError("Can't share memory on an uninitialized parameter or buffer. Call `forward` to initialize "
                           "the parameters before calling `module.share_memory()`.")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __reduce_ex__(self, proto: int) -> tuple:
        return _rebuild_uninitialized, (type(self), self.requires_grad, self.device, self.dtype)


def _rebuild_uninitialized(cls: type, requires_grad: bool, device: Any, dtype: Any) -> Tensor:
    return cls(requires_grad=requires_grad, device=device, dtype=dtype)


def is_lazy(param: Any) -> bool:
    """Whether ``param`` is a parameter or buffer that has no shape yet."""
    return isinstance(param, UninitializedTensorMixin)


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A Parameter whose shape the first forward call will settle (see LazyModuleMixin).

    ``to``, ``cuda`` and the like are allowed before that; every use of its values or shape is an error.
    """

    cls_to_become = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> UninitializedParameter:
        return Tensor._make_subclass(cls, T.empty(0, device=device, dtype=dtype), requires_grad)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __deepcopy__(self, memo: dict) -> UninitializedParameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, self.device, self.dtype)
        return memo[id(self)]


class _BufferMeta(_ParameterMeta):
    def __instancecheck__(self, instance: Any) -> bool:
        if type.__instancecheck__(self, instance):
            return True
        return self is Buffer and isinstance(instance, Tensor) and getattr(instance, "_is_buffer", False)


class Buffer(Tensor, metaclass=_BufferMeta):
    """A tensor that a module registers as a buffer when it is assigned as an attribute.

    ``persistent=False`` keeps it out of the module's state_dict. The result is a plain Tensor that shares data's
    storage and carries a mark; ``isinstance(x, Buffer)`` looks for it.
    """

    __torch_function__ = disabled  # type: ignore[assignment]

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Tensor:
        if data is None:
            data = T.empty(0)
        marked = data.detach().requires_grad_(data.requires_grad)
        marked.persistent = persistent
        marked._is_buffer = True
        return marked

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass


class UninitializedBuffer(UninitializedTensorMixin, Tensor):
    """A buffer whose shape the first forward call will settle (see LazyModuleMixin)."""

    __torch_function__ = disabled  # type: ignore[assignment]
    cls_to_become = Tensor

    def __new__(cls, requires_grad: bool = False, device: Any = None, dtype: Any = None,
                persistent: bool = True) -> UninitializedBuffer:
        result = Tensor._make_subclass(cls, T.empty(0, device=device, dtype=dtype), requires_grad)
        result.persistent = persistent
        result._is_buffer = True
        return result

    def __init__(self, requires_grad: bool = False, device: Any = None, dtype: Any = None,
                 persistent: bool = True) -> None:
        pass

    def __deepcopy__(self, memo: dict) -> UninitializedBuffer:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, self.device, self.dtype, self.persistent)
        return memo[id(self)]
