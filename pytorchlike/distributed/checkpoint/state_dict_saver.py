"""Saving: ``save``, ``async_save``."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ...autograd.mode import no_grad
from ...tensor import Tensor
from .._collectives import barrier
from .._world import get_rank, get_world_size, is_initialized
from ._flat import walk
from ._storage import FileSystemWriter, StorageWriter, write
from .stateful import Stateful

__all__ = ["async_save", "save", "save_state_dict"]


def save(
    state_dict: dict[str, Any],
    *,
    checkpoint_id: str | os.PathLike | None = None,
    storage_writer: StorageWriter | None = None,
    planner: Any = None,
    process_group: Any = None,
    no_dist: bool = False,
) -> None:
    """Save a state dict to the directory ``checkpoint_id`` (or to ``storage_writer``), replacing what is there.

    Values: tensors, sharded ones too, objects with ``state_dict``, nested dicts and lists of those, and whatever pickle
    takes. In a group of several processes all of them call this: the first one writes, DTensors whole, and the others
    wait for it. no_dist: each process writes for itself.

    Raises ImportError without Orbax, ValueError without a place to save to, OSError and RuntimeError where it fails.
    """
    together = _several(no_dist)
    _begin(state_dict, checkpoint_id, storage_writer, planner, process_group, together)()
    if together:
        barrier()


def async_save(
    state_dict: dict[str, Any],
    *,
    checkpoint_id: str | os.PathLike | None = None,
    storage_writer: StorageWriter | None = None,
    planner: Any = None,
    process_group: Any = None,
    no_dist: bool = False,
    **options: Any,
) -> Future:
    """Save in the background the values of now, while training goes on. ``result()`` of the future waits for the end.

    Of several processes the first one writes, and the others' futures have their result at once.

    RuntimeError if a save to the same directory is still under way. The parameters are those of `save`; options of
    PyTorch's (``async_checkpointer_type``, ``async_stager``) raise NotImplementedError.
    """
    given = sorted(name for name, value in options.items() if value is not None)
    if given:
        raise NotImplementedError(f"async_save: {', '.join(given)} cannot be chosen; Orbax writes in threads")
    wait = _begin(state_dict, checkpoint_id, storage_writer, planner, process_group, _several(no_dist))
    pool = ThreadPoolExecutor(1, "pytorchlike-checkpoint")
    try:
        return pool.submit(wait)
    finally:
        pool.shutdown(wait=False)


def save_state_dict(state_dict: dict[str, Any], storage_writer: StorageWriter, process_group: Any = None,
                    coordinator_rank: int = 0, no_dist: bool = False, planner: Any = None) -> None:  # fmt: skip
    """`save` under its older name."""
    if coordinator_rank != 0:
        raise NotImplementedError("save_state_dict: Orbax coordinates by process 0")
    save(state_dict, storage_writer=storage_writer, planner=planner, process_group=process_group, no_dist=no_dist)


def _several(no_dist: bool) -> bool:
    return not no_dist and is_initialized() and get_world_size() > 1


def _whole(value: Any, mine: bool) -> Any:
    """A leaf as it is written, a DTensor gathered; None where another process writes."""
    if isinstance(value, Tensor) and value._spread is not None:
        with no_grad():
            value = value.detach().full_tensor()
    return value if mine else None


def _begin(state: dict[str, Any], where: Any, writer: Any, planner: Any, group: Any, together: bool) -> Any:
    refuse("save", planner, group)
    if writer is None:
        if where is None:
            raise ValueError("save: give checkpoint_id, the directory to save to, or a storage_writer")
        writer = FileSystemWriter(where)
    elif not isinstance(writer, FileSystemWriter):
        raise NotImplementedError(f"save: only FileSystemWriter can write, not {type(writer).__name__}")
    elif where is not None:
        writer = FileSystemWriter(where, overwrite=writer.overwrite)
    mine = not together or get_rank() == 0
    leaves = {name: _whole(value, mine) for name, value, _ in walk(expanded(state))}
    return write(leaves, writer) if mine else lambda: None


def refuse(name: str, planner: Any, group: Any) -> None:
    """Refuse what has no meaning here, instead of ignoring it."""
    if planner is not None:
        raise NotImplementedError(f"{name}: planners have no equivalent; Orbax decides who writes what")
    if group is not None:
        raise NotImplementedError(f"{name}: process groups have no equivalent; all processes of JAX take part")


def expanded(state: Any) -> dict[str, Any]:
    """The dict with the states of stateful objects in their place."""
    if not isinstance(state, dict):
        raise TypeError(f"a state dict must be a dict, not {type(state).__name__}")
    return {
        key: value.state_dict() if isinstance(value, Stateful) and not isinstance(value, type) else value
        for key, value in state.items()
    }
