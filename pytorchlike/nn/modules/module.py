"""Module: the base of every layer and model, its hooks, its state and its conversions."""

from __future__ import annotations

import inspect
import warnings
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from jax import tree_util

from ...autograd.mode import no_grad
from ...engine.contexts import runs_models
from ...tensor import Tensor
from ...tensor import functions as T
from ...tensor.device import device as Device
from ...tensor.dtype import dtype as DType
from .._hooks import RemovableHandle
from ..parameter import Buffer, Parameter, is_lazy
from ._registry import HookDict, Members, owner_of, remember, structure_epoch

__all__ = [
    "Module",
    "register_module_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
    "set_compile_function",
]

_EXTRA_STATE_KEY_SUFFIX = "_extra_state"
_MEMBERS = ("_parameters", "_buffers", "_modules")
# Hooks that __call__ must look at; the *_with_kwargs and *_always_called ones only mark some of them.
_CALL_HOOKS = ("_backward_pre_hooks", "_backward_hooks", "_forward_hooks", "_forward_pre_hooks")
_HOOKS = (*_CALL_HOOKS, "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs",
          "_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks")

_global_backward_pre_hooks: dict[int, Callable] = OrderedDict()
_global_backward_hooks: dict[int, Callable] = OrderedDict()
_global_forward_pre_hooks: dict[int, Callable] = OrderedDict()
_global_forward_hooks: dict[int, Callable] = OrderedDict()
_global_forward_hooks_always_called: dict[int, bool] = OrderedDict()
_global_forward_hooks_with_kwargs: dict[int, bool] = OrderedDict()
_global_buffer_registration_hooks: dict[int, Callable] = OrderedDict()
_global_module_registration_hooks: dict[int, Callable] = OrderedDict()
_global_parameter_registration_hooks: dict[int, Callable] = OrderedDict()
_global_is_full_backward_hook: bool | None = None
# Non-empty once any global call hook was registered: the one thing __call__ tests. The long way empties it again.
_global_call_hooks: list[bool] = []

_compile_function: Callable[..., Callable] | None = None


def set_compile_function(function: Callable[..., Callable]) -> None:
    """Tell ``Module.compile`` which function compiles a callable (set once, by the package that defines it)."""
    global _compile_function
    _compile_function = function


class _IncompatibleKeys(namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """What load_state_dict returns: the keys it missed and those it did not know."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


def _typename(value: Any) -> str:
    """The name of a value's type in error messages; a tensor's is that of its dtype, e.g. ``torch.FloatTensor``."""
    if isinstance(value, Tensor):
        return value.type()
    kind = value if isinstance(value, type) else type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _addindent(text: str, spaces: int) -> str:
    """``text`` with all lines but the first indented."""
    return text.replace("\n", "\n" + " " * spaces)


def _register_global(hooks: Any, hook: Callable, extra: list | None = None) -> RemovableHandle:
    handle = RemovableHandle(hooks, extra_dict=extra)
    hooks[handle.id] = hook
    return handle


def register_module_buffer_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, name, buffer)`` at every register_buffer of every module; a result replaces the buffer."""
    return _register_global(_global_buffer_registration_hooks, hook)


def register_module_module_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, name, submodule)`` at every registration of a child; a result replaces the child."""
    return _register_global(_global_module_registration_hooks, hook)


def register_module_parameter_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, name, param)`` at every register_parameter; a result replaces the parameter."""
    return _register_global(_global_parameter_registration_hooks, hook)


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, args)`` before every module's forward; a result replaces the positional arguments."""
    _global_call_hooks[:] = [True]
    return _register_global(_global_forward_pre_hooks, hook)


def register_module_forward_hook(hook: Callable[..., Any], *, with_kwargs: bool = False,
                                 always_call: bool = False) -> RemovableHandle:
    """Call ``hook(module, args, output)`` after every module's forward; a result replaces the output.

    With ``with_kwargs`` the hook gets (module, args, kwargs, output); with ``always_call`` it runs also when forward
    raises.
    """
    _global_call_hooks[:] = [True]
    handle = _register_global(_global_forward_hooks, hook,
                              [_global_forward_hooks_with_kwargs, _global_forward_hooks_always_called])
    if with_kwargs:
        _global_forward_hooks_with_kwargs[handle.id] = True
    if always_call:
        _global_forward_hooks_always_called[handle.id] = True
    return handle


def register_module_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """As register_module_full_backward_hook; kept for old programs.

    Differs:  PyTorch gives such a hook the gradients of the module's last operation only; here it gets the module's.
    Raises:  RuntimeError if a full hook was registered globally before.
    """
    global _global_is_full_backward_hook
    if _global_is_full_backward_hook is True:
        raise RuntimeError("Cannot use both regular backward hooks and full backward hooks as a global Module hook. "
                           "Please use only one of them.")
    _global_is_full_backward_hook = False
    _global_call_hooks[:] = [True]
    return _register_global(_global_backward_hooks, hook)


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, grad_output)`` in backward before any module's input gradients; a result replaces them."""
    _global_call_hooks[:] = [True]
    return _register_global(_global_backward_pre_hooks, hook)


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(module, grad_input, grad_output)`` in backward of every module; a result replaces grad_input.

    Raises:  RuntimeError if a regular (not full) hook was registered globally before.
    """
    global _global_is_full_backward_hook
    if _global_is_full_backward_hook is False:
        raise RuntimeError("Cannot use both regular backward hooks and full backward hooks as a global Module hook. "
                           "Please use only one of them.")
    _global_is_full_backward_hook = True
    _global_call_hooks[:] = [True]
    return _register_global(_global_backward_hooks, hook)


class _WrappedHook:
    """A load_state_dict pre-hook that is given its module first, held weakly; survives pickling and copying."""

    def __init__(self, hook: Callable, module: Module | None = None) -> None:
        self.hook = hook
        self.with_module = module is not None
        self.module = owner_of(module) if module is not None else None
        self.__name__ = getattr(hook, "__name__", "hook")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.with_module:
            return self.hook(*args, **kwargs)
        module = self.module()
        if module is None:
            raise RuntimeError("You are trying to call the hook of a dead Module!")
        return self.hook(module, *args, **kwargs)

    def __getstate__(self) -> dict:
        return {"hook": self.hook, "with_module": self.with_module, "__name__": self.__name__,
                "module": self.module() if self.with_module else None}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        if self.with_module:
            if self.module is None:
                raise RuntimeError("You are trying to revive the hook of a dead Module!")
            self.module = owner_of(self.module)


def _wrap_backward_hooks(module: Module, args: tuple, hooks: list, pre_hooks: list) -> tuple[tuple, Callable]:
    """The positional arguments led through the backward hooks, and a function that does so for the result."""
    from ._backward_hooks import BackwardHooks  # only modules with such hooks need the custom Function machinery

    around = BackwardHooks(module, hooks, pre_hooks)
    return around.inputs(args), around.outputs


def _forward_unimplemented(self: Module, *input: Any) -> None:
    """Computes the module's output; every subclass defines it.

    Raises:  NotImplementedError.
    """
    raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')


def _parse_to(*args: Any, **kwargs: Any) -> tuple[Any, Any, bool, Any]:
    """(device, dtype, non_blocking, memory_format) of the overloaded arguments of ``to``."""
    known = {"device", "dtype", "non_blocking", "copy", "memory_format", "tensor", "other"}
    for name in kwargs:
        if name not in known:
            raise TypeError(f"to() got an unexpected keyword argument '{name}'; it takes device, dtype, non_blocking "
                            "and memory_format, or a tensor whose device and dtype are wanted")
    device, dtype, rest = kwargs.get("device"), kwargs.get("dtype"), list(args)
    other = kwargs.get("tensor", kwargs.get("other"))
    if rest and isinstance(rest[0], Tensor):
        other = rest.pop(0)
    if other is not None:
        device, dtype = other.device, other.dtype
    elif rest and isinstance(rest[0], DType):
        dtype = rest.pop(0)
    elif rest:
        device = rest.pop(0)
        if rest and (rest[0] is None or isinstance(rest[0], DType)):
            dtype = rest.pop(0)
    non_blocking = rest.pop(0) if rest else kwargs.get("non_blocking", False)
    if rest or dtype is not None and not isinstance(dtype, DType) or not isinstance(non_blocking, (bool, int)):
        raise TypeError(f"to() received an invalid combination of arguments: {args!r}, {kwargs!r}; expected "
                        "(device, dtype, non_blocking), (dtype, non_blocking) or (tensor, non_blocking)")
    if isinstance(device, (str, int)):
        device = Device(device)
    elif device is not None and not isinstance(device, Device):
        raise TypeError(f"to() received {device!r} of type {type(device).__name__} where a device, a dtype or a "
                        "tensor was expected")
    return device, dtype, bool(non_blocking), kwargs.get("memory_format")


class conversion:
    """What ``torch.__future__`` says about :meth:`Module._apply`."""

    overwrite = swap = False


class Module:
    """Base class of all neural network modules.

    A subclass creates its parts in ``__init__`` (after ``super().__init__()``) and defines ``forward``; calling the
    module calls ``forward`` and its hooks. Assigning a Parameter, a Buffer or another Module to an attribute registers
    it: it then appears in ``parameters()``, ``state_dict()``, and moves with ``to()``.

    ``training`` is True in training mode (see ``train`` and ``eval``).
    """

    dump_patches: bool = False
    _version: int = 1
    call_super_init: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Every module class is a JAX pytree: its leaves are the parameters and buffers."""
        super().__init_subclass__(**kwargs)
        tree_util.register_pytree_node(cls, cls._tree_flatten, cls._tree_unflatten)
    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _compiled_call_impl: Callable | None = None
    _hooked: bool = False
    __constants__: ClassVar[list[str]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init:
            if kwargs:
                raise TypeError(f"{type(self).__name__}.__init__() got an unexpected keyword argument "
                                f"'{next(iter(kwargs))}'")
            if args:
                raise TypeError(f"{type(self).__name__}.__init__() takes 1 positional argument but {len(args) + 1} "
                                "were given")
        owner = owner_of(self)
        # Straight into __dict__: __setattr__ looks at these very dictionaries.
        state = self.__dict__
        state["training"] = True
        for name in _MEMBERS:
            state[name] = Members.none(owner)
        state["_non_persistent_buffers_set"] = set()
        for name in _HOOKS:
            state[name] = HookDict.none(owner)
        state["_is_full_backward_hook"] = None
        state["_hooked"] = False
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    forward: Callable[..., Any] = _forward_unimplemented

    # ---- registration --------------------------------------------------------------------------------------------

    def _check_name(self, kind: str, name: Any, members: dict) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {_typename(name)}")
        taken = name not in members and self._has(name)
        if taken and kind == "module":
            raise KeyError(f"attribute '{name}' already exists")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain "."' + (f", got: {name}" if kind == "module" else ""))
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if taken:
            raise KeyError(f"attribute '{name}' already exists")

    def _has(self, name: str) -> bool:
        """``hasattr(self, name)``, without the error that a class with the usual ``__getattr__`` would make."""
        if type(self).__getattr__ is not Module.__getattr__:
            return hasattr(self, name)
        state = self.__dict__
        return (name in state or hasattr(type(self), name) or name in state["_parameters"] or name in state["_buffers"]
                or name in state["_modules"])

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a buffer: a tensor that belongs to the module's state but is no parameter.

        It is the attribute ``name``, moves with the module, and is in its state_dict if ``persistent``. None holds the
        name without being in the state_dict.

        Raises:  TypeError if name is no string or tensor no Tensor; KeyError if the name is empty, contains a dot or
                 is taken by another attribute; AttributeError before Module.__init__.
        """
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        self._check_name("buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"cannot assign '{_typename(tensor)}' object to buffer '{name}' "
                            "(torch Tensor or None required)")
        for hook in _global_buffer_registration_hooks.values():
            new = hook(self, name, tensor)
            tensor = tensor if new is None else new
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter as the attribute ``name``. None holds the name: no operation uses it, no state_dict has it.

        Raises:  TypeError if name is no string or param no Parameter; KeyError if the name is empty, contains a dot or
                 is taken; ValueError if param is not a leaf; AttributeError before Module.__init__.
        """
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        self._check_name("parameter", name, self._parameters)
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(f"cannot assign '{_typename(param)}' object to parameter '{name}' "
                                "(torch.nn.Parameter or None required)")
            if param.requires_grad and not param.is_leaf:
                raise ValueError(f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be "
                                 f"created explicitly. To express '{name}' as a function of another Tensor, compute "
                                 "the value in the forward() method.")
            for hook in _global_parameter_registration_hooks.values():
                new = hook(self, name, param)
                param = param if new is None else new
        self._parameters[name] = param

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child module as the attribute ``name``.

        Raises:  TypeError if module is no Module or name no string; KeyError if the name is empty, contains a dot or
                 is taken by another attribute.
        """
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{_typename(module)} is not a Module subclass")
        self._check_name("module", name, self._modules)
        for hook in _global_module_registration_hooks.values():
            new = hook(self, name, module)
            module = module if new is None else new
        self._modules[name] = module

    def register_module(self, name: str, module: Module | None) -> None:
        """As add_module."""
        self.add_module(name, module)

    # Not taken by mirrored entries, but classes that define their own __getattr__ call this one.
    def __getattr__(self, name: str) -> Any:
        for kind in _MEMBERS:
            members = self.__dict__.get(kind)
            if members is not None and name in members:
                return members[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def _release(self, name: str, keep: str) -> None:
        """Drop ``name`` from every place an attribute can live in but ``keep``."""
        state = self.__dict__
        for kind in _MEMBERS:
            if kind != keep and name in state[kind]:
                del state[kind][name]
        state["_non_persistent_buffers_set"].discard(name)
        if name not in state[keep]:
            state.pop(name, None)

    def __setattr__(self, name: str, value: Any) -> None:
        state = self.__dict__
        parameters = state.get("_parameters")
        if isinstance(value, Parameter):
            if parameters is None:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            self._release(name, "_parameters")
            self.register_parameter(name, value)
            return
        if parameters is None:
            if isinstance(value, Module):
                raise AttributeError("cannot assign module before Module.__init__() call")
            super().__setattr__(name, value)
            return
        structure_epoch[0] += 1
        if name in parameters:
            if value is not None:
                raise TypeError(f"cannot assign '{_typename(value)}' as parameter '{name}' "
                                "(torch.nn.Parameter or None expected)")
            self.register_parameter(name, value)
            return
        modules = state["_modules"]
        if isinstance(value, Module) or name in modules:
            if isinstance(value, Module):
                self._release(name, "_modules")
            elif value is not None:
                raise TypeError(f"cannot assign '{_typename(value)}' as child module '{name}' "
                                "(torch.nn.Module or None expected)")
            for hook in _global_module_registration_hooks.values():
                new = hook(self, name, value)
                value = value if new is None else new
            modules[name] = value
            return
        if name in state["_buffers"] or isinstance(value, Tensor) and isinstance(value, Buffer):
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(f"cannot assign '{_typename(value)}' as buffer '{name}' "
                                "(torch.nn.Buffer, torch.Tensor or None expected)")
            persistent = name not in state["_non_persistent_buffers_set"]
            if isinstance(value, Buffer):
                self._release(name, "_buffers")
                persistent = value.persistent
            self._set_buffer(name, value, persistent)
            return
        if name in _MEMBERS:
            previous, state[name] = state[name], Members(owner_of(self), value)
            for gone in previous.keys() - state[name].keys():
                state.pop(gone, None)
        elif name in _HOOKS:
            state[name] = HookDict(owner_of(self), value.items())
        else:
            super().__setattr__(name, value)

    def _set_buffer(self, name: str, value: Tensor | None, persistent: bool) -> None:
        register = self.register_buffer
        if getattr(register, "__func__", None) is Module.register_buffer:
            register(name, value, persistent)
        elif "persistent" in inspect.signature(register).parameters:
            register(name, value, persistent)
        elif persistent:
            register(name, value)  # a subclass's own register_buffer of the time before there was a choice
        else:
            raise RuntimeError("Registering a non-persistent buffer on a Module subclass that implements "
                               "register_buffer() without the persistent argument is not allowed.")

    def __delattr__(self, name: str) -> None:
        structure_epoch[0] += 1
        if name in self._parameters:
            del self._parameters[name]
        elif name in self._buffers:
            del self._buffers[name]
            self._non_persistent_buffers_set.discard(name)
        elif name in self._modules:
            del self._modules[name]
        else:
            super().__delattr__(name)

    # ---- paths ---------------------------------------------------------------------------------------------------

    def get_submodule(self, target: str) -> Module:
        """The module at the dotted path ``target``; the module itself for "".

        Raises:  AttributeError if a part of the path does not exist or is no Module.
        """
        module: Module = self
        if target == "":
            return module
        for item in target.split("."):
            if not hasattr(module, item):
                raise AttributeError(f"{module._get_name()} has no attribute `{item}`")
            module = getattr(module, item)
            if not isinstance(module, Module):
                raise AttributeError(f"`{item}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put ``module`` at the dotted path ``target``; with ``strict`` only where a module is already.

        Raises:  ValueError if target is empty or module no Module; AttributeError if the path does not exist or is no
                 Module.
        """
        if target == "":
            raise ValueError("Cannot set the submodule without a target name!")
        if not isinstance(module, Module):
            raise ValueError(f"`module` is not an nn.Module, found {type(module)}")
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict and not hasattr(parent, name):
            raise AttributeError(f"{parent._get_name()} has no attribute `{name}`")
        if hasattr(parent, name) and not isinstance(getattr(parent, name), Module):
            raise AttributeError(f"`{name}` is not an nn.Module")
        setattr(parent, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at the dotted path ``target``.

        Raises:  AttributeError if it does not exist or is no Parameter.
        """
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        param = getattr(module, name)
        if not isinstance(param, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return param

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at the dotted path ``target``.

        Raises:  AttributeError if it does not exist or is no buffer.
        """
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return getattr(module, name)

    # ---- calling and hooks ---------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._hooked or _global_call_hooks:
            return self._wrapped_call_impl(*args, **kwargs)
        return self.forward(*args, **kwargs)

    def _wrapped_call_impl(self, *args: Any, **kwargs: Any) -> Any:
        if self._compiled_call_impl is not None:
            return self._compiled_call_impl(*args, **kwargs)
        return self._call_impl(*args, **kwargs)

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        """forward with all hooks, the global ones before the module's own."""
        state = self.__dict__
        if not any(state[name] for name in _CALL_HOOKS):
            # All hooks are gone again: back to the short way.
            state["_hooked"] = self._compiled_call_impl is not None
            if not (_global_forward_pre_hooks or _global_forward_hooks or _global_backward_hooks
                    or _global_backward_pre_hooks):
                _global_call_hooks.clear()
                return self.forward(*args, **kwargs)
        result = None
        done: set[int] = set()  # the always_call hooks that have run
        try:
            for key, hook in (*_global_forward_pre_hooks.items(), *self._forward_pre_hooks.items()):
                if key in self._forward_pre_hooks_with_kwargs:
                    new = hook(self, args, kwargs)
                    if new is not None:
                        if not (isinstance(new, tuple) and len(new) == 2):
                            raise RuntimeError("forward pre-hook must return None or a tuple of "
                                               f"(new_args, new_kwargs), but got {new}.")
                        args, kwargs = new
                else:
                    new = hook(self, args)
                    if new is not None:
                        args = new if isinstance(new, tuple) else (new,)
            pre_hooks = self._get_backward_pre_hooks()
            full, plain = self._get_backward_hooks()
            outputs = None
            if full or plain or pre_hooks:
                args, outputs = _wrap_backward_hooks(self, args, full + plain, pre_hooks)
            result = self.forward(*args, **kwargs)
            for key, hook in (*_global_forward_hooks.items(), *self._forward_hooks.items()):
                if key in self._forward_hooks_always_called or key in _global_forward_hooks_always_called:
                    done.add(key)
                if key in self._forward_hooks_with_kwargs or key in _global_forward_hooks_with_kwargs:
                    new = hook(self, args, kwargs, result)
                else:
                    new = hook(self, args, result)
                result = result if new is None else new
            return result if outputs is None else outputs(result)
        except Exception:
            self._call_always_hooks(args, kwargs, result, done)
            raise

    def _call_always_hooks(self, args: tuple, kwargs: dict, result: Any, done: set[int]) -> None:
        """Run the always_call hooks that an error in forward kept from running; their own errors become warnings."""
        for kind, hooks, always, with_kwargs in (
            ("global module", _global_forward_hooks, _global_forward_hooks_always_called,
             _global_forward_hooks_with_kwargs),
            ("module", self._forward_hooks, self._forward_hooks_always_called, self._forward_hooks_with_kwargs),
        ):
            for key, hook in hooks.items():
                if key not in always or key in done:
                    continue
                try:
                    new = hook(self, args, kwargs, result) if key in with_kwargs else hook(self, args, result)
                    result = result if new is None else new
                except Exception as error:
                    warnings.warn(f"{kind} forward hook with ``always_call=True`` raised an exception that was "
                                  f"silenced as another error was raised in forward: {error}", stacklevel=4)

    def _get_backward_hooks(self) -> tuple[list, list]:
        """(full hooks, regular hooks), the global ones first."""
        full: list = []
        plain: list = []
        (full if _global_is_full_backward_hook is True else plain).extend(_global_backward_hooks.values())
        (full if self._is_full_backward_hook is True else plain).extend(self._backward_hooks.values())
        return full, plain

    def _get_backward_pre_hooks(self) -> list:
        return [*_global_backward_pre_hooks.values(), *self._backward_pre_hooks.values()]

    def _add_hook(self, hooks: HookDict, hook: Callable, prepend: bool = False, **marks: bool) -> RemovableHandle:
        """Register ``hook``; each true mark enters its id into the dictionary of that name."""
        handle = RemovableHandle(hooks, extra_dict=[getattr(self, name) for name in marks])
        hooks[handle.id] = hook
        for name, wanted in marks.items():
            if wanted:
                getattr(self, name)[handle.id] = True
        if prepend:
            hooks.move_to_end(handle.id, last=False)
        return handle

    def register_forward_pre_hook(self, hook: Callable[..., Any], *, prepend: bool = False,
                                  with_kwargs: bool = False) -> RemovableHandle:
        """Call ``hook(module, args)`` before each forward; a result (a tuple, or one value) replaces args.

        With ``with_kwargs`` it is ``hook(module, args, kwargs)`` and may return (args, kwargs). ``prepend`` puts it
        before the module's other hooks; global ones come first all the same.
        """
        return self._add_hook(self._forward_pre_hooks, hook, prepend, _forward_pre_hooks_with_kwargs=with_kwargs)

    def register_forward_hook(self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False,
                              always_call: bool = False) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after each forward; a result replaces the output.

        With ``with_kwargs`` it is ``hook(module, args, kwargs, output)``; with ``always_call`` it runs also when
        forward raises. ``prepend`` puts it before the module's other hooks.
        """
        return self._add_hook(self._forward_hooks, hook, prepend, _forward_hooks_with_kwargs=with_kwargs,
                              _forward_hooks_always_called=always_call)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` in backward, before the module's gradients; a result replaces it."""
        return self._add_hook(self._backward_pre_hooks, hook, prepend)

    def register_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """As register_full_backward_hook; kept for old programs.

        Differs:  PyTorch gives such a hook the gradients of the module's last operation only; here it gets the
                  module's.
        Raises:  RuntimeError if the module has a full backward hook.
        """
        if self._is_full_backward_hook is True:
            raise RuntimeError("Cannot use both regular backward hooks and full backward hooks on a single Module. "
                               "Please use only one of them.")
        self._is_full_backward_hook = False
        return self._add_hook(self._backward_hooks, hook)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` when the gradients of the module's inputs are there.

        grad_input and grad_output are tuples with one entry per positional argument and per output, None for what is
        no tensor. A result replaces grad_input.

        Raises:  RuntimeError if the module has a regular backward hook.
        """
        if self._is_full_backward_hook is False:
            raise RuntimeError("Cannot use both regular backward hooks and full backward hooks on a single Module. "
                               "Please use only one of them.")
        self._is_full_backward_hook = True
        return self._add_hook(self._backward_hooks, hook, prepend)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile this module's call in place; the arguments are those of ``torch.compile``.

        Raises:  RuntimeError if no compiler is installed (the package does that on import).
        """
        if _compile_function is None:
            raise RuntimeError("Module.compile: no compile function is set. Import the whole package first.")
        self._compiled_call_impl = _compile_function(self._call_impl, *args, **kwargs)
        self.__dict__["_hooked"] = True

    # ---- state ---------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        # Hooks keep their ids, so that handles pickled with them go on working; the rest can be derived.
        for name in ("_compiled_call_impl", "_hooked", "_leaf_cache", "_tree"):
            state.pop(name, None)
        for kind in _MEMBERS:
            members = state.get(kind)
            if members is not None:
                for name, value in members.items():
                    if name not in _MEMBERS and state.get(name, structure_epoch) is value:
                        del state[name]
                state[kind] = dict(members)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._adopt()

    def _adopt(self) -> None:
        """Make this object the owner of its dictionaries, adding those that are absent (a restored old module)."""
        owner, state = owner_of(self), self.__dict__
        state["_hooked"] = False
        for name in _MEMBERS:
            state[name] = Members(owner, state.get(name, ()))
        for name in _HOOKS:
            state[name] = HookDict(owner, state.get(name, {}).items())
        state["_hooked"] = any(state[name] for name in _CALL_HOOKS)
        state.setdefault("_non_persistent_buffers_set", set())
        state.setdefault("_is_full_backward_hook", None)
        state.setdefault("training", True)

    def get_extra_state(self) -> Any:
        """What a subclass wants in its state_dict beside tensors; needs set_extra_state as its counterpart.

        Raises:  RuntimeError unless overridden.
        """
        raise RuntimeError("Reached a code path in Module.get_extra_state() that should never be called. Please "
                           "override get_extra_state together with set_extra_state.")

    def set_extra_state(self, state: Any) -> None:
        """Take back what get_extra_state gave.

        Raises:  RuntimeError unless overridden.
        """
        raise RuntimeError("Reached a code path in Module.set_extra_state() that should never be called. Please "
                           "override set_extra_state together with get_extra_state.")

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` at the end of state_dict; a result replaces it."""
        if getattr(hook, "_from_public_api", False):
            raise RuntimeError("Cannot register the same function as the state dict post hook that was previously "
                               "registered via register_state_dict_post_hook")
        return self._add_hook(self._state_dict_hooks, hook)

    def register_state_dict_post_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` at the end of state_dict; it edits in place."""
        hook._from_public_api = True
        return self._add_hook(self._state_dict_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before state_dict collects this module's state."""
        return self._add_hook(self._state_dict_pre_hooks, hook)

    def _register_load_state_dict_pre_hook(self, hook: Callable[..., None],
                                           with_module: bool = False) -> RemovableHandle:
        return self._add_hook(self._load_state_dict_pre_hooks, _WrappedHook(hook, self if with_module else None))

    def register_load_state_dict_pre_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
        error_msgs)`` before this module's state is loaded; it may edit the lists and the state_dict in place."""
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def register_load_state_dict_post_hook(self, hook: Callable[..., None]) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after this module and its children were loaded; it edits the two
        lists in place and returns nothing."""
        return self._add_hook(self._load_state_dict_post_hooks, hook)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Enter this module's own tensors (not its children's) into ``destination``."""
        for name, param in self._parameters.items():
            if param is not None:
                destination[prefix + name] = param if keep_vars else param.detach()
        for name, buf in self._buffers.items():
            if buf is not None and name not in self._non_persistent_buffers_set:
                destination[prefix + name] = buf if keep_vars else buf.detach()
        if getattr(type(self), "get_extra_state", Module.get_extra_state) is not Module.get_extra_state:
            destination[prefix + _EXTRA_STATE_KEY_SUFFIX] = self.get_extra_state()

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "",
                   keep_vars: bool = False) -> dict[str, Any]:
        """An ordered dictionary of all parameters and persistent buffers by dotted name.

        The tensors are detached but share their storage with the module's, unless ``keep_vars``, which gives the very
        objects. ``destination`` is filled and returned if given; ``prefix`` goes before each name.
        """
        if args:
            warnings.warn("Positional arguments of state_dict are deprecated: use destination=, prefix= and "
                          "keep_vars=.", FutureWarning, stacklevel=2)
            destination = args[0] if destination is None else destination
            prefix = args[1] if len(args) > 1 and prefix == "" else prefix
            keep_vars = args[2] if len(args) > 2 and keep_vars is False else keep_vars
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        local_metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local_metadata
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in self._state_dict_hooks.values():
            new = hook(self, destination, prefix, local_metadata)
            if new is not None:
                if getattr(hook, "_from_public_api", False):
                    raise RuntimeError("state_dict post-hook must return None")
                destination = new
        return destination

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, local_metadata: dict, strict: bool,
                              missing_keys: list[str], unexpected_keys: list[str], error_msgs: list[str]) -> None:
        """Copy this module's own tensors (not its children's) from ``state_dict``, whose keys start with ``prefix``.

        Problems are appended to the three lists, not raised. A subclass may override this to read older layouts:
        ``local_metadata.get("version")`` is the class's ``_version`` at the time of saving.
        """
        for hook in self._load_state_dict_pre_hooks.values():
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        own = {name: p for name, p in self._parameters.items() if p is not None}
        own.update((name, b) for name, b in self._buffers.items()
                   if b is not None and name not in self._non_persistent_buffers_set)
        assign = local_metadata.get("assign_to_params_buffers", False)
        for name, param in own.items():
            key = prefix + name
            if key not in state_dict:
                if strict:
                    missing_keys.append(key)
                continue
            self._load_tensor(name, param, key, state_dict[key], assign, error_msgs)
        extra_key = prefix + _EXTRA_STATE_KEY_SUFFIX
        if getattr(type(self), "set_extra_state", Module.set_extra_state) is not Module.set_extra_state:
            if extra_key in state_dict:
                self.set_extra_state(state_dict[extra_key])
            elif strict:
                missing_keys.append(extra_key)
        elif strict and extra_key in state_dict:
            unexpected_keys.append(extra_key)
        if strict:
            for key in state_dict:
                if key.startswith(prefix) and key != extra_key:
                    head, dot, _ = key[len(prefix):].partition(".")
                    if head not in (self._modules if dot else own):
                        unexpected_keys.append(key)

    def _load_tensor(self, name: str, param: Tensor, key: str, value: Any, assign: bool,
                     error_msgs: list[str]) -> None:
        if not isinstance(value, Tensor):
            error_msgs.append(f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like object '
                              f"from checkpoint but received {type(value)}")
            return
        lazy = is_lazy(param)
        if not lazy and len(param.shape) == 0 and len(value.shape) == 1 and value.shape[0] == 1:
            value = value[0]  # checkpoints older than 0-dimensional tensors
        if not lazy and value.shape != param.shape:
            error_msgs.append(f"size mismatch for {key}: copying a param with shape {value.shape} from checkpoint, "
                              f"the shape in current model is {param.shape}.")
            return
        if param.is_meta and not value.is_meta and not assign:
            warnings.warn(f"for {key}: copying from a non-meta parameter in the checkpoint to a meta parameter in the "
                          "current model, which is a no-op. (Did you mean to pass `assign=True` to assign items in "
                          "the state dictionary to their corresponding key in the module instead of copying them in "
                          "place?)", stacklevel=6)
        try:
            with no_grad():
                if not assign:
                    param.copy_(value)
                    return
                if isinstance(param, Parameter):
                    if isinstance(value, Parameter):
                        value.requires_grad_(param.requires_grad)
                    else:
                        value = Parameter(value, requires_grad=param.requires_grad)
                setattr(self, name, value)
        except Exception as error:
            error_msgs.append(f'While copying the parameter named "{key}", whose dimensions in the model are '
                              f"{param.size()} and whose dimensions in the checkpoint are {value.size()}, an exception "
                              f"occurred : {error.args}.")

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True,
                        assign: bool = False) -> _IncompatibleKeys:
        """Copy parameters and buffers from ``state_dict`` into this module and its children.

        With ``strict`` the keys must be exactly those of ``state_dict()``. With ``assign`` the tensors themselves are
        taken over (their dtype and device included; requires_grad stays that of the module's parameter) instead of
        copying their values. Returns (missing_keys, unexpected_keys).

        Raises:  TypeError if state_dict is no mapping; RuntimeError listing all missing and unexpected keys (if
                 strict) and all tensors of another shape.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []
        metadata = getattr(state_dict, "_metadata", None)
        state_dict = OrderedDict(state_dict)  # hooks and subclasses may edit it
        if metadata is not None:
            state_dict._metadata = metadata
        self._load_tree(state_dict, "", metadata, assign, missing, unexpected, errors)
        if strict:
            for kind, keys in (("Unexpected", unexpected), ("Missing", missing)):
                if keys:
                    errors.insert(0, f"{kind} key(s) in state_dict: " + ", ".join(f'"{k}"' for k in keys) + ". ")
        if errors:
            raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t" + "\n\t".join(errors))
        return _IncompatibleKeys(missing, unexpected)

    def _load_tree(self, state_dict: dict, prefix: str, metadata: Any, assign: bool, missing: list, unexpected: list,
                   errors: list) -> None:
        local_metadata = {} if metadata is None else metadata.get(prefix[:-1], {})
        if assign:
            local_metadata["assign_to_params_buffers"] = assign
        self._load_from_state_dict(state_dict, prefix, local_metadata, True, missing, unexpected, errors)
        parts: dict[str, dict] = {}
        for key, value in state_dict.items():
            name, dot, _ = key[len(prefix) :].partition(".")
            if dot and key.startswith(prefix):  # others a hook may have put in
                parts.setdefault(name, {})[key] = value
        for name, child in self._modules.items():
            if child is not None:
                child._load_tree(parts.get(name, {}), f"{prefix}{name}.", metadata, assign, missing, unexpected, errors)
        keys = _IncompatibleKeys(missing, unexpected)
        for hook in self._load_state_dict_post_hooks.values():
            if hook(self, keys) is not None:
                raise AssertionError("Hooks registered with ``register_load_state_dict_post_hook`` are not expected to "
                                     "return new values, if incompatible_keys need to be modified, it should be done "
                                     "inplace.")

    # ---- walking -------------------------------------------------------------------------------------------------

    def _named_members(self, get_members_fn: Callable[[Module], Any], prefix: str = "", recurse: bool = True,
                       remove_duplicate: bool = True) -> Iterator[tuple[str, Any]]:
        """(name, value) of what ``get_members_fn`` gives for each module, without None and repetitions."""
        seen: set[Any] = set()
        modules = (self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse
                   else [(prefix, self)])
        for path, module in modules:
            for name, value in get_members_fn(module):
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                yield (f"{path}.{name}" if path else name), value

    def _leaves(self, kind: str) -> Iterator[Any]:
        """The distinct parameters or buffers of the whole tree, without making names; remembered for the next call."""
        cached = self.__dict__.get("_leaf_cache")
        if cached is None:
            found: dict[str, dict[int, Any]] = {"_parameters": {}, "_buffers": {}}
            for module in self.modules():
                for name, values in found.items():
                    for value in module.__dict__[name].values():
                        if value is not None:
                            values.setdefault(id(value), value)
            cached = {name: tuple(values.values()) for name, values in found.items()}
            remember(self, "_leaf_cache", cached)
        return iter(cached[kind])

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once; only the module's own if not ``recurse``."""
        if recurse and type(self).named_parameters is Module.named_parameters:
            return self._leaves("_parameters")
        return (param for _, param in self.named_parameters(recurse=recurse))

    def named_parameters(self, prefix: str = "", recurse: bool = True,
                         remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, parameter) of all parameters; shared ones once unless ``remove_duplicate`` is False."""
        return self._named_members(lambda module: module._parameters.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, each once; only the module's own if not ``recurse``."""
        if recurse and type(self).named_buffers is Module.named_buffers:
            return self._leaves("_buffers")
        return (buf for _, buf in self.named_buffers(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True,
                      remove_duplicate: bool = True) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, buffer) of all buffers; shared ones once unless ``remove_duplicate`` is False."""
        return self._named_members(lambda module: module._buffers.items(), prefix, recurse, remove_duplicate)

    def children(self) -> Iterator[Module]:
        """The direct children, each once."""
        for _, module in self.named_children():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the direct children, each once."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all below it, parents before children, each once unless ``remove_duplicate`` is False."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_modules(self, memo: set[Module] | None = None, prefix: str = "",
                      remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """(dotted name, module) of this module (named ``prefix``) and all below it; ``memo`` holds those to skip."""
        if memo is None:
            memo = set()
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def apply(self, fn: Callable[[Module], None]) -> Module:
        """Call ``fn`` on every module below, then on this one; returns self. Used to initialise parameters."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Module:
        """Set ``training`` on this module and all below it; returns self.

        Raises:  ValueError if mode is no bool.
        """
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Module:
        """Evaluation mode: ``train(False)``."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Set requires_grad of all parameters; returns self."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with zeros if ``set_to_none`` is False."""
        for param in self.parameters():
            if param.grad is None:
                continue
            if set_to_none:
                param.grad = None
                continue
            grad = param.grad  # the same object stays: others may hold it
            if grad.grad_fn is not None:
                grad.detach_()
            else:
                grad.requires_grad_(False)
            grad.zero_()

    # ---- conversions ---------------------------------------------------------------------------------------------

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Module:
        """Replace every parameter's data, its gradient, and every buffer by ``fn`` of it.

        Parameters stay the same objects (an optimizer may hold them), except when they leave the meta device.
        """
        if recurse:
            for module in self.children():
                module._apply(fn)
        for name, param in self._parameters.items():
            if param is None:
                continue
            grad = param.grad
            with no_grad():
                # A parameter without a shape is moved by way of the empty tensor that it holds.
                new = fn(Tensor._make_subclass(Tensor, param, False) if is_lazy(param) else param)
                new_grad = None if grad is None else fn(grad)
            if new is param:
                continue
            if new.is_meta == param.is_meta and not conversion.overwrite:
                param.grad = None  # for a moment the gradient's dtype or device would not be the parameter's
                param.data = new
            else:
                param = (type(param)(param.requires_grad, new.device, new.dtype) if is_lazy(param)
                         else Parameter(new, param.requires_grad))
                self._parameters[name] = param
            if new_grad is not None:
                if new_grad.is_meta == grad.is_meta and not conversion.overwrite:
                    grad.data = new_grad
                else:
                    grad = new_grad.requires_grad_(grad.requires_grad)
                param.grad = grad
        for name, buf in self._buffers.items():
            if is_lazy(buf):
                buf.data = fn(Tensor._make_subclass(Tensor, buf, False))
            elif buf is not None:
                self._buffers[name] = fn(buf)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Module:
        """Move all parameters and buffers to a device and (those of floating point or complex type) to a dtype.

        ``to(device=None, dtype=None, non_blocking=False)``, ``to(dtype, non_blocking=False)``,
        ``to(tensor, non_blocking=False)`` or ``to(memory_format=...)``; works in place and returns self.

        Raises:  TypeError if dtype is neither floating point nor complex; NotImplementedError if a parameter is on the
                 meta device and another one is asked for (use to_empty).
        """
        device, dtype, non_blocking, memory_format = _parse_to(*args, **kwargs)
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError("nn.Module.to only accepts floating point or complex dtypes, but got desired "
                            f"dtype={dtype}")

        def convert(t: Tensor) -> Tensor:
            wanted: dict[str, Any] = {} if device is None else {"device": device}
            if dtype is not None and (t.is_floating_point() or t.is_complex()):
                wanted["dtype"] = dtype
            if memory_format is not None and t.dim() in (4, 5):
                wanted["memory_format"] = memory_format
            if not wanted:
                return t
            if t.is_meta and device is not None and device.type != "meta" and not is_lazy(t):
                raise NotImplementedError("Cannot copy out of meta tensor; no data! Please use "
                                          "torch.nn.Module.to_empty() instead of torch.nn.Module.to() when moving "
                                          "module from meta to a different device.")
            return t.to(non_blocking=non_blocking, **wanted)

        return self._apply(convert)

    def to_empty(self, *, device: Any, recurse: bool = True) -> Module:
        """Move all parameters and buffers to ``device`` without their values (uninitialised memory); returns self."""
        return self._apply(lambda t: T.empty_like(t, device=device) if t._spread is None
                           else t.new_empty(t.shape, device=device), recurse=recurse)

    def cpu(self) -> Module:
        """Move all parameters and buffers to the CPU; returns self."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device: Any = None) -> Module:
        """Move all parameters and buffers to a GPU; returns self."""
        return self._apply(lambda t: t.cuda(device))

    def xpu(self, device: Any = None) -> Module:
        """Move all parameters and buffers to an "xpu" device; returns self."""
        return self._to_kind("xpu", device)

    def ipu(self, device: Any = None) -> Module:
        """Move all parameters and buffers to an "ipu" device; returns self."""
        return self._to_kind("ipu", device)

    def mtia(self, device: Any = None) -> Module:
        """Move all parameters and buffers to an "mtia" device; returns self."""
        return self._to_kind("mtia", device)

    def _to_kind(self, kind: str, device: Any) -> Module:
        if device is None or isinstance(device, int):
            device = Device(kind) if device is None else Device(kind, device)
        return self.to(device=device)

    def type(self, dst_type: Any) -> Module:
        """Cast all parameters and buffers to ``dst_type``; returns self."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self) -> Module:
        """Cast all floating point parameters and buffers to float32; returns self."""
        return self._apply(lambda t: t.float() if t.is_floating_point() else t)

    def double(self) -> Module:
        """Cast all floating point parameters and buffers to float64; returns self."""
        return self._apply(lambda t: t.double() if t.is_floating_point() else t)

    def half(self) -> Module:
        """Cast all floating point parameters and buffers to float16; returns self."""
        return self._apply(lambda t: t.half() if t.is_floating_point() else t)

    def bfloat16(self) -> Module:
        """Cast all floating point parameters and buffers to bfloat16; returns self."""
        return self._apply(lambda t: t.bfloat16() if t.is_floating_point() else t)

    def share_memory(self) -> Module:
        """Put all parameters and buffers into memory that other processes can share; returns self."""
        return self._apply(lambda t: t.share_memory_())

    # ---- printing ------------------------------------------------------------------------------------------------

    def _get_name(self) -> str:
        return self.__class__.__name__

    def extra_repr(self) -> str:
        """What the module prints of itself between its parentheses; for subclasses to define."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        extra_lines = extra.split("\n") if extra else []
        child_lines = [f"({name}): " + _addindent(repr(module), 2) for name, module in self._modules.items()]
        lines = extra_lines + child_lines
        if not lines:
            return self._get_name() + "()"
        if len(extra_lines) == 1 and not child_lines:
            return f"{self._get_name()}({extra_lines[0]})"
        return f"{self._get_name()}(\n  " + "\n  ".join(lines) + "\n)"

    def _repr_html_(self) -> str:
        from ._html import html_of

        return html_of(self)

    def __dir__(self) -> list[str]:
        names = {*dir(type(self)), *self.__dict__, *self._parameters, *self._buffers, *self._modules}
        return sorted(name for name in names if not name[:1].isdigit())

    def _replicate_for_data_parallel(self) -> Module:
        """A copy that shares everything but its dictionaries, with parameters left out of ``_parameters``."""
        replica = self.__new__(type(self))
        replica.__dict__.update(Module.__getstate__(self))
        replica._adopt()
        replica._parameters.clear()
        replica._is_replica = True
        return replica

    # ---- as a JAX pytree -----------------------------------------------------------------------------------------

    def _tree_flatten(self) -> tuple[tuple, _Structure]:
        """(leaves, structure): all distinct parameters and buffers, and everything else about the module tree.

        The walk is cached until an attribute of any module changes. An attribute changed in place (an append to a
        list, say) is not noticed.
        """
        cached = self.__dict__.get("_tree")
        if cached is not None and cached[0] == structure_epoch[0]:
            return cached[1], cached[2]
        leaves, structure = _walk(self)
        remember(self, "_tree", (structure_epoch[0], leaves, structure))
        return leaves, structure

    @staticmethod
    def _tree_unflatten(structure: _Structure, leaves: Any) -> Module:
        """A new module of this structure around ``leaves``, which may be any objects."""
        return structure.build(tuple(leaves))


tree_util.register_pytree_node(Module, Module._tree_flatten, Module._tree_unflatten)


class _Structure:
    """A module tree without its leaves: comparable and hashable, so that it can be part of a compile key.

    ``nodes`` has, per module: class, plain attributes, and {name: place} for parameters, buffers (places among the
    leaves) and children (places among the nodes); a place is None where the entry is None.
    """

    __slots__ = ("hash", "is_param", "nodes")

    def __init__(self, nodes: tuple, is_param: tuple[bool, ...]) -> None:
        self.nodes, self.is_param = nodes, is_param
        self.hash = hash((is_param, tuple((cls, tuple(p.items()), tuple(b.items()), tuple(m.items()))
                                          for cls, _, p, b, m in nodes)))

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: Any) -> bool:
        if self is other:
            return True
        if not isinstance(other, _Structure) or self.hash != other.hash or self.is_param != other.is_param:
            return False
        return len(self.nodes) == len(other.nodes) and all(
            a[0] is b[0] and a[2:] == b[2:] and a[1].keys() == b[1].keys()
            and all(_same(value, b[1][name]) for name, value in a[1].items())
            for a, b in zip(self.nodes, other.nodes, strict=True))

    def build(self, leaves: tuple) -> Module:
        made = [object.__new__(cls) for cls, *_ in self.nodes]
        leaves = tuple(Tensor._make_subclass(Parameter, leaf, leaf.requires_grad)
                       if param and isinstance(leaf, Tensor) and not isinstance(leaf, Parameter) else leaf
                       for leaf, param in zip(leaves, self.is_param, strict=True))
        for module, (_, static, params, buffers, children) in zip(made, self.nodes, strict=True):
            module.__dict__.update(static)
            module.__dict__["_non_persistent_buffers_set"] = set(static["_non_persistent_buffers_set"])
            for kind, places, source in (("_parameters", params, leaves), ("_buffers", buffers, leaves),
                                         ("_modules", children, made)):
                module.__dict__[kind] = {n: None if i is None else source[i] for n, i in places.items()}
            module._adopt()
        return made[0]


def _same(a: Any, b: Any) -> bool:
    """Whether two plain attributes are equal; tensors and arrays only if they are one object."""
    if a is b:
        return True
    if type(a) is not type(b) or isinstance(a, Tensor):
        return False
    try:
        return bool(a == b)
    except (TypeError, ValueError):  # an array-like whose == gives no single answer
        return False


runs_models(Module.__call__, Module._call_impl)


def _walk(root: Module) -> tuple[tuple, _Structure]:
    modules = list(root.modules())
    number = {id(module): i for i, module in enumerate(modules)}
    place: dict[int, int] = {}
    leaves: list = []
    is_param: list[bool] = []

    def places(members: dict, param: bool) -> dict[str, int | None]:
        found: dict[str, int | None] = {}
        for name, value in members.items():
            if value is not None and id(value) not in place:
                place[id(value)] = len(leaves)
                leaves.append(value)
                is_param.append(param and isinstance(value, Parameter))
            found[name] = None if value is None else place[id(value)]
        return found

    params = [places(module._parameters, True) for module in modules]
    buffers = [places(module._buffers, False) for module in modules]
    nodes = []
    for module, own, bufs in zip(modules, params, buffers, strict=True):
        static = Module.__getstate__(module)
        for kind in _MEMBERS:
            del static[kind]
        children = {n: None if m is None else number[id(m)] for n, m in module._modules.items()}
        nodes.append((type(module), static, own, bufs, children))
    return tuple(leaves), _Structure(tuple(nodes), tuple(is_param))
