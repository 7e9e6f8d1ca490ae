"""Models in stages, one in each process or several, and loops in which processes have different numbers of batches."""

import os
from datetime import timedelta

import numpy as np
import pytest

import pytorchlike as torch
import pytorchlike.distributed as dist
import pytorchlike.multiprocessing as mp
from pytorchlike import nn
from pytorchlike.distributed.algorithms.join import Join
from pytorchlike.distributed.optim import ZeroRedundancyOptimizer
from pytorchlike.distributed.pipelining import (
    PipelineStage,
    Schedule1F1B,
    ScheduleGPipe,
    ScheduleInterleaved1F1B,
    ScheduleLoopedBFS,
    ScheduleZBVZeroBubble,
    SplitPoint,
    pipe_split,
    pipeline,
)
from pytorchlike.distributed.pipelining.microbatch import TensorChunkSpec, merge_chunks, split_args_kwargs_into_chunks

F = nn.functional


class Net(nn.Module):
    """What the first layer computes is used by the last one, too."""

    def __init__(self, splits=False):
        super().__init__()
        self.embed, self.head, self.splits = nn.Embedding(7, 4), nn.Linear(4, 7), splits
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(3)])
        rng = np.random.default_rng(0)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.tensor(rng.normal(size=tuple(p.shape)).astype("f")))

    def forward(self, tokens, scale=1.0):
        x = first = self.embed(tokens) * scale
        for layer in self.layers:
            x = layer(x)
            if self.splits:
                pipe_split()
        return self.head(x + first)


X, Y = (torch.tensor(np.random.default_rng(k).integers(0, 7, (8, 3))) for k in range(2))
CUTS = {"layers.1": SplitPoint.BEGINNING}


def loss(out, target):
    return F.cross_entropy(out.flatten(0, 1), target.flatten())


def whole():
    net = Net()
    out = net(X)
    value = loss(out, Y)
    value.backward()
    return out, value.item(), {name: p.grad.numpy() for name, p in net.named_parameters()}


def check(schedule, stages, want):
    losses = []
    args = (X,) if any(stage.is_first for stage in stages) else ()
    last = any(stage.is_last for stage in stages)
    out = schedule.step(*args, **({"target": Y, "losses": losses} if last else {}))
    assert (out is not None) == last
    if last:
        np.testing.assert_allclose(out.detach().numpy(), want[0].detach().numpy(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(np.mean([x.item() for x in losses]), want[1], rtol=1e-5)
    for stage in stages:
        for name, p in stage.submod.named_parameters():
            np.testing.assert_allclose(p.grad.numpy(), want[2][name], rtol=1e-4, atol=1e-6, err_msg=name)


class First(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.embed = net.embed

    def forward(self, tokens):
        x = self.embed(tokens)
        return x, x


class Middle(nn.Module):
    def __init__(self, net, which):
        super().__init__()
        self.layers = nn.ModuleDict({str(k): net.layers[k] for k in which})

    def forward(self, x, first):
        for layer in self.layers.values():
            x = layer(x)
        return x, first


class Last(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.head = net.head

    def forward(self, x, first):
        return self.head(x + first)


def unevenly(rank, **options):
    """Two batches for the first process, three for the second: how many each went through, and the parameters."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    ddp = nn.parallel.DistributedDataParallel(net)
    kind = options.pop("zero", False)
    optimizer = (ZeroRedundancyOptimizer(ddp.parameters(), torch.optim.SGD, lr=0.1) if kind else
                 torch.optim.SGD(ddp.parameters(), lr=0.1))
    seen = 0
    with Join([ddp, optimizer], **options) if kind else ddp.join(**options):
        for k in range(2 + rank):
            x = torch.tensor(np.random.default_rng(10 * k + rank).normal(size=(4, 3)).astype("f"))
            optimizer.zero_grad()
            ddp(x).square().mean().backward()
            optimizer.step()
            seen += 1
    return seen, [v.detach().numpy().copy() for v in net.parameters()]


def of_two(rank, folder):
    soon = timedelta(seconds=60)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=soon)
    want = whole()
    for kind in (ScheduleGPipe, Schedule1F1B):
        stage = pipeline(Net(), (X[:2],), split_spec=CUTS).build_stage(rank, torch.device("cpu"))
        check(kind(stage, 4, loss), [stage], want)
        out = kind(stage, 2).eval(*((X,) if rank == 0 else ()))
        assert (out is None) == (rank == 0)
    for kind in (ScheduleInterleaved1F1B, ScheduleLoopedBFS):
        net = Net()
        parts = [First(net), Middle(net, [0, 1]), Middle(net, [2]), Last(net)]
        stages = [PipelineStage(parts[i], i, 4, torch.device("cpu")) for i in range(rank, 4, 2)]
        check(kind(stages, 4, loss), stages, want)

    ways = [{}, {"divide_by_initial_world_size": False}, {"zero": True}]
    found = [unevenly(rank, **options) for options in ways]
    assert [seen for seen, _ in found] == [2 + rank] * 3
    for k, (_, values) in enumerate(found):
        np.savez(f"{folder}/{rank}-{k}.npz", *values)
    with pytest.raises(RuntimeError, match=r"Rank 0 exhausted all inputs|at least one rank that exhausted"):
        unevenly(rank, throw_on_early_termination=True)
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.skipif(os.name != "posix", reason="files are locked on POSIX systems")
def test_two_processes(tmp_path):
    mp.start_processes(of_two, (str(tmp_path),), 2)
    ends = [[list(np.load(tmp_path / f"{rank}-{k}.npz").values()) for k in range(3)] for rank in range(2)]
    for first, second in zip(*ends, strict=True):
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a, b)  # everybody ends with the parameters of the last one
    for a, b in zip(ends[0][0], ends[0][2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)  # whoever steps for whom
    # the third step is that of the second process alone, divided by two or by one
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    for k in range(3):
        grads = []
        for rank in range(2 if k < 2 else 1):
            x = torch.tensor(np.random.default_rng(10 * k + (rank if k < 2 else 1)).normal(size=(4, 3)).astype("f"))
            net.zero_grad()
            net(x).square().mean().backward()
            grads.append([p.grad.numpy() for p in net.parameters()])
        with torch.no_grad():
            for p, *own in zip(net.parameters(), *grads, strict=True):
                p.sub_(torch.tensor(np.mean(own, 0)), alpha=0.1)
    for got, p in zip(ends[0][1], net.parameters(), strict=True):
        np.testing.assert_allclose(got, p.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_pieces_compute_what_the_model_does():
    by_name = pipeline(Net(), (X[:2],), split_spec={"layers.0": SplitPoint.END, "layers.2": SplitPoint.BEGINNING})
    by_call = pipeline(Net(splits=True), (X[:2],))
    assert by_name.num_stages == 3 and by_call.num_stages == 4
    names = [[n for n, _ in pipe.get_stage_module(1).named_parameters()] for pipe in (by_name, by_call)]
    assert names == [["layers.1.0.weight", "layers.1.0.bias"]] * 2
    for pipe in (by_name, by_call):
        values = (X,)
        for k in range(pipe.num_stages):
            values = pipe.get_stage_module(k)(*values)
            values = values if isinstance(values, tuple) else (values,)
        np.testing.assert_allclose(values[0].detach().numpy(), Net()(X).detach().numpy(), rtol=1e-6)
    with pytest.raises(ValueError, match="no part 'layers.9'"):
        pipeline(Net(), (X,), split_spec={"layers.9": SplitPoint.END})
    with pytest.raises(NotImplementedError, match="ScheduleInterleaved1F1B"):
        ScheduleZBVZeroBubble([], 2)


@pytest.mark.parametrize(("size", "own", "n"), [(2, 1, 1), (3, 1, 5), (2, 2, 4), (3, 2, 3), (4, 3, 8), (1, 3, 2)])
def test_no_schedule_waits_for_ever(size, own, n):
    """Each process goes through its list, waiting for what others must have computed before."""
    kinds = [ScheduleInterleaved1F1B, ScheduleLoopedBFS] + ([ScheduleGPipe, Schedule1F1B] if own == 1 else [])

    class Stage:
        def __init__(self, index, rank):
            self.stage_index, self.num_stages, self.group_size, self.group_rank = index, size * own, size, rank

        def share(self, other):
            pass

    for kind in kinds:
        lists = []
        for rank in range(size):
            stages = [Stage(i, rank) for i in range(rank, size * own, size)]
            schedule = kind(stages[0] if kind in (ScheduleGPipe, Schedule1F1B) else stages, n, None)
            lists.append([(stages[a.stage].stage_index, a.backwards, a.chunk) for a in schedule._order()])
            assert len(set(lists[-1])) == len(lists[-1]) == 2 * n * own
        done = set()
        while any(lists):
            ready = 0
            for rest in lists:
                while rest:
                    stage, back, chunk = rest[0]
                    needs = [(stage, False, chunk)] if back else []
                    if 0 <= (near := stage + 1 if back else stage - 1) < size * own:
                        needs.append((near, back, chunk))
                    if not done.issuperset(needs):
                        break
                    done.add(rest.pop(0))
                    ready += 1
            assert ready, (kind.__name__, lists)


def test_portions_are_cut_and_put_together():
    args, kwargs = split_args_kwargs_into_chunks((X, 3), {"y": Y.T}, 4, None, {"y": TensorChunkSpec(1)})
    assert [a[1] for a in args] == [3] * 4 and [tuple(k["y"].shape) for k in kwargs] == [(3, 2)] * 4
    assert merge_chunks([a[0] for a in args]).tolist() == X.tolist()
    assert merge_chunks([k["y"] for k in kwargs], TensorChunkSpec(1)).tolist() == Y.T.tolist()
    with pytest.raises(ValueError, match="cannot be cut into 9"):
        split_args_kwargs_into_chunks((X,), {}, 9)


def test_pieces_may_be_computed_here_one_after_another():
    net = Net()
    pipe = pipeline(net, (X,), split_spec=CUTS)
    assert isinstance(pipe, nn.Module)
    assert [name for name, _ in pipe.split_gm.named_children()] == ["submod_pp_0", "submod_pp_1"]
    assert list(pipe.state_dict())[0] == "split_gm.submod_pp_0.embed.weight"
    (out,) = pipe(X, scale=2.0)
    assert torch.equal(out, net(X, scale=2.0))
    out.sum().backward()  # what goes from one to the next is detached, as it is between processes
    assert net.head.weight.grad is not None and net.embed.weight.grad is None
