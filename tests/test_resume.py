"""A run that is stopped in mid-epoch, saved and started again in a new process' state goes on bit for bit."""

import itertools
import random
import signal
import sys
import threading

import numpy as np
import pytest

import pytorchlike as torch
import pytorchlike.nn.functional as F
from pytorchlike import nn
from pytorchlike.engine import execute, flush, policy
from pytorchlike.engine.stats import stats
from pytorchlike.utils.data import DataLoader, Dataset


class Pictures(Dataset):
    """Samples with random augmentation, from all three sources of random numbers."""

    def __len__(self):
        return 24

    def __getitem__(self, i):
        x = torch.full((1, 4, 4), i / 24) + 0.1 * torch.rand(1, 4, 4)
        if random.random() < 0.5:
            x = x.flip(-1)
        return x * float(np.random.uniform(0.9, 1.1)), i % 3


class Run:
    def __init__(self, workers, seed):
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3),
                                   nn.Linear(16, 3))  # fmt: skip
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.01)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 20)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=3)
        self.loader = DataLoader(Pictures(), 4, shuffle=True, num_workers=workers,
                                 generator=torch.Generator().manual_seed(seed + 1))
        self.parts = {name: getattr(self, name) for name in ("model", "optimizer", "scheduler", "scaler", "loader")}

    def epochs(self):
        while True:
            for x, y in self.loader:
                self.optimizer.zero_grad()
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    loss = F.cross_entropy(self.model(x), y)
                self.scaler.scale(loss).backward()
                self.scaler.unscale_(self.optimizer)
                nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.scaler.step(self.optimizer)
                self.scaler.update()
                self.scheduler.step()
                yield loss.item(), self.scheduler.get_last_lr()[0], self.scaler.get_scale(), y.tolist()

    def save(self, path):
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state["random"] = {"torch": torch.get_rng_state(), "python": random.getstate(), "numpy": np.random.get_state()}
        state["order"] = self.loader.generator.get_state()
        torch.save(state, path)

    def load(self, path):
        state = torch.load(path, weights_only=False)
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        torch.set_rng_state(state["random"]["torch"])
        random.setstate(state["random"]["python"])
        np.random.set_state(state["random"]["numpy"])
        self.loader.generator.set_state(state["order"])


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.skipif(sys.platform != "linux", reason=""))])
def test_goes_on_as_if_never_stopped(workers, tmp_path):
    random.seed(1)
    np.random.seed(1)
    first = Run(workers, 3)
    steps = first.epochs()
    for _ in range(8):  # one epoch and two batches
        next(steps)
    first.save(tmp_path / "run.pt")
    want = [next(steps) for _ in range(7)]  # into the third epoch
    random.seed(99)
    np.random.seed(99)
    second = Run(workers, 50)
    second.load(tmp_path / "run.pt")
    steps = second.epochs()
    got = [next(steps) for _ in range(7)]
    assert got == want
    for a, b in zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # one may fall into a callback of JAX's
@pytest.mark.parametrize("compiled", [False, True])
def test_ctrl_c_at_any_moment_of_training_leaves_weights_and_optimizer(compiled):
    """Old weights are given to the program that makes the new ones: an interrupt must not lose both."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        pytest.skip("signals arrive in the main thread")
    net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 4))
    opt = torch.optim.Adam(net.parameters())

    def step(x, y):
        opt.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        return loss

    if compiled:
        step = torch.compile(step)
    x, y = torch.randn(32, 64), torch.randint(0, 4, (32,))
    for _ in range(5):
        step(x, y).item()
    armed = []

    def interrupt(number, frame):
        if armed:
            armed.clear()
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    rng = random.Random(0)
    try:
        for _ in range(40):
            try:
                armed.append(1)
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.0005, 0.004))
                for _ in range(1000):  # an interrupt is lost where Python ignores exceptions, in a finaliser
                    step(x, y)
            except KeyboardInterrupt:
                pass
            held = [*net.parameters(), *(v for s in opt.state.values() for v in s.values())]
            assert all(bool(torch.isfinite(t).all()) for t in held)
            torch.set_grad_enabled(True)  # it may fall between the lines that leave a `no_grad`, as in PyTorch
            assert step(x, y).item() < 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_trainings_with_other_options_are_compiled_each(monkeypatch):
    # one after the other in a process: what is resumed goes through the same programs, and so to the same bits
    chosen = []
    choose = policy.choose
    monkeypatch.setattr(policy, "choose", lambda state: chosen.append(choose(state)) or chosen[-1])
    x = torch.arange(12.0).view(4, 3)

    def train(weight, steps, options, state=None):
        weight = torch.nn.Parameter(weight)
        optimizer = torch.optim.RMSprop([weight], lr=0.01, **options)
        if state is not None:
            optimizer.load_state_dict(state)
        for _ in range(steps):
            optimizer.zero_grad()
            torch.tanh(x @ weight).square().mean().backward()
            optimizer.step()
        return weight.detach().clone(), optimizer.state_dict()

    for momentum, centered, maximize in itertools.product((0.0, 0.9), (False, True), (False, True)):
        options = {"momentum": momentum, "centered": centered, "maximize": maximize}
        whole, _ = train(torch.full((3, 2), 0.1), 6, options)
        half, state = train(torch.full((3, 2), 0.1), 3, options)
        chosen.clear()
        rest, _ = train(half, 3, options, state)
        assert torch.equal(whole, rest) and "ops" not in chosen, options


def test_a_large_step_gives_the_same_bits_whether_it_is_the_first_of_a_process_or_not():
    """Where nothing was saved or loaded NumPy evaluates the first one."""
    x = torch.linspace(-1, 1, 24).view(4, 6)

    def process(steps, saved=None):
        policy.reset()
        execute.forget_compiled()
        torch.manual_seed(0)
        net = nn.Sequential(*[nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(policy.WHOLE // 2)])
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        if saved is not None:
            net.load_state_dict(saved[0])
            optimizer.load_state_dict(saved[1])
        flush("the state was loaded")
        before = stats.op_runs
        for _ in range(steps):
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
        ran.append(stats.op_runs - before)
        return net.state_dict(), optimizer.state_dict()

    ran: list[int] = []
    whole, _ = process(4)
    rest, _ = process(2, process(2))
    assert ran == [1, 1, 0]
    assert all(torch.equal(whole[k], rest[k]) for k in whole)
