"""Descriptions of sharded tensors, and names that libraries import from ``torch.distributed``."""

import pytest

import pytorchlike as torch
import pytorchlike.distributed as dist
from pytorchlike.distributed._composable.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from pytorchlike.distributed._functional_collectives import all_to_all_single_autograd, wait_tensor
from pytorchlike.distributed.algorithms.join import Join, Joinable, JoinHook
from pytorchlike.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from pytorchlike.distributed.device_mesh import init_device_mesh
from pytorchlike.distributed.fsdp import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy
from pytorchlike.distributed.tensor import DTensor, Partial, Replicate, Shard
from pytorchlike.distributed.tensor._utils import compute_local_shape_and_global_offset


@pytest.fixture
def world():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


class Mesh:
    """The member in row 1, column 2 of a mesh of 2 times 3."""

    def get_coordinate(self):
        return (1, 2)

    def size(self, axis):
        return (2, 3)[axis]


def test_placements_compare_by_value():
    assert Shard(0) == Shard(0) != Shard(1) and Replicate() == Replicate() and len({Partial(), Partial("sum")}) == 1
    assert Shard(1).is_shard(1) and not Shard(1).is_shard(0) and Replicate().is_replicate()
    assert Partial("avg").is_partial("avg") and not Partial().is_partial("avg")


def test_parts_are_cut_as_chunk_cuts():
    for n in range(9):
        for count in (1, 2, 3, 4):
            lengths = [Shard.local_shard_size_and_offset(n, count, rank)[0] for rank in range(count)]
            want = [len(part) for part in torch.arange(n).chunk(count)] if n else []
            assert lengths == want + [0] * (count - len(want))


def test_local_shapes_and_offsets():
    where = compute_local_shape_and_global_offset
    assert where((4, 7), Mesh(), [Shard(0), Shard(1)]) == ((2, 1), (2, 6))
    assert where((8, 7), Mesh(), [Shard(0), Shard(0)]) == ((0, 7), (8, 0))
    assert where((4, 7), Mesh(), [Replicate(), Replicate()]) == ((4, 7), (0, 0))
    with pytest.raises(ValueError, match="dim 2"):
        where((4, 7), Mesh(), [Shard(2), Replicate()])


def test_a_mesh_of_one_has_it_all(world):
    mesh = init_device_mesh("cpu", (1,))
    assert compute_local_shape_and_global_offset((4, 7), mesh, [Shard(0)]) == ((4, 7), (0, 0))


def test_functional_collectives_of_one_process(world):
    x = torch.arange(3.0, requires_grad=True)
    y = wait_tensor(all_to_all_single_autograd(x, [3], [3], None))
    (y * y).sum().backward()
    assert x.grad.tolist() == [0, 2, 4]
    with pytest.raises(RuntimeError, match="Split sizes"):
        all_to_all_single_autograd(x, None, [2], None)


def test_join_tells_the_only_member_that_it_is_the_last():
    seen = []

    class Hook(JoinHook):
        def post_hook(self, is_last_joiner):
            seen.append(is_last_joiner)

    class Wrapped(Joinable):
        def join_hook(self, **kwargs):
            return Hook()

    with Join([Wrapped()]):
        Join.notify_join_context(None)
    with Join([Wrapped()], enable=False):
        pass
    assert seen == [True]
    with pytest.raises(ValueError, match="at least one"):
        Join([])


def test_ordinary_tensors_count_as_whole(world):
    from pytorchlike.distributed._tensor.experimental import implicit_replication

    whole = torch.arange(6.0).reshape(2, 3)
    spread = DTensor.from_local(whole, init_device_mesh("cpu", (1,)), [Shard(0)])
    with implicit_replication():
        assert (spread + whole).full_tensor().equal(2 * whole)
    layer = fully_shard(torch.nn.Linear(3, 2))
    register_fsdp_forward_method(layer, "forward")
    assert isinstance(layer, FSDPModule)


def test_names_of_tensor_parallelism():
    from pytorchlike.distributed._tensor.placement_types import DTensorSpec, TensorMeta
    from pytorchlike.distributed.tensor.parallel import ColwiseParallel
    from pytorchlike.distributed.tensor.parallel.style import ParallelStyle

    assert issubclass(ColwiseParallel, ParallelStyle)
    meta = TensorMeta(shape=(2,), stride=(1,), dtype=torch.float32)
    spec = DTensorSpec(mesh=None, placements=(Shard(0),), tensor_meta=meta)
    assert spec == DTensorSpec(None, (Shard(0),), meta)
    with pytest.raises(NotImplementedError, match="from_local"):
        DTensor(local_tensor=torch.ones(2), spec=spec, requires_grad=False)


def test_policies_are_descriptions_and_what_is_not_there_says_so():
    assert MixedPrecisionPolicy(torch.bfloat16) == MixedPrecisionPolicy(param_dtype=torch.bfloat16)
    assert isinstance(CPUOffloadPolicy(), OffloadPolicy)
    for make, says in ((lambda: HuggingFaceStorageReader("x"), "is not there"),
                       (lambda: HuggingFaceStorageWriter("x"), "is not there"),
                       (lambda: DTensor(), "distribute_tensor")):
        with pytest.raises(NotImplementedError, match=says):
            make()
    with pytest.raises(ValueError, match="RANK expected"):
        fully_shard(torch.nn.Linear(1, 1))  # there is no group
