"""Learning-rate schedules against PyTorch's answers, their state dicts, compositions and errors."""

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import optim
from pytorchlike.optim import lr_scheduler


def run(problem, case, steps, pair=None, begin=0):
    opt, schedule = pair or problem.scheduled(torch, case["name"], case["options"])
    out = []
    for n in range(begin, begin + steps):
        opt.step()
        schedule.step(*[problem.metric(n)] * (case["name"] == "ReduceLROnPlateau"))
        out.append([g["lr"] for g in opt.param_groups] + [g["momentum"] for g in opt.param_groups])
    return out, (opt, schedule)


def test_thirty_steps(scheduler_case, problem, reference):
    case = reference["schedulers"][scheduler_case]
    got, (_, schedule) = run(problem, case, 30)
    np.testing.assert_allclose(got, case["lrs"], rtol=1e-9, atol=1e-12)
    assert schedule.get_last_lr() == got[-1][:2]


def test_state_dict(scheduler_case, problem, reference):
    case = reference["schedulers"][scheduler_case]
    _, (opt, schedule) = run(problem, case, 13)
    states = opt.state_dict(), schedule.state_dict()
    new = problem.scheduled(torch, case["name"], case["options"])
    for part, state in zip(new, states, strict=True):
        part.load_state_dict(state)
    rest, _ = run(problem, case, 17, new, 13)
    np.testing.assert_allclose(rest, case["lrs"][13:], rtol=1e-9, atol=1e-12)


def sgd(lr=1.0):
    p = torch.nn.Parameter(torch.ones(1))
    p.grad = torch.ones(1)
    return optim.SGD([p], lr=lr)


def rates(opt, schedule, n):
    out = []
    for _ in range(n):
        opt.step()
        schedule.step()
        out.append(opt.param_groups[0]["lr"])
    return out


def test_one_after_the_other():
    opt = sgd()
    warm = lr_scheduler.ConstantLR(opt, factor=0.1, total_iters=2)
    fall = lr_scheduler.ExponentialLR(opt, gamma=0.5)
    schedule = lr_scheduler.SequentialLR(opt, [warm, fall], milestones=[2])
    np.testing.assert_allclose(rates(opt, schedule, 4), [0.1, 1.0, 0.5, 0.25])
    with pytest.raises(ValueError, match="milestones"):
        lr_scheduler.SequentialLR(opt, [warm, fall], milestones=[])


def test_at_the_same_time():
    opt = sgd()
    schedule = lr_scheduler.ChainedScheduler([lr_scheduler.ConstantLR(opt, factor=0.1, total_iters=2),
                                              lr_scheduler.ExponentialLR(opt, gamma=0.5)])
    np.testing.assert_allclose(rates(opt, schedule, 3), [0.05, 0.25, 0.125])


def test_a_schedule_moves_the_parameter():
    opt = sgd()
    schedule = lr_scheduler.LambdaLR(opt, lambda e: 1 / (e + 1))
    rates(opt, schedule, 3)
    np.testing.assert_allclose(opt.param_groups[0]["params"][0].tolist(), [1 - (1 + 1 / 2 + 1 / 3)], rtol=1e-6)


def test_a_tensor_rate_is_changed_in_place():
    rate = torch.tensor(1.0)
    opt = sgd(rate)
    rates(opt, lr_scheduler.ExponentialLR(opt, gamma=0.5), 2)
    assert opt.param_groups[0]["lr"] is rate and rate.item() == 0.25


def test_order_of_calls_is_watched():
    opt = sgd()
    schedule = lr_scheduler.ExponentialLR(opt, gamma=0.5)
    with pytest.warns(UserWarning, match="lr_scheduler.step.*optimizer.step"):
        schedule.step()


def test_schedules_do_not_compile():
    p = torch.nn.Parameter(torch.ones(3))
    opt = optim.Adam([p], lr=0.1)
    schedule = lr_scheduler.CosineAnnealingLR(opt, 40)

    def step():
        opt.zero_grad()
        (p * p).sum().backward()
        opt.step()
        schedule.step()

    for _ in range(4):
        step()
    p.tolist()
    before = torch.compiler.stats()["compiles"]
    for _ in range(10):
        step()
    p.tolist()
    assert torch.compiler.stats()["compiles"] == before


@pytest.mark.parametrize("make, error", [
    (lambda o: lr_scheduler.StepLR(object(), 3), TypeError),
    (lambda o: lr_scheduler.LambdaLR(o, [lambda e: 1, lambda e: 1]), ValueError),
    (lambda o: lr_scheduler.ConstantLR(o, factor=2), ValueError),
    (lambda o: lr_scheduler.LinearLR(o, start_factor=0), ValueError),
    (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=0), ValueError),
    (lambda o: lr_scheduler.CyclicLR(o, 0.1, 1, mode="no"), ValueError),
    (lambda o: lr_scheduler.OneCycleLR(o, 1), ValueError),
    (lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=1), ValueError),
    (lambda o: lr_scheduler.ReduceLROnPlateau(o, mode="no"), ValueError),
    (lambda o: lr_scheduler.StepLR(o, 3, last_epoch=4), KeyError),
])  # fmt: skip
def test_errors(make, error):
    with pytest.raises(error):
        make(sgd())


def test_the_old_base_class_is_one_of_its_own():
    """Libraries (catalyst) tell schedulers by it, and do something else with those that are none of its instances."""

    class Own(lr_scheduler._LRScheduler):
        def get_lr(self):
            return [0.5]

    opt = optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    assert not isinstance(lr_scheduler.StepLR(opt, 2), lr_scheduler._LRScheduler)
    assert isinstance(Own(opt), lr_scheduler.LRScheduler) and opt.param_groups[0]["lr"] == 0.5
