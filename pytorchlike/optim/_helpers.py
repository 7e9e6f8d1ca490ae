"""What optimizers written after PyTorch's own import from ``torch.optim.optimizer``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from ..autograd.mode import set_grad_enabled
from ..tensor import Tensor
from ..tensor import functions as T

__all__: list[str] = []


def _use_grad_for_differentiable(func: Callable[..., Any]) -> Callable[..., Any]:
    """A step that gradients pass through if the optimizer has ``differentiable=True``, and otherwise not."""

    @functools.wraps(func)
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        with set_grad_enabled(bool(self.defaults.get("differentiable", False))):
            return func(self, *args, **kwargs)

    return step


def _get_value(x: Any) -> Any:
    """A number out of a tensor ()."""
    return x.item() if isinstance(x, Tensor) else x


def _to_scalar(x: Any) -> Any:
    """A tensor of one element as a tensor ()."""
    return x.squeeze() if isinstance(x, Tensor) and x.dim() else x


def _dispatch_sqrt(x: Any) -> Any:
    """The square root of a tensor or number."""
    return x.sqrt() if isinstance(x, Tensor) else x**0.5


def _stack_if_compiling(x: Any) -> Any:
    """The list itself."""
    return x


def _view_as_real(params: list[Tensor], *state_and_grads: list[Tensor]) -> None:
    """Replace, in the lists, the complex parameters and what belongs to them by views as pairs of real numbers."""
    for i, p in enumerate(params):
        if p.is_complex():
            params[i] = T.view_as_real(p)
            for each in state_and_grads:
                each[i] = T.view_as_real(each[i])


def _get_capturable_supported_devices(supports_xla: bool = True) -> list[str]:
    """The devices on which step counters may be tensors: all, the CPU included."""
    return ["cpu", "cuda", *(["tpu"] if supports_xla else [])]


def _default_to_fused_or_foreach(params: Iterable[Tensor], differentiable: bool, use_fused: bool = False,
                                 ) -> tuple[bool, bool]:  # fmt: skip
    """(False, False): the plain loop over parameters is recorded and fused anyway."""
    return False, False


def _get_scalar_dtype(is_fused: Any = None) -> Any:
    """The dtype of step counters: float32, or float64 if that is the default."""
    from ..tensor.dtype import float32, float64, get_default_dtype

    return float64 if get_default_dtype() is float64 and not is_fused else float32


def _device_dtype_check_for_fused(p: Tensor, cuda_unsupported: bool = False) -> None:
    """Everything is fused."""


def _disable_dynamo_if_unsupported(single_tensor_fn: Any = None) -> Callable[[Any], Any]:
    """A decorator that leaves a function as it is."""
    return lambda func: func
