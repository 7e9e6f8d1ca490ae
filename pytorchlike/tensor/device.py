"""``torch.device``, the default device, and which JAX device each name stands for.

'cuda' is JAX's 'gpu' platform, 'tpu' its 'tpu' platform, 'cpu' the host. JAX is asked only when a device is used, never
when a name is parsed, so that importing or naming devices starts no backend.
"""

from __future__ import annotations

import re
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

if TYPE_CHECKING:
    import jax

__all__ = ["device", "from_jax_device", "get_default_device", "set_default_device"]

_PLATFORMS = {"cpu": "cpu", "cuda": "gpu", "tpu": "tpu"}
#: Every device type that parses; those without a JAX platform raise when they are used.
DEVICE_TYPES = (
    "cpu", "cuda", "tpu", "ipu", "xpu", "mkldnn", "opengl", "opencl", "ideep", "hip", "ve", "fpga", "maia", "xla",
    "lazy", "vulkan", "mps", "meta", "hpu", "mtia", "privateuseone",
)  # fmt: skip
_PATTERN = re.compile(r"([A-Za-z_]+)(?::(0|[1-9][0-9]*))?")


class device:
    """Where a tensor lives: a ``type`` ('cpu', 'cuda', 'tpu', 'meta', …) and an ``index`` (int or None).

    ``device("cuda:1")``, ``device("cuda", 1)``, ``device(other_device)``, and ``device(1)`` for the accelerator here.
    Immutable, hashable, picklable; two devices are equal if type and index are ("cuda" is not "cuda:0"). As a context
    manager it is the device of tensors created inside.

    Raises RuntimeError for strings that name no device, and TypeError for arguments of other types.
    """

    __slots__ = ("_hash", "index", "type")

    type: str
    index: int | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kind, index = _parse_arguments(args, kwargs)
        _set(self, "type", kind)
        _set(self, "index", index)
        _set(self, "_hash", hash((kind, index)))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"attribute {name!r} of 'torch.device' objects is not writable")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"attribute {name!r} of 'torch.device' objects is not writable")

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, device):
            return NotImplemented
        return self.type == other.type and self.index == other.index

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type='{self.type}'{index})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __reduce__(self) -> tuple[type, tuple]:
        return device, ((self.type,) if self.index is None else (self.type, self.index))

    def __copy__(self) -> device:
        return self

    def __deepcopy__(self, memo: dict) -> device:
        return self

    def __enter__(self) -> Self:
        _state.stack.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _state.stack.pop()

    def jax(self) -> jax.Device:
        """The JAX device meant by this name; without an index, the current one (see ``set_current_index``).

        Raises RuntimeError, naming what is available, if this process has no such device. A CPU index beyond the host
        devices that JAX shows means the first one, since PyTorch gives CPU indices no meaning.
        """
        platform = _PLATFORMS.get(self.type)
        found = _jax_devices(platform) if platform is not None else ()
        if not found:
            raise RuntimeError(f"{self._refusal()}; available: {', '.join(available()) or 'nothing'}")
        index = current_index(self.type) if self.index is None else self.index
        if index < len(found):
            return found[index]
        if self.type == "cpu":
            return found[0]
        raise RuntimeError(
            f"invalid device ordinal: device '{self}' was asked for, but there are {len(found)} of type '{self.type}' "
            f"(indices 0 to {len(found) - 1}); available: {', '.join(available())}"
        )

    def _refusal(self) -> str:
        if self.type == "meta":
            return "device 'meta' holds no data, so no JAX device stands for it"
        if self.type in _PLATFORMS:
            return f"device '{self}' is not available: JAX finds no {_PLATFORMS[self.type].upper()} in this process"
        return f"device '{self}' is not available: JAX has no backend of type '{self.type}'"

    def canonical(self) -> device:
        """The device as tensors report it: 'cuda' becomes 'cuda:0' (the current index), 'cpu:0' and 'meta:0' lose it.

        A further CPU device keeps its index only if JAX shows that many host devices. Starts JAX's CPU backend only for
        a CPU index above 0.
        """
        if self.index is None:
            return self if self.type in ("cpu", "meta") else _make(self.type, current_index(self.type))
        if self.type == "meta" or (self.type == "cpu" and not 0 < self.index < len(_jax_devices("cpu"))):
            return _make(self.type, None)
        return self


_set = object.__setattr__


def _make(kind: str, index: int | None) -> device:
    self = object.__new__(device)
    _set(self, "type", kind)
    _set(self, "index", index)
    _set(self, "_hash", hash((kind, index)))
    return self


# -- parsing --------------------------------------------------------------------------------------------------------


def _parse_arguments(args: tuple, kwargs: dict[str, Any]) -> tuple[str, int | None]:
    given = dict(kwargs)
    if args and len(args) <= 2:
        given.setdefault("device" if len(args) == 1 and not isinstance(args[0], (str, bytes)) else "type", args[0])
        if len(args) == 2:
            given.setdefault("index", args[1])
    known = set(given) in ({"device"}, {"type"}, {"type", "index"})
    if not known or len(given) != len(args) + len(kwargs):
        raise TypeError(_no_match(args, kwargs))
    if "device" in given:
        first = given["device"]
        if isinstance(first, device):
            return first.type, first.index
        if isinstance(first, int) and not isinstance(first, bool):
            _check_index(first)
            return _accelerator_type(), first
        if not isinstance(first, str):
            raise TypeError(_no_match(args, kwargs))
        return _parse_string(first)
    kind = given["type"]
    if isinstance(kind, bytes):
        kind = kind.decode()
    if not isinstance(kind, str):
        raise TypeError(f"device(): argument 'type' (position 1) must be str, not {_type_name(kind)}")
    index = given.get("index")
    if index is None:
        return _parse_string(kind)
    if isinstance(index, bool) or not hasattr(index, "__index__"):
        raise TypeError(f"device(): argument 'index' (position 2) must be int, not {_type_name(index)}")
    if ":" in kind:
        raise RuntimeError(f"type (string) must not include an index because index was passed explicitly: {kind}")
    _check_index(index)
    return _parse_string(kind)[0], index.__index__()


def _parse_string(text: str) -> tuple[str, int | None]:
    if not text:
        raise RuntimeError("Device string must not be empty")
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise RuntimeError(f"Invalid device string: '{text}'")
    kind, index = match.groups()
    if kind not in DEVICE_TYPES:
        raise RuntimeError(f"Expected one of {', '.join(DEVICE_TYPES)} device type at start of device string: {kind}")
    return kind, None if index is None else int(index)


def _check_index(index: int) -> None:
    if index < 0:
        raise RuntimeError(f"Device index must not be negative, got {index}")


def _type_name(value: object) -> str:
    return "torch.device" if isinstance(value, device) else type(value).__name__


def _no_match(args: tuple, kwargs: dict[str, Any]) -> str:
    got = [_type_name(value) for value in args] + [f"{name}={_type_name(value)}" for name, value in kwargs.items()]
    return (
        f"device() received an invalid combination of arguments - got ({', '.join(got)}), but expected one of:\n"
        " * (torch.device device)\n * (str type, int index = -1)\n"
    )


# -- the default device ---------------------------------------------------------------------------------------------


class _ThreadState(threading.local):
    """Per thread, as in PyTorch: ``with device`` blocks, the chosen default, and current indices by type."""

    def __init__(self) -> None:
        self.default: device | None = None
        self.stack: list[device] = []
        self.indices: dict[str, int] = {}


_state = _ThreadState()
_CPU = _make("cpu", None)


def default_device() -> device:
    """The device of a tensor created without ``device=``, as it was given: innermost ``with device``, else the default.

    For factories; costs one attribute read when nothing was changed.
    """
    if _state.stack:
        return _state.stack[-1]
    return _state.default or _CPU


def get_default_device() -> device:
    """The device of tensors created without ``device=``: 'cpu' unless changed; 'cuda' is answered with its index."""
    found = default_device()
    return found if found.type in ("cpu", "meta") else found.canonical()


def set_default_device(device: device | str | int | None) -> None:
    """Create tensors on ``device`` from now on in this thread; None goes back to 'cpu'.

    Whether the device exists is not checked here, as in PyTorch, but when it is first used.
    """
    _state.default = None if device is None else as_device(device)


def as_device(given: device | str | int | None) -> device:
    """A ``device=`` argument as a device; None is the default device. Raises as ``device`` does."""
    if type(given) is device:
        return given
    if given is None:
        return default_device()
    if type(given) is str:
        found = _parsed.get(given)
        if found is None:
            found = device(given)
            if len(_parsed) < 1000:
                _parsed[given] = found
        return found
    return device(given)


#: Strings already parsed; bounded, because their indices are not.
_parsed: dict[str, device] = {}


_places: dict[device, Any] = {}


def place_for(given: device | str | int | None) -> Any:
    """What the engine calls the place of a tensor created with ``device=given``: a jax.Device, or its mark for meta.

    None is the default device. Raises RuntimeError if the device does not exist or is not available.
    """
    wanted = as_device(given)
    if wanted.index is None and wanted.type != "cpu":
        wanted = wanted.canonical()
    found = _places.get(wanted)
    if found is None:
        from ..engine.meta import SHAPE_ONLY  # late: parsing names needs no engine

        found = _places[wanted] = SHAPE_ONLY if wanted.type == "meta" else wanted.jax()
    return found


# -- JAX's devices --------------------------------------------------------------------------------------------------

_found: dict[str, tuple[Any, ...]] = {}


def _jax_devices(platform: str) -> tuple[jax.Device, ...]:
    """This process's devices of a platform, in JAX's order; none if JAX lacks the platform."""
    found = _found.get(platform)
    if found is None:
        import jax

        try:
            found = tuple(jax.local_devices(backend=platform))
        except RuntimeError:
            found = ()  # JAX's answer for a platform it cannot start
        _found[platform] = found
    return found


def available() -> list[str]:
    """Names of the devices of this process, such as ['cpu', 'cuda:0', 'cuda:1'], followed by 'meta'."""
    names = []
    for kind, platform in _PLATFORMS.items():
        count = len(_jax_devices(platform))
        names += [kind if kind == "cpu" and i == 0 else f"{kind}:{i}" for i in range(count)]
    return [*names, "meta"]


def device_count(type: str) -> int:
    """How many devices of this type ('cpu', 'cuda', 'tpu') the process has; 0 for types that JAX does not know."""
    platform = _PLATFORMS.get(type)
    return 0 if platform is None else len(_jax_devices(platform))


def current_index(type: str) -> int:
    """The index that 'cuda' or 'tpu' without one means in this thread: 0 unless ``set_current_index`` changed it."""
    return _state.indices.get(type, 0)


def set_current_index(type: str, index: int) -> None:
    """Let ``type`` without an index mean ``type:index`` in this thread (``torch.cuda.set_device``)."""
    _state.indices[type] = index


def _accelerator_type() -> str:
    """'cuda' or 'tpu', whichever this process has. Raises RuntimeError if it has none."""
    for kind in ("cuda", "tpu"):
        if device_count(kind):
            return kind
    raise RuntimeError(f"Cannot access accelerator device when none is available. Available: {', '.join(available())}")


def from_jax_device(jax_device: jax.Device) -> device:
    """The torch device that stands for a JAX device of this process ('cpu', 'cuda:0', 'tpu:3', …).

    Raises RuntimeError for devices of other processes and of platforms that have no torch name.
    """
    found = _torch_names.get(jax_device)
    if found is None:
        platform = "gpu" if jax_device.platform in ("gpu", "cuda", "rocm") else jax_device.platform
        kind = next((kind for kind, name in _PLATFORMS.items() if name == platform), None)
        known = _jax_devices(platform) if kind is not None else ()
        if kind is None or jax_device not in known:
            raise RuntimeError(
                f"no torch device stands for the JAX device {jax_device!r}; this process has {', '.join(available())}"
            )
        index = known.index(jax_device)
        found = _make(kind, None if kind == "cpu" and index == 0 else index)
        _torch_names[jax_device] = found
    return found


_torch_names: dict[Any, device] = {}
