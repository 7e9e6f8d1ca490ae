"""Random number state: ``Generator``, the default generators, ``manual_seed``, ``fork_rng``.

A generator is two numbers on the host: the seed, and how many random operations have drawn from it (the offset). An
operation takes the pair as its key and advances the offset by one, so its numbers depend on nothing but the seed and
its place among the generator's operations; they do not equal PyTorch's.

``follow_pytorch`` has generators of the CPU draw PyTorch's numbers instead (``twister``), on the host.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine import local
from .device import as_device, current_index, device

if TYPE_CHECKING:
    from ._tensor import Tensor
    from .twister import Twister

__all__ = [
    "DEFAULT_SEED",
    "Generator",
    "default_generator",
    "follow_pytorch",
    "fork_rng",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "seed",
    "set_rng_state",
]

#: The seed of a generator that nobody has seeded (PyTorch's constant), so that unseeded programs repeat themselves.
DEFAULT_SEED = 67280421310721

_STATE = struct.Struct("<QQ")  # seed, offset

_ASKED = os.environ.get("PYTORCHLIKE_RANDOM", "")
if _ASKED not in ("", "own", "pytorch"):
    raise ValueError(f"PYTORCHLIKE_RANDOM={_ASKED!r} is not one of own, pytorch")
#: Whether generators of the CPU draw PyTorch's numbers.
following: bool = _ASKED == "pytorch"


def next_key(generator: Generator | None) -> tuple[int, int]:
    """Seed and offset of the next random operation, as signed 64-bit numbers."""
    if local.trace.nested:
        local.trace.draw()
    seed, offset = (default_generator if generator is None else generator)._next()
    return (seed if seed < 1 << 63 else seed - (1 << 64)), (offset if offset < 1 << 63 else offset - (1 << 64))


def is_followed() -> bool:
    """Whether generators of the CPU draw PyTorch's numbers."""
    return following


def follow_pytorch(enabled: bool = True) -> bool:
    """Have random operations on the CPU give the numbers that PyTorch gives for the same seed; returns what was before.

    Weights are initialised, batches shuffled and elements dropped as PyTorch does it, so that a whole training can be
    compared with PyTorch's number by number.  The numbers are drawn by the host, one operation after the other, as
    PyTorch draws them: what takes many of them (dropout) is slower than otherwise.  Not followed are ``rrelu``, what
    compiled functions (``torch.compile``), ``vmap`` and JAX's transformations draw, and other devices.  The environment
    variable ``PYTORCHLIKE_RANDOM=pytorch`` does the same from the start.  Generators begin anew at their seeds.
    """
    global following
    before, following = following, bool(enabled)
    if before != following:
        with _lock:
            for generator in list(_generators):
                generator.manual_seed(generator.initial_seed())
    return before


class Generator:
    """A source of random numbers for the operations it is passed to as ``generator=``.

    It starts at the same seed in every process. Safe to share between threads: no two operations get the same key.
    ``Generator("cuda")`` raises RuntimeError if there is no such device, and ``Generator("meta")`` always.
    """

    __slots__ = ("__weakref__", "_device", "_lock", "_offset", "_seed", "_twister")

    def __init__(self, device: device | str | int | None = None) -> None:
        place = as_device("cpu" if device is None else device)
        if place.type != "cpu":
            if place.type == "meta":
                raise RuntimeError("META device type not an accelerator: there is no Generator for device 'meta'")
            place.jax()  # raises if it is not available
            place = place.canonical()
        self._fill(place, DEFAULT_SEED, 0)

    def _fill(self, place: device, seed: int, offset: int) -> None:
        self._device = place
        self._lock = threading.Lock()
        self._seed = seed
        self._offset = offset
        self._twister: Twister | None = None
        _generators.add(self)

    @property
    def device(self) -> device:
        """The device whose operations this generator is for."""
        return self._device

    def _next(self) -> tuple[int, int]:
        """The key ``(seed, offset)`` of one random operation; advances the offset by one."""
        with self._lock:
            offset = self._offset
            self._offset = (offset + 1) & _MASK
            return self._seed, offset

    def follows(self) -> bool:
        """Whether operations get PyTorch's numbers from it."""
        return following and self._device.type == "cpu"

    def draw(self, draws: Callable[[Twister], Any]) -> Any:
        """What ``draws`` takes of PyTorch's numbers, which no other thread takes meanwhile."""
        with self._lock:
            return draws(self._following())

    def _following(self) -> Twister:
        if self._twister is None:
            from .twister import Twister  # NumPy's random numbers take a while to import

            self._twister = Twister(self._seed)
        return self._twister

    def manual_seed(self, seed: int) -> Generator:
        """Start again from ``seed``, an int in [-2**63, 2**64); negative seeds count from 2**64 downwards.

        Returns self. Raises RuntimeError if ``seed`` is no int, ValueError if it is out of range.
        """
        if isinstance(seed, (bool, np.bool_)) or not hasattr(seed, "__index__"):
            raise RuntimeError(f"manual_seed expected a long, but got {type(seed).__name__}")
        value = _checked_seed(seed.__index__())
        with self._lock:
            self._seed = value
            self._offset = 0
            self._twister = None
        return self

    def seed(self) -> int:
        """Start again from a seed drawn from the operating system, and return that seed."""
        value = int.from_bytes(os.urandom(8), "little")
        self.manual_seed(value)
        return value

    def initial_seed(self) -> int:
        """The seed in use, in [0, 2**64)."""
        return self._seed

    def get_offset(self) -> int:
        """How many random operations have drawn from this generator since it was seeded."""
        return self._offset

    def set_offset(self, offset: int) -> None:
        """Continue at the given operation count. Raises ValueError if it is not in [0, 2**64)."""
        if not 0 <= offset <= _MASK:
            raise ValueError(f"set_offset: offset must lie in [0, 2**64), got {offset}")
        with self._lock:
            self._offset = int(offset)

    def _state_array(self) -> np.ndarray:
        """The state as 16 bytes: seed and offset, both uint64, little-endian; PyTorch's own if that is followed."""
        with self._lock:
            if self.follows():
                return self._following().state(self._seed)
            return np.frombuffer(_STATE.pack(self._seed, self._offset), np.uint8).copy()

    def _set_state_array(self, state: np.ndarray) -> None:
        if state.dtype != np.uint8:
            raise TypeError(f"RNG state must be a torch.ByteTensor (torch.uint8), got {state.dtype}")
        if self.follows():
            from .twister import STATE_BYTES, Twister

            if state.shape == (STATE_BYTES,):
                twister = Twister(0)
                seed = twister.set_state(np.ascontiguousarray(state).tobytes())
                with self._lock:
                    self._seed, self._offset, self._twister = seed, 0, twister
                return
        if state.shape != (_STATE.size,):
            raise RuntimeError(
                f"Expected a generator state of {_STATE.size} bytes (seed and offset), got a tensor of size "
                f"{list(state.shape)}; pass what get_state() returned (PyTorch's own states are of another kind, "
                "which torch.random.follow_pytorch() understands)"
            )
        seed, offset = _STATE.unpack(np.ascontiguousarray(state).tobytes())
        with self._lock:
            self._seed, self._offset, self._twister = seed, offset, None

    def get_state(self) -> Tensor:
        """The state as a CPU tensor of uint8, to be given to ``set_state``."""
        return _byte_tensor(self._state_array())

    def set_state(self, new_state: Tensor) -> Generator:
        """Continue from a state that ``get_state`` returned; the generator itself is returned.

        Raises TypeError if it is not a tensor of uint8, RuntimeError if it is of another size.
        """
        self._set_state_array(_bytes_of(new_state))
        return self

    def clone_state(self) -> Generator:
        """A new generator on the same device, in the same state."""
        twin = object.__new__(Generator)
        with self._lock:
            twin._fill(self._device, self._seed, self._offset)
            twin._twister = None if self._twister is None else self._twister.twin()
        return twin

    def __copy__(self) -> Generator:
        return self.clone_state()

    def __deepcopy__(self, memo: dict[int, Any]) -> Generator:
        return self.clone_state()

    def __reduce__(self) -> tuple[Any, tuple]:
        with self._lock:
            drawn = () if self._twister is None else (self._twister.state(self._seed).tobytes(),)
            return _restore, (self._device, self._seed, self._offset, *drawn)

    def __repr__(self) -> str:
        return f"<torch.Generator device='{self._device}' seed={self._seed} offset={self._offset}>"


_MASK = 2**64 - 1
_lock = threading.RLock()
#: All that there are.
_generators: weakref.WeakSet[Generator] = weakref.WeakSet()


def _checked_seed(value: int) -> int:
    if not -(2**63) <= value <= _MASK:
        raise ValueError(f"Overflow when unpacking long long: a seed must lie in [-2**63, 2**64), got {value}")
    return value & _MASK


def _restore(place: device, seed: int, offset: int, drawn: bytes | None = None) -> Generator:
    """Rebuild a pickled generator; its device need not exist here until it is used."""
    self = object.__new__(Generator)
    self._fill(place, seed, offset)
    if drawn is not None:
        self._following().set_state(drawn)
    return self


def _byte_tensor(array: np.ndarray) -> Tensor:
    from . import functions  # late: functions are built on this module

    return functions.tensor(array, device="cpu")


def _bytes_of(state: Any) -> np.ndarray:
    from ._tensor import Tensor  # late: tensors are built on this module

    if not isinstance(state, Tensor):
        raise TypeError(f"expected a torch.ByteTensor, but got {type(state).__name__}")
    return state.detach().cpu().numpy()


# -- default generators ---------------------------------------------------------------------------------------------

#: The generator of operations on the CPU that are given none.
default_generator = Generator()

_accelerators: dict[device, Generator] = {}  # made when first asked for, seeded like the last manual_seed


def generator_of(place: device) -> Generator:
    """The default generator of a device: ``default_generator`` for CPU and meta, one per device for accelerators."""
    if place.type in ("cpu", "meta"):
        return default_generator
    if place.index is None:
        place = device(place.type, current_index(place.type))
    found = _accelerators.get(place)
    if found is None:
        with _lock:
            found = _accelerators.get(place)
            if found is None:
                found = _accelerators[place] = _restore(place, _global_seed, 0)
    return found


_global_seed = DEFAULT_SEED


def manual_seed(seed: int) -> Generator:
    """Seed the default generators of all devices; returns that of the CPU.

    ``seed`` is anything ``int()`` takes, in [-2**63, 2**64); negative seeds count from 2**64 downwards. Raises
    ValueError if it is out of range.
    """
    global _global_seed
    value = _checked_seed(int(seed))
    with _lock:
        _global_seed = value
        for generator in _accelerators.values():
            generator.manual_seed(value)
        return default_generator.manual_seed(value)


def seed() -> int:
    """Seed the default generators of all devices with a number from the operating system, and return it."""
    value = int.from_bytes(os.urandom(8), "little")
    manual_seed(value)
    return value


def initial_seed() -> int:
    """The seed of the CPU's default generator, in [0, 2**64)."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """State of the CPU's default generator, as a tensor of uint8."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Restore what ``get_rng_state`` returned. Raises as ``Generator.set_state`` does."""
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(
    devices: Iterable[device | str | int] | None = None,
    enabled: bool = True,
    _caller: str = "fork_rng",
    _devices_kw: str = "devices",
    device_type: str | None = None,
) -> Iterator[None]:
    """Restore the default generators when the block ends, whatever was drawn or seeded inside.

    The CPU's generator is always restored; of accelerators, those listed in ``devices`` (an int counts within
    ``device_type``, default 'cuda'), or all of that type if ``devices`` is None (all types if ``device_type`` is None
    too).
    With ``enabled=False`` nothing is restored. Raises RuntimeError for a device type that does not exist.
    ``_caller`` and ``_devices_kw`` name function and argument in messages, as in PyTorch.
    """
    kind = None if device_type is None else device(device_type).type
    if not enabled:
        yield
        return
    listed = None
    if devices is not None:
        listed = set()
        for entry in devices:
            place = device(kind or "cuda", entry) if isinstance(entry, int) else as_device(entry)
            if place.type == "meta":
                raise RuntimeError(f"{_caller}: {_devices_kw} lists '{place}', which has no generator")
            if place.type != "cpu":
                listed.add(generator_of(place))
    with _lock:
        seed_before = _global_seed
        if listed is None:
            listed = {g for place, g in _accelerators.items() if kind is None or place.type == kind}
        saved = [(g, g._state_array()) for g in (default_generator, *listed)]
    try:
        yield
    finally:
        _after_fork(seed_before, saved, kind, restore_all=devices is None)


def _after_fork(
    seed_before: int, saved: list[tuple[Generator, np.ndarray]], kind: str | None, restore_all: bool
) -> None:
    global _global_seed
    with _lock:
        _global_seed = seed_before
        for generator, state in saved:
            generator._set_state_array(state)
        if restore_all:
            # A generator first used inside the block had no state before it: let it begin anew afterwards.
            kept = {generator for generator, _ in saved}
            for place, generator in _accelerators.items():
                if generator not in kept and (kind is None or place.type == kind):
                    generator.manual_seed(seed_before)
