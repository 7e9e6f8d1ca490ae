"""``torch.cuda``: NVIDIA (and AMD) GPUs, which JAX calls 'gpu'.

What asks for GPUs answers truthfully without one; what needs one raises RuntimeError. XLA schedules the work of a
device by itself: streams are accepted, and ``Event``s measure wall time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NoReturn

from .. import _streams
from .._devices import DeviceContext, DeviceModule
from .._errors import AcceleratorError as AcceleratorError
from .._errors import DeferredCudaCallError as DeferredCudaCallError
from .._errors import OutOfMemoryError as OutOfMemoryError
from ..tensor import functions as _functions
from ..tensor.device import device as _torch_device
from ..tensor.device import device_count as _device_count
from ..tensor.typed_storage import TYPED as _TYPED
from . import comm as comm
from . import memory as memory
from . import nccl as nccl
from . import nvtx as nvtx
from . import profiler as profiler
from . import random as random
from . import streams as streams
from ._sensors import clock_rate as clock_rate
from ._sensors import device_memory_used as device_memory_used
from ._sensors import list_gpu_processes as list_gpu_processes
from ._sensors import memory_usage as memory_usage
from ._sensors import power_draw as power_draw
from ._sensors import temperature as temperature
from ._sensors import utilization as utilization
from .memory import *  # noqa: F403
from .random import *  # noqa: F403
from .streams import *  # noqa: F403

_module = DeviceModule("cuda")
is_available = _module.is_available
device_count = _module.device_count
init = _module.init
is_initialized = _module.is_initialized
current_device = _module.current_device
set_device = _module.set_device
synchronize = _module.synchronize
get_device_name = _module.get_device_name
get_device_capability = _module.get_device_capability

has_half, has_magma = True, False
CudaError = AcceleratorError


class device(DeviceContext):
    """``with torch.cuda.device(i)``: 'cuda' without an index means 'cuda:i' inside."""


class device_of(device):
    """``with torch.cuda.device_of(tensor)``: the device of a tensor; a tensor on the CPU changes nothing."""

    def __init__(self, obj: Any) -> None:
        super().__init__(obj.get_device() if obj.is_cuda else -1)


@functools.lru_cache(None)
def get_device_properties(device: Any = None) -> Any:
    """Properties of a GPU as JAX tells them: name, major, minor, total_memory (that XLA may use), and the like."""
    where = _module._device(device)
    found = where.jax()
    capability = str(getattr(found, "compute_capability", "0.0")).partition(".")
    return SimpleNamespace(
        name=found.device_kind,
        major=int(capability[0]),
        minor=int(capability[2] or 0),
        total_memory=(found.memory_stats() or {}).get("bytes_limit", 0),
        multi_processor_count=getattr(found, "core_count", 0),
        is_integrated=0,
        is_multi_gpu_board=0,
    )


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether GPUs compute in bfloat16: by emulation all do; by themselves those of capability 8.0 on."""
    return is_available() and (including_emulation or get_device_capability() >= (8, 0))


def is_tf32_supported() -> bool:
    """Whether matrix products may use TF32: on GPUs of capability 8.0 on."""
    return is_available() and get_device_capability() >= (8, 0)


def get_arch_list() -> list[str]:
    """Architectures that programs can be made for: those of the GPUs here, since XLA compiles for them."""
    return sorted({"sm_{}{}".format(*get_device_capability(i)) for i in range(_device_count("cuda"))})


def get_gencode_flags() -> str:
    """Empty: nothing is compiled ahead of time."""
    return ""


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """Whether a GPU reaches another one's memory: XLA copies between all GPUs of a process by itself."""
    a, b = _module._device(device), _module._device(peer_device)
    return a != b


def get_sync_debug_mode() -> int:
    """0: synchronising operations are not reported; see ``torch.compiler.log()`` for executions."""
    return 0


def set_sync_debug_mode(debug_mode: int | str) -> None:
    """Refused unless 0 ('default')."""
    if debug_mode not in (0, "default"):
        raise NotImplementedError("set_sync_debug_mode: synchronisations are not reported; only 'default' is possible")


def ipc_collect() -> None:
    """Nothing is to be collected: GPU memory is not shared between processes."""


def is_current_stream_capturing() -> bool:
    """False: there are no CUDA graphs to capture; XLA makes its own."""
    return False


def default_generator(index: int = 0) -> Any:
    """The default generator of a GPU."""
    from ..tensor.random import generator_of

    return generator_of(_torch_device("cuda", index))


def _cuda_only(name: str, why: str) -> Any:
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(f"torch.cuda.{name}: {why}")

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = f"Refused: {why}."
    return refuse


_XLA = "XLA owns the GPU's streams, memory and libraries, and does not show their handles"
_GRAPHS = "the programs that are recorded here take the place of CUDA graphs"
for _name, _why in {
    **dict.fromkeys(("cudart", "current_blas_handle", "current_solver_handle"), _XLA),
    **dict.fromkeys(("caching_allocator_alloc", "caching_allocator_delete", "get_stream_from_external"), _XLA),
    **dict.fromkeys(("caching_allocator_enable", "change_current_allocator", "use_mem_pool"), _XLA),
    **dict.fromkeys(("graph", "graph_pool_handle"), _GRAPHS),
}.items():
    globals()[_name] = _cuda_only(_name, _why)


class cudaStatus:
    """Numbers by which CUDA's functions tell how they ended."""

    SUCCESS = 0
    ERROR_NOT_READY = 34


def check_error(res: int) -> None:
    """Raise :class:`CudaError` for a number other than ``cudaStatus.SUCCESS``."""
    if res != cudaStatus.SUCCESS:
        told = "device not ready" if res == cudaStatus.ERROR_NOT_READY else "unknown error"
        raise CudaError(f"{told} ({res})")


def make_graphed_callables(
    callables: Any, sample_args: Any, num_warmup_iters: int = 3, allow_unused_input: bool = False, pool: Any = None
) -> Any:  # fmt: skip
    """The callables themselves, once they have been run on ``sample_args``: forward, and backward if need be.

    What a CUDA graph saves, launching kernels one by one, is saved by the programs that are recorded here. Raises
    RuntimeError where PyTorch does: for modules with hooks, and for a number of callables and arguments that differs.
    """
    single = not isinstance(callables, (list, tuple))
    functions = (callables,) if single else tuple(callables)
    given = (sample_args,) if single else tuple(sample_args)
    if len(functions) != len(given):
        raise RuntimeError(f"make_graphed_callables: {len(functions)} callables and {len(given)} tuples of arguments")
    for fn, args in zip(functions, given, strict=True):
        if any(getattr(fn, name, None) for name in ("_backward_hooks", "_forward_hooks", "_forward_pre_hooks")):
            raise RuntimeError("Modules must not have hooks registered at the time they are passed. However, "
                               "registering hooks on modules after passing them through make_graphed_callables is "
                               "allowed.")
        fn(*args)
    return callables


class CUDAGraph:
    """Refused: the programs that are recorded here take the place of CUDA graphs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(f"torch.cuda.CUDAGraph: {_GRAPHS}")


class _Typed(type):
    """Class of ``torch.cuda.FloatTensor`` and its kin."""

    base: Any

    def __call__(cls, *args: Any) -> Any:
        return cls.base(*args).cuda()

    def __instancecheck__(cls, instance: Any) -> bool:
        return getattr(instance, "is_cuda", False) and instance.dtype is cls.base.dtype


for _name in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool"):
    _base = getattr(_functions, f"{_name}Tensor")
    _doc = f"``torch.{_name}Tensor`` on the current GPU."
    globals()[f"{_name}Tensor"] = _Typed(
        f"{_name}Tensor", (), {"base": _base, "__module__": "torch.cuda", "__doc__": _doc}
    )
globals().update(_TYPED)


def current_stream(device: Any = None) -> streams.Stream:
    """The current stream of a GPU."""
    return _streams.current_stream(_module._device(device), streams.Stream)


def default_stream(device: Any = None) -> streams.Stream:
    """The default stream of a GPU."""
    return streams.Stream(_module._device(device), stream_id=0)


def set_stream(stream: streams.Stream | None) -> None:
    """Make a stream the current one of its device, for good."""
    if stream is not None:
        _streams._current[stream.device] = [stream]


def stream(stream: streams.Stream | None) -> _streams.StreamContext:
    """A context in which a stream is the current one; None changes nothing."""
    return _streams.StreamContext(stream)


StreamContext = _streams.StreamContext


def _in_bad_fork() -> bool:
    """False: a forked process computes without XLA, and has no GPU to spoil."""
    return False


def _lazy_call(callable: Callable[[], Any], **kwargs: Any) -> None:
    """Call what is to be done once there is a GPU: now, or never without one, as in PyTorch."""
    if is_available():
        callable()


def __getattr__(name: str) -> Any:
    if name == "default_generators":
        return tuple(default_generator(i) for i in range(_device_count("cuda")))
    if name == "_initialized":  # as functions that keep the state of the GPUs' generators ask
        return is_initialized()
    if name == "_lazy_init":
        return init
    if name == "_lazy_call":
        return _lazy_call
    if name == "_is_in_bad_fork":
        return _in_bad_fork
    if name in ("amp", "graphs"):
        import importlib

        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(
        f"module 'torch.cuda' has no attribute '{name}': pytorchlike lacks it (see docs/differences.md)"
    )
