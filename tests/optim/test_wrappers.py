"""Optimizers that only pass steps on to another one, as libraries make them."""

from collections import OrderedDict

import pytorchlike as torch


class Passing(torch.optim.Optimizer):
    """Never initialised as an optimizer itself."""

    def __init__(self, inner):
        self.inner = inner

    @property
    def param_groups(self):
        return self.inner.param_groups

    def step(self, closure=None):
        return self.inner.step(closure)


def test_a_wrapper_steps_and_its_hooks_are_those_of_the_inner_one():
    p = torch.nn.Parameter(torch.ones(2))
    inner = torch.optim.SGD([p], lr=0.5)
    seen = []
    inner.register_step_post_hook(lambda *args: seen.append("inner"))
    handle = torch.optim.optimizer.register_optimizer_step_post_hook(lambda o, *args: seen.append(type(o).__name__))
    outer = Passing(inner)
    schedule = torch.optim.lr_scheduler.StepLR(inner, 1)
    try:
        p.sum().backward()
        outer.step()
        schedule.step()
        outer.step()
    finally:
        handle.remove()
    assert seen == ["inner", "SGD"] * 2
    torch.testing.assert_close(p.detach(), torch.full((2,), 1 - 0.5 - 0.05))


def test_a_wrapper_without_init_that_asks_for_hooks_gets_them():
    class Around(torch.optim.Optimizer):
        def __init__(self, optimizer):
            self.optimizer = optimizer
            self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks = OrderedDict(), OrderedDict()
            self._patch_step_function()
            self.state, self.defaults = {}, optimizer.defaults

        @property
        def param_groups(self):
            return self.optimizer.param_groups

        def step(self, closure=None):
            return self.optimizer.step(closure)

    p = torch.nn.Parameter(torch.ones(2))
    p.grad = torch.ones(2)
    around, told = Around(torch.optim.SGD([p], lr=0.5)), []
    around.register_step_post_hook(lambda *args: told.append(args[0] is around))
    torch.optim.lr_scheduler.StepLR(around, 1)
    around.step()
    assert told == [True] and p.tolist() == [0.5, 0.5]
