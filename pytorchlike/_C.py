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
    if name in ("_TensorMeta", "_TensorBase", "Size"):
        from .tensor import Size, Tensor

        return {"_TensorMeta": type(Tensor), "_TensorBase": Tensor, "Size": Size}[name]
    if name in ("_VariableFunctions", "_functions"):
        from .tensor import functions

        return functions
    if name in ("_jit_set_profiling_mode", "_jit_set_profiling_executor", "_jit_set_texpr_fuser_enabled",
                "_jit_override_can_fuse_on_cpu", "_jit_override_can_fuse_on_gpu", "_jit_set_nvfuser_enabled"):
        return lambda enabled: False  # what it was before: there is no TorchScript to be set
    raise AttributeError(
        f"module 'torch._C' has no attribute '{name}': PyTorch's compiled core is not part of pytorchlike"
    )
