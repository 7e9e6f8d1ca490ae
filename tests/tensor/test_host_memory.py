"""Tensors over memory of the user's: what is on the tape, and what a private map of a file is. And numbers, checks."""

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.tensor import interop


def test_views_of_a_parameter_over_an_array_pass_gradients():
    data = np.ones(4, np.float32)
    p = torch.nn.Parameter(torch.from_numpy(data))
    views = [p[None, None, :], p[1:], p[0], p.view(2, 2), p.unsqueeze(0)]
    assert all(v.requires_grad for v in views)
    data[:] = 7
    assert views[1].tolist() == [7, 7, 7]
    with torch.no_grad():
        assert views[1].sum().item() == 21
    sum((v * v).sum() for v in views).backward()
    assert p.grad.tolist() == [14 * 4, 14 * 4, 14 * 4, 14 * 4]


def test_writes_without_gradients_reach_the_array_through_views():
    data = np.ones(3, np.float32)
    p = torch.nn.Parameter(torch.from_numpy(data))
    view = p[1:]
    with torch.no_grad():
        view.mul_(2)
        p.mul_(3)
    assert data.tolist() == [3, 6, 6]
    (view * view).sum().backward()
    assert p.grad.tolist() == [0, 12, 12]


@pytest.mark.parametrize("write", [lambda x, w: x.mul_(w), lambda x, w: x[0].mul_(w), lambda x, w: x.__setitem__(0, w)])
def test_an_in_place_result_with_gradients_stays_on_the_tape(write):
    data = np.full(4, 3, np.float32)
    w = torch.tensor(2.0, requires_grad=True)
    x = torch.from_numpy(data)
    write(x, w)
    assert x.requires_grad
    x.sum().backward()
    own = np.full(4, 3, np.float32)
    assert data.tolist() == x.tolist() != own.tolist()
    assert w.grad.item() == {6.0: 3.0 if x[1].item() == 3 else 12.0, 2.0: 1.0}[x[0].item()]


def test_views_of_parameters_refuse_writes_that_would_need_gradients():
    for p in (torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.from_numpy(np.zeros(3, np.float32)))):
        with pytest.raises(RuntimeError, match="view of a leaf"):
            p[0].mul_(2)
        with torch.no_grad():
            p[0].add_(2)
        p.data[1] = 5
        assert p.tolist() == [2, 5, 0]


def test_tensors_over_a_private_map_of_a_file_are_ordinary_ones(tmp_path):
    path = tmp_path / "bytes"
    path.write_bytes(np.arange(6, dtype=np.float32).tobytes())
    storage = torch.UntypedStorage.from_file(str(path), False, 24)
    p = torch.nn.Parameter(torch.asarray(storage[8:24], dtype=torch.uint8).view(torch.float32).reshape(2, 2))
    assert p.tolist() == [[2, 3], [4, 5]]
    assert p._alias is None or p._alias.storage.host is None  # else each step would read it back
    storage.fill_(0)
    optimizer = torch.optim.SGD([p], lr=1.0)
    (p[0] * 2).sum().backward()
    optimizer.step()
    assert p.tolist() == [[0, 1], [4, 5]]
    assert storage.tolist() == [0] * 24
    assert np.frombuffer(path.read_bytes(), np.float32).tolist() == [0, 1, 2, 3, 4, 5]


def test_a_parameter_can_be_made_again_from_its_attributes():
    p = torch.nn.Linear(2, 2).weight
    with torch.no_grad():
        p.mul_(2)
    assert p.__dict__ == {} and p._version > 0
    p.mark = "kept"
    assert p.__dict__ == {"mark": "kept"}


def test_numbers_stand_for_tensors_in_arithmetic_functions():
    whole = torch.ones(2, dtype=torch.int64)
    half = torch.ones(2, dtype=torch.float16)
    assert torch.div(5, 2, rounding_mode="trunc").item() == 2
    assert torch.div(5, 2).item() == 2.5 and torch.floor_divide(7, 2).item() == 3
    assert torch.add(2, 3).dtype == torch.int64 and torch.add(True, True).item() is True
    assert torch.sub(5, whole, alpha=2).tolist() == [3, 3]
    assert torch.mul(2.5, whole).dtype == torch.float32 and torch.mul(2.5, half).dtype == torch.float16
    assert torch.add(1, torch.tensor(1, dtype=torch.int32)).dtype == torch.int32
    with pytest.raises(TypeError):
        torch.pow(2, 3)
    with pytest.raises(TypeError):
        torch.maximum(2, whole)


def test_stated_conditions():
    torch._check(True)
    for check, error in ((torch._check, RuntimeError), (torch._check_index, IndexError), (torch._check_type, TypeError),
                         (torch._check_value, ValueError), (torch._check_not_implemented, NotImplementedError)):
        with pytest.raises(error, match="why"):
            check(False, lambda: "why")
    with pytest.raises(TypeError, match="must be a bool"):
        torch._check(torch.tensor(True))
    with pytest.raises(RuntimeError):
        torch._check_is_size(-1)
    torch._check_tensor_all(torch.tensor([True, True]))
    with pytest.raises(KeyError, match="why"):
        torch._check_tensor_all_with(KeyError, torch.tensor([True, False]), lambda: "why")
    with pytest.raises(TypeError, match="torch.bool"):
        torch._check_tensor_all(torch.ones(2))


@pytest.mark.parametrize("make", [
    lambda d, n: torch.zeros((2, n)), lambda d, n: torch.full((2, n), 1.0), lambda d, n: d.new_full((2, n), 1.0),
    lambda d, n: d[:1].expand(2, n) * 1, lambda d, n: d.new_zeros((2, n)), lambda d, n: d.view(3, n)[:2] * 1,
    lambda d, n: d.narrow(0, 0, n // 2) * 1, lambda d, n: d.split(n // 2)[0] + 0, lambda d, n: d[: n // 2] + 0,
    lambda d, n: d.reshape(3, n)[:2] + 0, lambda d, n: torch.zeros(2, n), lambda d, n: d.new_empty(2, n),
])  # fmt: skip
def test_sizes_may_be_tensors_that_are_yet_to_be_computed(make, tier):
    tier("interpret")
    for _ in range(2):
        w = torch.ones(3, 4, requires_grad=True)
        n = torch.tensor(5) - 1
        d = w * 2
        y = make(d, n)
        assert y.shape == (2, 4)
        y[:, :] = d[:2]
        y.sum().backward()
        assert w.grad.tolist() == [[2] * 4, [2] * 4, [0] * 4]


def test_assigning_to_a_part_writes_nothing_else(monkeypatch):
    """Others may write to the same memory at the same time: another process, or a thread of the user's."""
    memory = np.zeros((2, 3), np.float32)
    t, looked, copy = torch.from_numpy(memory), [], interop.aligned_copy

    def looked_at(*args):
        out = copy(*args)
        memory[0] = 7  # somebody else, between the look and the write
        looked.append(True)
        return out

    monkeypatch.setattr(interop, "aligned_copy", looked_at)
    t[1, 1:] = torch.tensor([1.0, 2.0])
    t[1][0] = 3
    t[-1, -1] = 4
    assert memory.tolist() == [[7 * bool(looked)] * 3, [3, 1, 4]] and t._version == 3
    whole = np.zeros(2, np.int64)
    torch.from_numpy(whole)[1] = 2.7
    assert whole.tolist() == [0, 2]


def test_writes_through_expanded_dimensions():
    memory = np.ones((2, 3), np.float32)
    x = torch.from_numpy(memory)[None].expand(1, 2, 3)
    shown = x.numpy()
    x.copy_(torch.full((1, 2, 3), 2.0))
    shown[0, 0, 0] = 5.0
    assert memory.tolist() == [[5, 2, 2], [2, 2, 2]] == x[0].tolist()
    p = torch.nn.Parameter(torch.tensor(memory)[None].expand(1, 2, 3))
    kept = p.detach().numpy()
    with torch.no_grad():
        p.zero_()
    assert not kept.any()
    with pytest.raises(RuntimeError, match="single memory location"):
        torch.from_numpy(memory)[:1].expand(2, 3).zero_()
