"""Parameters divided among processes: the same numbers as whole ones, parts that stay parts, checkpoints."""

import copy
import os
from datetime import timedelta

import numpy as np
import pytest

import pytorchlike as torch
import pytorchlike.distributed as dist
import pytorchlike.multiprocessing as mp
from pytorchlike import nn
from pytorchlike.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_state_dict,
    set_model_state_dict,
    set_state_dict,
)
from pytorchlike.distributed.fsdp import (
    FSDPModule,
    FullStateDictConfig,
    FullyShardedDataParallel,
    MixedPrecisionPolicy,
    ShardingStrategy,
    StateDictType,
    fully_shard,
)
from pytorchlike.distributed.fsdp.wrap import CustomPolicy, ModuleWrapPolicy, wrapped_by
from pytorchlike.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from pytorchlike.utils.checkpoint import checkpoint

F = nn.functional
SOON = timedelta(seconds=60)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(4), nn.Linear(4, 7), nn.Linear(7, 4)

    def forward(self, x):
        return x + self.down(self.up(self.norm(x)).tanh())


class Again(Block):
    def forward(self, x):
        return checkpoint(super().forward, x, use_reentrant=False)


class Net(nn.Module):
    """Tied weights, a layer that is computed again, and sizes that two does not divide."""

    def __init__(self):
        super().__init__()
        self.embed, self.blocks = nn.Embedding(9, 4), nn.ModuleList([Block(), Again()])
        self.head = nn.Linear(4, 9, bias=False)
        self.head.weight = self.embed.weight
        rng = np.random.default_rng(0)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.tensor(rng.normal(size=tuple(p.shape)).astype("f") * 0.4))

    def forward(self, x):
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def batch(step, rank):
    return torch.tensor(np.random.default_rng(10 * step + rank).integers(0, 9, (2, 3, 5)))


def loss_of(net, data):
    return F.cross_entropy(net(data[0]).flatten(0, 1), data[1].flatten())


def train(net, optimizer, batches):
    norms = []
    for data in batches:
        optimizer.zero_grad()
        loss_of(net, data).backward()
        norms.append(nn.utils.clip_grad_norm_(net.parameters(), 0.3).item())
        optimizer.step()
    return norms


def whole(p):
    return (p.full_tensor() if isinstance(p, DTensor) else p).detach().numpy()


def assert_same(net, reference, rtol=1e-5, atol=1e-6):
    for (name, p), q in zip(net.named_parameters(), reference.parameters(), strict=True):
        np.testing.assert_allclose(whole(p), q.detach().numpy(), rtol=rtol, atol=atol, err_msg=name)


def divided(**options):
    net = Net()
    for block in net.blocks:
        fully_shard(block, **options)
    return fully_shard(net, **options)


def fully_sharded(rank, reference, want, batches):
    net = divided()
    assert isinstance(net, FSDPModule) and isinstance(net, Net) and type(net).__name__ == "FSDPNet"
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    np.testing.assert_allclose(train(net, optimizer, batches), want, rtol=1e-5)
    assert_same(net, reference)
    weight = net.blocks[0].up.weight
    assert weight.shape == (7, 4) and weight.to_local().shape == (4 - rank, 4) and weight.placements == (Shard(0),)
    assert isinstance(weight, nn.Parameter) and weight.grad.to_local().shape == (4 - rank, 4)
    assert optimizer.state[weight]["exp_avg"].to_local().shape == (4 - rank, 4)
    np.testing.assert_allclose((weight * 2).full_tensor().detach().numpy(), 2 * whole(weight))
    np.testing.assert_allclose(weight.norm().item(), np.linalg.norm(whole(weight)), rtol=1e-5)
    net.blocks[0].unshard()
    assert not isinstance(net.blocks[0].up.weight, DTensor)
    net.blocks[0].reshard()
    assert net.blocks[0].up.weight is weight

    unit = net.blocks[0].__dict__["_fsdp_unit"]
    values = []
    gather = unit.gather
    unit.gather = lambda: (gather(), values.extend(t._get() for t in unit._whole))
    out = net(batches[0][0])
    assert not unit.unsharded and values and all(v.data is None for v in values)  # given up after the forward pass
    out.sum().backward()
    return net, optimizer


def sums_put_off(rank, kind):
    reference = Net()
    sum(loss_of(reference, batch(s, r)) / 2 for s in range(2) for r in range(2)).backward()
    if kind == "wrapper":
        net = FullyShardedDataParallel(Net(), auto_wrap_policy=ModuleWrapPolicy({Block}))
        with net.no_sync():
            loss_of(net, batch(0, rank)).backward()
    else:
        net = divided(reshard_after_forward=False)
        net.set_requires_gradient_sync(False)
        loss_of(net, batch(0, rank)).backward()
        net.set_requires_gradient_sync(True)
    assert all(p.grad is None for p in net.parameters())
    loss_of(net, batch(1, rank)).backward()
    for p, q in zip(net.parameters(), reference.parameters(), strict=True):
        np.testing.assert_allclose(whole(p.grad), q.grad.numpy(), rtol=1e-5, atol=1e-6)


def wrapped(rank, reference, want, batches):
    net = FullyShardedDataParallel(Net(), auto_wrap_policy=ModuleWrapPolicy({Block}), sync_module_states=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
    np.testing.assert_allclose(train(net, optimizer, batches), want, rtol=1e-5)
    assert len(FullyShardedDataParallel.fsdp_modules(net)) == 3
    state = net.state_dict()
    assert list(state) == list(reference.state_dict())
    for name, value in reference.state_dict().items():
        np.testing.assert_allclose(state[name].numpy(), value.numpy(), rtol=1e-5, atol=1e-6)
    with FullyShardedDataParallel.summon_full_params(net), torch.no_grad():
        assert [n for n, _ in net.named_parameters()] == [n for n, _ in reference.named_parameters()]
        assert_same(net, reference)
        net.module.embed.weight.add_(1)
    np.testing.assert_allclose(whole(net.module.embed.weight), reference.embed.weight.detach().numpy() + 1, rtol=1e-5)
    net.load_state_dict(state)
    with FullyShardedDataParallel.state_dict_type(net, StateDictType.FULL_STATE_DICT,
                                                  FullStateDictConfig(rank0_only=True)):
        assert bool(net.state_dict()) == (rank == 0)
    with FullyShardedDataParallel.state_dict_type(net, StateDictType.SHARDED_STATE_DICT):
        assert isinstance(net.state_dict()["head.weight"], DTensor)
    with pytest.raises(NotImplementedError, match="SHARDED_STATE_DICT"):
        FullyShardedDataParallel.set_state_dict_type(net, StateDictType.LOCAL_STATE_DICT)
    return net, optimizer


def states_travel(rank, net, optimizer):
    """From a wrapper to ``fully_shard`` to DistributedDataParallel, with one further step each."""
    model, state = get_state_dict(net, optimizer, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    assert bool(model) == bool(state) == (rank == 0)
    second = divided()
    other = torch.optim.AdamW(second.parameters(), lr=0.5)
    set_state_dict(second, other, model_state_dict=model, optim_state_dict=state,
                   options=StateDictOptions(full_state_dict=True, broadcast_from_rank0=True))
    model, state = get_state_dict(second, other, options=StateDictOptions(full_state_dict=True))
    third = nn.parallel.DistributedDataParallel(Net())
    last = torch.optim.AdamW(third.parameters(), lr=0.5)
    set_state_dict(third, last, model_state_dict=model, optim_state_dict=state)
    norms = [train(n, o, [batch(7, rank)]) for n, o in ((net, optimizer), (second, other), (third, last))]
    np.testing.assert_allclose(norms[1:], norms[:1] * 2, rtol=1e-5)
    assert_same(second, third.module)


def other_ways(rank):
    net = Net()
    for block in net.blocks:
        fully_shard(block, mp_policy=MixedPrecisionPolicy(torch.bfloat16, torch.float32))
    fully_shard(net, mp_policy=MixedPrecisionPolicy(torch.bfloat16, torch.float32, torch.float32))
    out = net(batch(0, rank)[0])
    assert out.dtype is torch.float32 and net.head.weight.dtype is torch.bfloat16
    out.square().mean().backward()
    assert net.head.weight.dtype is net.head.weight.grad.dtype is torch.float32

    mesh = dist.init_device_mesh("cpu", (2, 1), mesh_dim_names=("copies", "parts"))
    copies = divided(mesh=mesh)
    loss_of(copies, batch(0, rank)).backward()
    plain = FullyShardedDataParallel(Net(), sharding_strategy=ShardingStrategy.NO_SHARD)
    loss_of(plain, batch(0, rank)).backward()
    for p, q in zip(copies.parameters(), plain.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.to_local().numpy(), q.grad.to_local().numpy(), rtol=1e-5, atol=1e-6)

    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    before = whole(net.embed.weight).copy()
    optimizer.zero_grad()
    scaler.scale(loss_of(net, batch(1, rank)) * (float("inf") if rank else 1.0)).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 4  # both saw what one had
    np.testing.assert_array_equal(whole(net.embed.weight), before)

    x = torch.arange(6.0).view(3, 2) + 10 * rank
    d = distribute_tensor(x, dist.init_device_mesh("cpu", (2,)), [Shard(0)])
    assert d.to_local().tolist() == ([[0, 1], [2, 3]] if rank == 0 else [[4, 5]])
    assert d.redistribute(placements=[Replicate()]).to_local().tolist() == [[0, 1], [2, 3], [4, 5]]
    assert DTensor.from_local(torch.ones(1, 2)).shape == (1, 2) and (d.sum() == 15).item()
    d.copy_(torch.zeros(3, 2))
    d[0, 0] = 3
    assert d.full_tensor().tolist() == [[3, 0], [0, 0], [0, 0]]

    parts_are_written_through(net, rank)
    onto_the_meta_device(net, rank)


def parts_are_written_through(net, rank):
    """What is written to a parameter's part, an ordinary tensor, is the parameter's; and gradients pass by it."""
    weight = net.embed.weight
    with torch.no_grad():
        weight.to_local().fill_(2.0)
    weight.to_local().data.add_(1 + rank)
    whole_weight = whole(weight)
    assert whole_weight[0, 0] == 3 and whole_weight[-1, 0] == 4
    weight.grad = None
    (weight.to_local() * 2).sum().backward()
    assert (weight.grad.to_local() == 2).all()
    with pytest.raises(RuntimeError, match="leaf"):
        weight.to_local().add_(1)


def onto_the_meta_device(net, rank):
    """A whole state, of the first process only, gives parameters on the meta device their values."""
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    state = {"weight": torch.arange(12.0).view(3, 4), "bias": torch.ones(3)} if rank == 0 else {}
    with torch.device("meta"):
        model = nn.Linear(4, 3)
    fully_shard(model)
    set_model_state_dict(model, state, options=options)
    assert model.weight.to_local().shape == (2 - rank, 4) and model.weight.requires_grad
    np.testing.assert_array_equal(whole(model.weight), np.arange(12).reshape(3, 4))
    assert model(torch.ones(1, 4)).tolist() == [[7, 23, 39]]


def refusals(net):
    for what, says in (
        (lambda: copy.deepcopy(net), "deepcopy"),
        (lambda: torch.save(net.state_dict(), os.devnull), "full_tensor"),
        (lambda: torch.optim.Adafactor(net.parameters()), "whole parameters"),
        (lambda: fully_shard(nn.Linear(2, 2), reshard_after_forward=2), "True or False"),
    ):
        with pytest.raises(NotImplementedError, match=says):
            what()
    with pytest.raises(ValueError, match="containers"):
        fully_shard(nn.ModuleList([nn.Linear(2, 2)]))


def of_two(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2, timeout=SOON)
    reference = Net()
    optimizer = torch.optim.AdamW(reference.parameters(), lr=0.01)
    together = [torch.cat([batch(s, r) for r in range(2)], 1) for s in range(2)]
    want = train(reference, optimizer, together)
    batches = [batch(s, rank) for s in range(2)]
    net, _ = fully_sharded(rank, reference, want, batches)
    for kind in ("wrapper", "in place"):
        sums_put_off(rank, kind)
    states_travel(rank, *wrapped(rank, reference, want, batches))
    other_ways(rank)
    refusals(net)
    dist.barrier()
    dist.destroy_process_group()


@pytest.mark.skipif(os.name != "posix", reason="files are locked on POSIX systems")
def test_divided_among_two_processes(tmp_path):
    mp.start_processes(of_two, (str(tmp_path),), 2)


def test_a_world_of_one_computes_with_the_parameters_themselves():
    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    try:
        reference, net = Net(), divided()
        optimizers = [torch.optim.SGD(n.parameters(), lr=0.1, momentum=0.9) for n in (reference, net)]
        batches = [batch(s, 0) for s in range(2)]
        norms = [train(n, o, batches) for n, o in zip((reference, net), optimizers, strict=True)]
        np.testing.assert_allclose(norms[1], norms[0], rtol=1e-6)
        assert_same(net, reference)
        assert isinstance(net.head.weight, DTensor) and net.head.weight.full_tensor().shape == (9, 4)
    finally:
        dist.destroy_process_group()


def test_policies_choose_modules():
    class Wrapper(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

    def names(policy, **more):
        net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 20), nn.BatchNorm1d(20)))
        wrapped_by(net, policy, Wrapper, Wrapper, [], **more)
        return [n for n, m in net.named_modules() if isinstance(m, Wrapper)]

    assert names(ModuleWrapPolicy({nn.Linear})) == ["0", "1.0"]
    assert names(CustomPolicy(lambda m: m.weight.numel() > 4 if isinstance(m, nn.Linear) else False)) == ["1.0"]
    assert names(lambda module, recurse, nonwrapped_numel: nonwrapped_numel > 70) == ["1"]
    assert names(ModuleWrapPolicy({nn.Linear}), own_precision=(nn.BatchNorm1d,)) == ["0", "1.0", "1.1"]
    with pytest.raises(ValueError, match="False/True or a kwarg dict"):
        names(CustomPolicy(lambda m: 3))


def test_states_by_names_and_by_numbers():
    from pytorchlike.distributed.fsdp import FullyShardedDataParallel, OptimStateKeyType

    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    given = [{"params": net[1].parameters(), "lr": 0.5}, {"params": net[0].parameters()}]
    optimizer = torch.optim.Adam([{**g, "params": list(g["params"])} for g in given], lr=0.1)
    net(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    rekey, state = FullyShardedDataParallel.rekey_optim_state_dict, optimizer.state_dict()
    named = rekey(state, OptimStateKeyType.PARAM_NAME, net, optim=optimizer)
    assert [g["params"] for g in named["param_groups"]] == [["1.weight", "1.bias"], ["0.weight", "0.bias"]]
    assert named["state"]["0.weight"]["exp_avg"].shape == (3, 2) and named["param_groups"][0]["lr"] == 0.5
    back = rekey(named, OptimStateKeyType.PARAM_ID, net, optim=optimizer)
    assert list(back["state"]) == list(state["state"])
    other = torch.optim.Adam(net.parameters(), lr=0.1)  # numbers its parameters in the model's order
    assert rekey(named, OptimStateKeyType.PARAM_ID, net)["param_groups"][0]["params"] == [2, 3]
    assert rekey(named, OptimStateKeyType.PARAM_ID, net, list(net.parameters())) == rekey(
        named, OptimStateKeyType.PARAM_ID, net, optim=other)  # fmt: skip
    with pytest.raises(ValueError, match="keys"):
        rekey({"state": {0: {}, "0.bias": {}}, "param_groups": []}, OptimStateKeyType.PARAM_ID, net)
    with pytest.raises(AssertionError, match="PARAM_NAME"):
        rekey(state, "names", net)
