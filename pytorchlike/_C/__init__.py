"""``torch._C``: PyTorch's compiled core, which is not here. Programs that probe it find few names."""

from __future__ import annotations

from typing import Any

from ..tensor.random import Generator as Generator

#: What PyTorch was built with.
_GLIBCXX_USE_CXX11_ABI = True
has_cuda = has_mps = has_xpu = has_mkldnn = has_cudnn = has_openmp = False


def _get_tracing_state() -> None:
    """None: nothing is traced by TorchScript."""
    return None


def _set_grad_enabled(mode: bool) -> None:
    """Whether operations are recorded for backward from here on, in this thread."""
    from ..engine import get_mode, set_mode

    set_mode(get_mode().replace(grad=bool(mode)))


def _log_api_usage_once(event: str) -> None:
    """Nothing is logged."""


def _get_accelerator(check: bool | None = None) -> Any:
    """The accelerator here, or the CPU."""
    from ..accelerator import current_accelerator
    from ..tensor.device import device

    return current_accelerator() or device("cpu")


def _cuda_getDeviceCount() -> int:
    """How many GPUs there are."""
    from ..tensor.device import device_count

    return device_count("cuda")


def _get_cudnn_enabled() -> bool:
    """``torch.backends.cudnn.enabled``."""
    from ..backends import cudnn

    return cudnn.enabled


def _mps_is_available() -> bool:
    """Whether there is a GPU of Apple's."""
    from ..tensor.device import device_count

    return device_count("mps") > 0


def _are_functorch_transforms_active() -> bool:
    """False: transforms are JAX's here, and keep nothing from a program that it may do elsewhere."""
    return False


def _is_torch_function_mode_enabled() -> bool:
    """Whether a mode is asked about calls."""
    from ..tensor.asking import state

    return bool(state.modes)


def _is_tracing() -> bool:
    """False: nothing is traced by TorchScript."""
    return False


def _is_alias_of(tensor: Any, other: Any) -> bool:
    """Whether two tensors share their memory."""
    return tensor.untyped_storage() == other.untyped_storage()


class _Functions:
    """``torch._C._functions``: the functions, and the types of nodes of the backward graph that programs tell by."""

    @property
    def AccumulateGrad(self) -> type:
        from ..autograd.nodes import kind_of

        return kind_of("AccumulateGrad")

    def __getattr__(self, name: str) -> Any:
        from ..tensor import functions

        return getattr(functions, name)


_functions = _Functions()


class _Nn:
    """``torch._C._nn``: the operators behind ``torch.nn.functional``, with their arguments; e.g. a number for the
    reduction of a loss.
    """

    def __getattr__(self, name: str) -> Any:
        if name == "_parse_to":
            from ..nn.modules.module import _parse_to as found
        else:
            from .._dispatch.kernels import KERNELS
            from .._dispatch.operators import aten
            from ..nn import functional as F

            # losses of F take the reduction by its name, and others before it
            found = getattr(aten, name) if name in KERNELS else None if "loss" in name else getattr(F, name, None)
        if found is None or name.startswith("__"):
            raise AttributeError(f"module 'torch._C._nn' has no attribute '{name}': pytorchlike lacks it")
        return found


_nn = _Nn()


class _FunctionBase:
    """Base of autograd functions in PyTorch; ``torch.autograd.Function`` is not derived from it here."""


def __getattr__(name: str) -> Any:
    if name in ("_disabled_torch_function_impl", "DisableTorchFunction", "DisableTorchFunctionSubclass"):
        from .. import overrides

        return getattr(overrides, name)
    if name == "_AutoDispatchBelowAutograd":
        from ..library import _AutoDispatchBelowAutograd

        return _AutoDispatchBelowAutograd
    if name in ("_functorch", "_distributed_rpc", "_profiler"):
        import importlib

        return importlib.import_module(f".{name}", __name__)
    if name == "_LinAlgError":
        from ..linalg import LinAlgError

        return LinAlgError
    if name in ("device", "dtype", "layout", "memory_format"):
        import sys

        return getattr(sys.modules[__package__.rpartition(".")[0]], name)  # those of torch itself
    if name in ("Graph", "Node", "ScriptObject", "TensorType", "Value"):  # for annotations
        from .. import _unmapped

        return getattr(_unmapped, name)
    if name in ("_TensorMeta", "_TensorBase", "TensorBase", "Size"):
        from ..tensor import Size, Tensor

        return {"_TensorMeta": type(Tensor), "Size": Size}.get(name, Tensor)
    if name in ("_VariableFunctions", "_VariableFunctionsClass"):
        from ..tensor import functions

        return functions
    if name.startswith(("_jit_set_", "_jit_override_", "_jit_can_fuse_")):
        return lambda *setting: False  # what it was before: there is no TorchScript to be set
    raise AttributeError(
        f"module 'torch._C' has no attribute '{name}': PyTorch's compiled core is not part of pytorchlike"
    )
