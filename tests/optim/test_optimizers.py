"""Optimizers against PyTorch's answers, their state dicts, groups, hooks, errors, and that nothing is compiled anew."""

import copy
import json

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike import optim

LOOSE = {"Muon": 0.05}  # orthogonalised in bfloat16


def tensors(x):
    """The opposite of the reference script's ``plain``."""
    if isinstance(x, dict):
        if x.keys() == {"dtype", "shape", "data"}:
            return torch.tensor(x["data"], dtype=getattr(torch, x["dtype"])).reshape(x["shape"])
        return {int(k) if k.isdigit() else k: tensors(v) for k, v in x.items()}
    return [tensors(v) for v in x] if isinstance(x, list) else x


def close(name, got, want):
    tolerance = LOOSE.get(name, 0)
    np.testing.assert_allclose(got, want, rtol=1e-9 + tolerance, atol=1e-11 + tolerance)


def alike(name, ours, theirs, path="state_dict"):
    """The same keys, types and numbers."""
    if isinstance(theirs, dict):
        assert isinstance(ours, dict) and list(map(str, ours)) == list(theirs), path
        for key, value in zip(ours.values(), theirs.items(), strict=True):
            alike(name, key, value[1], f"{path}.{value[0]}")
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), path
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            alike(name, a, b, f"{path}[{i}]")
    elif isinstance(theirs, float) and not isinstance(ours, bool):
        close(name, ours, theirs)
    else:
        assert ours == theirs, path


def test_ten_steps(optimizer_case, problem, reference):
    case = reference["optimizers"][optimizer_case]
    trainer = problem.Trainer(torch, case["name"], case["options"])
    path = [trainer.step(n) for n in range(problem.STEPS)]
    for n, want in zip((0, problem.SAVED_AT - 1, -1), case["path"], strict=True):
        close(case["name"], path[n], want)


def test_state_dict_is_pytorchs(optimizer_case, problem, reference):
    case = reference["optimizers"][optimizer_case]
    trainer = problem.Trainer(torch, case["name"], case["options"])
    for n in range(problem.SAVED_AT):
        trainer.step(n)
    ours = json.loads(json.dumps(problem.plain(trainer.opt.state_dict(), torch), default=str))
    saved = case["saved"]
    for group in (*ours["param_groups"], *saved["param_groups"]):
        group.pop("foreach", None)
    assert [set(g) for g in ours["param_groups"]] == [set(g) for g in saved["param_groups"]]
    for a, b in zip(ours["param_groups"], saved["param_groups"], strict=True):
        alike(case["name"], {k: a[k] for k in b}, b)
    assert ours["state"].keys() == saved["state"].keys()
    for a, b in zip(ours["state"].values(), saved["state"].values(), strict=True):
        assert a.keys() == b.keys()
        if case["name"] != "LBFGS":  # which keeps numbers where PyTorch keeps tensors of one
            alike(case["name"], {k: a[k] for k in b}, b)


def test_goes_on_from_pytorchs_state(optimizer_case, problem, reference):
    case = reference["optimizers"][optimizer_case]
    values, at = [], 0
    for shape in problem.SHAPES[: 1 if case["name"] == "Muon" else 2]:
        n = int(np.prod(shape))
        values.append(np.reshape(case["path"][1][at : at + n], shape))
        at += n
    trainer = problem.Trainer(torch, case["name"], case["options"], values=values)
    trainer.opt.load_state_dict(tensors(case["saved"]))
    for n in range(problem.SAVED_AT, problem.STEPS):
        last = trainer.step(n)
    close(case["name"], last, case["path"][2])


def test_saved_and_loaded_by_us(optimizer_case, problem, reference):
    case = reference["optimizers"][optimizer_case]
    whole = problem.Trainer(torch, case["name"], case["options"])
    for n in range(problem.SAVED_AT):
        whole.step(n)
    values = [p.detach().numpy().copy() for p in whole.params]
    other = problem.Trainer(torch, case["name"], case["options"], values=values)
    state = copy.deepcopy(whole.opt.state_dict())
    other.opt.load_state_dict(state)
    for n in range(problem.SAVED_AT, problem.STEPS):
        assert whole.step(n) == other.step(n)


# ---- groups and parameters -----------------------------------------------------------------------------------------


def params(n=2, size=3):
    made = [torch.nn.Parameter(torch.arange(float(size)) + i) for i in range(n)]
    for p in made:
        p.grad = torch.ones(size)
    return made


def test_groups_have_options_of_their_own():
    a, b, c = params(3)
    opt = optim.SGD([{"params": [a]}, {"params": b, "lr": 1.0}], lr=0.5)
    opt.add_param_group({"params": [c], "lr": 2.0, "maximize": True})
    opt.step()
    assert a.tolist() == [-0.5, 0.5, 1.5] and b.tolist() == [0, 1, 2] and c.tolist() == [4, 5, 6]
    assert [g["lr"] for g in opt.param_groups] == [0.5, 1.0, 2.0]
    opt.param_groups[0]["lr"] = 1.0
    opt.step()
    assert a.tolist() == [-1.5, -0.5, 0.5]


def test_parameters_without_gradient_are_skipped():
    a, b = params()
    b.grad = None
    opt = optim.Adam([a, b], lr=0.1)
    opt.step()
    assert b.tolist() == [1, 2, 3] and b not in opt.state and a in opt.state
    b.grad = torch.ones(3)
    opt.step()
    assert opt.state[a]["step"].item() == 2 and opt.state[b]["step"].item() == 1
    np.testing.assert_allclose(b.tolist(), [0.9, 1.9, 2.9], rtol=1e-6)  # bias-corrected from its own first step
    opt.zero_grad()
    assert a.grad is None
    opt.step()
    assert opt.state[a]["step"].item() == 2


def test_which_parameters_have_gradients_may_change_from_step_to_step():
    params = [torch.nn.Parameter(torch.full((2,), float(i))) for i in range(4)]
    opt = torch.optim.Adam(params, lr=0.5)
    seen = [0] * 4
    for turn in range(9):
        having = [i for i in range(4) if (turn + i) % 3]
        for i, p in enumerate(params):
            p.grad = torch.ones(2) if i in having else None
            seen[i] += i in having
        opt.step()
    # a gradient that stays the same moves a parameter by the learning rate
    assert [opt.state[p]["step"].item() for p in params] == seen
    assert [p.tolist() for p in params] == [pytest.approx([i - 0.5 * n] * 2, abs=1e-4) for i, n in enumerate(seen)]
    opt.state[params[0]]["step"].fill_(100)  # counters share a value, not a storage
    assert [opt.state[p]["step"].item() for p in params] == [100, *seen[1:]]


@pytest.mark.parametrize("part", ["narrow", "turned", "computed", "complex", "on the tape"])
def test_parameters_that_are_views_of_other_tensors(part):
    """They stay leaves that learn step by step, and what they are views of is seen to change."""
    base = torch.arange(1.0, 5)
    w = torch.ones(4, requires_grad=True)
    if part == "computed":
        base = base * 1
    elif part == "complex":
        base = torch.complex(base[::2], base[1::2])
    elif part == "on the tape":
        base = w * base
    p = torch.nn.Parameter({"narrow": lambda: base[1:3], "turned": lambda: base.view(2, 2).t(),
                            "complex": lambda: torch.view_as_real(base)}.get(part, lambda: base[:2])())  # fmt: skip
    start = p.tolist()
    opt = torch.optim.SGD([p], lr=0.25)
    for _ in range(3):
        opt.zero_grad()
        p.pow(2).sum().backward()
        assert p.is_leaf and p.grad is not None
        opt.step()
    np.testing.assert_allclose(p.detach().numpy(), np.array(start) / 8)
    seen = torch.view_as_real(base.detach()) if part == "complex" else base.detach()
    np.testing.assert_allclose(np.sort(seen.numpy().ravel())[: p.numel()], np.sort(p.detach().numpy().ravel()))
    assert base.requires_grad is (part == "on the tape")
    if part == "on the tape":
        base.sum().backward()
        assert w.grad.tolist() == [1, 2, 3, 4]  # the history is left as it was


def test_gradients_handed_over_by_the_inner_name():
    """Asynchronous training in several processes shares them as ``shared._grad = local.grad``."""
    p = torch.ones(2, requires_grad=True)
    p._grad = torch.tensor([1.0, 2.0])
    assert p.grad is p._grad
    torch.optim.SGD([p], lr=1.0).step()
    assert p.tolist() == [0, -1]


def test_zero_grad_in_place():
    a, _ = params()
    opt = optim.SGD([a], lr=1.0)
    opt.zero_grad(set_to_none=False)
    assert a.grad.tolist() == [0, 0, 0]


def test_named_parameters():
    a, b = params()
    opt = optim.SGD([("first", a), ("second", b)], lr=1.0)
    assert opt.state_dict()["param_groups"][0]["param_names"] == ["first", "second"]
    with pytest.raises(ValueError, match="with/without names"):
        opt.add_param_group({"params": params(1)})


def test_closure_and_its_loss():
    (a,) = params(1)
    opt = optim.SGD([a], lr=0.1)

    def closure():
        opt.zero_grad()
        loss = (a * a).sum()
        loss.backward()
        return loss

    with torch.no_grad():
        assert opt.step(closure).item() == 5
    np.testing.assert_allclose(a.tolist(), [0, 0.8, 1.6], rtol=1e-6)


def test_learning_rate_as_a_tensor():
    (a,) = params(1)
    rate = torch.tensor(1.0)
    opt = optim.SGD([a], lr=rate)
    opt.step()
    rate.fill_(0.5)
    opt.step()
    assert a.tolist() == [-1.5, -0.5, 0.5]
    with pytest.raises(ValueError, match="1-element"):
        optim.SGD([a], lr=torch.ones(2))


def test_complex_and_half_parameters():
    z = torch.nn.Parameter(torch.tensor([1 + 1j, 2 - 1j]))
    h = torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    z.grad, h.grad = torch.tensor([1j, 1 + 0j]), torch.ones(2, dtype=torch.bfloat16)
    opt = optim.Adam([z, h], lr=0.5)
    opt.step()
    np.testing.assert_allclose(z.tolist(), [1 + 0.5j, 1.5 - 1j], rtol=1e-5)
    assert h.tolist() == [0.5, 0.5] and opt.state[h]["exp_avg"].dtype is torch.bfloat16


# ---- hooks ---------------------------------------------------------------------------------------------------------


def test_hooks():
    (a,) = params(1)
    opt = optim.SGD([a], lr=1.0)
    seen = []
    handles = [
        opt.register_step_pre_hook(lambda o, args, kwargs: seen.append("pre")),
        opt.register_step_post_hook(lambda o, args, kwargs: seen.append("post")),
        opt.register_state_dict_pre_hook(lambda o: seen.append("save")),
        opt.register_state_dict_post_hook(lambda o, state: {**state, "more": 1}),
        opt.register_load_state_dict_pre_hook(lambda o, state: {k: state[k] for k in ("state", "param_groups")}),
        opt.register_load_state_dict_post_hook(lambda o: seen.append("loaded")),
    ]
    opt.step()
    state = opt.state_dict()
    assert state["more"] == 1
    opt.load_state_dict(state)
    assert seen == ["pre", "post", "save", "loaded"]
    for handle in handles:
        handle.remove()
    opt.step()
    assert len(seen) == 4 and "more" not in opt.state_dict()


def test_a_subclass_with_a_step_of_its_own():
    class Sign(optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    p.add_(p.grad.sign(), alpha=-group["lr"])

    (a,) = params(1)
    seen = []
    opt = Sign([a], 0.5)
    opt.register_step_post_hook(lambda *_: seen.append(1))
    opt.step()
    assert a.tolist() == [-0.5, 0.5, 1.5] and seen == [1]


# ---- errors --------------------------------------------------------------------------------------------------------


def test_errors_in_parameters():
    a, b = params()
    with pytest.raises(ValueError, match="empty parameter list"):
        optim.SGD([], lr=1)
    with pytest.raises(TypeError, match="iterable of Tensors or dicts"):
        optim.SGD(a, lr=1)
    with pytest.raises(TypeError, match="ordered collections"):
        optim.SGD([{"params": {a, b}}], lr=1)
    with pytest.raises(TypeError, match="can only optimize Tensors, but one of the params is int"):
        optim.SGD([1], lr=1)
    with pytest.raises(ValueError, match="non-leaf"):
        optim.SGD([a * 2], lr=1)
    with pytest.raises(ValueError, match="more than one parameter group"):
        optim.SGD([{"params": [a]}, {"params": [a]}], lr=1)
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optim.SGD([a, a], lr=1)


@pytest.mark.parametrize("name, options, message", [
    ("SGD", {"lr": -1}, "Invalid learning rate: -1"),
    ("SGD", {"lr": 1, "momentum": -0.5}, "Invalid momentum value: -0.5"),
    ("SGD", {"lr": 1, "nesterov": True}, "Nesterov momentum requires a momentum and zero dampening"),
    ("Adam", {"betas": (1.0, 0.5)}, "Invalid beta parameter at index 0: 1.0"),
    ("Adam", {"eps": -1}, "Invalid epsilon value: -1"),
    ("AdamW", {"weight_decay": -1}, "Invalid weight_decay value: -1"),
    ("Adagrad", {"lr": -1}, "Invalid learning rate: -1"),
    ("Rprop", {"etas": (2, 1)}, "Invalid eta values: 2, 1"), ("RMSprop", {"alpha": -1}, "Invalid alpha value: -1"),
    ("Adadelta", {"rho": 2}, "Invalid rho value: 2"),
    ("NAdam", {"momentum_decay": -1}, "Invalid momentum_decay value: -1"),
])  # fmt: skip
def test_errors_in_options(name, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(optim, name)(params(1), **options)


def test_errors_in_states():
    opt = optim.Adam(params())
    with pytest.raises(ValueError, match="different number of parameter groups"):
        opt.load_state_dict(optim.Adam([{"params": [p]} for p in params()]).state_dict())
    with pytest.raises(ValueError, match="doesn't match the size of optimizer's group"):
        opt.load_state_dict(optim.Adam(params(1)).state_dict())
    with pytest.raises(ValueError, match="per-parameter options"):
        optim.LBFGS([{"params": [p]} for p in params()])


def test_two_failures_leave_the_step_usable():
    (a,) = params(1)
    opt = optim.SGD([a], lr=1.0)
    with pytest.raises(ZeroDivisionError):
        opt.step(lambda: 1 / 0)
    opt.step()
    assert a.tolist() == [-1, 0, 1]


# ---- compilations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, changes", [
    ("SGD", {"lr": 0.01, "momentum": 0.7, "weight_decay": 0.2}),
    ("Adam", {"lr": 0.01, "betas": (0.5, 0.6), "eps": 1e-3}),
    ("RMSprop", {"lr": 0.02, "alpha": 0.6}), ("AdamW", {"lr": 0.02, "weight_decay": 0.3}), ("RAdam", {"lr": 0.1}),
])  # fmt: skip
def test_nothing_recompiles_when_numbers_change(name, changes):
    p = torch.nn.Parameter(torch.ones(4))
    given = {"lr": 0.1, "weight_decay": 0.1, **({"momentum": 0.9} if name == "SGD" else {})}
    opt = getattr(optim, name)([p], **given)

    def step():
        opt.zero_grad()
        (p * p).sum().backward()
        opt.step()

    for _ in range(4):
        step()
    p.tolist()
    before = torch.compiler.stats()["compiles"]
    for k in range(6):
        for key, value in changes.items():
            opt.param_groups[0][key] = value / (k + 1) if isinstance(value, float) else (value[0] / (k + 1), value[1])
        step()
    assert np.isfinite(p.tolist()).all()
    assert torch.compiler.stats()["compiles"] == before


def test_from_optax():
    import optax

    a, b = params()
    opt = optim.from_optax(optax.adam(0.1), [a, b])
    other = params()
    adam = optim.Adam(other, lr=0.1)
    for _ in range(5):
        opt.step()
        adam.step()
    np.testing.assert_allclose(a.tolist(), other[0].tolist(), rtol=1e-5, atol=1e-6)
    state = opt.state_dict()
    opt.load_state_dict(state)
    opt.step()


def test_the_first_step_is_the_program_of_all_steps(tier):
    """What a step makes of its data before it uses a parameter is not executed with the initialisation."""
    tier("fused")
    net = torch.nn.Linear(3, 2)
    opt = torch.optim.Adam(net.parameters())
    compiles = []
    for _ in range(3):
        noise = torch.randn(4, 3) * 2 + 1
        opt.zero_grad()
        net(noise).square().mean().backward()
        opt.step()
        compiles.append(torch.compiler.stats()["compiles"])
    assert compiles[1:] == compiles[:1] * 2


def test_groups_are_shown_apart():
    shown = repr(torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)], "lr": 0.5}], lr=0.1))
    assert shown.startswith("SGD (\nParameter Group 0\n    dampening: 0") and shown.endswith("\n)")
    assert "\n\nParameter Group 1\n" in shown and "    lr: 0.5\n" in shown


def test_lbfgs_where_the_gradient_is_zero():
    """Without a tolerance the first step divides by nothing: it is as long as the rate says."""
    p = torch.tensor([1.0, 2.0], requires_grad=True)
    optimizer = optim.LBFGS([p], lr=0.5, tolerance_grad=-float("inf"))
    assert optimizer.step(lambda: torch.tensor([10])).tolist() == [10]
    assert p.tolist() == [1.0, 2.0]


def test_a_parameter_that_is_itself_sparse():
    """SGD adds to it; the others need dense ones, and say so before anything else."""
    p = torch.eye(2).to_sparse().requires_grad_()
    p.grad = torch.eye(2).to_sparse()
    optim.SGD([p], lr=0.5).step()
    assert p.layout is torch.sparse_coo and p.to_dense().tolist() == [[0.5, 0.0], [0.0, 0.5]]
    for name in ("Adam", "RMSprop", "Adadelta"):
        with pytest.raises(RuntimeError, match=f"{name} does not support sparse gradients"):
            getattr(optim, name)([p], lr=0.5).step()
    with pytest.raises(RuntimeError, match="only supported by strided tensors"):
        optim.Adagrad([p])


def test_sparse_gradients_and_parameters_that_are_refused():
    sparse = torch.eye(2).to_sparse()
    with pytest.raises(ValueError, match="requires dense parameter tensors"):
        optim.SparseAdam([sparse])
    p = torch.nn.Parameter(torch.ones(2, 2))
    p.grad = sparse
    with pytest.raises(RuntimeError, match=r"weight_decay .* add\(sparse, dense\) is not supported"):
        optim.SGD([p], lr=0.1, weight_decay=0.1).step()
    with pytest.raises(RuntimeError, match="weight_decay option is not compatible with sparse gradients"):
        optim.Adagrad([p], weight_decay=0.1).step()


def test_messages_that_programs_match():
    p = torch.nn.Parameter(torch.ones(2))
    optimizer = optim.SGD([p], lr=0.1)
    with pytest.raises(KeyError, match=r"param 'initial_lr' is not specified in param_groups\[0\] when resuming "
                                       "scheduler with last_epoch >= 0"):
        optim.lr_scheduler.StepLR(optimizer, 3, last_epoch=1)
    optimizer.register_step_pre_hook(lambda *_: 3)
    with pytest.raises(RuntimeError, match=r"must return None or a tuple of \(new_args, new_kwargs\), but got 3"):
        optimizer.step()


def test_state_of_a_model_of_other_sizes_is_told_by_its_parameter():
    def begun(n):
        params = [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(n))]
        optimizer = optim.AdamW(params)
        sum(p.sum() for p in params).backward()
        return optimizer

    saved, other = begun(4), begun(5)
    saved.step()
    other.load_state_dict(saved.state_dict())
    with pytest.raises(RuntimeError, match=r"AdamW: 'exp_avg' of parameter 1 has shape \[4\], the parameter \[5\]"):
        other.step()
