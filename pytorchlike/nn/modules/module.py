"""Module: the base of every layer and model, its hooks, its state and its conversions."""

from __future__ import annotations

import inspect
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, ClassVar, get_type_hints

from jax import tree_util

from ...engine.contexts import runs_models
from ...tensor import Tensor
from .._hooks import RemovableHandle
from ..parameter import Buffer, Parameter
from ._conversions import Conversions
from ._conversions import _parse_to as _parse_to
from ._conversions import conversion as conversion
from ._registry import MEMBERS, WALKS, HookDict, Members, changed, find_member, owner_of, remember, structure_epoch
from ._state_dict import _EXTRA_STATE_KEY_SUFFIX as _EXTRA_STATE_KEY_SUFFIX
from ._state_dict import StateDict
from ._state_dict import _IncompatibleKeys as _IncompatibleKeys
from ._state_dict import _WrappedHook as _WrappedHook

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
]

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


def _typename(value: Any) -> str:
    """The name of a value's type in error messages; a tensor's is that of its dtype, e.g. ``torch.FloatTensor``."""
    if isinstance(value, Tensor):
        return value.type()
    kind = value if isinstance(value, (type, FunctionType)) else type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _addindent(text: str, spaces: int) -> str:
    """``text`` with all lines but the first indented; blank ones stay empty."""
    first, *rest = text.split("\n")
    return "\n".join([first, *(" " * spaces + line if line.strip() else "" for line in rest)])


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


def _wrap_backward_hooks(
    module: Module, args: tuple, full: list, plain: list, pre_hooks: list
) -> tuple[tuple, Callable]:
    """The positional arguments led through the backward hooks, and a function that does so for the result."""
    from ._backward_hooks import BackwardHooks  # only modules with such hooks need the custom Function machinery

    around = BackwardHooks(module, full + plain, pre_hooks, bool(plain))
    return around.inputs(args), around.outputs


def _forward_unimplemented(self: Module, *input: Any) -> None:
    """Computes the module's output; every subclass defines it.

    Raises:  NotImplementedError.
    """
    raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')


_PACKAGE = __name__.partition(".")[0]


def _of_package(x: Any) -> bool:
    """Whether a class or function is this package's own."""
    return ((x.__module__ or "") + ".").startswith(_PACKAGE + ".")


class Module(StateDict, Conversions):
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
        if not _of_package(cls):
            for name, value in list(vars(cls).items()):  # ``act = torch.tanh`` is no method: it is a builtin in PyTorch
                if type(value) is FunctionType and _of_package(value) and value.__qualname__.isidentifier():
                    if not value.__name__.startswith("_"):
                        setattr(cls, name, staticmethod(value))

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
        for name in MEMBERS:
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
        if name in state or any(name in state[kind] for kind in ("_parameters", "_buffers", "_modules")):
            return True
        return hasattr(type(self), name) and hasattr(self, name)  # a property may find nothing as yet

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

    __getattr__ = find_member

    def _release(self, name: str, keep: str) -> None:
        """Drop ``name`` from every place an attribute can live in but ``keep``."""
        state = self.__dict__
        for kind in MEMBERS:
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
            kind = "module" if isinstance(value, Module) else "buffer" if isinstance(value, Buffer) else None
            if kind is not None:
                raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
            super().__setattr__(name, value)
            return
        changed(owner_of(self))
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
                persistent = value.persistent
            self._set_buffer(name, value, persistent)
            return
        if name in MEMBERS:
            previous, state[name] = state[name], Members(owner_of(self), value)
            for gone in previous.keys() - state[name].keys():
                state.pop(gone, None)
        elif name in _HOOKS:
            state[name] = HookDict(owner_of(self), value.items())
        else:
            super().__setattr__(name, value)
            if name == "__class__":
                self._adopt()  # the new class may find attributes in another way

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
        changed(owner_of(self))
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
                args, outputs = _wrap_backward_hooks(self, args, full, plain, pre_hooks)
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
        """Compile this module's call in place; the arguments are those of ``torch.compile``."""
        from ... import compiler  # rests on this

        self._compiled_call_impl = compiler.compile(self._call_impl, *args, **kwargs)
        self.__dict__["_hooked"] = True

    # ---- state ---------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        # Hooks keep their ids, so that handles pickled with them go on working; the rest can be derived.
        for name in ("_compiled_call_impl", "_hooked", *WALKS):
            state.pop(name, None)
        for kind in MEMBERS:
            members = state.get(kind)
            if members is not None:
                for name, value in members.items():
                    if name not in MEMBERS and state.get(name, structure_epoch) is value:
                        del state[name]
                state[kind] = dict(members)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._adopt()

    def _adopt(self) -> None:
        """Make this object the owner of its dictionaries, adding those that are absent (a restored old module)."""
        owner, state = owner_of(self), self.__dict__
        for name in WALKS:  # of another module, where a ``__getstate__`` gave its whole dictionary
            state.pop(name, None)
        state["_hooked"] = False
        for name in MEMBERS:
            state[name] = Members(owner, state.get(name, ()))
        for name in _HOOKS:
            hooks = state.get(name, {})
            if type(hooks) is HookDict and hooks._owner() is None:  # a copy, which handles may refer to
                hooks._owner = owner
            else:
                state[name] = HookDict(owner, hooks.items())
        state["_hooked"] = any(state[name] for name in _CALL_HOOKS)
        state.setdefault("_non_persistent_buffers_set", set())
        state.setdefault("_is_full_backward_hook", None)
        state.setdefault("training", True)

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
                    for value in getattr(module, name).values():
                        if value is not None:
                            values.setdefault(id(value), value)
            cached = {name: tuple(values.values()) for name, values in found.items()}
            remember(self, "_leaf_cache", cached)
        return (value for value in cached[kind])  # a generator, which some libraries look for

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


# Inspected through instances of subclasses by libraries that do not know this file's names.
Module.__annotations__ = get_type_hints(Module)


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
        for kind in MEMBERS:
            del static[kind]
        children = {n: None if m is None else number[id(m)] for n, m in module._modules.items()}
        nodes.append((type(module), static, own, bufs, children))
    return tuple(leaves), _Structure(tuple(nodes), tuple(is_param))
