"""Process groups: a world of one process, and what a backend with more members must do."""

import contextlib
from datetime import timedelta

import numpy as np
import pytest

import pytorchlike as torch
import pytorchlike.distributed as dist
from pytorchlike.distributed import distributed_c10d
from pytorchlike.distributed.device_mesh import init_device_mesh
from pytorchlike.distributed.nn import functional as differentiable
from pytorchlike.distributed.optim import ZeroRedundancyOptimizer
from pytorchlike.nn.parallel import DistributedDataParallel


@contextlib.contextmanager
def world(backend="gloo", **kwargs):
    dist.init_process_group(backend, **{"store": dist.HashStore(), "rank": 0, "world_size": 1, **kwargs})
    try:
        yield dist.group.WORLD
    finally:
        dist.destroy_process_group()


class Pair(dist.ProcessGroup):
    """This process is member 1 of 2; the member 0 always has the negative of what this one has."""

    def all_reduce(self, tensor, op):
        return {dist.ReduceOp.SUM: tensor * 0, dist.ReduceOp.MAX: tensor.abs()}[op]

    def broadcast(self, tensor, root):
        return -tensor if root == 0 else tensor

    def all_gather(self, tensor):
        return [-tensor, tensor]

    def reduce_scatter(self, tensors, op):
        return tensors[1] * 0

    def all_to_all(self, tensors, like):
        return [-tensors[1], tensors[1]]

    def scatter(self, tensors, like, root):
        return like * 0 - 5 if tensors is None else tensors[1]

    def send(self, tensor, dst, tag):
        self.sent = (tensor, dst, tag)

    def recv(self, like, src, tag):
        return like * 0 + tag, 0

    def exchange(self, data):
        return [self.theirs, data]

    def barrier(self, timeout=None):
        self.waited = timeout

    def subgroup(self, members, backend, name, desc, timeout=None):
        ranks = [self.ranks[m] for m in members]
        return Pair(ranks, ranks.index(1), backend, name, desc) if 1 in ranks else None


if "pair" not in dist.Backend.backend_list:
    dist.Backend.register_backend("pair", lambda store, rank, size, timeout: Pair(range(size), rank, "pair"))


def pair():
    return world("pair", rank=1, world_size=2)


def test_without_a_group_everything_says_so():
    assert dist.is_available() and not dist.is_initialized() and dist.group.WORLD is None
    for call in (dist.get_rank, dist.get_world_size, dist.barrier, lambda: dist.all_reduce(torch.ones(2))):
        with pytest.raises(ValueError, match="has not been initialized"):
            call()
    with pytest.raises(AssertionError, match="cannot be None"):
        dist.destroy_process_group()


def test_the_environment_tells_rank_and_world_size(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="RANK expected, but not set"):
        dist.init_process_group("gloo")
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    dist.init_process_group("gloo")
    try:
        assert (dist.get_rank(), dist.get_world_size(), dist.get_backend()) == (0, 1, "gloo")
        with pytest.raises(ValueError, match="twice"):
            dist.init_process_group("gloo")
    finally:
        dist.destroy_process_group()
    assert not dist.is_initialized()


@pytest.mark.parametrize(("kwargs", "error"), [
    ({"backend": "nothing"}, AssertionError), ({"backend": "mpi"}, RuntimeError), ({"rank": 3}, RuntimeError),
    ({"world_size": 2, "timeout": timedelta(seconds=0.1)}, dist.DistStoreError),
    ({"pg_options": 1}, NotImplementedError),
    ({"store": None, "init_method": "tcp://127.0.0.1:1", "rank": -1}, ValueError), ({"timeout": 5}, ValueError),
    ({"store": None, "init_method": "tcp://127.0.0.1:1", "rank": 1, "world_size": 2,
      "timeout": timedelta(seconds=0.1)}, dist.DistNetworkError),
])  # fmt: skip
def test_what_a_world_cannot_be(kwargs, error):
    with pytest.raises(error), world(**kwargs):
        pass
    assert not dist.is_initialized()


def test_each_collective_is_the_identity_for_one_process():
    x = torch.arange(3.0)
    with world():
        work = dist.all_reduce(x, dist.ReduceOp.AVG, async_op=True)
        assert work.wait() and work.is_completed() and work.get_future().wait()[0] is x
        gathered, whole, scattered, swapped = ([torch.zeros(3)] for _ in range(4))
        dist.all_gather(gathered, x)
        dist.all_gather_into_tensor(whole[0], x)
        dist.reduce_scatter_tensor(scattered[0], x)
        dist.all_to_all(swapped, [x])
        dist.broadcast(x, 0)
        dist.reduce(x, 0)
        parts, out = [torch.zeros(3)], torch.zeros(3)
        dist.gather(x, parts, 0)
        dist.scatter(out, [x], 0)
        for got in (gathered, whole, scattered, swapped, parts, [out]):
            np.testing.assert_array_equal(got[0].numpy(), [0, 1, 2])
        objects, one = [None], [None]
        dist.all_gather_object(objects, {"a": 1})
        dist.scatter_object_list(one, [5])
        dist.barrier()
        assert objects == [{"a": 1}] and one == [5]
        with pytest.raises(ValueError, match="should not be the same as the rank"):
            dist.send(x, 0)


def test_collectives_check_their_arguments():
    x, whole = torch.arange(3.0), torch.tensor([3, 5])
    with world():
        for error, call in [
            (TypeError, lambda: dist.all_reduce(3.0)), (TypeError, lambda: dist.all_reduce(x, "sum")),
            (RuntimeError, lambda: dist.all_reduce(x, dist.ReduceOp.BAND)),
            (RuntimeError, lambda: dist.all_reduce(whole, dist.ReduceOp.AVG)),
            (ValueError, lambda: dist.all_reduce(x * 1j, dist.ReduceOp.MAX)),
            (RuntimeError, lambda: dist.all_gather([x, x], x)),
            (RuntimeError, lambda: dist.all_gather([whole * 1.0], x)),
            (ValueError, lambda: dist.all_gather([whole], x)), (ValueError, lambda: dist.broadcast(x)),
            (RuntimeError, lambda: dist.broadcast(x, 1)), (ValueError, lambda: dist.gather(x)),
            (RuntimeError, lambda: dist.all_to_all_single(x.clone(), x, [2], [2])),
            (ValueError, lambda: dist.new_group([0, 1])), (ValueError, lambda: dist.new_group([0, 0])),
        ]:  # fmt: skip
            with pytest.raises(error):
                call()


def test_results_are_written_to_the_callers_tensors():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    with pair():
        parts, stacked, flat = [torch.zeros(2), torch.zeros(2)], torch.zeros(2, 2), torch.zeros(4)
        dist.all_gather(parts, x)
        dist.all_gather_into_tensor(stacked, x)
        dist.all_gather_into_tensor(flat, x)
        assert [p.tolist() for p in parts] == stacked.tolist() == [[-1, -2], [1, 2]]
        assert flat.tolist() == [-1, -2, 1, 2] and not flat.requires_grad
        dist.reduce(x, 0, dist.ReduceOp.MAX)
        assert x.tolist() == [1, 2]  # only the root's is written
        dist.broadcast(x, 0)
        assert x.tolist() == [-1, -2] and x.requires_grad and x.is_leaf
        out = torch.zeros(2)
        dist.reduce_scatter_tensor(out, torch.ones(4))
        dist.scatter(out, src=0)
        assert out.tolist() == [-5, -5]
        with pytest.raises(ValueError, match="non-source"):
            dist.scatter(out, [out, out], src=0)
        with pytest.raises(ValueError, match="non-destination"):
            dist.gather(out, [out, out], 0)
        got = torch.zeros(2)
        transfers = [dist.P2POp(dist.isend, out, 0, tag=4), dist.P2POp(dist.irecv, got, 0, tag=7)]
        sent, received = dist.batch_isend_irecv(transfers)
        assert sent.wait() and received.source_rank() == 0 and got.tolist() == [7, 7]
        assert dist.group.WORLD.sent[1:] == (0, 4)


def test_objects_travel_pickled():
    import pickle

    with pair() as group:
        group.theirs = pickle.dumps({"from": 0})
        objects = [None, None]
        dist.all_gather_object(objects, {"from": 1})
        assert objects == [{"from": 0}, {"from": 1}]
        group.theirs = pickle.dumps(["a", "b"])
        mine, one = [None, None], [None]
        dist.broadcast_object_list(mine, src=0)
        dist.scatter_object_list(one, src=0)
        assert mine == ["a", "b"] and one == ["b"]


def test_groups_within_the_world():
    with pair():
        own = dist.new_group([1])
        other = dist.new_group([0])
        assert other == dist.GroupMember.NON_GROUP_MEMBER and dist.get_rank(other) == -1
        x = torch.ones(2)
        assert dist.all_reduce(x, group=other) is None and x.tolist() == [1, 1]
        assert dist.get_process_group_ranks(dist.group.WORLD) == [0, 1]
        assert own is not other
    with world():
        mine = dist.new_group([0])
        assert (mine.rank(), mine.size(), dist.get_global_rank(mine, 0), dist.get_group_rank(mine, 0)) == (0, 1, 0, 0)
        assert dist.new_subgroups(1)[0].size() == 1
        dist.destroy_process_group(mine)
        with pytest.raises(ValueError, match="destroyed"):
            dist.barrier(mine)


def test_a_mesh_of_one():
    with world():
        mesh = init_device_mesh("cpu", (1, 1), mesh_dim_names=("dp", "tp"))
        assert mesh["dp"].get_group().size() == 1 and mesh.get_coordinate() == (0, 0) and mesh.shape == (1, 1)
        with pytest.raises(RuntimeError, match="bigger than"):
            init_device_mesh("cpu", (2,))


def test_ddp_of_one_process_is_the_module():
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 2)
    with pytest.raises(ValueError, match="not been initialized"):
        DistributedDataParallel(net)
    with world():
        ddp = DistributedDataParallel(net)
        assert list(ddp.state_dict()) == ["module.weight", "module.bias"] and ddp.module is net
        with ddp.no_sync():
            assert not ddp.require_backward_grad_sync
        ddp(torch.ones(4, 3)).sum().backward()
        np.testing.assert_array_equal(net.weight.grad.numpy(), np.full((2, 3), 4.0))
        with pytest.raises(RuntimeError, match="not needed"):
            DistributedDataParallel(torch.nn.ReLU())
        with pytest.raises(ValueError, match="device_ids"):
            DistributedDataParallel(net, device_ids=[0])
        opt = ZeroRedundancyOptimizer(ddp.parameters(), torch.optim.SGD, lr=0.5)
        before = net.bias.detach().clone()
        opt.step()
        np.testing.assert_allclose(net.bias.detach().numpy(), (before - 0.5 * 4).numpy(), rtol=1e-6)
        assert opt.param_groups[0]["lr"] == 0.5 and opt.state_dict()["param_groups"][0]["lr"] == 0.5


def test_gradients_pass_through_collectives():
    with world():
        x = torch.tensor([1.0, 2.0], requires_grad=True)
        (differentiable.all_gather(x)[0] * 3 + differentiable.all_reduce(x)).sum().backward()
        assert x.grad.tolist() == [4, 4]


def test_stores():
    store = dist.HashStore()
    store.set("a", "b")
    assert (store.get("a"), store.add("c", 3), store.add("c", 2), store.num_keys()) == (b"b", 3, 5, 2)
    assert store.compare_set("n", "", "v") == store.compare_set("n", "x", "w") == b"v"
    store.append("n", "x")
    assert store.get("n") == b"vx" and store.delete_key("a") and not store.check(["a"])
    with pytest.raises(dist.DistStoreError, match="nothing"):
        store.wait(["nothing"], timedelta(seconds=0.01))
    inner = dist.PrefixStore("p", store)
    inner.set("k", "1")
    assert store.get("p/k") == inner.get("k") == b"1"


def test_the_sampler_asks_the_group():
    with world():
        assert list(torch.utils.data.DistributedSampler(range(4), shuffle=False)) == [0, 1, 2, 3]
    with pair():
        assert list(torch.utils.data.DistributedSampler(range(4), shuffle=False)) == [1, 3]


def test_module_states_are_sent_from_the_root():
    from pytorchlike.distributed.utils import _sync_module_states

    net = torch.nn.Linear(2, 1)
    with torch.no_grad():
        net.weight.fill_(3.0)
    with pair():
        _sync_module_states(net, distributed_c10d._get_default_group(), 1 << 20, 0)
    assert net.weight.tolist() == [[-3, -3]]
