"""GradScaler: PyTorch's numbers with every optimizer, nothing read on the way, errors, state."""

import copy
import pickle

import numpy as np
import pytest

import pytorchlike as torch


@pytest.fixture
def scaler():
    return torch.amp.GradScaler("cpu", init_scale=4.0)


@pytest.fixture
def trained():
    """A parameter with an optimizer."""
    p = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    return p, torch.optim.SGD([p], lr=0.5)


def test_loops_are_pytorchs(cases, reference):
    """Parameters, scale and tracker after each step, also where the first step or several in a row are left out."""
    for want in reference["loops"]:
        loop = cases.Loop(torch, want["name"], want["options"], want["bad"])
        for n, values in enumerate(want["path"]):
            loop.step()
            np.testing.assert_allclose(loop.result(), values, rtol=1e-4, atol=1e-5, err_msg=f"{want['name']} {n}")


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_a_scaled_loop_compiles_once_and_reads_nothing(name, cases):
    loop = cases.Loop(torch, name, {"lr": 0.1}, [2, 5])
    torch.stack([loop.x.sum(), *loop.factors]).tolist()  # else the first step's program would make the data, too
    loop.step()
    loop.step()  # the second step clips, too
    before = torch.compiler.stats()
    for _ in range(2):
        loop.step()
    between = torch.compiler.stats()
    assert between["compiles"] == before["compiles"]
    assert between["flushes"] == before["flushes"] + 2, "one program a step, the update of the scale in it"
    state = loop.opt.state[loop.params[0]]
    if name == "Adam":
        assert state["step"].item() == 3  # one of four was left out
    assert loop.scaler.get_scale() == 1024.0


def test_scale_of_nested_outputs(scaler):
    a, b = torch.ones(2), torch.tensor(3.0)
    scaled = scaler.scale([a, (b, [a])])
    assert isinstance(scaled, list) and scaled[0].tolist() == [4, 4] and scaled[1][0].item() == 12
    assert scaled[1][1][0].tolist() == [4, 4] and [x.item() for x in scaler.scale(iter([b]))] == [12]
    assert scaler.scale(torch.ones(2, dtype=torch.float16)).dtype is torch.float16
    with pytest.raises(ValueError, match="outputs must be a Tensor"):
        scaler.scale(3.0)


def test_unscale_and_clipping(scaler, trained):
    p, opt = trained
    scaler.scale((p * torch.tensor([3.0, 4.0])).sum()).backward()
    assert p.grad.tolist() == [12, 16]
    scaler.unscale_(opt)
    assert p.grad.tolist() == [3, 4]
    norm = torch.nn.utils.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
    assert norm.item() == 5
    scaler.step(opt)
    np.testing.assert_allclose(p.tolist(), [1 - 0.3, 2 - 0.4], rtol=1e-5)


def test_clipping_refuses_what_overflowed(scaler, trained):
    p, opt = trained
    scaler.scale((p * float("inf")).sum()).backward()
    scaler.unscale_(opt)
    with pytest.raises(RuntimeError, match="non-finite"):
        torch.nn.utils.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
    total = torch.nn.utils.get_total_norm([p.grad])
    torch.nn.utils.clip_grads_with_norm_([p], 1.0, total)
    scaler.step(opt)
    assert p.tolist() == [1, 2]


def test_two_optimizers_and_one_that_overflows(scaler):
    a, b = (torch.nn.Parameter(torch.ones(1)) for _ in range(2))
    first, second = torch.optim.SGD([a], lr=1.0), torch.optim.Adam([b], lr=1.0)
    for x in scaler.scale([a.sum(), (b * float("nan")).sum()]):
        x.backward()
    scaler.step(first)
    scaler.step(second)
    scaler.update()
    assert a.item() == 0 and b.item() == 1 and scaler.get_scale() == 2.0


class Plain(torch.optim.Optimizer):
    """An optimizer whose step is Python."""

    def __init__(self, params):
        super().__init__(params, {})
        self.steps = 0

    def step(self, closure=None):
        self.steps += 1
        for group in self.param_groups:
            for p in group["params"]:
                p.data.sub_(p.grad)
        return "done"


def test_optimizers_with_a_step_of_their_own_are_not_called_after_an_overflow(scaler):
    p = torch.nn.Parameter(torch.ones(1))
    opt = Plain([p])
    for factor in (1.0, float("inf")):
        opt.zero_grad()
        scaler.scale((p * factor).sum()).backward()
        assert scaler.step(opt) == ("done" if factor == 1 else None)
        scaler.update()
    assert opt.steps == 1 and p.item() == 0


def test_a_step_that_adds_to_an_optimizers_is_not_called_either(scaler):
    class Clamped(torch.optim.Adam):
        def step(self, closure=None):
            super().step(closure)
            for p in self.param_groups[0]["params"]:
                p.data.clamp_(max=0.5)

    p = torch.nn.Parameter(torch.ones(1))
    opt = Clamped([p])
    scaler.scale((p * float("inf")).sum()).backward()
    scaler.step(opt)
    assert p.item() == 1


def test_hooks_are_not_called_after_an_overflow(scaler, trained):
    p, opt = trained
    seen = []
    opt.register_step_post_hook(lambda *_: seen.append(1))
    for factor in (float("nan"), 1.0):
        opt.zero_grad()
        scaler.scale((p * factor).sum()).backward()
        scaler.step(opt)
        scaler.update()
    assert seen == [1]


def test_an_optimizer_that_handles_the_flag_itself(scaler):
    class Own(Plain):
        _step_supports_amp_scaling = True

        def step(self, closure=None):
            assert self.grad_scale is None  # gradients are unscaled
            keep = self.found_inf == 0
            for p in self.param_groups[0]["params"]:
                p.data.copy_(torch.where(keep, p.data - p.grad, p.data))

    p = torch.nn.Parameter(torch.ones(1))
    opt = Own([p])
    scaler.scale((p * 1.0).sum()).backward()
    scaler.step(opt)
    scaler.update()
    assert p.item() == 0 and not hasattr(opt, "found_inf")


def test_errors(scaler, trained):
    p, opt = trained
    for call in (lambda: scaler.unscale_(opt), lambda: scaler.step(opt), scaler.update):
        with pytest.raises(AssertionError, match="_scale is None"):
            call()
    scaler.scale(p.sum())
    with pytest.raises(AssertionError, match="No inf checks were recorded for this optimizer"):
        scaler.step(opt)  # no gradients
    scaler.update(8.0)
    with pytest.raises(AssertionError, match="No inf checks were recorded prior to update"):
        scaler.update()
    scaler.scale(p.sum()).backward()
    scaler.unscale_(opt)
    with pytest.raises(RuntimeError, match=r"unscale_\(\) has already been called"):
        scaler.unscale_(opt)
    with pytest.raises(AssertionError, match="may only be pickled"):
        pickle.dumps(scaler)
    with pytest.raises(RuntimeError, match="Closure use"):
        scaler.step(opt, closure=lambda: None)
    scaler.step(opt)
    with pytest.raises(RuntimeError, match=r"step\(\) has already been called"):
        scaler.step(opt)
    with pytest.raises(RuntimeError, match=r"after step\(\)"):
        scaler.unscale_(opt)
    scaler.update()
    with pytest.raises(AssertionError, match="growth factor"):
        torch.amp.GradScaler("cpu", growth_factor=1.0)
    with pytest.raises(AssertionError, match="backoff factor"):
        torch.amp.GradScaler("cpu", backoff_factor=1.0)
    with pytest.raises(AssertionError, match="new_scale"):
        scaler.update(torch.ones(2))


def test_float16_gradients_only_for_fused_optimizers(scaler):
    for fused in (False, True):
        p = torch.nn.Parameter(torch.ones(2, dtype=torch.float16))
        opt = torch.optim.SGD([p], lr=0.5, fused=fused)
        scaler.scale(p.sum()).backward()
        if fused:
            scaler.step(opt)
            assert p.tolist() == [0.5, 0.5]
        else:
            with pytest.raises(ValueError, match="FP16 gradients"):
                scaler.step(opt)


def test_new_scale(scaler, trained):
    p, _ = trained
    scaler.scale(p.sum())
    scaler.update(16.0)
    assert scaler.get_scale() == 16
    given = torch.tensor(32.0)
    scaler.update(given)
    given.fill_(1.0)
    assert scaler.get_scale() == 32


def test_disabled():
    with pytest.warns(UserWarning, match="CUDA is not available"):
        scaler = torch.amp.GradScaler()
    p = torch.nn.Parameter(torch.ones(1))
    opt = torch.optim.SGD([p], lr=1.0)
    scaler.scale(p.sum()).backward()
    scaler.unscale_(opt)
    scaler.step(opt)
    scaler.update()
    assert p.item() == 0 and scaler.get_scale() == 1.0 and scaler.state_dict() == {} and not scaler.is_enabled()
    with pytest.raises(RuntimeError, match="disabled"):
        torch.amp.GradScaler("cpu").load_state_dict({})


def test_state(scaler, trained):
    p, opt = trained
    state = {"scale": 64.0, "growth_factor": 3.0, "backoff_factor": 0.25, "growth_interval": 2, "_growth_tracker": 1}
    scaler.load_state_dict(state)
    assert scaler.state_dict() == state
    scaler.scale(p.sum()).backward()
    scaler.step(opt)
    scaler.update()
    assert scaler.get_scale() == 192 and scaler.get_growth_factor() == 3 and scaler.get_backoff_factor() == 0.25
    for other in (pickle.loads(pickle.dumps(scaler)), copy.deepcopy(scaler)):
        assert other.state_dict() == scaler.state_dict() == {**state, "scale": 192.0, "_growth_tracker": 0}
    scaler.load_state_dict(state)
    assert scaler.get_scale() == 64
    scaler.set_growth_factor(5.0)
    scaler.set_backoff_factor(0.1)
    scaler.set_growth_interval(7)
    assert scaler.state_dict() == {**state, "growth_factor": 5.0, "backoff_factor": 0.1, "growth_interval": 7}


def test_only_fused_optimizers_say_that_they_unscale():
    """Libraries refuse to clip the gradients of those that do."""
    p = torch.nn.Parameter(torch.ones(2))
    for kind in (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad):
        assert not getattr(kind([p], lr=0.1), "_step_supports_amp_scaling", False)
        assert kind([p], lr=0.1, fused=True)._step_supports_amp_scaling
    assert not getattr(torch.optim.RMSprop([p]), "_step_supports_amp_scaling", False)
