"""What a dataset computes: evaluated by NumPy when it is called, with the meaning that it has elsewhere."""

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.engine import host, local, stats
from pytorchlike.engine.host import AtOnce
from pytorchlike.utils.data import DataLoader, Dataset


class Made(Dataset):
    """Samples made by a function of the index."""

    def __init__(self, make, n=4):
        self.make, self.n = make, n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return self.make(i)


def picture(i):
    return np.random.default_rng(i).integers(0, 255, (40, 48, 3), np.uint8)


def augmented(i):
    """Operations as vision transforms use them."""
    x = torch.from_numpy(picture(i)).permute(2, 0, 1)[:, i : i + 32, 1 : 1 + 32].float().div(255)
    x = x.flip(-1) if i % 2 else x
    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.2, 0.1])
    x = (x - mean[:, None, None]) / std[:, None, None]
    gray = (0.3 * x[0] + 0.6 * x[1] + 0.1 * x[2]).unsqueeze(0).expand(3, -1, -1)
    x = torch.clamp(x * (1 + 0.01 * i) + gray.mean(), -3, 3)
    padded = torch.nn.functional.pad(x, (2, 2), mode="reflect")
    return padded, torch.where(x > 0, x, x * 0.1).sum((1, 2)), torch.cat([x[:1], x[1:]]).argmax(), i


def test_batches_are_what_the_same_code_computes_elsewhere():
    before = stats.fused_runs, stats.op_runs, stats.kernels
    (got,) = DataLoader(Made(augmented), 4)
    assert (stats.fused_runs, stats.op_runs, stats.kernels) == before, "nothing was recorded or compiled"
    for k, column in enumerate(got):
        want = torch.stack([torch.as_tensor(augmented(i)[k]) for i in range(4)])
        assert column.dtype is want.dtype
        torch.testing.assert_close(column, want, rtol=1e-5, atol=1e-5)


def test_random_numbers_are_the_same_and_go_on():
    def draws(i=0):
        return torch.cat([torch.rand(3), torch.randn(2), torch.randint(0, 9, (2,)).float(), torch.randperm(4).float()])

    torch.manual_seed(5)
    wanted = [draws() for _ in range(3)]
    torch.manual_seed(5)
    with host.apart():
        got = [draws() for _ in range(2)]
    got.append(draws())
    torch.testing.assert_close(torch.stack(got), torch.stack(wanted))


def test_few_random_numbers_are_computed_ahead_of_the_draws():
    """One call of NumPy serves many draws; what is drawn is what it would be without that."""

    def draws(n):
        out = []
        for k in range(n):
            out += [torch.randint(0, 32, (2,)).tolist(), torch.rand(1).item(), torch.rand(()).item()]
            out += [torch.rand(3, 2).tolist()] if k % 3 else [torch.randint(5, 6 + k, (1,)).item()]
        return out

    def program():
        torch.manual_seed(-3)
        first = draws(60)
        torch.default_generator.set_offset(7)  # back, and then to where the counter wraps
        again = draws(3)
        torch.default_generator.set_offset((1 << 63) - 5)
        return first, again, draws(5)

    wanted = program()
    runs = []
    with host.apart():
        got = program()
        for ready in host._ready.values():
            if type(ready.run) is host._Ahead:
                ready.run.run = lambda *given, run=ready.run.run: runs.append(1) or run(*given)
        torch.manual_seed(1)
        for _ in range(100):
            torch.rand(1)
    assert got == wanted
    assert 0 < len(runs) < 10


def test_memory_shared_with_numpy():
    """The user's memory is looked at when an operation is called, and no result is a part of it."""
    memory = np.arange(6, dtype=np.float32)
    with host.apart():
        x = torch.from_numpy(memory)
        rows = x.view(2, 3)
        plus, same, turned = x + 1, x.float(), rows.t()
        copy, detached, joined = x.clone(), x.detach(), torch.cat([x])
        memory[0] = 100
        assert plus[0] == 1 and copy[0] == 0 and joined[0] == 0
        assert same[0] == 100 and rows[0, 0] == 100 and turned[0, 0] == 100 and detached[0] == 100
        rows[1].mul_(2)
        assert memory.tolist() == [100, 1, 2, 6, 8, 10]
        rows.t()[2] = -1
        assert memory.tolist() == [100, 1, -1, 6, 8, -1] and (x * 1).tolist() == memory.tolist()


def test_memory_shared_with_numpy_that_is_recorded_later():
    """An operation on the tape is not evaluated at once: it takes a snapshot."""
    memory = np.ones(3, np.float32)
    with host.apart():
        weight = torch.full((3,), 2.0, requires_grad=True)
        x = torch.from_numpy(memory)
        assert type(local.trace) is AtOnce
        y = x * weight
        memory[:] = 7
        y.sum().backward()
        assert y.tolist() == [2, 2, 2] and weight.grad.tolist() == [1, 1, 1]
        assert type(local.trace) is AtOnce, "what was recorded has been executed"
        assert (x + 1).tolist() == [8, 8, 8]


def test_gradients_hooks_and_modes():
    def sample(i):
        x = torch.full((2,), float(i), requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t * 1, lambda t: t):
            y = (x * x).sum()
        (g,) = torch.autograd.grad(y, x, create_graph=True)
        (h,) = torch.autograd.grad(g.sum(), x)
        with torch.no_grad():
            x.add_(1)
        with torch.inference_mode():
            z = torch.ones(2) * 2
        return g.detach(), h, x.detach(), z.clone(), torch.func.vmap(lambda a: a * 2)(torch.ones(2) * i)

    (got,) = DataLoader(Made(sample, 3), 3)
    assert [column[:, 0].tolist() for column in got] == [[0, 2, 4], [2, 2, 2], [1, 2, 3], [2, 2, 2], [0, 2, 4]]


def test_errors_arise_at_the_call():
    with host.apart():
        x = torch.arange(4.0)
        with pytest.raises(RuntimeError, match="index 4 is out of bounds"):
            torch.gather(x, 0, torch.tensor([1, 2]) + 2)
        with pytest.raises(torch.linalg.LinAlgError):
            torch.linalg.cholesky(-torch.eye(2))
        with pytest.raises(RuntimeError):
            x + torch.ones(3)
        with pytest.raises(RuntimeError, match="in place|broadcast shape"):
            x.add_(torch.ones(2, 4))
        assert (x + 1).tolist() == [1, 2, 3, 4] and torch.rand(2).shape == (2,)


def test_numbers_that_vary_do_not_multiply_what_is_prepared():
    with host.apart():
        x = torch.arange(3.0)
        for k in range(12):
            assert (x * (0.5 + k)).tolist() == [0, 0.5 + k, 1 + 2 * k]
        many = len(host._ready)
        for k in range(40):
            assert (x * (100.5 + k)).tolist() == [0, 100.5 + k, 201 + 2 * k]
            assert (x.int() * k).dtype is torch.int32
        assert len(host._ready) <= many + 10


def test_what_numpy_is_slow_at_is_compiled_in_time(monkeypatch):
    """The same results before and after; what NumPy is as quick at is never compiled."""
    monkeypatch.setattr(host.policy, "RENT", 1e-9)
    x, w = torch.rand(300, 200), torch.rand(200, 200)
    wanted = [x.sort().values, (x @ w).sum(), (x @ w @ w).relu().argmax(), x * 2]
    [t.sum().item() for t in wanted]
    for _ in range(4):
        with host.apart():
            got = [x.sort().values, (x @ w).sum(), (x @ w @ w).relu().argmax(), x * 2]
            for a, b in zip(got, wanted, strict=True):
                torch.testing.assert_close(a, b)
            assert (x * 2 + 1).sum() > 0
    made = {str(key[0]): ready.run.__name__ for key, ready in host._ready.items() if x._value.meta in key[3]}
    assert made["<op sort>"] == "run" and made["<op mul>"] == "straight"


def test_tensors_of_the_main_program_take_part():
    """Pending ones, XLA's arrays, and parameters; what was pending before is not touched."""
    pending = torch.ones(3) * 2
    weight = torch.nn.Parameter(torch.ones(3))
    device = torch.from_numpy(np.arange(6.0)).reshape(2, 3) + 0.5
    device.sum().item()
    with torch.no_grad():
        (got,) = DataLoader(Made(lambda i: (pending + i, weight * i, device[i] * 2, device[i].view(3)), 2), 2)
    assert [column[1].tolist() for column in got] == [[3] * 3, [1] * 3, [7, 9, 11], [3.5, 4.5, 5.5]]
    assert pending.tolist() == [2, 2, 2] and not got[1].requires_grad


# ---- batches that are filled while their samples are made ------------------------------------------------------------


def big(i):
    return torch.full((80, 80), float(i))


def test_filled_batches_are_collated_ones():
    def sample(i):
        return {"x": big(i), "more": (np.full((70, 70), i), [big(i).t(), i]), "name": f"n{i}", "small": torch.ones(2)}

    (got,) = DataLoader(Made(sample), 4)
    want = torch.utils.data.default_collate([sample(i) for i in range(4)])
    assert list(got) == list(want) and got["name"] == want["name"]
    assert type(got["more"]) is list and type(got["more"][1]) is list
    pairs = [(got["x"], want["x"]), (got["small"], want["small"]), (got["more"][0], want["more"][0])]
    for a, b in [*pairs, *zip(got["more"][1], want["more"][1], strict=True)]:
        assert a.dtype is b.dtype and a.shape == b.shape and torch.equal(a, b)


@pytest.mark.parametrize("odd", [lambda: torch.ones(3), lambda: torch.ones(80, 80, dtype=torch.int32), lambda: 5])
def test_samples_that_are_not_alike(odd):
    """As without filling: the same error or the same batch."""
    samples = [(big(0), "a"), (big(1), "b"), (odd(), "c"), (big(3), "d")]
    try:
        want = torch.utils.data.default_collate(samples)
    except (RuntimeError, TypeError, AttributeError) as error:
        with pytest.raises(type(error)):
            list(DataLoader(Made(lambda i: samples[i]), 4))
        return
    (got,) = DataLoader(Made(lambda i: samples[i]), 4)
    assert torch.equal(got[0], want[0]) and got[0].dtype is want[0].dtype and got[1] == want[1]


def test_a_row_is_taken_when_its_sample_is_given():
    """A dataset may use its memory again for the next sample."""
    memory = np.zeros((80, 80), np.float32)

    def sample(i):
        memory[:] = i
        return torch.from_numpy(memory)

    (got,) = DataLoader(Made(sample), 4)
    assert got[:, 0, 0].tolist() == [0, 1, 2, 3]
    memory[:] = 9
    assert got[:, 0, 0].tolist() == [0, 1, 2, 3]
    held = [t.requires_grad_() for t in map(big, range(2))]
    (got,) = DataLoader(Made(lambda i: held[i], 2), 2)
    got.sum().backward()
    assert held[1].grad.shape == (80, 80)


def test_the_memory_of_a_batch_serves_another_when_nobody_needs_it():
    loader = DataLoader(Made(lambda i: torch.full((300, 300), float(i)), 16), 4)
    held, addresses = [], set()
    for k, batch in enumerate(loader):
        addresses.add(batch._look().ctypes.data)
        held.append((batch * 2, batch[1], batch.numpy()[2], batch.t() if batch.ndim == 2 else batch.mT)[k])
        del batch
    assert 1 < len(addresses) <= 4
    for k, part in enumerate(held):
        want = torch.arange(4.0 * k, 4 * k + 4)
        first = [want * 2, want[1:2].expand(300), want[2:3].expand(300), want][k]
        got = torch.as_tensor(part)[(slice(None),) + (0,) * (np.ndim(part) - 1)]
        assert got.tolist() == first.tolist()
