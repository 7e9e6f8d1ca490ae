"""``functorch``: the package that ``torch.func`` came from, whose names older programs import."""

import functools as _functools
from typing import Any as _Any

from .. import func as _func
from .._functorch import make_functional as _stateful
from .._functorch.make_functional import FunctionalModule as FunctionalModule
from .._functorch.make_functional import FunctionalModuleWithBuffers as FunctionalModuleWithBuffers
from ..engine.errors import warn as _warn
from ..version import __version__ as __version__


def _former(name: str, function: _Any, now: str) -> _Any:
    message = (
        f"We've integrated functorch into PyTorch. `functorch.{name}` is deprecated as of PyTorch 2.0 and will be "
        f"deleted in a future version of PyTorch >= 2.3. Please use `{now}` instead."
    )

    @_functools.wraps(function)
    def call(*args: _Any, **kwargs: _Any) -> _Any:
        _warn(message, FutureWarning)
        return function(*args, **kwargs)

    return call


functionalize = _former("functionalize", _func.functionalize, "torch.func.functionalize")
grad = _former("grad", _func.grad, "torch.func.grad")
grad_and_value = _former("grad_and_value", _func.grad_and_value, "torch.func.grad_and_value")
hessian = _former("hessian", _func.hessian, "torch.func.hessian")
jacfwd = _former("jacfwd", _func.jacfwd, "torch.func.jacfwd")
jacrev = _former("jacrev", _func.jacrev, "torch.func.jacrev")
jvp = _former("jvp", _func.jvp, "torch.func.jvp")
vjp = _former("vjp", _func.vjp, "torch.func.vjp")
vmap = _former("vmap", _func.vmap, "torch.vmap")
make_functional = _former("make_functional", _stateful.make_functional, "torch.func.functional_call")
make_functional_with_buffers = _former(
    "make_functional_with_buffers", _stateful.make_functional_with_buffers, "torch.func.functional_call"
)
combine_state_for_ensemble = _former(
    "combine_state_for_ensemble", _stateful.combine_state_for_ensemble, "torch.func.stack_module_state"
)
