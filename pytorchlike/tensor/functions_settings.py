"""Process-wide settings, exchange of memory, numbers that stand for sizes, and the typed constructors of old."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import errors, get_mode, set_mode
from ..engine.config import processors
from ..engine.errors import warn, warn_once
from . import dtype as d
from ._register import FUNCTIONS, function
from ._tensor import Tensor, as_tensor, from_jax, from_numpy, made_of_old, tensor
from .device import as_device

# ------------------------------------------------------------------------------------------------------- settings

_settings: dict[str, Any] = {"precision": "highest", "deterministic": False, "warn_only": False, "fastpath": True}


@function
def get_num_threads() -> int:
    """The number of CPU threads that XLA may use: the CPUs of this process."""
    return processors()


@function
def get_num_interop_threads() -> int:
    """The same as :func:`get_num_threads`: XLA has one pool."""
    return get_num_threads()


def _fixed_threads(name: str, threads: int) -> None:
    if isinstance(threads, bool) or not isinstance(threads, int):
        raise TypeError(f"{name} expects an int, but got {type(threads).__name__}")
    if threads <= 0:
        raise RuntimeError(f"{name} expects a positive integer, got {threads}")
    if threads != get_num_threads():
        warnings.warn(
            f"{name}({threads}) has no effect: XLA's thread pool is as large as the CPUs that the process may use "
            f"({get_num_threads()}); start Python under `taskset` to change that",
            UserWarning,
            stacklevel=3,
        )


@function
def set_num_threads(threads: int) -> None:
    """Warns unless ``threads`` is what is used: XLA takes all CPUs of the process."""
    _fixed_threads("set_num_threads", threads)


@function
def set_num_interop_threads(threads: int) -> None:
    """Warns unless ``threads`` is what is used: XLA takes all CPUs of the process."""
    _fixed_threads("set_num_interop_threads", threads)


_PRECISIONS = {"highest": "highest", "high": "high", "medium": "default"}


@function
def get_float32_matmul_precision() -> str:
    """``"highest"``, ``"high"`` or ``"medium"``."""
    return _settings["precision"]


@function
def set_float32_matmul_precision(precision: str) -> None:
    """How exact matrix products of float32 are from here on: "highest" (the default), "high" or "medium".

    "high" lets a GPU use TF32, "medium" bfloat16 where the device has nothing better.  It holds for what this thread
    records from here on; on the CPU products are exact whatever it says.  Convolutions have a setting of their own,
    ``torch.backends.cudnn.allow_tf32``.
    """
    if precision not in _PRECISIONS:
        raise RuntimeError(f"{precision!r} is not one of 'highest', 'high' or 'medium'")
    _settings["precision"] = precision
    mode = get_mode()
    set_mode(mode.replace(precision=(_PRECISIONS[precision], mode.precision[1])))


@function
def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Demand results that repeat bit for bit.

    XLA's programs do on the CPU.  On a GPU scatters do only under ``XLA_FLAGS=--xla_gpu_deterministic_ops=true``, set
    before the first operation: without it a RuntimeError (a warning, with ``warn_only``) says so.
    """
    if mode:
        import jax

        if jax.default_backend() == "gpu" and "xla_gpu_deterministic_ops=true" not in os.environ.get("XLA_FLAGS", ""):
            words = "deterministic algorithms on a GPU need XLA_FLAGS=--xla_gpu_deterministic_ops=true before the start"
            if not warn_only:
                raise RuntimeError(words)
            warnings.warn(words, UserWarning, stacklevel=2)
    _settings.update(deterministic=bool(mode), warn_only=bool(mode and warn_only))


@function
def are_deterministic_algorithms_enabled() -> bool:
    """Whether :func:`use_deterministic_algorithms` was called with True."""
    return _settings["deterministic"]


@function
def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether :func:`use_deterministic_algorithms` was called with ``warn_only=True``."""
    return _settings["warn_only"]


@function
def get_deterministic_debug_mode() -> int:
    """0: off, 1: warn, 2: raise."""
    return (1 if _settings["warn_only"] else 2) if _settings["deterministic"] else 0


@function
def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """``use_deterministic_algorithms`` by a word or number: "default" (0), "warn" (1), "error" (2)."""
    modes = {"default": 0, "warn": 1, "error": 2}
    if isinstance(debug_mode, bool) or not isinstance(debug_mode, (int, str)):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    mode = modes.get(debug_mode) if isinstance(debug_mode, str) else debug_mode
    if mode not in (0, 1, 2):
        raise RuntimeError(
            f"invalid value of debug_mode, expected one of `default`, `warn`, `error`, but got {debug_mode}"
        )
    use_deterministic_algorithms(mode > 0, warn_only=mode == 1)


@function
def set_warn_always(b: bool) -> None:
    """True: repeat warnings of this package that Python would show once only."""
    if not isinstance(b, bool):
        raise TypeError(f"setWarnOnlyOnce only accepts bool, but got {type(b).__name__}")
    if b != errors.always:
        rule = ("always", None, UserWarning, None, 0)
        if b:
            warnings.simplefilter("always", UserWarning)
        elif rule in warnings.filters:
            warnings.filters.remove(rule)  # type: ignore[union-attr]
        errors.always = b


@function
def is_warn_always_enabled() -> bool:
    """Whether :func:`set_warn_always` is on."""
    return errors.always


def get_fastpath_enabled() -> bool:
    """What was set, True at first."""
    return _settings["fastpath"]


def set_fastpath_enabled(value: bool) -> None:
    """Whether rows of padded batches may be left out (see ``nn.TransformerEncoder``)."""
    _settings["fastpath"] = bool(value)


@function
def set_flush_denormal(mode: bool) -> bool:
    """False: XLA does not let the treatment of denormal numbers be chosen."""
    return False


@function
def set_default_tensor_type(t: Any) -> None:
    """Set the default float dtype by a type (``torch.DoubleTensor``) or its name."""
    warn_once("torch.set_default_tensor_type() is deprecated as of PyTorch 2.1, please use torch.set_default_dtype() "
              "and torch.set_default_device() as alternatives")  # fmt: skip
    name = t if isinstance(t, str) else getattr(t, "__name__", None)
    kind = None if name is None else _TYPES.get(name.rsplit(".", 1)[-1])
    if kind is None or not kind.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    d.set_default_dtype(kind)


# --------------------------------------------------------------------------------------------- exchange of memory


@function
def frombuffer(buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A vector over the memory of an object with Python's buffer protocol; writes are seen by both.

    count: elements to take, all if negative.   offset: bytes to skip.   Raises ValueError if they do not fit.
    """
    kind = d.as_dtype(dtype).numpy
    try:
        held = memoryview(buffer).nbytes
    except TypeError:
        raise ValueError("object does not implement Python buffer protocol.") from None
    if held == 0 or count == 0:
        raise ValueError(f"both buffer length ({held}) and count ({count}) must not be 0")
    if not 0 <= offset < held:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({held} bytes) - 1"
        )
    if count < 0 and (held - offset) % kind.itemsize:
        raise ValueError(
            f"buffer length ({held - offset} bytes) after offset ({offset} bytes) must be a multiple of element size "
            f"({kind.itemsize})"
        )
    if count > 0 and offset + count * kind.itemsize > held:
        raise ValueError(
            f"requested buffer length ({count} * {kind.itemsize} bytes) after offset ({offset} bytes) must not be "
            f"greater than actual buffer length ({held} bytes)"
        )
    array = np.frombuffer(buffer, np.uint8)[offset:]
    array = array[: (len(array) if count < 0 else count * kind.itemsize)].view(kind)
    if not array.flags.writeable:
        warn("The given buffer is not writable, and PyTorch does not support non-writable tensors: a copy is taken")
        array = array.copy()
    made = from_numpy(array)
    return made.requires_grad_(True) if requires_grad else made


@function
def from_file(
    filename: str, shared: bool | None = None, size: int | None = 0, *, dtype: Any = None, layout: Any = None,
    device: Any = None, pin_memory: bool = False, requires_grad: bool = False
) -> Tensor:  # fmt: skip
    """A vector of ``size`` elements over a file's memory map; with ``shared`` writes go to the file.

    dtype: the default float dtype if None.   device: the CPU.   layout: strided.   Nothing is page-locked.
    Raises RuntimeError if the file is too short, or for another device or layout.
    """
    if device is not None and as_device(device).type != "cpu":
        raise RuntimeError(f"from_file: a file is mapped into the CPU's memory, not that of {device}; use .to(device)")
    if layout not in (None, d.strided):
        raise RuntimeError(f"from_file: only supports strided layout, but got {layout}")
    kind = (d.get_default_dtype() if dtype is None else d.as_dtype(dtype)).numpy
    length = (size or 0) * kind.itemsize
    if shared:
        with open(filename, "ab") as file:
            file.truncate(max(length, file.tell()))
    elif os.path.getsize(filename) < length:
        raise RuntimeError(f"file {filename} size is smaller than the required mapping size {length}")
    array = np.memmap(filename, np.uint8, "r+" if shared else "c", shape=(length,)).view(kind)
    made = from_numpy(np.asarray(array))
    return made.requires_grad_(True) if requires_grad else made


class _Capsule:
    """What a bare DLPack capsule belongs to: JAX asks an object for it, and for its device."""

    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack__(self, **asked: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        """Kind and number of the device, which stand behind the address of the data."""
        import ctypes

        class Head(ctypes.Structure):
            _fields_ = [("data", ctypes.c_void_p), ("kind", ctypes.c_int32), ("number", ctypes.c_int32)]

        of = ctypes.pythonapi.PyCapsule_GetPointer
        of.restype, of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        try:
            head = Head.from_address(of(self.capsule, b"dltensor"))
        except ValueError:
            raise RuntimeError("from_dlpack: a capsule named 'dltensor' expected; each can be taken once") from None
        return head.kind, head.number


def _has_memory(obj: Any) -> bool:
    """Whether an object has Python's buffer protocol."""
    try:
        memoryview(obj).release()
    except TypeError:
        return False
    return True


@function
def asarray(obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None,
            requires_grad: bool | None = None) -> Tensor:  # fmt: skip
    """``obj`` as a tensor: itself, over its memory (arrays, buffers, what has ``__dlpack__``), or of its numbers.

    dtype:          of a buffer what its bytes are, the default float dtype if None; else what they become.
    copy:           True: of memory of its own; False: never.
    requires_grad:  whether the result requires gradients; False detaches. None: as ``obj``.
    Raises ValueError if ``copy=False`` and the numbers must be copied, as those of a list.
    """
    kind = None if dtype is None else d.as_dtype(dtype)
    if isinstance(obj, Tensor):
        made = obj
    elif isinstance(obj, (np.ndarray, np.generic)):
        made = as_tensor(obj)
    elif hasattr(obj, "__dlpack__"):
        made = from_dlpack(obj)
    elif _has_memory(obj):
        made = frombuffer(obj, dtype=kind or d.get_default_dtype())
    else:
        if copy is False:
            raise ValueError("can't alias arbitrary sequence into a tensor.")
        made = tensor(obj, dtype=kind, device=device)
        copy = None
    if copy is False:
        if kind not in (None, made.dtype):
            raise ValueError(f"can't alias tensor with dtype '{made.dtype}' into dtype '{kind}'.")
        if device is not None and as_device(device) != made.device:
            raise ValueError(f"can't alias tensor on device '{made.device}' into device '{device}'.")
    if requires_grad is False and made.requires_grad:
        made = made.detach()
    before, made = made, made.to(device=device, dtype=kind)
    if copy and made is before:
        made = made.clone()
    return made.requires_grad_() if requires_grad and not made.requires_grad else made


@function
def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor over the memory of an object with ``__dlpack__``, as JAX's and NumPy's arrays have, or of a capsule.

    Raises RuntimeError for a capsule that has been taken before.
    """
    if isinstance(ext_tensor, Tensor):
        made = ext_tensor.detach()
    elif isinstance(ext_tensor, np.ndarray):
        made = from_numpy(ext_tensor)
    else:
        import jax

        if type(ext_tensor).__name__ == "PyCapsule":
            ext_tensor = _Capsule(ext_tensor)
        with jax.enable_x64(True):
            made = from_jax(jax.dlpack.from_dlpack(ext_tensor))
    if device is not None:
        made = made.to(device)
    return made.clone() if copy else made


@function
def to_dlpack(tensor: Tensor) -> Any:
    """A DLPack capsule of the tensor."""
    return tensor.__dlpack__()


@function
def is_storage(obj: Any) -> bool:
    """Whether ``obj`` is a storage."""
    from .typed_storage import TypedStorage
    from .untyped import UntypedStorage

    return isinstance(obj, (UntypedStorage, TypedStorage))


@function
def typename(obj: Any) -> str:
    """The name of an object's type, with its module; that of a tensor as ``Tensor.type()`` says it."""
    if isinstance(obj, Tensor):
        return obj.type()
    kind = obj if hasattr(obj, "__qualname__") else type(obj)
    module = getattr(kind, "__module__", "") or ""
    return kind.__qualname__ if module in ("", "builtins") else f"{module}.{kind.__qualname__}"


# --------------------------------------------------------------------------- numbers that PyTorch may trace as symbols


@function
def sym_float(a: Any) -> float:
    """``float(a)``: sizes are plain numbers here."""
    return float(a)


@function
def sym_int(a: Any) -> int:
    """``a`` rounded towards 0."""
    return int(a)


@function
def sym_not(a: Any) -> bool:
    """``not a``."""
    return not a


@function
def sym_max(a: Any, b: Any) -> Any:
    """The larger number; a float as soon as one of them is."""
    top = max(a, b)
    return float(top) if isinstance(a, float) or isinstance(b, float) else top


@function
def sym_min(a: Any, b: Any) -> Any:
    """The smaller number; a float as soon as one of them is."""
    low = min(a, b)
    return float(low) if isinstance(a, float) or isinstance(b, float) else low


@function
def sym_ite(b: bool, t: Any, f: Any) -> Any:
    """``t if b else f``."""
    return t if b else f


@function
def sym_sqrt(a: Any) -> float:
    """Square root of a number."""
    return math.sqrt(a)


@function
def sym_sum(args: Any) -> Any:
    """Sum of a sequence of numbers."""
    return sum(args)


@function
def cond(pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], operands: Any = ()) -> Any:
    """``true_fn(*operands)`` if ``pred`` (a bool, or a tensor of one element, which is read), else ``false_fn``."""
    if isinstance(pred, Tensor) and pred.numel() != 1:
        raise RuntimeError(f"Expected pred to be bool or single-element tensor, but got {pred}")
    return (true_fn if bool(pred) else false_fn)(*operands)


@function
def while_loop(cond_fn: Callable[..., Any], body_fn: Callable[..., Any], carried_inputs: Any) -> tuple:
    """``carried = body_fn(*carried)`` while ``cond_fn(*carried)``, which is read each time, is true."""
    carried = tuple(carried_inputs)
    while bool(cond_fn(*carried)):
        made = body_fn(*carried)
        carried = tuple(made) if isinstance(made, (tuple, list)) else (made,)
        if len(carried) != len(carried_inputs):
            raise RuntimeError(f"body_fn should return {len(carried_inputs)} values, but returned {len(carried)}")
    return carried


# ------------------------------------------------------------------------------------- typed constructors of old

_TYPES = {
    "FloatTensor": d.float32, "DoubleTensor": d.float64, "HalfTensor": d.float16, "BFloat16Tensor": d.bfloat16,
    "LongTensor": d.int64, "IntTensor": d.int32, "ShortTensor": d.int16, "CharTensor": d.int8, "ByteTensor": d.uint8,
    "BoolTensor": d.bool_,
}  # fmt: skip


class _Typed(type):
    """Class of ``torch.FloatTensor`` and its kin: they make, and know, tensors of one dtype on the CPU."""

    dtype: Any

    def __call__(cls, *args: Any, device: Any = None) -> Tensor:
        if len(args) == 1 and isinstance(args[0], Tensor):
            return args[0].to(dtype=cls.dtype)
        return made_of_old(args, cls.dtype, device)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor) and instance.dtype is cls.dtype and instance.is_cpu


for _name, _kind in _TYPES.items():
    FUNCTIONS["torch", _name] = _Typed(
        _name,
        (),
        {
            "dtype": _kind,
            "__module__": "torch",
            "__doc__": f"``torch.tensor(data, dtype={_kind})``, under an old name.",
        },
    )
