"""``torch._C``: PyTorch's compiled core, which is not here. Programs that probe it find few names."""

from __future__ import annotations

from typing import Any

from .tensor.random import Generator as Generator

#: What PyTorch was built with.
_GLIBCXX_USE_CXX11_ABI = True
has_cuda = has_mps = has_xpu = has_mkldnn = has_cudnn = has_openmp = False


def _get_tracing_state() -> None:
    """None: nothing is traced by TorchScript."""
    return None


def _log_api_usage_once(event: str) -> None:
    """Nothing is logged."""


def _get_accelerator(check: bool | None = None) -> Any:
    """The accelerator here, or the CPU."""
    from .accelerator import current_accelerator
    from .tensor.device import device

    return current_accelerator() or device("cpu")


def _cuda_getDeviceCount() -> int:
    """How many GPUs there are."""
    from .tensor.device import device_count

    return device_count("cuda")


class _FunctionBase:
    """Base of autograd functions in PyTorch; ``torch.autograd.Function`` is not derived from it here."""


def __getattr__(name: str) -> Any:
    if name in ("_disabled_torch_function_impl", "DisableTorchFunction", "DisableTorchFunctionSubclass"):
        from . import overrides

        return getattr(overrides, name)
    if name == "_nn":
        from types import SimpleNamespace

        from .nn.modules.module import _parse_to

        return SimpleNamespace(_parse_to=_parse_to)
    if name == "_TensorMeta":
        from .tensor import Tensor

        return type(Tensor)
    raise AttributeError(
        f"module 'torch._C' has no attribute '{name}': PyTorch's compiled core is not part of pytorchlike"
    )
