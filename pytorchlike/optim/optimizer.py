"""The stateful shell of every optimizer: parameter groups, state, hooks, state dicts and the recorded step."""

import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable
from copy import deepcopy
from itertools import chain
from operator import itemgetter
from typing import Any, ClassVar

from ..autograd.mode import enable_grad, no_grad
from ..engine import Value, local, policy
from ..tensor import Tensor
from ..tensor import dtype as _dtypes
from ..tensor._register import KINDS
from ..tensor.composed import Composed
from ..tensor.recorded import (
    Plan,
    concrete_zeros,
    drop_grads,
    initial_boundary,
    record_planned,
    step_boundary,
    with_grads,
)
from ..utils.hooks import RemovableHandle
from ._helpers import _default_to_fused_or_foreach as _default_to_fused_or_foreach
from ._helpers import _device_dtype_check_for_fused as _device_dtype_check_for_fused
from ._helpers import _disable_dynamo_if_unsupported as _disable_dynamo_if_unsupported
from ._helpers import _dispatch_sqrt as _dispatch_sqrt
from ._helpers import _get_capturable_supported_devices as _get_capturable_supported_devices
from ._helpers import _get_scalar_dtype as _get_scalar_dtype
from ._helpers import _get_value as _get_value
from ._helpers import _stack_if_compiling as _stack_if_compiling
from ._helpers import _to_scalar as _to_scalar
from ._helpers import _use_grad_for_differentiable as _use_grad_for_differentiable
from ._helpers import _view_as_real as _view_as_real
from ._rules import RuleKey, apply_rule

StateDict = dict[str, Any]
ParamsT = Iterable[Any]


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"

    def __copy__(self) -> "_Required":
        return self

    def __deepcopy__(self, memo: dict) -> "_Required":
        return self

    def __reduce__(self) -> str:
        return "required"  # pickled by name, so that `is required` holds afterwards


required = _Required()

_global_step_pre_hooks: "OrderedDict[int, Callable]" = OrderedDict()
_global_step_post_hooks: "OrderedDict[int, Callable]" = OrderedDict()

_HOOKS = ("step_pre", "step_post", "state_dict_pre", "state_dict_post", "load_state_dict_pre", "load_state_dict_post")


def _register(table: "OrderedDict[int, Callable]", hook: Callable, prepend: bool = False) -> RemovableHandle:
    handle = RemovableHandle(table)
    table[handle.id] = hook
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


def register_optimizer_step_pre_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` before the step of every optimizer; it may return new (args, kwargs)."""
    return _register(_global_step_pre_hooks, hook)


def register_optimizer_step_post_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` after the step of every optimizer."""
    return _register(_global_step_post_hooks, hook)


def _typename(x: object) -> str:
    kind = type(x)
    return f"{kind.__module__}.{kind.__qualname__}" if kind.__module__ != "builtins" else kind.__qualname__


def _with_hooks(step: Callable) -> Callable:
    """The step with its hooks around it and the end of a training step behind it."""

    @functools.wraps(step)
    def wrapper(self: "Optimizer", *args: Any, **kwargs: Any) -> Any:
        if self._in_step:  # super().step() from a subclass, or a wrapper that is not initialised as an optimizer
            return step(self, *args, **kwargs)
        self._in_step = True
        try:
            if _global_step_pre_hooks or self._optimizer_step_pre_hooks:
                whole = (self, *args)
                for hook in [*_global_step_pre_hooks.values(), *self._optimizer_step_pre_hooks.values()]:
                    result = hook(self, whole, kwargs)
                    if result is None:
                        continue
                    if not (isinstance(result, tuple) and len(result) == 2):
                        raise RuntimeError(f"step pre-hook {hook} of {type(self).__name__} must return None or a tuple "
                                           f"of (new_args, new_kwargs), but got {result}.")
                    whole, kwargs = result
                args = tuple(whole)[1:]
            out = (step(self, *args, **kwargs) if getattr(local, "session", None) is None
                   else _profiled(self, "step", step, *args, **kwargs))
            if _global_step_post_hooks or self._optimizer_step_post_hooks:
                for hook in [*self._optimizer_step_post_hooks.values(), *_global_step_post_hooks.values()]:
                    hook(self, (self, *args), kwargs)
            step_boundary()
            return out
        finally:
            self._in_step = False

    wrapper.hooked = True
    return wrapper


def _profiled(optimizer: "Optimizer", what: str, function: Callable, *args: Any, **kwargs: Any) -> Any:
    """A method's call as a range of a profile, under PyTorch's name for it."""
    from ..autograd.profiler import ranged

    name = type(optimizer).__name__
    return ranged(f"Optimizer.{what}#{name}.{what}", function, optimizer, *args, **kwargs)


class Optimizer:
    """Base of all optimizers: holds parameters in groups, options per group and state per parameter.

    ``params``: an iterable of Tensors, of ``(name, Tensor)`` pairs, or of dicts ``{"params": ..., option: value}``, in
    an order that is the same in every run. ``defaults``: options for the groups that do not give them.

    A subclass either overrides `step`, as in PyTorch, or gives ``rule`` (an optax transformation, see ``_rules.py``),
    ``_options``, ``_hyper`` and ``_slots``; its step is then recorded as one operation per group, over all parameters
    that have gradients, with every number of the group as a run-time input.

    Raises: TypeError if params is a Tensor, a set or holds something else than Tensors; ValueError for an empty list, a
    parameter in two groups, a non-leaf, or names given for some only.
    """

    rule: ClassVar[Callable | None] = None
    hyper_names: ClassVar[tuple[str, ...]] = ("lr",)
    counted: ClassVar[bool] = True  # a "step" tensor is kept per parameter
    elementwise: ClassVar[bool] = True  # no element's update looks at others, which may lie in another process
    #: Whether the recorded step does nothing where the tensor ``found_inf`` is set.
    _takes_found_inf: bool = False
    _in_step = True  # until it is initialised: wrappers that only pass steps on to another optimizer have no hooks

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = cls.__dict__.get("step")
        if own is not None and not getattr(own, "hooked", False):
            cls.step = _with_hooks(own)
        if "_takes_found_inf" not in cls.__dict__ and (own is not None or "rule" in cls.__dict__):
            cls._takes_found_inf = own is None  # a step of its own may do what no flag holds back

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self._make_hook_tables()
        if isinstance(params, Tensor):
            raise TypeError("params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                            + _typename(params))
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)
        initial_boundary([p for group in self.param_groups for p in group["params"]])

    def _make_hook_tables(self) -> None:
        self._in_step = False
        self._plans: dict[tuple, Plan] = {}  # of the updates met so far
        for name in _HOOKS:
            self.__dict__.setdefault(f"_optimizer_{name}_hooks", OrderedDict())

    def _patch_step_function(self) -> None:
        """From here on steps run hooks and end a training step: called by wrappers that do not call ``__init__``."""
        self._make_hook_tables()

    # ---- copying ----------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_hook_tables()
        self.defaults.setdefault("differentiable", False)
        for group in self.param_groups:
            for name, value in self._late_options().items():
                group.setdefault(name, value)
        self._adopt_steps()

    def _late_options(self) -> dict[str, Any]:
        """Options that files of older versions lack, with the value they had then."""
        late = {"foreach": None, "maximize": False, "capturable": False, "fused": None,
                "amsgrad": False, "nesterov": False, "centered": False, "momentum": 0, "decoupled_weight_decay": False}
        return {name: value for name, value in late.items() if name in self.defaults}

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines += [""] * (i > 0) + [f"Parameter Group {i}"]
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join(lines) + "\n)"

    # ---- groups -----------------------------------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take a further group ``{"params": ..., option: value}``; missing options come from ``defaults``."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        given = param_group["params"]
        if isinstance(given, set):
            raise TypeError("optimizer parameters need to be organized in ordered collections, but the ordering of "
                            "tensors in sets will change between runs. Please use a list instead.")
        given = [given] if isinstance(given, Tensor) else list(given)
        names = [item[0] for item in given if isinstance(item, tuple)]
        if names and len(names) != len(given):
            raise ValueError("all optimizer params should be with/without names. Some param names are missing")
        params = param_group["params"] = [item[1] if isinstance(item, tuple) else item for item in given]
        if names:
            param_group["param_names"] = names

        for param in params:
            if not isinstance(param, Tensor):
                raise TypeError(f"optimizer can only optimize Tensors, but one of the params is {_typename(param)}")
            if not self.defaults.get("differentiable") and not (param.is_leaf or param.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
            if param._spread is not None and param._spread.members > 1 and not self.elementwise:
                raise NotImplementedError(f"{type(self).__name__} needs whole parameters, and these are divided among "
                                          "processes; use AdamW, SGD or another optimizer that treats each element "
                                          "for itself, or DistributedDataParallel instead of FSDP")

        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(f"parameter group didn't specify a value of required optimization parameter {name}")
            param_group.setdefault(name, default)

        if len(params) != len(set(params)):
            warnings.warn("optimizer contains a parameter group with duplicate parameters; in future, this will cause "
                          "an error; see github.com/pytorch/pytorch/issues/40967 for more information", stacklevel=3)
        taken: set[Tensor] = set()
        for group in self.param_groups:
            taken.update(group["params"])
            if ("param_names" in param_group) != ("param_names" in group):
                kind = "with names" if names else "without names"
                raise ValueError("all optimizer param groups should be with/without names. "
                                 f"cannot add param group {kind} to the optimizer")
        if not taken.isdisjoint(params):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    # ---- the step ---------------------------------------------------------------------------------------------------

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with zeros if not ``set_to_none``."""
        if getattr(local, "session", None) is not None:
            _profiled(self, "zero_grad", Optimizer._zero_grad, set_to_none)
        else:
            self._zero_grad(set_to_none)

    def _zero_grad(self, set_to_none: bool) -> None:
        for group in self.param_groups:
            if set_to_none:
                drop_grads(group["params"])
                continue
            for p in group["params"]:
                if p.grad is not None:
                    if p.grad.grad_fn is not None:
                        p.grad.detach_()
                    else:
                        p.grad.requires_grad_(False)
                    p.grad.zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters that have gradients; returns what ``closure`` (which computes them anew) returned."""
        if type(self).rule is None:
            raise NotImplementedError(f"{type(self).__name__} defines neither step() nor a rule")
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._step_group(group)
        return loss

    def _options(self, group: dict[str, Any]) -> tuple | None:
        """What selects the program: a NamedTuple of hashable values, the first argument of ``rule``."""
        return None

    def _replayable(self, group: dict[str, Any]) -> bool:
        """Whether ``_options`` and ``_hyper`` say everything that the step of a group depends on, tensors apart."""
        return type(self).rule is not None and type(self)._step_params is Optimizer._step_params

    def _hyper(self, group: dict[str, Any]) -> list[Any]:
        """The run-time numbers of a group, in the order of ``hyper_names``: floats or one-element Tensors."""
        return [group[name] for name in self.hyper_names]

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        """Names of the state tensors that the rule reads and replaces (without "step")."""
        return ()

    def _new_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        """The state of a parameter before its first step (without "step")."""
        return {slot: concrete_zeros(p) for slot in self._slots(group)}

    def _check(self, p: Tensor, group: dict[str, Any]) -> None:
        """Refuse a parameter (with its gradient) that the rule cannot treat; called before its first step."""
        if p.grad.is_sparse:
            raise RuntimeError(f"{type(self).__name__} does not support sparse gradients")

    def _new_step(self, p: Tensor) -> Tensor:
        kind = _dtypes.float64 if _dtypes.get_default_dtype() is _dtypes.float64 else _dtypes.float32
        return concrete_zeros(p, dtype=kind, shape=())

    def _start(self, fresh: list[Tensor], group: dict[str, Any]) -> None:
        """Give parameters that step for the first time their state; their counters share one value."""
        first = None
        for p in fresh:
            self._check(p, group)
            state = self.state[p]
            if self.counted and "step" not in state:
                state["step"] = self._new_step(p)
                if first is None:
                    first = state["step"]
                else:
                    state["step"]._share_value(first)
            for name, value in self._new_state(p, group).items():
                state.setdefault(name, value if p._spread is None else p._spread.dress(value))

    def _step_group(self, group: dict[str, Any]) -> None:
        params = group["params"]
        if KINDS:
            for p in params:
                if isinstance(p, Composed) and p.grad is not None:
                    with no_grad():
                        self._step_composed(group, p)
            params = [p for p in params if not isinstance(p, Composed)]
        params, grads = with_grads(params)
        if params:
            self._step_params(group, params, grads, self._hyper(group))

    def _step_composed(self, group: dict[str, Any], p: Tensor) -> None:
        """The step of a parameter that is itself sparse; refused by all but SGD, as in PyTorch."""
        self._check(p, group)
        raise RuntimeError(f"{type(self).__name__} requires dense parameter tensors, got layout {p.layout}")

    def _step_params(self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor], hyper: list[Any]) -> None:
        if group.get("differentiable"):
            raise NotImplementedError(
                f"{type(self).__name__}.step: differentiable=True is not supported, since the update is recorded "
                "without autograd. Write the update with tensor operations, or use torch.func for functions of the "
                "parameters.")
        slots = self._slots(group)
        columns, counters = [], None
        if slots or self.counted:
            states = list(map(self.state.__getitem__, params))
            wanted = (*slots, "step") if self.counted else slots
            try:
                columns = [list(map(itemgetter(name), states)) for name in wanted]
            except KeyError:
                with no_grad():
                    self._start([p for p, s in zip(params, states, strict=True)
                                 if any(name not in s for name in wanted)], group)
                columns = [[s[name] for s in states] for name in wanted]
            if self.counted:
                counters = columns.pop()

        scale, flag = getattr(self, "grad_scale", None), getattr(self, "found_inf", None)
        if scale is not None:
            hyper = [*hyper, scale]
        if flag is not None:
            hyper = [*hyper, flag]
        where: tuple[int, ...] | None = None
        if counters is None:
            lists, rebind = [params, grads, *columns], [params, *columns]
        else:
            leaders, where = _distinct(counters)
            lists, rebind = [params, grads, *columns, leaders], [params, *columns, leaders]
        kind = (self._options(group), slots, where, scale is not None, flag is not None, len(params))
        plan = self._plans.get(kind)
        if plan is None:
            key = RuleKey(type(self).rule, kind[0], self.hyper_names, slots, self.counted, *kind[2:5])
            if len(self._plans) >= 64:  # groups whose parameters come and go
                self._plans.clear()
            plan = self._plans[kind] = Plan.of(f"optim.{type(self).__name__}", apply_rule, key, lists, rebind)
        try:
            record_planned(plan, lists, hyper, rebind, (self, group) if self._replayable(group) else None,
                           counters[1:] if counters is not None and where is None else ())
        except (TypeError, ValueError):
            self._refuse_other_shapes(params, slots, columns)
            raise
        if where is not None:
            for counter, i in zip(counters, where, strict=True):
                if counter is not leaders[i]:
                    counter._share_value(leaders[i])

    def _refuse_other_shapes(self, params: list[Tensor], slots: tuple[str, ...], columns: list[list[Tensor]]) -> None:
        """RuntimeError that names a parameter whose state is one of another shape."""
        number = {id(p): i for i, p in enumerate(p for group in self.param_groups for p in group["params"])}
        for slot, column in zip(slots, columns, strict=True):
            for p, held in zip(params, column, strict=True):
                if held.shape != p.shape:
                    raise RuntimeError(
                        f"{type(self).__name__}: {slot!r} of parameter {number[id(p)]} has shape {list(held.shape)}, "
                        f"the parameter {list(p.shape)}: was the state saved with a model of other sizes?"
                    )

    # ---- state dicts ------------------------------------------------------------------------------------------------

    def state_dict(self) -> StateDict:
        """The state, and the groups with parameters numbered in order: ``{"state": {0: {...}}, "param_groups":
        [...]}``.

        The tensors are the live ones, not copies.
        """
        policy.resumes()
        for hook in list(self._optimizer_state_dict_pre_hooks.values()):
            hook(self)
        number: dict[int, int] = {}
        groups, start = [], 0
        for group in self.param_groups:
            packed = {name: value for name, value in group.items() if name != "params"}
            for i, p in enumerate(group["params"], start):
                number.setdefault(id(p), i)
            packed["params"] = [number[id(p)] for p in group["params"]]
            start += len(packed["params"])
            groups.append(packed)
        state = {number[id(k)] if isinstance(k, Tensor) else k: v for k, v in self.state.items()}
        result: StateDict = {"state": state, "param_groups": groups}
        for hook in list(self._optimizer_state_dict_post_hooks.values()):
            changed = hook(self, result)
            if changed is not None:
                result = changed
        return result

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Take over the state and options of a `state_dict`, this library's or PyTorch's.

        Tensors go to the parameter's device and, for floating parameters, its dtype; "step" is kept as it is. Names of
        parameters play no part. Raises ValueError if the number of groups or the size of one differs.
        """
        policy.resumes()
        state_dict = state_dict.copy()
        for hook in list(self._optimizer_load_state_dict_pre_hooks.values()):
            changed = hook(self, state_dict)
            if changed is not None:
                state_dict = changed
        groups, saved = self.param_groups, deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved):
            raise ValueError("loaded state dict has a different number of parameter groups "
                             f"({len(saved)}, this optimizer has {len(groups)})")
        for i, (group, new) in enumerate(zip(groups, saved, strict=True)):
            if len(group["params"]) != len(new["params"]):
                raise ValueError("loaded state dict contains a parameter group that doesn't match the size of "
                                 f"optimizer's group (group {i}: {len(new['params'])} and {len(group['params'])})")
        owner = dict(zip(chain.from_iterable(g["params"] for g in saved),
                         chain.from_iterable(g["params"] for g in groups), strict=True))
        state: defaultdict[Any, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in owner:
                state[owner[key]] = self._adapt(owner[key], value, key, state_dict["param_groups"])
            else:
                state[key] = value
        for group, new in zip(groups, saved, strict=True):
            new["params"] = group["params"]
            if "param_names" in group:
                new.setdefault("param_names", group["param_names"])
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in list(self._optimizer_load_state_dict_post_hooks.values()):
            hook(self)

    def _adapt(self, param: Tensor, value: Any, number: int, groups: list[dict[str, Any]], key: Hashable = None) -> Any:
        """A loaded value on the parameter's device and dtype, in new containers."""
        if isinstance(value, Tensor):
            return self._process_value_according_to_param_policy(param, value, number, groups, key)
        if isinstance(value, dict):
            return {k: self._adapt(param, v, number, groups, k) for k, v in value.items()}
        if isinstance(value, Iterable) and not isinstance(value, str):
            return type(value)(self._adapt(param, v, number, groups) for v in value)
        return value

    @staticmethod
    def _process_value_according_to_param_policy(param: Tensor, value: Tensor, param_id: int,
                                                 param_groups: list[dict[str, Any]], key: Hashable = None) -> Tensor:
        if key == "step":
            group = next((g for g in param_groups if param_id in g["params"]), {})
            if group.get("capturable") or group.get("fused"):
                return value.to(dtype=_dtypes.float32, device=param.device)
            return value
        # Beside "step" these 0-dim numbers keep their precision, whatever the parameter's dtype is.
        if param.is_floating_point() and key not in ("eta", "mu", "mu_product"):
            return value.to(dtype=param.dtype, device=param.device)
        return value.to(device=param.device)

    def _adopt_steps(self) -> None:
        """Make counters that came from elsewhere our own: tensors, not aliased with the source, equal ones shared."""
        if not self.counted or type(self).rule is None:
            return
        by_token: dict[int, Tensor] = {}
        by_value: dict[tuple[float, Any], Tensor] = {}
        for p, state in self.state.items():
            if not isinstance(p, Tensor) or not isinstance(state, dict) or "step" not in state:
                continue
            old = state["step"]
            new = state["step"] = self._new_step(p)
            if not isinstance(old, Tensor):
                leader = by_value.setdefault((float(old), None), new)
                if leader is new:
                    new.fill_(float(old))
                else:
                    new._share_value(leader)
                continue
            token = id(old._get())
            if token not in by_token:
                # Not the training path: a state was just loaded, so that reading costs nothing that matters.
                leader = by_value.setdefault((float(old), old.dtype), new)
                if leader is new:
                    new.fill_(float(old))
                by_token[token] = leader
            if by_token[token] is not new:
                new._share_value(by_token[token])

    # ---- hooks ------------------------------------------------------------------------------------------------------

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step; it may return new ``(args, kwargs)``."""
        return _register(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        return _register(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer)`` before `state_dict`."""
        return _register(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` after `state_dict`; it may return another dict."""
        return _register(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` with a shallow copy before loading; it may return another dict."""
        return _register(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer)`` after `load_state_dict`."""
        return _register(self._optimizer_load_state_dict_post_hooks, hook, prepend)


Optimizer.step = _with_hooks(Optimizer.step)


def _distinct(counters: list[Tensor]) -> tuple[list[Tensor], tuple[int, ...] | None]:
    """One counter for each distinct value, and for each counter the index of its value (None if there is just one)."""
    values = [c._value if c._alias is None else c._fresh() for c in counters]
    if values.count(values[0]) == len(values):
        return counters[:1], None
    index: dict[Value, int] = {}
    leaders, where = [], []
    for counter, value in zip(counters, values, strict=True):
        i = index.setdefault(value, len(leaders))
        if i == len(leaders):
            leaders.append(counter)
        where.append(i)
    return leaders, tuple(where)


def filled(p: Tensor, value: float, **kind: Any) -> Tensor:
    """A concrete tensor like ``p`` (or of the given ``dtype`` and ``shape``) filled with ``value``."""
    return concrete_zeros(p, fill=value, **kind)


def check_lr(lr: Any, message: str = "Invalid learning rate: {}") -> None:
    """PyTorch's checks of a learning rate: one element, not negative, not nan."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")
    check_at_least_zero(lr, message)


def check_at_least_zero(value: Any, message: str) -> None:
    """ValueError with the value in ``message`` unless ``value >= 0``."""
    if not value >= 0.0:
        raise ValueError(message.format(value))


def check_betas(betas: tuple[Any, Any]) -> None:
    """Both in [0, 1)."""
    for i in (0, 1):
        if not 0.0 <= betas[i] < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {betas[i]}")


def check_fused(optimizer: Optimizer, fused: Any, foreach: Any, differentiable: bool) -> None:
    """`fused` excludes the two others, and says that the step takes scaled gradients, at which libraries look."""
    if fused:
        optimizer._step_supports_amp_scaling = True
    if fused and differentiable:
        raise RuntimeError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")
