"""The world and its groups: making them, asking about them, giving them up."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from ._group import Backend, ProcessGroup, SingleProcess
from ._reduce_op import ReduceOp
from ._rendezvous import address_of, world_of
from ._store import PrefixStore, Store
from .constants import default_pg_timeout

__all__ = [
    "GroupMember", "destroy_process_group", "get_backend", "get_backend_config", "get_default_backend_for_device",
    "get_global_rank", "get_group_rank", "get_node_local_rank", "get_pg_count", "get_process_group_ranks",
    "get_rank", "get_world_size", "group", "init_process_group", "is_available", "is_backend_available",
    "is_gloo_available", "is_initialized", "is_mpi_available", "is_nccl_available", "is_torchelastic_launched",
    "is_ucc_available", "is_xccl_available", "new_group", "new_subgroups", "new_subgroups_by_enumeration",
    "split_group", "supports_complex",
]  # fmt: skip

_UNSET = "Default process group has not been initialized, please make sure to call init_process_group."


class _World:
    """The default group, and all groups made within it, by name."""

    default: ProcessGroup | None = None
    store: Store | None = None
    groups: dict[str, ProcessGroup] = {}
    made = 0
    times = 0  # how many worlds there have been: their keys in a store that serves several are apart
    locally: dict[tuple[int, ...], int] = {}


class _GroupMember(type):
    @property
    def WORLD(cls) -> ProcessGroup | None:
        """The default group; None before ``init_process_group``."""
        return _World.default


class GroupMember(metaclass=_GroupMember):
    """``GroupMember.WORLD`` is the default group; NON_GROUP_MEMBER stands for a group that this process is not in."""

    NON_GROUP_MEMBER = -100


class group(metaclass=_GroupMember):
    """``group.WORLD`` is the default group."""


def is_available() -> bool:
    """Whether there are process groups: yes."""
    return True


def is_initialized() -> bool:
    """Whether there is a default group."""
    return _World.default is not None


def is_gloo_available() -> bool:
    """True: a name for collectives between CPUs."""
    return True


def is_nccl_available() -> bool:
    """Whether there are GPUs."""
    from .. import cuda

    return cuda.is_available()


def is_mpi_available() -> bool:
    """False."""
    return False


def is_ucc_available() -> bool:
    """False."""
    return False


def is_xccl_available() -> bool:
    """False."""
    return False


def is_backend_available(backend: str) -> bool:
    """Whether a group of that backend can be made, e.g. "gloo" or "cpu:gloo,cuda:nccl"."""
    names = _backends(backend)
    return all(_available(name) for name in names)


def _available(name: str) -> bool:
    asked = {"gloo": is_gloo_available, "nccl": is_nccl_available}.get(name)
    return asked() if asked else name in Backend._creators or name in ("undefined", "fake")


def _backends(backend: str) -> list[str]:
    return [part.rpartition(":")[2] for part in Backend(backend).split(",")]


def is_torchelastic_launched() -> bool:
    """Whether torchelastic started this process, told by the variable TORCHELASTIC_RUN_ID."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def supports_complex(reduceOp: ReduceOp) -> bool:
    """Whether complex numbers can be reduced so: sums and averages."""
    return reduceOp in (ReduceOp.SUM, ReduceOp.AVG)


def get_default_backend_for_device(device: Any) -> str:
    """The backend's name for a device, given as such or by its name; ValueError for an unknown one."""
    kind = str(device).partition(":")[0]
    if kind not in Backend.default_device_backend_map:
        raise ValueError(f"Default backend not registered for device : {device}")
    return Backend.default_device_backend_map[kind]


def init_process_group(backend: str | None = None, init_method: str | None = None, timeout: timedelta | None = None,
                       world_size: int = -1, rank: int = -1, store: Store | None = None, group_name: str = "",
                       pg_options: Any = None, device_id: Any = None) -> None:
    """Make the default group.

    backend: 'gloo', 'nccl' or a registered one; None stands for whatever suits a device.
    init_method: ``env://`` (the default), ``tcp://host:port`` or ``file://path``; or give store, rank and world_size.
    Raises ValueError for a second call or missing arguments, AssertionError for an unknown backend, RuntimeError for
    one that is not there, NotImplementedError for pg_options, DistStoreError or DistBackendError if the others do not
    come within `timeout` (30 minutes), which is also how long collectives wait. device_id and group_name have no
    effect: what travels between processes is in host memory.
    """
    if _World.default is not None:
        raise ValueError("trying to initialize the default process group twice!")
    _check_options("init_process_group", pg_options)
    if store is not None and init_method is not None:
        raise AssertionError("Cannot specify both init_method and store.")
    name = Backend(backend) if backend is not None else Backend(Backend.UNDEFINED)
    _check_backend(name)
    timeout = default_pg_timeout if timeout is None else timeout
    if not isinstance(timeout, timedelta) or timeout <= timedelta():
        raise ValueError(f"init_process_group: timeout must be a positive timedelta, but got {timeout!r}")
    store, rank, world_size = world_of(init_method, world_size, rank, store, timeout)
    creator = Backend._creators.get(_backends(name)[0], _connected)
    _World.times += 1
    _World.default = creator(PrefixStore(f"default_pg/{_World.times}", store), rank, world_size, timeout)
    _World.default._backend = str(name)
    _World.store = store
    _World.groups = {_World.default.group_name: _World.default}
    _World.made, _World.locally = 1, {}


def _connected(store: Store, rank: int, world_size: int, timeout: timedelta) -> ProcessGroup:
    if world_size == 1:
        return SingleProcess([0], rank, "", "0", "default_pg")
    from ._processes import World
    from ._wire import Wire

    made = World(Wire(store, rank, world_size, timeout, address_of(store)), range(world_size), "", timeout, "0",
                 "default_pg")
    made.barrier()  # nobody leaves, and takes the store along, before all are connected
    return made


def _check_backend(name: str) -> None:
    for part in _backends(name):
        if part not in Backend.backend_list:
            raise AssertionError(f"Unknown backend type {part}")
        if not _available(part):
            what = "GPU" if part == "nccl" else "support for it"
            raise RuntimeError(f"Distributed package doesn't have {part.upper()}: there is no {what}; use 'gloo'")


def _check_options(name: str, pg_options: Any) -> None:
    if pg_options is not None:
        raise NotImplementedError(f"{name}: pg_options are those of PyTorch's C++ backends")


def destroy_process_group(group: ProcessGroup | None = None) -> None:
    """Give up a group, or all of them (None, or the default one). AssertionError where there is none."""
    if group == GroupMember.NON_GROUP_MEMBER:
        return
    gone = _World.default if group is None else group
    if gone is None:
        raise AssertionError("Process group cannot be None")
    if gone is not _World.default:
        gone = _group(gone)
        gone.shutdown()
        del _World.groups[gone.group_name]
        return
    for each in _World.groups.values():
        each.shutdown()
    _World.default, _World.store, _World.groups = None, None, {}


def _get_default_group() -> ProcessGroup:
    if _World.default is None:
        raise ValueError(_UNSET)
    return _World.default


def _get_default_store() -> Store:
    if _World.store is None:
        raise ValueError(_UNSET)
    return _World.store


def _group(group: Any) -> ProcessGroup:
    """The group meant. ValueError for one that was destroyed, TypeError for what is none."""
    world = _get_default_group()
    if group is None or group is world:
        return world
    if not isinstance(group, ProcessGroup):
        raise TypeError(f"group must be a ProcessGroup, but got {group!r}")
    if _World.groups.get(group.group_name) is not group:
        raise ValueError("Invalid process group specified: it has been destroyed, or belongs to another world")
    return group


def _rank_not_in_group(group: Any) -> bool:
    return group == GroupMember.NON_GROUP_MEMBER


def get_rank(group: ProcessGroup | None = None) -> int:
    """This process's rank in the group; -1 if it is not in it."""
    return -1 if _rank_not_in_group(group) else _group(group).rank()


def get_world_size(group: ProcessGroup | None = None) -> int:
    """The number of members; -1 if this process is not among them."""
    return -1 if _rank_not_in_group(group) else _group(group).size()


def get_backend(group: ProcessGroup | None = None) -> str:
    """The name of the group's backend."""
    return Backend(_group(group).name())


def get_backend_config(group: ProcessGroup | None = None) -> str:
    """Devices and their backends, like 'cpu:gloo,cuda:nccl'."""
    name = _group(group).name()
    if ":" in name:
        return name
    return "cpu:gloo,cuda:nccl" if name == Backend.UNDEFINED else f"cpu:{name},cuda:{name}"


def get_pg_count() -> int:
    """The number of groups."""
    return len(_World.groups)


def get_node_local_rank(fallback_rank: int | None = None) -> int:
    """The rank on this machine, from the variable LOCAL_RANK; RuntimeError if there is neither it nor a fallback."""
    if "LOCAL_RANK" in os.environ:
        return int(os.environ["LOCAL_RANK"])
    if fallback_rank is None:
        raise RuntimeError("LOCAL_RANK is not in the environment; give fallback_rank to run without a launcher")
    return int(fallback_rank)


def get_process_group_ranks(group: ProcessGroup | None) -> list[int]:
    """The members' ranks in the world, by their rank in the group."""
    return list(_group(group).ranks)


def get_group_rank(group: ProcessGroup, global_rank: int) -> int:
    """The rank in the group of the member `global_rank` of the world; ValueError if it is not in the group."""
    ranks = _group(group).ranks
    if global_rank not in ranks:
        raise ValueError(f"Global rank {global_rank} is not part of group of the ranks {list(ranks)}")
    return ranks.index(global_rank)


def get_global_rank(group: ProcessGroup, group_rank: int) -> int:
    """The rank in the world of the member `group_rank` of the group; ValueError if there is none."""
    ranks = _group(group).ranks
    if not 0 <= group_rank < len(ranks):
        raise ValueError(f"Group rank {group_rank} is not part of a group of {len(ranks)} members")
    return ranks[group_rank]


def new_group(ranks: Sequence[int] | None = None, timeout: timedelta | None = None, backend: str | None = None,
              pg_options: Any = None, use_local_synchronization: bool = False, group_desc: str | None = None,
              device_id: Any = None, sort_ranks: bool = True) -> Any:
    """A group of some members of the world, called by all of them in the same order; None for ranks means everybody.

    Returns ``GroupMember.NON_GROUP_MEMBER`` in a process that is not among them. timeout: how long its collectives wait
    (None: as the world's). use_local_synchronization: only the members call this. sort_ranks: the ranks in the group
    follow those in the world, else the order given. Raises ValueError for ranks that do not exist or come twice,
    RuntimeError for a backend that is not there, NotImplementedError for pg_options.
    """
    world = _get_default_group()
    _check_options("new_group", pg_options)
    if ranks is None:
        members = list(world.ranks)
    else:
        members = sorted(ranks) if sort_ranks else list(ranks)
    if len(set(members)) < len(members):
        raise ValueError(f"ranks list must not contain duplicate entries, got {members}")
    if len(members) > world.size():
        raise ValueError("the new group's world size should be less or equal to the world size set by "
                         f"init_process_group: {len(members)} > {world.size()}")
    outside = [r for r in members if not 0 <= r < world.size()]
    if outside or not members:
        raise ValueError(f"The new group's rank should be within the world_size set by init_process_group, "
                         f"{world.size()}, but got {members}")
    name = Backend(backend) if backend is not None else Backend(world.name())
    _check_backend(name)
    if use_local_synchronization:  # called by the members alone, who have made as many groups of themselves
        same = tuple(members)
        _World.locally[same] = number = _World.locally.get(same, 0) + 1
        label = f"{same}:{number}"
    else:
        label, _World.made = str(_World.made), _World.made + 1
    made = world.subgroup(members, str(name), label, group_desc or "undefined", timeout)
    if made is None:
        return GroupMember.NON_GROUP_MEMBER
    _World.groups[made.group_name] = made
    return made


def new_subgroups(group_size: int | None = None, group: ProcessGroup | None = None, timeout: timedelta | None = None,
                  backend: str | None = None, pg_options: Any = None,
                  group_desc: str | None = None) -> tuple[Any, list[Any]]:
    """A group (the world) cut into groups of `group_size` neighbours: this process's group, and all of them.

    Called by all processes of the world. group_size None: the number of devices of a machine, which is that of its
    processes. ValueError if it does not divide the size of `group`.
    """
    ranks = get_process_group_ranks(group)
    size = len(ranks)
    if group_size is None:
        group_size = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    if group_size <= 0:
        raise ValueError(f"The arg 'group_size' ({group_size}) must be positive")
    if group_size > size:
        raise ValueError(f"The arg 'group_size' ({group_size}) must not exceed the world size ({size})")
    if size % group_size:
        raise ValueError(f"The world size ({size}) must be divisible by 'group_size={group_size}'")
    lists = [ranks[i : i + group_size] for i in range(0, size, group_size)]
    return new_subgroups_by_enumeration(lists, timeout, backend, pg_options, group_desc)


def new_subgroups_by_enumeration(ranks_per_subgroup_list: Sequence[Sequence[int]], timeout: timedelta | None = None,
                                 backend: str | None = None, pg_options: Any = None,
                                 group_desc: str | None = None) -> tuple[Any, list[Any]]:
    """A group for each list of ranks: this process's group (None if in no list), and all of them.

    ValueError if a rank is in two lists.
    """
    if not ranks_per_subgroup_list:
        raise ValueError("The arg 'ranks_per_subgroup_list' cannot be empty")
    flat = [rank for ranks in ranks_per_subgroup_list for rank in ranks]
    if len(set(flat)) < len(flat):
        raise ValueError(f"A rank has appeared in more than one subgroup: {list(ranks_per_subgroup_list)}")
    made = [new_group(ranks, timeout, backend, pg_options, group_desc=group_desc) for ranks in ranks_per_subgroup_list]
    mine = [g for g, ranks in zip(made, ranks_per_subgroup_list, strict=True) if get_rank() in ranks]
    return (mine[0] if mine else None), made


def split_group(parent_pg: ProcessGroup | None = None, split_ranks: Sequence[Sequence[int]] | None = None,
                timeout: timedelta | None = None, pg_options: Any = None, group_desc: str | None = None,
                ) -> ProcessGroup | None:  # fmt: skip
    """The group of this process out of those that `parent_pg` (None: the world) is split into; None if in none.

    split_ranks: lists of ranks in the parent. Called by all members of the parent. ValueError if a rank comes twice.
    """
    _check_options("split_group", pg_options)
    parent = _group(parent_pg)
    if not split_ranks:
        raise ValueError("split_ranks cannot be None or empty")
    if sum(map(len, split_ranks)) != len({r for ranks in split_ranks for r in ranks}):
        raise ValueError(f"the split groups cannot have duplicate ranks: {list(split_ranks)}")
    mine = None
    for ranks in split_ranks:
        members = [get_global_rank(parent, r) for r in sorted(ranks)]
        if get_rank() in members:
            mine = new_group(members, timeout, pg_options=pg_options, use_local_synchronization=True,
                             group_desc=group_desc)
    return mine
