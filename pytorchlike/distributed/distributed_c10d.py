"""``torch.distributed.distributed_c10d``: where PyTorch keeps process groups and collectives."""

from ._collectives import P2POp as P2POp
from ._collectives import all_gather as all_gather
from ._collectives import all_gather_coalesced as all_gather_coalesced
from ._collectives import all_gather_into_tensor as all_gather_into_tensor
from ._collectives import all_gather_object as all_gather_object
from ._collectives import all_gather_single as all_gather_single
from ._collectives import all_reduce as all_reduce
from ._collectives import all_reduce_coalesced as all_reduce_coalesced
from ._collectives import all_to_all as all_to_all
from ._collectives import all_to_all_single as all_to_all_single
from ._collectives import barrier as barrier
from ._collectives import batch_isend_irecv as batch_isend_irecv
from ._collectives import broadcast as broadcast
from ._collectives import broadcast_object_list as broadcast_object_list
from ._collectives import gather as gather
from ._collectives import gather_object as gather_object
from ._collectives import irecv as irecv
from ._collectives import isend as isend
from ._collectives import monitored_barrier as monitored_barrier
from ._collectives import recv as recv
from ._collectives import recv_object_list as recv_object_list
from ._collectives import reduce as reduce
from ._collectives import reduce_scatter as reduce_scatter
from ._collectives import reduce_scatter_single as reduce_scatter_single
from ._collectives import reduce_scatter_tensor as reduce_scatter_tensor
from ._collectives import scatter as scatter
from ._collectives import scatter_object_list as scatter_object_list
from ._collectives import send as send
from ._collectives import send_object_list as send_object_list
from ._group import Backend as Backend
from ._group import BackendConfig as BackendConfig
from ._group import ProcessGroup as ProcessGroup
from ._group import Work as Work
from ._reduce_op import ReduceOp as ReduceOp
from ._reduce_op import reduce_op as reduce_op
from ._store import PrefixStore as PrefixStore
from ._store import Store as Store
from ._world import GroupMember as GroupMember
from ._world import _get_default_group as _get_default_group
from ._world import _get_default_store as _get_default_store
from ._world import _rank_not_in_group as _rank_not_in_group
from ._world import destroy_process_group as destroy_process_group
from ._world import get_backend as get_backend
from ._world import get_backend_config as get_backend_config
from ._world import get_default_backend_for_device as get_default_backend_for_device
from ._world import get_global_rank as get_global_rank
from ._world import get_group_rank as get_group_rank
from ._world import get_node_local_rank as get_node_local_rank
from ._world import get_pg_count as get_pg_count
from ._world import get_process_group_ranks as get_process_group_ranks
from ._world import get_rank as get_rank
from ._world import get_world_size as get_world_size
from ._world import group as group
from ._world import init_process_group as init_process_group
from ._world import is_available as is_available
from ._world import is_backend_available as is_backend_available
from ._world import is_gloo_available as is_gloo_available
from ._world import is_initialized as is_initialized
from ._world import is_mpi_available as is_mpi_available
from ._world import is_nccl_available as is_nccl_available
from ._world import is_torchelastic_launched as is_torchelastic_launched
from ._world import is_ucc_available as is_ucc_available
from ._world import is_xccl_available as is_xccl_available
from ._world import new_group as new_group
from ._world import new_subgroups as new_subgroups
from ._world import new_subgroups_by_enumeration as new_subgroups_by_enumeration
from ._world import split_group as split_group
from ._world import supports_complex as supports_complex
from .constants import default_pg_timeout as default_pg_timeout


def _get_global_rank(group: ProcessGroup, rank: int) -> int:
    """:func:`get_global_rank` by its old name, which fairscale imports."""
    return get_global_rank(group, rank)
