"""Loading in worker processes: order, seeds, shared memory, errors, and that nothing is left behind."""

import functools
import gc
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import pytorchlike as torch
import pytorchlike.nn.functional as F
from pytorchlike.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset, get_worker_info

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="these tests fork")


class Numbers(Dataset):
    """Samples made by a function of the index."""

    def __init__(self, make=lambda i: i, n=32):
        self.make, self.n = make, n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return self.make(i)


class Stream(IterableDataset):
    """0 … n - 1, split among the workers."""

    def __init__(self, n, split=True):
        self.n, self.split = n, split

    def __iter__(self):
        info = get_worker_info()
        if info is None or not self.split:
            return iter(range(self.n))
        return iter(range(info.id, self.n, info.num_workers))


class Heavy(Dataset):
    """At module level, so that another interpreter can unpickle it."""

    def __init__(self):
        self.x = torch.arange(12).reshape(6, 2).float()

    def __len__(self):
        return 6

    def __getitem__(self, i):
        return (self.x[i] * 2 + 1).sum(), os.getpid()


def gone(pids, within=5.0):
    """Whether processes have ended and been waited for."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.02)
    return False


def flat(loader):
    return [x for batch in loader for x in batch.tolist()]


def test_order_and_values_are_those_of_one_process():
    x, y = torch.arange(60.0).reshape(30, 2) + 0, torch.arange(30)
    (x.sum() + 1).item()  # XLA's threads run by now
    data = TensorDataset(x, y)
    one = list(DataLoader(data, 4, shuffle=True, generator=torch.Generator().manual_seed(3)))
    two = list(DataLoader(data, 4, shuffle=True, generator=torch.Generator().manual_seed(3), num_workers=2))
    assert len(one) == len(two) == 8
    for (a, b), (c, d) in zip(one, two, strict=True):
        assert a.tolist() == c.tolist() and b.tolist() == d.tolist() and a.dtype == c.dtype
        assert (c * 2).sum().item() == (a * 2).sum().item()


def test_every_kind_of_batch_arrives():
    def make(i):
        return {"x": torch.tensor([i, i + 1], dtype=torch.bfloat16), "a": np.full((40, 50), i, np.float32),
                "t": f"s{i}", "n": i / 2, "e": np.zeros((0, 3)), "f": np.asfortranarray(np.full((3, 4), i)),
                "b": i % 2 == 0}

    alone, batch = (next(iter(DataLoader(Numbers(make), 4, num_workers=n))) for n in (0, 1))
    assert batch.keys() == alone.keys() and batch["t"] == ["s0", "s1", "s2", "s3"]
    for name in "xanefb":
        assert batch[name].dtype == alone[name].dtype and batch[name].shape == alone[name].shape
        assert batch[name].tolist() == alone[name].tolist()


def test_layouts_without_collation():
    big = np.arange(24000, dtype=np.int32).reshape(20, 30, 40)
    forms = [big, big.transpose(2, 0, 1), big[:, ::2], big[::-1], np.asfortranarray(big), big[0, 0, 0]]
    data = Numbers(lambda i: [forms[i]], len(forms))
    got = list(DataLoader(data, batch_size=None, collate_fn=lambda x: x, num_workers=1))
    for (a,), b in zip(got, forms, strict=True):
        np.testing.assert_array_equal(a, b)


def test_memory_is_used_again_only_when_a_batch_is_gone():
    data = Numbers(lambda i: np.full(50_000, i, np.int64), 24)
    loader = DataLoader(data, 2, num_workers=1, persistent_workers=True)
    kept = list(loader)
    assert [b[0, 0].item() for b in kept] == list(range(0, 24, 2))
    assert all((b[1] == 2 * k + 1).all() for k, b in enumerate(kept))
    part = kept[3][1]
    del kept, loader
    gc.collect()
    assert (part == 7).all()
    loader = DataLoader(data, 2, num_workers=1)
    batches = iter(loader)
    for _ in range(12):
        next(batches)
    assert len(batches.pool.workers[0].receiver.segments) <= 5  # not one for each batch


def test_seeds_and_info():
    def make(i):
        info = get_worker_info()
        return info.id, info.num_workers, info.seed, torch.initial_seed(), random.random(), np.random.rand()

    def epoch(seed):
        return list(DataLoader(Numbers(make, 4), batch_size=None, num_workers=2, collate_fn=lambda x: x,
                               generator=torch.Generator().manual_seed(seed)))

    first, again, other = epoch(1), epoch(1), epoch(2)
    assert first == again != other
    assert [row[0] for row in first] == [0, 1, 0, 1] and {row[1] for row in first} == {2}
    assert first[1][2] == first[0][2] + 1 and first[0][2] == first[0][3]  # base seed + id
    assert len({row[4] for row in first}) == len({row[5] for row in first}) == 4
    assert get_worker_info() is None


def test_init_function_runs_in_the_worker():
    seen = []
    data = Numbers(lambda i: tuple(seen), 2)
    loader = DataLoader(data, batch_size=None, num_workers=2, worker_init_fn=seen.append, collate_fn=lambda x: x)
    assert list(loader) == [(0,), (1,)] and seen == []

    def fail(worker):
        raise ValueError("no luck")

    with pytest.raises(ValueError, match=r"(?s)in DataLoader worker process 0.*no luck"):
        next(iter(DataLoader(data, num_workers=1, worker_init_fn=fail)))


def test_iterable_dataset():
    assert sorted(flat(DataLoader(Stream(23), 3, num_workers=3))) == list(range(23))
    assert flat(DataLoader(Stream(10), 2, num_workers=2)) == [0, 2, 1, 3, 4, 6, 5, 7, 8, 9]
    assert sorted(flat(DataLoader(Stream(5, split=False), 2, num_workers=2))) == sorted([*range(5)] * 2)
    assert flat(DataLoader(Stream(10), 2, num_workers=2, drop_last=True)) == [0, 2, 1, 3, 4, 6, 5, 7]

    class Sized(Stream):
        def __len__(self):
            return 5

    loader = DataLoader(Sized(5, split=False), num_workers=2)
    assert len(loader) == 5
    with pytest.warns(UserWarning, match="reported to be 5"):
        list(loader)


def test_out_of_order():
    def slow_first(i):
        time.sleep(2 if i == 0 else 0)
        return i

    data = Numbers(slow_first, 8)
    got = flat(DataLoader(data, 1, num_workers=2, in_order=False))
    assert sorted(got) == list(range(8)) and got[0] != 0
    assert flat(DataLoader(data, 1, num_workers=2)) == list(range(8))


def test_persistent_workers():
    data = Numbers(lambda i: [os.getpid(), i], 6)
    loader = DataLoader(data, 1, num_workers=2, persistent_workers=True, collate_fn=lambda b: b[0])
    first = list(loader)
    next(iter(loader))  # an epoch left early
    old = iter(loader)
    second = list(loader)
    assert first == second
    with pytest.raises(RuntimeError, match="another iteration"):
        next(old)
    del old
    pids = {pid for pid, _ in first}
    assert len(pids) == 2 and not gone(pids, 0.1)
    del loader
    gc.collect()
    assert gone(pids)
    assert {pid for pid, _ in DataLoader(data, batch_size=None, num_workers=1, collate_fn=tuple)}.isdisjoint(pids)


def test_goes_on_in_mid_epoch():
    def loader(**state):
        made = DataLoader(Numbers(n=20), 3, shuffle=True, num_workers=2, generator=torch.Generator().manual_seed(5))
        if state:
            made.load_state_dict(state)
        return made

    first = loader()
    batches = iter(first)
    for _ in range(3):
        next(batches)
    state = first.state_dict()
    rest = [b.tolist() for b in batches]
    assert len(rest) == 4
    assert [b.tolist() for b in loader(**state)] == rest

    stream = DataLoader(Stream(12), 2, num_workers=2)
    batches = iter(stream)
    next(batches)
    state = stream.state_dict()
    other = DataLoader(Stream(12), 2, num_workers=2)
    other.load_state_dict(state)
    assert flat(other) == [x for b in batches for x in b.tolist()]


# ---- errors ---------------------------------------------------------------------------------------------------------


def test_exceptions_carry_the_traceback_and_the_loader_goes_on():
    class Own(Exception):
        def __init__(self, a, b):
            super().__init__(a, b)

    def make(i):
        if i == 1:
            raise KeyError("missing key")
        if i == 2:
            raise Own(1, 2)
        return i

    batches = iter(DataLoader(Numbers(make, 4), 1, num_workers=1))
    assert next(batches).tolist() == [0]
    with pytest.raises(KeyError, match=r"(?s)Caught KeyError in DataLoader worker process 0\.\nOriginal Traceback.*"
                                       r"in make\n.*missing key"):
        next(batches)
    with pytest.raises(RuntimeError, match="(?s)Original Traceback.*Own"):
        next(batches)
    assert next(batches).tolist() == [3]
    with pytest.raises(StopIteration):
        next(batches)


def test_answers_that_cannot_be_pickled():
    with pytest.raises((AttributeError, TypeError, RuntimeError), match="worker process 0"):
        next(iter(DataLoader(Numbers(lambda i: lambda: i), batch_size=None, num_workers=1, collate_fn=lambda x: x)))


@pytest.mark.parametrize("how, message", [
    (lambda: os.kill(os.getpid(), signal.SIGKILL), r"worker \(pid \d+\), number 0, is killed by signal: SIGKILL"),
    (lambda: os.kill(os.getpid(), signal.SIGSEGV), r"worker \(pid \d+\), number 0, is killed by signal: SIGSEGV"),
    (lambda: os._exit(7), r"DataLoader worker \(pid\(s\) \d+\) exited unexpectedly: number 0, with exit code 7"),
])  # fmt: skip
def test_a_worker_that_ends(how, message):
    def make(i):
        if i == 2:
            import faulthandler

            faulthandler.disable()
            how()
        return i

    batches = iter(DataLoader(Numbers(make), 1, num_workers=2))
    pids = batches.pool.pids
    begin = time.monotonic()
    with pytest.raises(RuntimeError, match=message):
        for _ in range(4):
            next(batches)
    assert time.monotonic() - begin < 4 and gone(pids, 1)
    with pytest.raises(RuntimeError, match="have ended"):
        next(batches)


def test_a_worker_that_hangs():
    def make(i):
        if i == 1:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(100)
        return i

    batches = iter(DataLoader(Numbers(make), 1, num_workers=2, timeout=0.5))
    pids = batches.pool.pids
    begin = time.monotonic()
    with pytest.raises(RuntimeError, match=rf"timed out after 0\.5 seconds.*{pids[1]}"):
        for _ in range(2):
            next(batches)
    assert time.monotonic() - begin < 5 and gone(pids, 1)


IMAGE = (np.random.default_rng(0).random((3, 12, 14)) * 255).astype(np.uint8)
GLOBAL = torch.arange(12.0).reshape(3, 4) * 2  # pending when the workers are forked


def _augmented(i):
    """What torchvision's tensor transforms do."""
    x = torch.from_numpy(IMAGE).float().div(255)
    if torch.rand(1).item() < 0.5:
        x = torch.flip(x, [-1])
    top = int(torch.randint(0, 3, (1,)))
    x = F.pad(x, (2, 2, 2, 2))[:, top : top + 12, 1:13]
    x = F.interpolate(x[None], size=(8, 8), mode="bilinear", antialias=True)[0]
    return (x - torch.tensor([0.5, 0.4, 0.3])[:, None, None]) / torch.tensor([0.2, 0.3, 0.2]).view(-1, 1, 1)


def _edited(i):
    t = GLOBAL.clone()
    t[:, 1] = 7.0
    t[t > 10] = 0.0
    t[0].add_(5).mul_(2)
    return t


COMPUTED = {
    "factories": lambda i: torch.cat([torch.ones(2), torch.zeros(1), torch.full((2,), 3.5), torch.arange(3).float(),
                                      torch.linspace(0, 1, 5), torch.eye(2).flatten()]),
    "random": lambda i: torch.cat([torch.rand(5), torch.randn(40), torch.randint(9, (4,)), torch.randperm(7),
                                   torch.bernoulli(torch.full((9,), 0.4)), torch.multinomial(torch.ones(5), 2)]),
    "augmented": _augmented,
    "edited": _edited,
    "reductions": lambda i: torch.stack([GLOBAL.mean(), GLOBAL.std(), GLOBAL.sum(), GLOBAL.max(), GLOBAL.norm()]),
    "along": lambda i: torch.cat([GLOBAL.softmax(-1).sum(0), GLOBAL.cumsum(1)[0], GLOBAL.argmax(1), GLOBAL.amax(1)]),
    "orders": lambda i: torch.cat([GLOBAL.sort(1, descending=True)[0][0], GLOBAL.topk(2)[1][1], GLOBAL[GLOBAL > 9]]),
    "indexing": lambda i: GLOBAL[torch.tensor([2, 0])].gather(1, torch.tensor([[1], [3]])),
    "scattering": lambda i: F.one_hot(torch.tensor([0, 2]), 4) + torch.zeros(4).scatter_add_(
        0, torch.tensor([0, 1, 1]), torch.ones(3)),
    "products": lambda i: GLOBAL @ GLOBAL.T + torch.einsum("ij,kj->ik", GLOBAL, GLOBAL),
    "filters": lambda i: F.max_pool2d(F.conv2d(torch.from_numpy(IMAGE)[None].float(), torch.ones(3, 1, 3, 3) / 9,
                                               padding=1, groups=3, stride=2), 2),
    "sampling": lambda i: F.grid_sample(torch.from_numpy(IMAGE)[None].float(), F.affine_grid(
        torch.tensor([[[0.9, 0.1, 0], [-0.1, 0.9, 0.1]]]), [1, 3, 5, 5], align_corners=False), align_corners=False),
    "whole numbers": lambda i: torch.tensor([-7, 7]) // 2 + torch.tensor([-7, 7]) % 3 + (torch.tensor([1, 3]) << 2),
    "types": lambda i: (GLOBAL * 1.7).to(torch.uint8).long() + (GLOBAL / 3).bfloat16().float() + (GLOBAL / 3).half(),
    "special": lambda i: torch.erf(GLOBAL / 10) + F.gelu(GLOBAL) + torch.lgamma(GLOBAL + 1),
    "transforms": lambda i: torch.fft.rfft(GLOBAL).abs() + torch.fft.fft2(GLOBAL).real.sum(),
    "solved": lambda i: torch.linalg.inv(torch.eye(3) * 2 + 0.1),
    "long": lambda i: functools.reduce(lambda a, k: (a * 1.01 + k).tanh(), range(20), GLOBAL),
    "gradient": lambda i: (lambda x: ((x * x).sum().backward(), x.grad)[1])(GLOBAL.clone().requires_grad_()),
    "batches": lambda i: torch.stack([torch.zeros(2), torch.ones(2)]).permute(1, 0).reshape(-1).repeat(2).roll(1),
}  # fmt: skip


def test_forked_workers_compute():
    """XLA does not survive a fork; operations give the same there all the same, random ones too."""
    names = list(COMPUTED)

    def make(i):
        torch.manual_seed(i)
        return COMPUTED[names[i]](i)

    data = Numbers(make, len(names))
    there = list(DataLoader(data, batch_size=None, num_workers=1, timeout=60))
    for i, name in enumerate(names):
        here, got = make(i), there[i]
        assert got.dtype == here.dtype and got.shape == here.shape, name
        np.testing.assert_allclose(got.numpy(), here.numpy(), rtol=2e-5, atol=1e-5, err_msg=name)


def test_kernels_of_the_main_process_are_not_used_in_forked_workers(tier):
    """They would wait for ever for threads that were not forked."""
    tier("ops")

    def make(i):
        return F.conv1d(torch.arange(4000.0)[None, None], torch.ones(8, 1, 80) / 80, stride=2)

    here = make(0)
    assert here.shape == (1, 8, 1961) and float(here[0, 0, 0]) == 39.5
    (there,) = DataLoader(Numbers(make, 1), batch_size=None, num_workers=1, timeout=20)
    np.testing.assert_allclose(there.numpy(), here.numpy(), rtol=1e-5)


def test_what_forked_workers_cannot_do_is_said():
    cases = (lambda i: torch.linalg.eigvals(torch.eye(2)), NotImplementedError, "primitive eig .*forkserver"), (
        lambda i: torch.tensor([1.0, 2.0])[torch.tensor(5)], IndexError, "out of (range|bounds)"), (
        lambda i: torch.zeros(2) @ torch.zeros(3), RuntimeError, "matmul|dot|size"), (
        lambda i: torch.gather(torch.zeros(2), 0, torch.tensor([1]) + 4), (IndexError, RuntimeError), "gather")
    for make, kind, message in cases:
        with pytest.raises(kind, match=f"(?s)worker process 0.*{message}"):
            next(iter(DataLoader(Numbers(make), 2, num_workers=1, timeout=20)))


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_other_start_methods_compute(method):
    loader = DataLoader(Heavy(), 3, num_workers=1, multiprocessing_context=method, timeout=60)
    got = list(loader)
    assert [x for batch, _ in got for x in batch.tolist()] == [4.0, 12, 20, 28, 36, 44]
    assert os.getpid() not in got[0][1].tolist()


def test_an_iterator_left_early_ends_its_workers():
    batches = iter(DataLoader(Numbers(lambda i: np.zeros(100_000)), 2, num_workers=2))
    pids = batches.pool.pids
    next(batches)
    del batches
    gc.collect()
    assert gone(pids)


PROGRAM = """
    import os, sys, time, numpy as np, pytorchlike as torch
    from pytorchlike.utils.data import DataLoader, Dataset
    class Slow(Dataset):
        def __len__(self): return 1000
        def __getitem__(self, i):
            time.sleep(30 if i > 3 else 0)
            return np.zeros(100_000)
    batches = iter(DataLoader(Slow(), 1, num_workers=2))
    next(batches)
    print(*batches.pool.pids, flush=True)
    for _ in batches: pass
"""


@pytest.mark.parametrize("number, code", [(signal.SIGINT, None), (signal.SIGTERM, -15), (signal.SIGKILL, -9)])
def test_nothing_is_left_when_the_program_is_stopped(number, code):
    before = set(os.listdir("/dev/shm"))
    root = Path(torch.__file__).parents[1]
    env = {**os.environ, "PYTHONPATH": str(root)}
    program = subprocess.Popen([sys.executable, "-c", textwrap.dedent(PROGRAM)], stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.PIPE, env=env, start_new_session=True)
    pids = [int(pid) for pid in program.stdout.readline().split()]
    assert len(pids) == 2
    time.sleep(0.3)
    if number == signal.SIGINT:
        os.killpg(program.pid, number)  # as a terminal does
    else:
        program.send_signal(number)
    _, errors = program.communicate(timeout=20)
    if code is None:
        assert "KeyboardInterrupt" in errors.splitlines()[-1]
        assert "resource_tracker" not in errors
    else:
        assert program.returncode == code
    assert gone(pids)
    assert not {name for name in set(os.listdir("/dev/shm")) - before if "pytorchlike" in name or "psm_" in name}


def test_pinned_batches_are_on_their_way_to_the_accelerator(monkeypatch):
    """The batch that is handed out, and the one after if it has arrived, so that .to(device) finds copies begun."""
    import jax

    from pytorchlike.tensor import _values
    from pytorchlike.utils.data._utils import ahead

    device = jax.devices()[0]  # stands for an accelerator
    monkeypatch.setattr(ahead, "destination", lambda name: device)

    class Custom:
        pinned = False

        def pin_memory(self):
            self.pinned = True
            return self

    data = Numbers(lambda i: {"x": np.full(3000, i), "pair": (torch.ones(2), i)}, 8)
    for workers in (0, 1):
        batches = iter(DataLoader(data, 2, num_workers=workers, pin_memory=True))
        batch = next(batches)
        value = batch["x"]._get()
        copy = _values._under_way[value][1]
        assert batch["pair"][1]._get() in _values._under_way
        assert _values.transfer(value, device).data is copy and value not in _values._under_way
        assert _values.transfer(value, device).data is not copy  # it is used once; later ones are copies of their own
        batch["x"].add_(1)
        assert batch["x"]._get() not in _values._under_way
        if workers:
            until = time.monotonic() + 10
            while not batches.answers and time.monotonic() < until:
                time.sleep(0.02)
                batches._look_ahead()
            assert batches.answers[1]["x"]._get() in _values._under_way
        assert [b["x"][0, 0].item() for b in batches] == [2, 4, 6]
        del batch, batches, value, copy
        gc.collect()
        assert len(_values._under_way) <= 4
    got = next(iter(DataLoader(Numbers(lambda i: Custom(), 2), None, pin_memory=True, collate_fn=lambda x: x)))
    assert got.pinned


def test_what_the_dataset_computes_is_not_compiled():
    """Random augmentation gives a different graph for each batch: it must not become part of the training step."""
    rng = random.Random(0)

    def make(i):
        x = torch.arange(4.0) * (i + 1)
        for _ in range(rng.randrange(4)):
            x = (x + 1).flip(0) if rng.random() < 0.5 else x.clamp(min=1).roll(1)
        return x

    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def epoch():
        for x in DataLoader(Numbers(make, 24), 3):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()

    epoch()
    before = torch.compiler.stats()
    epoch()
    after = torch.compiler.stats()
    assert after["compiles"] == before["compiles"]


def test_processes_of_pythons_own_modules_compute(tmp_path):
    """Whoever forks: what was pending or still running comes out there, without a word on stderr."""
    program = tmp_path / "forks.py"
    program.write_text(
        textwrap.dedent("""
        import multiprocessing as mp, os
        from concurrent.futures import ProcessPoolExecutor

        import pytorchlike as torch

        w = torch.ones(3, 3, requires_grad=True)

        def f(i):
            return float((w.detach() * i).sum() + pending)

        if __name__ == "__main__":
            pending = torch.ones(2).sum()
            opt = torch.optim.SGD([w], 1.0)
            (w.sum() * 2).backward()
            opt.step()
            context = mp.get_context("fork")
            with context.Pool(1) as pool:
                print(pool.map(f, range(2)))
            with ProcessPoolExecutor(1, mp_context=context) as pool:
                print(list(pool.map(f, range(2))))
            queue = context.Queue()
            process = context.Process(target=lambda: queue.put(f(2)))
            process.start()
            print(queue.get(timeout=20), f(2))
            process.join()
        """)
    )
    env = os.environ | {"PYTHONPATH": str(Path(torch.__file__).parents[1])}
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=60, env=env)
    assert done.stdout.splitlines() == ["[2.0, -7.0]", "[2.0, -7.0]", "-16.0 -16.0"] and not done.stderr, done.stderr


def test_processes_of_an_iterator():
    """Programs look at the workers of an iterator, and end them early, under PyTorch's names."""
    loader = DataLoader(list(range(20)), num_workers=2, persistent_workers=True)
    batches = iter(loader)
    next(batches)
    workers = batches._workers
    assert len(workers) == 2 and all(w.is_alive() for w in workers)
    batches._shutdown_workers()
    for worker in workers:
        worker.join(5)
    assert not any(w.is_alive() for w in workers)
    assert len(list(loader)) == 20  # with new ones


class Drawn(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, i):
        return torch.tensor([torch.rand(1).item(), random.random(), np.random.rand()], dtype=torch.float64)


def test_workers_draw_on_as_pytorchs_do_where_its_numbers_are_followed():
    before = torch.random.follow_pytorch()
    try:
        torch.manual_seed(5)
        loader = DataLoader(Drawn(), 2, num_workers=2, persistent_workers=True)
        first, second = torch.cat([*loader]), torch.cat([*loader])  # each by workers 0, 1, 0
        after = torch.rand(1).item()
        torch.manual_seed(5)
        seed = torch.empty((), dtype=torch.int64).random_().item()  # one for both epochs
        assert torch.rand(1).item() == after
        torch.manual_seed(seed)
        drawn = random.Random(seed)
        expected = [[torch.rand(1).item(), drawn.random()] for _ in range(8)]
        assert torch.cat([first[:2], first[4:], second[:2], second[4:]])[:, :2].tolist() == expected
    finally:
        torch.random.follow_pytorch(before)


def test_a_generators_permutations_are_pytorchs_in_later_epochs_too():
    """The numbers are PyTorch 2.13's."""
    before = torch.random.follow_pytorch()
    try:
        generator = torch.Generator()
        generator.manual_seed(9)
        sampler = RandomSampler(range(4), generator=generator)
        assert [[*sampler] for _ in range(3)] == [[2, 0, 1, 3], [3, 2, 0, 1], [3, 1, 2, 0]]
    finally:
        torch.random.follow_pytorch(before)
