"""Training on tensors that are spread over several devices: the same numbers, one program a step, layouts that stay."""

import os
import subprocess
import sys

import pytest

import pytorchlike as torch
from pytorchlike.distributed.tensor import Replicate, Shard, distribute_tensor

PROGRAM = """
import jax, numpy as np
import pytorchlike as torch
from jax.sharding import Mesh, PartitionSpec as P
from pytorchlike.distributed.tensor import Replicate, Shard, distribute_module, distribute_tensor

F, nn = torch.nn.functional, torch.nn
mesh = Mesh(np.array(jax.devices()), ("data",))
assert mesh.shape["data"] == 4


def divide(name, part, mesh):  # weights in parts, as FSDP has them
    if isinstance(part, nn.Linear):
        part.weight = distribute_tensor(part.weight, mesh, [Shard(0)])


def train(how, steps=5):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))
    if how != "one":
        distribute_module(net, mesh, divide if how == "parts" else None)
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    rng = np.random.default_rng(0)
    found = []
    for i in range(steps):
        x, y = torch.tensor(rng.normal(size=(32, 8)).astype("f")), torch.tensor(rng.integers(0, 4, 32))
        if how != "one":
            x, y = distribute_tensor(x, mesh, [Shard(0)]), distribute_tensor(y, mesh, [Shard(0)])
        loss = F.cross_entropy(net(x), y)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        found.append(loss.item())
        if i == 2:
            before = torch.compiler.stats()
    after = torch.compiler.stats()
    assert after["compiles"] == before["compiles"] and after["op_runs"] == before["op_runs"], (how, before, after)
    weight = net[0].weight
    if how != "one":
        spec = P("data") if how == "parts" else P()
        assert weight.jax().sharding.spec == spec, weight.jax().sharding
        assert opt.state[weight]["exp_avg"].jax().sharding.spec == spec
        assert len(weight.grad.jax().sharding.device_set) == 4
    print(weight[0, :2].tolist())  # a value looked at in the midst of things
    return found


one = train("one")
np.testing.assert_allclose(train("everywhere"), one, rtol=1e-5)
np.testing.assert_allclose(train("parts"), one, rtol=1e-5)

from pytorchlike.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))
fully_shard(net[3], mesh=mesh)
fully_shard(net, mesh=mesh)
opt = torch.optim.Adam(net.parameters(), lr=1e-2)
rng = np.random.default_rng(0)
for want in one:  # plain batches: the module divides them
    x, y = torch.tensor(rng.normal(size=(32, 8)).astype("f")), torch.tensor(rng.integers(0, 4, 32))
    loss = F.cross_entropy(net(x), distribute_tensor(y, mesh))
    opt.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    opt.step()
    np.testing.assert_allclose(loss.item(), want, rtol=1e-5)
assert isinstance(net, FSDPModule) and net[3].weight.jax().sharding.spec == P("data")
assert opt.state[net[0].weight]["exp_avg"].jax().addressable_shards[0].data.shape == (4, 8)
try:
    fully_shard(nn.Linear(4, 4), mesh=mesh, mp_policy=MixedPrecisionPolicy(torch.bfloat16))
except NotImplementedError as error:
    assert "autocast" in str(error)
else:
    raise AssertionError("mp_policy was taken")

a = distribute_tensor(torch.ones(8, 4), mesh, [Shard(0)]).requires_grad_()
b = distribute_tensor(torch.arange(12.0).view(4, 3), mesh)
assert repr((a @ b)[0].detach()) == "tensor([18., 22., 26.])"  # looked at without executing
((a @ b).tanh().sum() * 2).backward()
assert a.grad.shape == (8, 4)
try:
    a @ torch.ones(4, 3)
except RuntimeError as error:
    assert "on the same device" in str(error)
else:
    raise AssertionError("a tensor of one device was taken")
print("done")
"""


def test_training_over_four_devices(tmp_path):
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout.endswith("done\n"), done.stdout + done.stderr


def test_what_cannot_be_distributed_is_told():
    import jax
    import numpy as np

    mesh = jax.sharding.Mesh(np.array(jax.devices()[:1]), ("x",))
    x = torch.ones(3, 2)
    with pytest.raises(TypeError, match=r"jax\.sharding\.Mesh"):
        distribute_tensor(x, "cpu", [Shard(0)])
    with pytest.raises(ValueError, match="one entry for each axis"):
        distribute_tensor(x, mesh, [Shard(0), Replicate()])
    with pytest.raises(ValueError, match=r"Shard\(2\)"):
        distribute_tensor(x, mesh, [Shard(2)])
    with pytest.raises(RuntimeError, match="leaf"):
        distribute_tensor(x.requires_grad_() * 2, mesh)
    assert distribute_tensor(x, mesh).requires_grad


def test_former_places_of_meshes_and_placements():
    from pytorchlike.distributed import device_mesh
    from pytorchlike.distributed._tensor import DTensor, Shard
    from pytorchlike.distributed._tensor.device_mesh import init_device_mesh
    from pytorchlike.distributed._tensor.placement_types import Shard as same
    from pytorchlike.distributed.tensor.device_mesh import DeviceMesh

    assert init_device_mesh is device_mesh.init_device_mesh and DeviceMesh is device_mesh.DeviceMesh
    assert Shard is same and DTensor.__name__ == "DTensor"


def test_in_a_world_of_one_process_nothing_is_spread():
    from pytorchlike.distributed.device_mesh import DeviceMesh
    from pytorchlike.distributed.tensor import Shard, distribute_tensor
    from pytorchlike.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=torch.distributed.HashStore())
    try:
        mesh = DeviceMesh("cpu", [0])
        weight = torch.ones(3, 2)
        assert distribute_tensor(weight, mesh, [Shard(0)]) is weight
        net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2))
        x = torch.rand(5, 4)
        before = net(x).tolist()
        assert parallelize_module(net, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})(x).tolist() == before
    finally:
        torch.distributed.destroy_process_group()
