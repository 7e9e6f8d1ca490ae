"""backward and grad: what accumulates, what is kept, what is refused; modes and hooks."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import pytorchlike as torch

AGAIN = "backward through the graph a second time"


def leaf(*values):
    return torch.tensor(values or (1.0, 2.0, 3.0), requires_grad=True)


@pytest.fixture(params=["pending", "executed"])
def read(request):
    """Values are read at every point where a test says so, or nowhere."""
    return (lambda t: t) if request.param == "pending" else lambda t: (t.tolist(), t)[1]


def test_accumulation(read):
    x = leaf()
    read((x * 2).sum()).backward()
    first = x.grad
    read((x * x).sum()).backward()
    assert x.grad is first and first.tolist() == [4, 6, 8]
    x.grad = None
    read((x * 5).sum()).backward()
    assert x.grad.tolist() == [5, 5, 5] and first.tolist() == [4, 6, 8]


def test_the_seed_may_come_in_a_list():
    x = torch.ones(2, requires_grad=True)
    x.sum().backward([torch.tensor(3.0)])
    assert x.grad.tolist() == [3, 3]


def test_seeds_are_not_shared():
    x, g = leaf(), torch.ones(3)
    x.backward(g)
    x.grad.add_(5)
    assert g.tolist() == [1, 1, 1]
    (x * 1).backward(g)
    g.add_(1)
    assert x.grad.tolist() == [7, 7, 7]


def test_second_pass(read):
    x = leaf()
    y = read((x * x).sum())
    y.backward(retain_graph=True)
    read(x.grad)
    y.backward()
    assert x.grad.tolist() == [4, 8, 12]
    with pytest.raises(RuntimeError, match=AGAIN):
        y.backward()
    h = read(x * x)
    a, b = h.sum(), (h * h).sum()
    a.backward()
    with pytest.raises(RuntimeError, match=AGAIN):
        b.backward()


def test_linear_graphs_need_nothing_kept():
    x = leaf()
    y = (x + 1).sum()
    y.backward()
    y.backward()
    assert x.grad.tolist() == [2, 2, 2]


@pytest.mark.parametrize("made", [
    torch.sign, torch.floor, torch.round, torch.frac, torch.diff, torch.deg2rad,
    lambda w: torch.nn.functional.pad(w, (1, 1)),
    lambda w: torch.nn.functional.interpolate(w[None, None], scale_factor=2),
    lambda w: torch.nn.functional.fold(torch.nn.functional.unfold(w.view(1, 1, 1, 3), 1), (1, 3), 1),
])  # fmt: skip
def test_what_was_made_once_of_a_parameter_serves_every_step(made):
    """As signs that a layer takes of its first weights: nothing that their gradient needs is given up."""
    w, x = leaf(), leaf()
    kept = made(w)
    for _ in range(3):
        (kept.sum() * x).sum().backward()
    once = torch.autograd.grad(made(w).sum() * x.detach().sum(), w)[0]
    assert torch.allclose(w.grad, 3 * once)


def test_several_roots(read):
    x = leaf()
    h = read(x * x)
    torch.autograd.backward([h.sum(), h], [None, torch.tensor([1.0, 0, 2])])
    assert x.grad.tolist() == [4, 4, 18]


def test_inputs(read):
    x, y = leaf(), leaf()
    (x * y).sum().backward(inputs=[x])
    assert x.grad.tolist() == [1, 2, 3] and y.grad is None
    h = x * 2
    h.retain_grad()
    read((h * h).sum()).backward(inputs=[h])
    assert h.grad.tolist() == [4, 8, 12] and x.grad.tolist() == [1, 2, 3]
    with pytest.raises(RuntimeError, match="cannot be empty"):
        (x * 2).sum().backward(inputs=[])
    with pytest.raises(RuntimeError, match="does not require grad"):
        (x * 2).sum().backward(inputs=[torch.ones(3)])


def test_refusals():
    x = leaf()
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match=r"Mismatch in shape: grad_output\[0\]"):
        (x * 2).backward(torch.ones(2))
    with pytest.raises(TypeError, match="Tensors or None"):
        (x * 2).backward(3)
    with pytest.raises(RuntimeError, match="does not require grad and does not have a grad_fn"):
        torch.ones(3).sum().backward()
    with pytest.raises(RuntimeError, match="real scalar outputs"):
        (x * 1j).sum().backward()
    with pytest.raises(RuntimeError, match="floating point"):
        torch.tensor([1, 2], requires_grad=True)
    assert x.grad is None


def test_grad(read):
    x, other = leaf(), leaf()
    h = read(x * 2)
    y = read((h * h).sum())
    gh, gx = torch.autograd.grad(y, [h, x])
    assert gh.tolist() == [4, 8, 12] and gx.tolist() == [8, 16, 24] and x.grad is None
    with pytest.raises(RuntimeError, match="not have been used in the graph"):
        torch.autograd.grad(x.sum(), [x, other])
    assert torch.autograd.grad(x.sum(), [x, other], allow_unused=True)[1] is None
    assert torch.autograd.grad(x.sum(), [x, other], materialize_grads=True)[1].tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="materialize_grads"):
        torch.autograd.grad(x.sum(), [x], allow_unused=False, materialize_grads=True)
    with pytest.raises(RuntimeError, match="cannot be empty"):
        torch.autograd.grad(x.sum(), [])
    with pytest.raises(RuntimeError, match="does not require grad"):
        torch.autograd.grad(x.sum(), torch.ones(3))
    assert torch.autograd.grad([x.sum(), (x * x).sum()], x)[0].tolist() == [3, 5, 7]
    rows = torch.autograd.grad(x * x, x, torch.eye(3), is_grads_batched=True)[0]
    assert rows.tolist() == [[2, 0, 0], [0, 4, 0], [0, 0, 6]]


def test_higher_derivatives(read):
    x = leaf()
    (g,) = torch.autograd.grad(read((x**3).sum()), x, create_graph=True)
    (h,) = torch.autograd.grad(read(g).sum(), x, create_graph=True)
    (k,) = torch.autograd.grad(read(h).sum(), x)
    assert g.tolist() == [3, 12, 27] and h.tolist() == [6, 12, 18] and k.tolist() == [6, 6, 6]
    (x**3).sum().backward(create_graph=True)
    first, x.grad = x.grad, None
    (first**2).sum().backward()
    assert x.grad.tolist() == [36, 288, 972]


def test_reading_anywhere_changes_nothing():
    x = leaf()
    total = 0
    for i in range(3):
        y = x * (i + 1)
        total = total + y.sin().sum()
        total.item()
    total.backward()
    pure = leaf()
    sum((pure * (i + 1)).sin().sum() for i in range(3)).backward()
    assert torch.allclose(x.grad, pure.grad)


# ------------------------------------------------------------------------------------------------------------- modes


def test_modes():
    x = leaf()
    with torch.no_grad():
        assert not (x * 2).requires_grad and not torch.is_grad_enabled()
        with torch.enable_grad():
            assert (x * 2).requires_grad
        assert not torch.is_grad_enabled() and leaf().requires_grad
    torch.set_grad_enabled(False)
    assert not torch.is_grad_enabled()
    torch.set_grad_enabled(True)
    with torch.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    with torch.inference_mode():
        assert torch.is_inference_mode_enabled() and not (x * 2).requires_grad
    with pytest.raises(ZeroDivisionError), torch.no_grad():
        raise ZeroDivisionError
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("decorate", [torch.no_grad, torch.no_grad(), torch.inference_mode(), torch.set_grad_enabled])
def test_modes_decorate(decorate):
    def plain(x):
        """Says it."""
        return (x * 2).requires_grad

    if decorate is torch.set_grad_enabled:
        decorate = decorate(False)
    made = decorate(plain)
    assert torch.is_grad_enabled() and made.__name__ == "plain" and made.__doc__ == "Says it."
    assert made(leaf()) is False and torch.is_grad_enabled()


def test_modes_decorate_generators():
    @torch.no_grad()
    def numbers():
        got = yield torch.is_grad_enabled()
        try:
            yield got, torch.is_grad_enabled()
        except KeyError:
            yield "caught", torch.is_grad_enabled()
        return 5

    def whole():
        return (yield from numbers())

    it = whole()
    assert next(it) is False and torch.is_grad_enabled()
    assert it.send("sent") == ("sent", False) and torch.is_grad_enabled()
    assert it.throw(KeyError()) == ("caught", False) and torch.is_grad_enabled()
    with pytest.raises(StopIteration) as end:
        next(it)
    assert end.value.value == 5 and torch.is_grad_enabled()


# ------------------------------------------------------------------------------------------------------------- hooks


def test_hooks_on_leaves():
    x, seen = leaf(), []
    x.register_hook(lambda g: seen.append(1))
    x.register_hook(lambda g: g * 2)
    last = x.register_hook(lambda g: seen.append(g.tolist()) or g + 1)
    (x * 1).sum().backward()
    assert seen == [1, [2, 2, 2]] and x.grad.tolist() == [3, 3, 3]
    last.remove()
    last.remove()
    (x * 1).sum().backward()
    assert x.grad.tolist() == [5, 5, 5]
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        torch.ones(1).register_hook(print)


def test_hooks_of_the_last_layer_run_first(read):
    layers, seen = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh(), torch.nn.Linear(2, 2)), []
    for name, p in layers.named_parameters():
        p.register_hook(lambda g, name=name: seen.append(name))
    first = layers[0].weight
    first.register_post_accumulate_grad_hook(lambda p: seen.append([q.grad is None for q in layers.parameters()]))
    read(layers(torch.ones(3, 2)).sum()).backward()
    assert seen == ["2.bias", "2.weight", "0.bias", "0.weight", [False] * 4]


def test_hooks_inside(read):
    x, seen = leaf(), []
    y = read(x * 2)
    z = read(y * 3)
    y.register_hook(lambda g: seen.append(("y", g.tolist())))
    y.register_hook(lambda g: g * 10)
    z.register_hook(lambda g: seen.append(("z", g.tolist())))
    x.register_hook(lambda g: seen.append(("x", g.tolist())))
    (z.sum() + y.sum()).backward()
    assert seen == [("z", [1, 1, 1]), ("y", [4, 4, 4]), ("x", [80, 80, 80])] and x.grad.tolist() == [80, 80, 80]


def test_hooks_that_read_during_grad_and_second_derivatives():
    x, seen = leaf(), []
    y = x * x
    y.register_hook(lambda g: seen.append(g.tolist()))
    h = y * 2
    (gy, gx) = torch.autograd.grad((h * h).sum(), [y, x], create_graph=True)
    assert gy.tolist() == [8, 32, 72] and gx.tolist() == [16, 128, 432] and seen == [[8, 32, 72]]
    assert torch.autograd.grad(gx.sum(), x)[0].tolist() == [48, 192, 432]


def test_hooks_and_functions_that_lead_to_no_input_do_not_run(read):
    ran = []

    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            ran.append("function")
            return grad * 2

    w, x, u = (torch.ones(3, requires_grad=True) for _ in range(3))
    h = w * 3
    h.register_hook(lambda g: ran.append("hook"))
    y = read((h * x * Twice.apply(u)).sum())
    for create in (False, True):
        assert torch.autograd.grad(y, x, retain_graph=True, create_graph=create)[0].tolist() == [6, 6, 6] and not ran
    torch.autograd.grad(y, (x, w), retain_graph=True)
    assert ran == ["hook"]
    y.backward(inputs=[x], retain_graph=True)
    assert ran == ["hook"]
    y.backward()
    assert sorted(ran) == ["function", "hook", "hook"] and u.grad.tolist() == [6, 6, 6]
    ran.clear()
    first = Twice.apply(w * 2)
    second = read((Twice.apply(first) * x).sum())
    assert torch.autograd.grad(second, first)[0].tolist() == [2, 2, 2] and ran == ["function"]


def test_a_gradient_of_something_inside_leaves_the_graph_before_it_alone():
    w = torch.ones(3, requires_grad=True)
    a = (w * 2).exp()
    a.sum().item()
    b = a.sin()
    b.sum().item()  # executed in several parts: b's rests on a's
    c = b.cos()
    c.sum().item()
    (gb,) = torch.autograd.grad((c * b).sum(), (b,))
    torch.testing.assert_close(gb, (b.cos() - b * b.sin()).detach())
    with pytest.raises(RuntimeError, match="second time"):  # this part was gone through
        c.sum().backward()
    (a + b).sum().backward()
    torch.testing.assert_close(w.grad, (2 * a * (1 + a.cos())).detach())


def test_derivatives_of_sums_whose_memory_the_next_sum_was_given():
    w = leaf()
    for _ in range(4):
        total = 0
        for _ in range(9):
            total = total + (w * w).sum() * 0.5
            total.item()
        (g,) = torch.autograd.grad(total, w, create_graph=True)
        assert g.tolist() == [9, 18, 27]
        w.grad = None
        (g * g).sum().backward()
        assert w.grad.tolist() == [162, 324, 486]

    def read(x):
        total = 0
        for _ in range(9):
            total = total + (x * x).sum() * 0.5
            total.item()
        return total

    for _ in range(4):
        assert torch.func.jvp(read, (w.detach(),), (torch.ones(3),))[1].item() == 54


@pytest.mark.parametrize("parts", [1, 2])
def test_a_target_behind_what_was_given_up_is_an_error(read, parts):
    """Not a gradient of None, which nobody asks about."""
    w, v = leaf(), leaf()
    a = (w * 2).exp()
    a.sum().item()
    if parts == 2:
        a = a.sin()
        a.sum().item()
    torch.autograd.grad(read((a * v).sum()), (w,))
    with pytest.raises(RuntimeError, match=AGAIN):
        torch.autograd.grad(read((a * v).sum()), (w,), allow_unused=True)
    assert torch.autograd.grad(read((a * v).sum()), (v,), allow_unused=True)[0].tolist() == a.tolist()


def test_what_leads_to_a_target_is_found_through_several_executed_parts():
    w, v = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    a, other = (w * 2).exp(), v.exp()
    (a + other).sum().item()
    b = a.sin() * other
    b.sum().item()
    (gw, ga) = torch.autograd.grad((b * b).sum(), (w, a), retain_graph=True)
    torch.testing.assert_close(gw, (ga * 2 * a).detach())
    torch.autograd.grad(b.sum(), (a,))
    other.sum().backward()  # b's part is gone, this one is not
    torch.testing.assert_close(v.grad, other.detach())


def test_bad_hooks():
    for result, error in ((torch.ones(2), RuntimeError), (3, TypeError)):
        x = leaf()
        y = x * 2
        y.register_hook(lambda g, result=result: result)
        with pytest.raises(error):
            y.sum().backward()
        assert torch.is_grad_enabled()


def test_post_accumulate_hooks():
    x, seen = leaf(), []
    handle = x.register_post_accumulate_grad_hook(lambda p: seen.append((p is x, p.grad.tolist())))
    (x * 2).sum().backward()
    (x * 2).sum().backward()
    handle.remove()
    (x * 2).sum().backward()
    assert seen == [(True, [2, 2, 2]), (True, [4, 4, 4])]
    with pytest.raises(RuntimeError, match="non-leaf"):
        (x * 2).register_post_accumulate_grad_hook(print)
    x.register_post_accumulate_grad_hook(lambda p: p.grad)
    with pytest.raises(RuntimeError, match="should return None"):
        (x * 2).sum().backward()


def test_retain_grad(read):
    x = leaf()
    y = read(x * 2)
    y.retain_grad()
    y.register_hook(lambda g: g * 5)
    z = (y * y).sum()
    z.backward(retain_graph=True)
    assert y.grad.tolist() == [20, 40, 60] and x.grad.tolist() == [40, 80, 120]
    z.backward()
    assert y.grad.tolist() == [40, 80, 120] and y.retains_grad and not x.retains_grad
    with pytest.raises(RuntimeError, match="retain_grad"):
        torch.ones(1).retain_grad()
    with pytest.warns(UserWarning, match="not a leaf"):
        assert (x * 2).grad is None


# ---------------------------------------------------------------------------------------------- the shape of the graph


def test_detach_cuts(read):
    x = leaf()
    y = read(x * x)
    (x * y.detach()).sum().backward()
    assert x.grad.tolist() == [1, 4, 9] and not y.detach().requires_grad


def test_in_place_and_views(read):
    x = torch.ones(4, requires_grad=True)
    y = x * 1
    v, w = y[:2], y[1:3]
    v.mul_(2)
    read(y)
    w.mul_(3)
    y[3] = 0
    (v.sum() + 10 * w.sum() + y.pow(2).sum()).backward()
    assert y.tolist() == [2, 6, 3, 0] and x.grad.tolist() == [10, 138, 48, 0]
    x.grad = None
    out = torch.zeros(4)
    for i in range(4):
        out[i] = x[i] * (i + 1)
    read(out).sum().backward()
    assert x.grad.tolist() == [1, 2, 3, 4] and not out.is_leaf
    y = x.exp()
    with torch.no_grad():
        y.add_(1)
    y.sum().backward()
    assert [round(g, 3) for g in x.grad.tolist()] == [3.718, 4.718, 5.718, 6.718]


def test_updates_after_the_forward_pass_do_not_change_gradients():
    x = leaf()
    y = (x * x).sum()
    with torch.no_grad():
        x.mul_(100)
    y.backward()
    assert x.grad.tolist() == [2, 4, 6]


def test_complex():
    def check(f, want):
        x = torch.tensor([1 + 2j, 3 + 0j], requires_grad=True)
        f(x).backward()
        assert torch.allclose(x.grad, torch.tensor(want, dtype=torch.complex64))

    check(lambda x: (x.abs() ** 2).sum(), [2 + 4j, 6])
    check(lambda x: (x * x).real.sum(), [2 - 4j, 6])
    check(lambda x: (x * x).imag.sum(), [4 + 2j, 6j])
    check(lambda x: torch.view_as_real(x).pow(3).sum(), [3 + 12j, 27])
    real = torch.tensor([1.0, 2.0], requires_grad=True)
    z = real * (1 + 2j)
    (z * z.conj()).real.sum().backward()
    assert real.grad.tolist() == [10, 20]
    with pytest.raises(RuntimeError, match="same dtype"):
        (real * 1j).backward(torch.ones(2))


def test_dtypes_of_gradients():
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    (x.float() * 2).sum().backward()
    assert x.grad.dtype == torch.float64
    assert not x.argmax().requires_grad and not (x > 0).requires_grad and not x.long().requires_grad


def test_grad_fn():
    x = torch.ones(3, 3, requires_grad=True)
    y = x * 2
    node = y.grad_fn
    assert x.grad_fn is None and node.name() == type(node).__name__ == "MulBackward0"
    (end, index), number = node.next_functions
    assert number == (None, 0)
    assert type(end).__name__ == "AccumulateGrad" and end.variable is x and index == 0
    names = {"AddBackward0": x + 1, "SubBackward0": x - 1, "PowBackward0": x**2, "MmBackward0": x @ x,
             "SumBackward0": x.sum(), "ViewBackward0": x.view(9), "TBackward0": x.t(), "SelectBackward0": x[0],
             "ReluBackward0": x.relu(), "CatBackward0": torch.cat([x, x]),
             "CloneBackward0": x.clone(), "IndexBackward0": x[[0, 1]]}  # fmt: skip
    assert [t.grad_fn.name() for t in names.values()] == list(names)
    assert repr(y.sum()) == "tensor(18., grad_fn=<SumBackward0>)"
    y.tolist()
    assert y.grad_fn.name() == "MulBackward0" and y.grad_fn.next_functions[0][0].variable is x


def test_a_leaf_that_was_frozen_keeps_its_hooks_and_its_place_on_the_tape():
    ran = []
    w = torch.ones(2, requires_grad=True)
    w.register_hook(lambda g: g * 2)
    w.register_post_accumulate_grad_hook(lambda p: ran.append(p.grad.tolist()))
    early, late = (w * 3).sum(), (w * 5).sum()
    early.backward()
    w.requires_grad_(False)
    assert w.grad.tolist() == [6, 6] and w.is_leaf and not (w * 2).requires_grad
    w.requires_grad = True
    assert w.grad.tolist() == [6, 6]
    late.backward()
    (w * 7).sum().backward()
    assert w.grad.tolist() == [30, 30] and ran == [[6, 6], [16, 16], [30, 30]]


def test_the_gradient_of_a_frozen_leaf_does_not_change():
    w = torch.ones(2, requires_grad=True)
    w.grad = torch.ones(2)
    loss = (w * 2).sum()
    w.requires_grad_(False)
    loss.backward()
    assert w.grad.tolist() == [1, 1]
    w.requires_grad_()
    assert w.grad.tolist() == [1, 1]
    (w * 3).sum().backward()
    assert w.grad.tolist() == [4, 4]


def test_retained_gradients_are_those_of_the_last_value():
    w = torch.ones(2, requires_grad=True)
    a = w * 2
    seen = []
    a.register_hook(lambda g: seen.append(g.tolist()))
    a.retain_grad()
    a.mul_(3)
    a.sum().backward()
    assert a.grad.tolist() == [1, 1] and seen == [[3, 3]] and w.grad.tolist() == [6, 6]


def test_numbers_of_a_call_that_begins_anew_keep_their_kind():
    # a leaf that is still being made is executed first, and the call is recorded again: as it would have been
    x = torch.arange(1.0, 4.0)
    for k in range(30):  # so many numbers that further ones are run-time inputs from the first
        (x * (k + 1)).tolist(), (x * (k + 0.5)).tolist(), x.clamp(k - 0.5, k + 0.25).tolist()
    for make, number in zip((torch.sin, torch.cos, torch.tan, torch.exp), (2, 3.5, 4, 5.5), strict=True):
        leaf = make(x).requires_grad_()
        (leaf * number).sum().backward()
        assert leaf.grad.tolist() == [number] * 3
    for make, bounds in ((torch.sinh, (0.5, None)), (torch.cosh, (None, 0.5)), (torch.tanh, (0.25, 0.5))):
        leaf = make(x).requires_grad_()
        assert torch.equal(leaf.clamp(*bounds).detach(), leaf.detach().clamp(*bounds))


def test_a_graph_that_another_thread_has_recorded():
    w = leaf()
    made = {}

    def record(k):
        made[k] = (w * k).sum()

    threads = [threading.Thread(target=record, args=(k,)) for k in (2, 3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    (made[2] + made[3]).backward()
    with pytest.raises(RuntimeError, match=AGAIN):
        made[3].square().backward()
    assert w.grad.tolist() == [5, 5, 5]
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(lambda: (w * 2).sum()).result()
        with pytest.raises(RuntimeError, match="recorded by another thread"):
            pending.backward()
        pool.submit(pending.item).result()
        pending.backward()
    assert w.grad.tolist() == [7, 7, 7]


@pytest.mark.parametrize("read", [False, True])
def test_what_a_gradient_does_not_rest_on_gets_none(read):
    """A penalty on a gradient leaves the last bias alone: Adam would move it, were its gradient zeros."""
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LeakyReLU(0.2), torch.nn.LayerNorm(4),
                              torch.nn.Linear(4, 1))  # fmt: skip
    x = torch.randn(5, 3, requires_grad=True)
    y = net(x).sum()
    if read:
        y.item()
    (slope,) = torch.autograd.grad(y, x, create_graph=True)
    slope.pow(2).sum().backward()
    got = {name: p.grad is not None for name, p in net.named_parameters()}
    assert got == {"0.weight": True, "0.bias": True, "2.weight": True, "2.bias": False, "3.weight": True,
                   "3.bias": False}  # fmt: skip


def test_gradients_of_what_is_linear_need_none():
    a, b = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    for made, ga, gb in ((a + b, False, False), (a * b, True, True), (a * 2 + b, False, False), (a**2 - b, True, False),
                         (torch.cat([a, b]), False, False), (a[[0, 2]], False, None)):  # fmt: skip
        grads = torch.autograd.grad(made.sum(), (a, b), create_graph=True, allow_unused=True)
        assert [None if g is None else g.requires_grad for g in grads] == [ga, gb]


@pytest.mark.parametrize("create_graph", [False, True])
def test_hooks_of_leaves_run_in_the_mode_of_the_pass(create_graph):
    x = torch.ones(2, requires_grad=True)
    modes = []
    x.register_hook(lambda g: modes.append(torch.is_grad_enabled()))
    x.register_post_accumulate_grad_hook(lambda p: modes.append(torch.is_grad_enabled()))
    (x * x).sum().backward(create_graph=create_graph)
    torch.autograd.grad((x * x).sum(), x, create_graph=create_graph)
    assert modes == [create_graph] * 3 and torch.is_grad_enabled()


def test_a_hook_after_accumulation_may_step():
    x = torch.zeros(3, requires_grad=True)
    x.register_post_accumulate_grad_hook(lambda p: p.add_(p.grad, alpha=-0.1) and None)
    with pytest.raises(RuntimeError, match="should return None"):
        y = torch.zeros(3, requires_grad=True)
        y.register_post_accumulate_grad_hook(lambda p: p.add_(p.grad))
        y.backward(torch.ones(3))
    x.register_post_accumulate_grad_hook(lambda p: None)
    handle = x._get().node.post_hooks
    handle.pop(next(iter(handle)))
    x.register_post_accumulate_grad_hook(_stepping)
    x.backward(torch.tensor([1.0, 2.0, 3.0]))
    assert torch.allclose(x, torch.tensor([-0.1, -0.2, -0.3])) and x.is_leaf


def _stepping(p):
    p.add_(p.grad, alpha=-0.1)


def test_generators_are_closed_in_their_mode():
    seen = []

    @torch.no_grad()
    def numbers():
        try:
            yield 1
        finally:
            seen.append(torch.is_grad_enabled())

    g = numbers()
    next(g)
    g.close()
    assert seen == [False] and torch.is_grad_enabled()


def test_decorated_classes_are_made_in_the_mode():
    with pytest.warns(FutureWarning, match="Decorating classes"):

        @torch.no_grad()
        class Made:
            def __init__(self):
                self.inside = torch.is_grad_enabled()

            def now(self):
                return torch.is_grad_enabled()

    assert Made().inside is False and Made().now() is True


def test_what_cannot_be_assigned():
    """The errors by which programs tell what was wrong."""
    x = torch.ones(2, requires_grad=True)
    for name, value, error, text in (
        ("grad", torch.ones(3), RuntimeError, "gradient of size"),
        ("grad", torch.ones(2, device="meta"), RuntimeError, "device"),
        ("grad", torch.ones(2).double(), RuntimeError, "gradient with dtype"),
        ("requires_grad", "yes", RuntimeError, "must be a bool"),
    ):
        with pytest.raises(error, match=text):
            setattr(x, name, value)
    with pytest.raises(RuntimeError, match="doesn't require gradient"):
        torch.ones(1).register_post_accumulate_grad_hook(print)
    with pytest.raises(RuntimeError, match="cannot resize variables that require grad"):
        x.resize_(2)
    with pytest.raises(TypeError, match="must be bool, not str"):
        torch.set_grad_enabled("no")
    assert "set_grad_enabled(mode=True)" in repr(torch.set_grad_enabled(True))


def test_the_end_of_inference_mode_records_again():
    """``inference_mode(False)`` is how a part of a program that only infers is trained."""
    for outer in (torch.inference_mode, torch.no_grad):
        with outer():
            with torch.inference_mode(False):
                x = leaf()
                (x * x).sum().backward()
            assert x.grad.tolist() == [2, 4, 6] and not torch.is_grad_enabled()


def test_threads_lose_no_gradient_of_one_another():
    x = leaf()
    x.tolist()

    def train(_):
        for _ in range(5):
            (x * 2).sum().backward()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(train, range(4)))
    assert x.grad.tolist() == [40, 40, 40]
