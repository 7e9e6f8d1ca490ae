"""Loading: ``load``."""

from __future__ import annotations

import os
from typing import Any

from ...autograd.mode import no_grad
from ...tensor import Tensor
from ._flat import walk
from ._storage import FileSystemReader, StorageReader, _Opened
from .state_dict_saver import expanded, refuse
from .stateful import Stateful

__all__ = ["load", "load_state_dict"]


def load(
    state_dict: dict[str, Any],
    *,
    checkpoint_id: str | os.PathLike | None = None,
    storage_reader: StorageReader | None = None,
    planner: Any = None,
    process_group: Any = None,
    no_dist: bool = False,
) -> None:
    """Load a checkpoint into a state dict: into the tensors that are there, placed and sharded as they are.

    Values that are no tensors are replaced, objects with ``load_state_dict`` load theirs. What else the checkpoint
    holds is left out. Nothing is changed unless every entry of ``state_dict`` is in the checkpoint with its shape.

    Raises ImportError without Orbax, FileNotFoundError if there is no complete checkpoint, RuntimeError for entries
    that it lacks, ValueError for other shapes, UnpicklingError for values of classes that
    ``torch.serialization.add_safe_globals`` has not allowed.
    """
    refuse("load", planner, process_group)
    if storage_reader is not None and not isinstance(storage_reader, FileSystemReader):
        raise NotImplementedError(f"load: only FileSystemReader can read, not {type(storage_reader).__name__}")
    path = checkpoint_id if checkpoint_id is not None else getattr(storage_reader, "path", None)
    if path is None:
        raise ValueError("load: give checkpoint_id, the directory to load from, or a storage_reader")
    states = expanded(state_dict)
    leaves = list(walk(states))
    with _Opened(os.fspath(path)) as checkpoint:
        known = {*checkpoint.tensors, *checkpoint.others}
        missing = [name for name, _, _ in leaves if name not in known]
        if missing:
            raise RuntimeError(f"Missing key in checkpoint state_dict: {', '.join(missing[:10])}"
                               f"{' …' if len(missing) > 10 else ''} (in {checkpoint.path})")  # fmt: skip
        targets: dict[str, Tensor] = {}
        for name, value, _ in leaves:
            if name in checkpoint.tensors and isinstance(value, Tensor):
                shape = tuple(checkpoint.tensors[name][0])
                if shape != tuple(value.shape):
                    raise ValueError(f"Size mismatch between saved {list(shape)} and current: {list(value.shape)} for "
                                     f"{name}")  # fmt: skip
                targets[name] = value
            elif name in checkpoint.tensors:
                raise ValueError(f"{name} is a tensor in the checkpoint, but a {type(value).__name__} here")
        found = checkpoint.read(targets)
        with no_grad():
            for name, value, put in leaves:
                if name in found:
                    value.copy_(found[name])
                else:
                    put(checkpoint.others[name])
    for key, value in state_dict.items():
        if isinstance(value, Stateful) and not isinstance(value, type):
            value.load_state_dict(states[key])
        else:
            state_dict[key] = states[key]


def load_state_dict(state_dict: dict[str, Any], storage_reader: StorageReader, process_group: Any = None,
                    coordinator_rank: int = 0, no_dist: bool = False, planner: Any = None) -> None:  # fmt: skip
    """`load` under its older name."""
    if coordinator_rank != 0:
        raise NotImplementedError("load_state_dict: Orbax coordinates by process 0")
    load(state_dict, storage_reader=storage_reader, planner=planner, process_group=process_group)
