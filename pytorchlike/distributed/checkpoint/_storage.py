"""Where checkpoints lie, and how Orbax writes and reads them.

A checkpoint is a directory that holds one numbered generation. A save writes the next one beside it, which takes its
name only when it is complete, and then removes the old one: whatever happens, a whole checkpoint is there.
"""

from __future__ import annotations

import base64
import io
import logging
import os
import threading
import urllib.parse
from collections.abc import Callable
from typing import Any

import numpy as np

from ...engine import read
from ...serialization import load as load_pickle
from ...serialization import save as save_pickle
from ...tensor import Tensor, host_tensor

__all__ = ["FileSystemReader", "FileSystemWriter", "StorageReader", "StorageWriter"]


def orbax() -> Any:
    """The library. ImportError, naming the extra, if it is not there."""
    try:
        import orbax.checkpoint
    except ImportError as error:
        raise ImportError(
            'torch.distributed.checkpoint needs Orbax: pip install "pytorchlike[checkpoint]"'
        ) from error
    return orbax.checkpoint


class StorageWriter:
    """Base of what ``save`` takes as ``storage_writer``; only `FileSystemWriter` exists."""

    path: str


class StorageReader:
    """Base of what ``load`` takes as ``storage_reader``; only `FileSystemReader` exists."""

    path: str


class FileSystemWriter(StorageWriter):
    """Writes checkpoints to a directory.

    path:       the directory, made if it does not exist.
    overwrite:  whether a checkpoint that is there may be replaced (True); RuntimeError at the save if not.
    """

    def __init__(self, path: str | os.PathLike, *, overwrite: bool = True) -> None:
        self.path, self.overwrite = os.fspath(path), overwrite


class FileSystemReader(StorageReader):
    """Reads checkpoints from a directory."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = os.fspath(path)

    def names(self) -> dict[str, tuple[tuple[int, ...], str] | None]:
        """Names in the checkpoint: shape and dtype of tensors, None for other values."""
        with _Opened(self.path) as checkpoint:
            found: dict[str, Any] = {n: (tuple(s), d) for n, (s, d) in checkpoint.tensors.items()}
            found.update(dict.fromkeys(checkpoint.others))
            return found


def _quiet() -> None:
    """Orbax reports each of its steps as a warning or an info of absl's logger."""
    logging.getLogger("absl").setLevel(logging.ERROR)


_busy = threading.Lock()
_writing: set[str] = set()


def write(leaves: dict[str, Any], writer: FileSystemWriter) -> Callable[[], None]:
    """Begin to save named leaves. The answer waits until they are on the disk, and raises what went wrong there.

    Values are those of now, whatever happens to the tensors afterwards.
    """
    ocp = orbax()
    _quiet()
    path = os.path.abspath(writer.path)
    arrays: dict[str, Any] = {}
    others: dict[str, Any] = {}
    described: dict[str, Any] = {}
    for name, value in leaves.items():
        if not isinstance(value, Tensor):
            others[name] = value
            continue
        if value.is_meta:
            raise RuntimeError(f"{name} is a meta tensor, which has no data to save")
        if not value.numel():
            others[name] = value.detach().cpu()  # Orbax has no empty arrays
            continue
        data = read(value.detach()._get())
        # Arrays on devices do not change while they are referred to; memory shared with NumPy does.
        arrays[_key(name)] = np.array(data) if isinstance(data, np.ndarray) else data
        described[name] = (list(data.shape), str(data.dtype))
    buffer = io.BytesIO()
    save_pickle(others, buffer)
    record = {"tensors": described, "others": base64.b64encode(buffer.getvalue()).decode()}
    with _busy:
        if path in _writing:
            raise RuntimeError(f"a save to {path} is under way; wait for its future's result() first")
        _writing.add(path)
    manager = None
    try:
        options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=True, create=True)
        manager = ocp.CheckpointManager(path, options=options)
        last = manager.latest_step()
        if last is not None and not writer.overwrite:
            raise RuntimeError(f"there is a checkpoint at {path} already, and overwrite=False")
        items = {"objects": ocp.args.JsonSave(record)}
        if arrays:
            items["tensors"] = ocp.args.PyTreeSave(arrays)
        manager.save(0 if last is None else last + 1, args=ocp.args.Composite(**items), force=True)
    except BaseException:
        _done(path, manager)
        raise

    def wait() -> None:
        try:
            manager.wait_until_finished()
        finally:
            arrays.clear()
            _done(path, manager)

    return wait


def _done(path: str, manager: Any) -> None:
    with _busy:
        _writing.discard(path)
    if manager is not None:
        manager.close()


def _key(name: str) -> str:
    return urllib.parse.quote(name, safe="")


class _Opened:
    """A checkpoint for reading.  tensors: shapes and dtypes by name.  others: values that are no arrays."""

    def __init__(self, path: str) -> None:
        ocp = orbax()
        _quiet()
        self.path = os.path.abspath(path)
        if not os.path.isdir(self.path):
            raise FileNotFoundError(2, "there is no checkpoint directory", self.path)
        self._ocp = ocp
        self._manager = ocp.CheckpointManager(self.path, options=ocp.CheckpointManagerOptions(read_only=True))
        self._step = self._manager.latest_step()
        if self._step is None:
            self._manager.close()
            raise FileNotFoundError(2, "there is no complete checkpoint in the directory", self.path)
        record = self._manager.restore(self._step, args=ocp.args.Composite(objects=ocp.args.JsonRestore()))["objects"]
        self.tensors: dict[str, Any] = record["tensors"]
        self.others: dict[str, Any] = load_pickle(io.BytesIO(base64.b64decode(record["others"])))

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *error: object) -> None:
        self._manager.close()

    def read(self, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of those names, placed (and sharded) like the given ones."""
        import jax

        ocp, item, args = self._ocp, {}, {}
        for name, target in targets.items():
            key, sharding = _key(name), _sharding(target)
            shape, dtype = self.tensors[name]
            item[key] = jax.ShapeDtypeStruct(tuple(shape), np.dtype(dtype))
            if sharding is None:
                args[key] = ocp.RestoreArgs(restore_type=np.ndarray)
            else:
                args[key] = ocp.ArrayRestoreArgs(sharding=sharding, global_shape=tuple(target.shape))
        if not item:
            return {}
        with jax.enable_x64(True):
            restore = ocp.args.PyTreeRestore(item=item, restore_args=args, partial_restore=True)
            found = self._manager.restore(self._step, args=ocp.args.Composite(tensors=restore))["tensors"]
        return {name: _tensor(found[_key(name)]) for name in targets}


def _sharding(target: Tensor) -> Any:
    """Where a tensor is, unless that is simply the host."""
    import jax

    place = target._get().meta.place
    if target._spread is not None:
        return None  # read whole, of which the target takes its part
    if isinstance(place, jax.sharding.Sharding):
        return place
    return None if getattr(place, "platform", "cpu") == "cpu" else jax.sharding.SingleDeviceSharding(place)


def _tensor(data: Any) -> Tensor:
    if isinstance(data, (np.ndarray, np.generic)):
        return host_tensor(np.asarray(data), "cpu")
    from ...engine import concrete

    place = data.sharding
    return Tensor._of(concrete(data, next(iter(place.device_set)) if len(place.device_set) == 1 else place))
