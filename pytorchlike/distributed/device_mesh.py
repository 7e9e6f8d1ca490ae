"""``torch.distributed.device_mesh``: the world's members as an array with named axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..tensor import Tensor
from ..tensor import functions as T
from ._group import ProcessGroup
from ._world import get_rank, get_world_size, init_process_group, is_initialized, new_group

__all__ = ["DeviceMesh", "init_device_mesh"]


class DeviceMesh:
    """Members of the world, by their ranks, as an array `mesh`; a group of processes runs along each axis.

    Made by all members together. device_type: 'cpu', 'cuda' ...; mesh_dim_names: a name for each axis.
    Raises RuntimeError if the mesh is bigger than the world, ValueError for a wrong number of names or ranks that come
    twice.
    """

    def __init__(self, device_type: str, mesh: Any, *, mesh_dim_names: Sequence[str] | None = None) -> None:
        ranks = self._fill(device_type, mesh, mesh_dim_names)
        self._groups = [self._along(axis) for axis in range(ranks.ndim)]

    def _fill(self, device_type: str, mesh: Any, mesh_dim_names: Sequence[str] | None) -> np.ndarray:
        ranks = np.asarray(mesh.numpy() if isinstance(mesh, Tensor) else mesh, dtype=np.int64)
        if mesh_dim_names is not None and len(mesh_dim_names) != ranks.ndim:
            raise ValueError(f"mesh_dim_names must have one entry for each axis of the mesh {ranks.shape}, but got "
                             f"{tuple(mesh_dim_names)}")
        if not is_initialized():
            init_process_group()
        if ranks.size > get_world_size():
            raise RuntimeError(f"Mesh should not be bigger than default world size {get_world_size()}, but found "
                               f"{ranks.size} ranks!")
        if len(set(ranks.ravel().tolist())) < ranks.size:
            raise ValueError(f"DeviceMesh: ranks come twice in {ranks.tolist()}")
        self.device_type = device_type
        self.mesh_dim_names = None if mesh_dim_names is None else tuple(mesh_dim_names)
        self._ranks = ranks
        where = np.argwhere(ranks == get_rank())
        self._here: tuple[int, ...] | None = tuple(where[0].tolist()) if len(where) else None
        return ranks

    @staticmethod
    def from_group(group: Any, device_type: str, mesh: Any = None, *,
                   mesh_dim_names: Sequence[str] | None = None) -> DeviceMesh:  # fmt: skip
        """A mesh over groups that are there: one, or a list with one along each axis of `mesh`, an array of ranks.

        Raises ValueError if there are several groups and no mesh of as many axes.
        """
        groups = list(group) if isinstance(group, (list, tuple)) else [group]
        if mesh is None and len(groups) == 1:
            mesh = list(groups[0].ranks)
        if mesh is None or np.ndim(mesh.numpy() if isinstance(mesh, Tensor) else mesh) != len(groups):
            raise ValueError(f"DeviceMesh.from_group: {len(groups)} groups need a mesh of as many axes, but got {mesh}")
        made = DeviceMesh.__new__(DeviceMesh)
        made._fill(device_type, mesh, mesh_dim_names)
        made._groups = groups
        return made

    def _along(self, axis: int) -> Any:
        rows = np.moveaxis(self._ranks, axis, -1).reshape(-1, self._ranks.shape[axis]).tolist()
        made = [new_group(row, sort_ranks=False) for row in rows]
        return next((g for g, row in zip(made, rows, strict=True) if get_rank() in row), None)

    @property
    def mesh(self) -> Tensor:
        """The ranks, int32."""
        return T.tensor(self._ranks.astype(np.int32))

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self._ranks.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._ranks.ndim

    def size(self, mesh_dim: int | None = None) -> int:
        """The number of members, or the length of an axis."""
        return self._ranks.size if mesh_dim is None else self._ranks.shape[mesh_dim]

    def _axis(self, mesh_dim: int | str | None) -> int:
        if mesh_dim is None:
            if self.ndim != 1:
                raise RuntimeError(f"a DeviceMesh of {self.ndim} axes needs mesh_dim")
            return 0
        if isinstance(mesh_dim, str):
            if mesh_dim not in (self.mesh_dim_names or ()):
                raise KeyError(f"Invalid mesh_dim_name {mesh_dim}: this mesh has {self.mesh_dim_names}")
            return self.mesh_dim_names.index(mesh_dim)  # type: ignore[union-attr]
        return range(self.ndim)[mesh_dim]

    def get_group(self, mesh_dim: int | str | None = None) -> ProcessGroup:
        """The group along an axis that this process is in."""
        return self._groups[self._axis(mesh_dim)]

    def get_all_groups(self) -> list[ProcessGroup]:
        """This process's groups, by axis."""
        return list(self._groups)

    def get_rank(self) -> int:
        """This process's rank in the world."""
        return get_rank()

    def get_local_rank(self, mesh_dim: int | str | None = None) -> int:
        """This process's position along an axis."""
        return get_rank(self.get_group(mesh_dim))

    def get_coordinate(self) -> tuple[int, ...] | None:
        """This process's position; None if it is not in the mesh."""
        return self._here

    def __getitem__(self, names: str | tuple[str, ...]) -> DeviceMesh:
        """The mesh of one or several named axes that this process is in. KeyError for an unknown name."""
        names = (names,) if isinstance(names, str) else tuple(names)
        axes = [self._axis(name) for name in names]
        if self._here is None:
            raise RuntimeError("a DeviceMesh can only be sliced by a process that is in it")
        index = tuple(slice(None) if d in axes else self._here[d] for d in range(self.ndim))
        kept = [d for d in range(self.ndim) if d in axes]
        part = DeviceMesh.__new__(DeviceMesh)
        part.device_type, part.mesh_dim_names = self.device_type, names
        part._ranks = np.transpose(self._ranks[index], [kept.index(d) for d in axes])
        part._here = tuple(self._here[d] for d in axes)
        part._groups = [self._groups[d] for d in axes]
        return part

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeviceMesh) and np.array_equal(self._ranks, other._ranks) and (
            self.device_type, self.mesh_dim_names) == (other.device_type, other.mesh_dim_names)

    def __hash__(self) -> int:
        return hash((self.device_type, self.mesh_dim_names, self._ranks.shape, self._ranks.tobytes()))

    def __repr__(self) -> str:
        names = self.mesh_dim_names or range(self.ndim)
        axes = ", ".join(f"{name}={n}" for name, n in zip(names, self.shape, strict=True))
        return f"DeviceMesh(({axes}), {self.device_type!r})"


def init_device_mesh(device_type: str, mesh_shape: Sequence[int], *,
                     mesh_dim_names: Sequence[str] | None = None) -> DeviceMesh:
    """All members of the world as an array of that shape, by rank. Makes the default group if there is none.

    RuntimeError if the shape does not hold the world.
    """
    count = int(np.prod(mesh_shape))
    return DeviceMesh(device_type, np.arange(count).reshape(tuple(mesh_shape)), mesh_dim_names=mesh_dim_names)
