"""Several processes: stores, collectives over connections (in threads, as far as possible), DDP, shared memory."""

import os
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

import pytorchlike as torch
import pytorchlike.distributed as dist
import pytorchlike.multiprocessing as mp
from pytorchlike.distributed._processes import World
from pytorchlike.distributed._wire import Wire

SOON = timedelta(seconds=20)


def members(n, body, store=None, timeout=SOON):
    """What ``body(group)`` returns or raises for each member of a group, which are threads of this process."""
    store = store or dist.HashStore()
    results = [None] * n

    def member(rank):
        try:
            group = World(Wire(store, rank, n, timeout), range(n), "gloo", timeout)
            try:
                results[rank] = body(group)
            finally:
                group.shutdown()
        except Exception as error:
            results[rank] = error

    threads = [threading.Thread(target=member, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    return results


@pytest.mark.parametrize("make", ["tcp", "file"])
def test_stores_between_processes(make, tmp_path):
    if make == "tcp":
        store = dist.TCPStore("127.0.0.1", 0, is_master=True, timeout=SOON)
        other = dist.TCPStore("127.0.0.1", store.port, timeout=SOON)
    else:
        store, other = (dist.FileStore(tmp_path / "store", 2) for _ in range(2))
    store.set("a", "b")
    assert (other.get("a"), other.add("c", 3), store.add("c", 2)) == (b"b", 3, 5)
    assert other.compare_set("n", "", "v") == store.compare_set("n", "x", "w") == b"v"
    store.append("n", "x")
    assert other.get("n") == b"vx" and other.delete_key("a") and not store.check(["a"])
    assert store.num_keys() == other.num_keys() >= 2
    with pytest.raises(dist.DistStoreError, match="nothing"):
        other.wait(["nothing"], timedelta(seconds=0.01))
    threading.Timer(0.05, lambda: other.set("late", b"1")).start()
    inner = dist.PrefixStore("p", store)
    assert store.get("late") == b"1" and not inner.check(["late"])
    if make == "file":
        store.close()
        assert os.path.exists(store.path)
        other.close()
        assert not os.path.exists(store.path)  # the last one takes it along


def test_tcp_store_tells_what_is_wrong():
    with pytest.raises(dist.DistNetworkError, match="timed out"):
        dist.TCPStore("127.0.0.1", 1, timeout=timedelta(seconds=0.1))
    store = dist.TCPStore("127.0.0.1", 0, is_master=True)
    with pytest.raises(dist.DistNetworkError, match="cannot listen"):
        dist.TCPStore("127.0.0.1", store.port, is_master=True)
    with pytest.raises(dist.DistStoreError):
        dist.TCPStore("127.0.0.1", store.port, world_size=2, timeout=timedelta(seconds=0.1))


def test_collectives_of_three():
    rng = np.random.default_rng(0)
    small, large = rng.normal(size=(3, 5)).astype(np.float32), rng.normal(size=(3, 70, 71))
    whole = rng.integers(0, 99, (3, 6))

    def body(g):
        me = g.rank()
        out = {}
        for name, op in {"sum": dist.ReduceOp.SUM, "max": dist.ReduceOp.MAX, "avg": dist.ReduceOp.AVG}.items():
            out[name] = [g.all_reduce(torch.tensor(x[me]), op).numpy() for x in (small, large)]
        out["xor"] = g.all_reduce(torch.tensor(whole[me]), dist.ReduceOp.BXOR).numpy()
        out["bf"] = g.all_reduce(torch.ones(2, dtype=torch.bfloat16) * me, dist.ReduceOp.SUM).tolist()
        out["bc"] = g.broadcast(torch.tensor(small[me]), 2).numpy()
        out["ag"] = np.stack([t.numpy() for t in g.all_gather(torch.tensor(small[me]))])
        out["g"] = [t.numpy() for t in g.gather(torch.tensor(small[me]), 1)]
        out["rs"] = g.reduce_scatter([torch.tensor(small[me]) * (i + 1) for i in range(3)], dist.ReduceOp.SUM).numpy()
        out["sc"] = g.scatter([torch.tensor(x) for x in small] if me == 1 else None, torch.zeros(5), 1).numpy()
        parts = [torch.full((i + 1,), float(me)) for i in range(3)]
        out["a2a"] = [t.tolist() for t in g.all_to_all(parts, [torch.zeros(me + 1)] * 3)]
        out["obj"] = g.exchange(b"x" * me)
        pair = g.subgroup([0, 2], "gloo", "pair", "")
        out["pair"] = pair and pair.all_reduce(torch.tensor([1.0 + me]), dist.ReduceOp.SUM).item()
        later = [g.start([t], lambda ts: g.all_reduce(ts[0], dist.ReduceOp.SUM)) for t in torch.arange(4.0)]
        g.barrier()  # waits for what was started before
        out["later"] = [p.result().item() for p in later]
        return out

    for me, got in enumerate(members(3, body)):
        for name, want in {"sum": np.sum, "max": np.max, "avg": np.mean}.items():
            np.testing.assert_allclose(got[name][0], want(small, 0), rtol=1e-6)
            np.testing.assert_allclose(got[name][1], want(large, 0), rtol=1e-12)
        np.testing.assert_array_equal(got["xor"], np.bitwise_xor.reduce(whole))
        assert got["bf"] == [3, 3] and got["obj"] == [b"", b"x", b"xx"] and got["later"] == [0, 3, 6, 9]
        np.testing.assert_array_equal(got["bc"], small[2])
        np.testing.assert_array_equal(got["ag"], small)
        np.testing.assert_array_equal(got["g"], small if me == 1 else [])
        np.testing.assert_allclose(got["rs"], small.sum(0) * (me + 1), rtol=1e-6)
        np.testing.assert_array_equal(got["sc"], small[me])
        assert got["a2a"] == [[float(i)] * (me + 1) for i in range(3)]
        assert got["pair"] == (4 if me != 1 else None)


def test_messages_wait_for_those_who_want_them():
    def body(g):
        other = 1 - g.rank()
        key = g.expect(other, 7)
        g.send(torch.tensor([1.0, g.rank()]), other, 7)
        g.send(torch.tensor([9]), other, 8)
        first, who = g.recv(torch.zeros(1, dtype=torch.int64), None, 8)
        return first.item(), who, g.received(torch.zeros(2), other, key).tolist()

    assert members(2, body) == [(9, 1, [1, 1]), (9, 0, [1, 0])]


@pytest.mark.parametrize(("second", "says"), [
    (lambda g: None, "connection closed by rank 1"),
    (lambda g: g.all_reduce(torch.ones(3), dist.ReduceOp.SUM), "shapes or dtypes differ"),
    (lambda g: g.barrier(), "another collective"),
    (lambda g: time.sleep(1), "timed out after 0.3 s"),
])  # fmt: skip
def test_a_member_that_does_something_else_is_named(second, says):
    def body(g):
        return second(g) if g.rank() else g.all_reduce(torch.ones(2), dist.ReduceOp.SUM)

    first = members(2, body, timeout=timedelta(seconds=0.3 if "timed" in says else 20))[0]
    assert isinstance(first, dist.DistBackendError) and says in str(first)


def test_monitored_barrier_names_who_does_not_come():
    soon = timedelta(seconds=0.2)

    def body(g):
        if g.rank() == 2:
            time.sleep(0.6)
        else:
            g.monitored_barrier(soon, True)

    first = members(3, body)[0]
    assert isinstance(first, dist.DistBackendError) and "Ranks 2 failed to pass monitoredBarrier" in str(first)


# ---------------------------------------------------------------------------------------------------- real processes


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.sometimes = (torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4),
                                                 torch.nn.Linear(4, 2))  # fmt: skip

    def forward(self, x, more):
        x = self.norm(self.first(x)).tanh()
        return {"out": [self.sometimes(x) if more else x]}


def batch(rank):
    return torch.tensor(np.random.default_rng(rank).normal(size=(4, 3)).astype(np.float32))


def of_two(rank, folder, shared):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=SOON)
    x = torch.full((2,), float(rank))
    sent, got = dist.isend(x + 5, 1 - rank), torch.zeros(2)
    work = dist.irecv(got, 1 - rank)
    sent.wait(), work.wait()
    assert got.tolist() == [6.0 - rank] * 2
    works = [dist.all_reduce(x, async_op=True)]
    assert works[0].wait() and x.tolist() == [1, 1]
    things = [None, None]
    dist.all_gather_object(things, {"rank": rank})
    assert things == [{"rank": 0}, {"rank": 1}]
    mine, both = dist.new_subgroups(1, group=dist.new_group([1, 0], sort_ranks=False))
    assert mine is both[1 - rank] and both[rank] is dist.GroupMember.NON_GROUP_MEMBER  # in the order of that group

    torch.manual_seed(rank)
    net = Net()
    ddp = torch.nn.parallel.DistributedDataParallel(net, find_unused_parameters=True)
    with ddp.no_sync():
        ddp(batch(rank + 2), True)["out"][0].sum().backward()
    ddp(batch(rank), rank == 1)["out"][0].square().sum().backward()
    found = {k: v.numpy() for k, v in net.state_dict().items()}
    found |= {f"{k}.grad": p.grad.numpy() for k, p in net.named_parameters()}
    np.savez(f"{folder}/{rank}.npz", **found)

    layer = torch.nn.Linear(3, 1, bias=False)
    late = torch.nn.parallel.DistributedDataParallel(layer)
    with late.no_sync():
        losses = [late(batch(rank).reshape(-1, 3)).sum() for _ in range(2)]
    losses[0].backward()
    alone = layer.weight.grad.clone()
    late.reducer.prepare_for_backward([])
    losses[1].backward()
    both = sum(batch(r).reshape(-1, 3).sum(0) for r in range(2)) / 2
    torch.testing.assert_close(layer.weight.grad[0], 2 * both)  # what was there is averaged, too
    torch.testing.assert_close(alone[0], batch(rank).reshape(-1, 3).sum(0))

    sync = torch.nn.SyncBatchNorm(3)
    given = batch(rank).requires_grad_()
    (sync(given) ** 3).sum().backward()
    np.savez(f"{folder}/sync{rank}.npz", grad=given.grad.numpy(), var=sync.running_var.numpy())
    shared[rank] = rank + 1.0
    dist.destroy_process_group()
    dist.init_process_group("gloo", init_method=f"file://{folder}/again", rank=rank, world_size=2, timeout=SOON)
    if rank:
        os._exit(7)
    try:
        dist.barrier()
    except dist.DistBackendError:
        shared[2] = 1.0


@pytest.mark.skipif(os.name != "posix", reason="files are locked and memory is shared on POSIX systems")
def test_two_processes(tmp_path):
    shared = torch.zeros(3).share_memory_()
    with pytest.raises(mp.ProcessExitedException, match="exit code 7"):
        mp.start_processes(of_two, (str(tmp_path), shared), 2, join=False).join(100, grace_period=20)
    assert shared.tolist() == [1, 2, 1]  # written to by the processes; the first one noticed the second one's end
    first, second = (dict(np.load(tmp_path / f"{i}.npz")) for i in range(2))
    torch.manual_seed(0)  # everybody began with the model of the first
    grads = []
    for rank in range(2):
        torch.manual_seed(0)
        net = Net()
        net(batch(rank + 2), True)["out"][0].sum().backward()
        net(batch(rank), rank == 1)["out"][0].square().sum().backward()
        grads.append([p.grad.numpy() for p in net.parameters()])
    for (name, p), one, two in zip(net.named_parameters(), *grads, strict=True):
        np.testing.assert_array_equal(first[name], p.detach().numpy())
        np.testing.assert_array_equal(first[f"{name}.grad"], second[f"{name}.grad"])
        np.testing.assert_allclose(first[f"{name}.grad"], (one + two) / 2, rtol=1e-4, atol=1e-5)
    whole = torch.cat([batch(0), batch(1)]).requires_grad_()
    norm = torch.nn.BatchNorm1d(3)
    (norm(whole) ** 3).sum().backward()
    for rank in range(2):
        got = np.load(tmp_path / f"sync{rank}.npz")
        np.testing.assert_allclose(got["grad"], whole.grad.numpy()[4 * rank : 4 * rank + 4], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(got["var"], norm.running_var.numpy(), rtol=1e-5)


def test_run_starts_and_ends_processes(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(
        "import os, sys, time, torch, torch.distributed as dist\n"
        "dist.init_process_group('gloo')\n"
        "open(f'{sys.argv[1]}/{dist.get_rank()}-{os.environ[\"LOCAL_RANK\"]}', 'w').close()\n"
        "dist.get_rank() and sys.exit(3)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-m", "pytorchlike.distributed.run", "--nproc-per-node", "2", str(script), str(tmp_path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=100)
    assert done.returncode == 3 and "rank 1 failed: exit status 3" in done.stderr, done.stderr
    assert (tmp_path / "0-0").exists() and (tmp_path / "1-1").exists()


def test_run_starts_again_what_failed_once(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(
        "import os, sys\n"
        "from torch.distributed.elastic.multiprocessing.errors import record\n"
        "@record\n"
        "def main():\n"
        "    if os.environ['TORCHELASTIC_RESTART_COUNT'] == '0':\n"
        "        raise ValueError('only once')\n"
        "    print('rank', os.environ['RANK'])\n"
        "main()\n"
    )
    logs = tmp_path / "logs"
    command = [sys.executable, "-m", "pytorchlike.distributed.run", "--standalone", "--nnodes=1", "--max-restarts=1",
               "--rdzv-backend=c10d", "--tee", "1", "--redirects", "2", "--log-dir", str(logs), str(script)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0 and done.stdout == "[default0]:rank 0\n", done.stderr
    assert "rank 0 failed: exit status 1" in done.stderr and "rank 0: ValueError: only once" in done.stderr
    assert (logs / "0-stdout.log").read_text() == "rank 0\n"


def test_shared_memory_within_a_process():
    x = torch.zeros(2, 3)
    part = x[1]
    assert not x.is_shared() and x.share_memory_() is x and part.is_shared()
    part[0] = 5
    x.add_(1)
    assert x.tolist() == [[1, 1, 1], [6, 1, 1]] and part.tolist() == [6, 1, 1]
    net = torch.nn.Linear(3, 1).share_memory()
    before = net.weight.detach().clone()
    net(x.detach()).sum().backward()
    torch.optim.SGD(net.parameters(), lr=1.0).step()
    assert net.weight.is_shared() and net.weight.is_leaf
    np.testing.assert_allclose(net.weight.detach().numpy(), (before - torch.tensor([[7.0, 2, 2]])).numpy(), rtol=1e-6)
    with pytest.raises(RuntimeError, match="detach"):
        (net.weight * 2).share_memory_()


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_a_storage_says_whether_it_is_shared():
    x, y = torch.zeros(3), torch.zeros(3)
    assert not x.untyped_storage().is_shared() and not x.storage().is_shared()
    x.untyped_storage().share_memory_()
    y.storage().share_memory_()
    for t in (x, y):
        assert t.is_shared() and t.untyped_storage().is_shared() and t.storage().is_shared()
    with pytest.raises(NotImplementedError, match="as_tensor"):
        torch.UntypedStorage(4).share_memory_()
