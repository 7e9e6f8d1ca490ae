"""In-place operations and ``out=``: results, dtypes, leaves and errors."""

import pytest

import pytorchlike as torch
from pytorchlike.engine import errors


def test_in_place_forms_change_the_tensor_itself():
    x = torch.arange(4.0)
    y, same = x, x.view(2, 2)
    y += 1
    assert y is x and x.add_(1) is x
    x.mul_(3).sub_(1).div_(2).neg_().abs_()
    torch.sqrt_(x)
    assert [round(v, 4) for v in same.flatten().tolist()] == [
        round(((i + 2) * 3 - 1) ** 0.5 / 2**0.5, 4) for i in range(4)
    ]


@pytest.mark.parametrize("name, args, want", [
    ("clamp_", (1, 2), [1, 1, 2, 2]), ("pow_", (2,), [0, 1, 4, 9]), ("fill_", (3,), [3, 3, 3, 3]),
    ("zero_", (), [0, 0, 0, 0]), ("lt_", (2,), [1, 1, 0, 0]), ("logical_not_", (), [1, 0, 0, 0]),
    ("remainder_", (2,), [0, 1, 0, 1]), ("floor_divide_", (2,), [0, 0, 1, 1]), ("cumsum_", (0,), [0, 1, 3, 6]),
])  # fmt: skip
def test_results(name, args, want):
    x = torch.arange(4.0)
    assert getattr(x, name)(*args) is x
    assert x.tolist() == want and x.dtype == torch.float32


def test_operators_in_place():
    x = torch.arange(4)
    x //= 2
    x **= 2
    x <<= 1
    x |= 1
    x ^= 2
    x &= 7
    x >>= 1
    x %= 3
    assert x.tolist() == [1, 1, 0, 0]


def test_results_keep_the_dtype():
    for kind in (torch.float16, torch.bfloat16, torch.float32):
        assert torch.ones(2, dtype=kind).add_(torch.ones(2, dtype=torch.float64)).dtype == kind
    x = torch.zeros(2, dtype=torch.int8)
    assert x.add_(torch.tensor([300, 1])).tolist() == [44, 1]
    flags = torch.tensor([True, False])
    flags |= True
    flags ^= torch.tensor([True, False])
    assert flags.tolist() == [False, True]


@pytest.mark.parametrize("make, message", [
    (lambda: torch.arange(4).add_(1.5), "result type Float can't be cast to the desired output type Long"),
    (lambda: torch.arange(4).div_(2), "can't be cast"),
    (lambda: torch.arange(4).sqrt_(), "can't be cast"),
    (lambda: torch.arange(4).add_(torch.ones(4)), "can't be cast"),
    (lambda: torch.zeros(4).add_(1j), "result type ComplexFloat can't be cast"),
    (lambda: torch.zeros(3, dtype=torch.bool).add_(1), "result type Long can't be cast"),
    (lambda: torch.zeros(4).add_(torch.ones(2, 4)), r"output with shape \[4\] doesn't match the broadcast shape"),
    (lambda: torch.zeros(2, 3).copy_(torch.zeros(3, 2)), r"tensor a \(3\) must match .* b \(2\) at .* dimension 1"),
    (lambda: torch.zeros(()).copy_(torch.ones(1)), r"output with shape \[\] doesn.t match the broadcast shape \[1\]"),
    (lambda: torch.zeros(3).fill_(torch.ones(3)), "0-dim"),
    (lambda: torch.ones(2, dtype=torch.int32).add_(torch.ones(2, dtype=torch.int32), alpha=2.5), "alpha"),
])  # fmt: skip
def test_refusals(make, message):
    with pytest.raises(RuntimeError, match=message):
        make()


def test_copy():
    x = torch.zeros(2, 3)
    x.copy_(torch.arange(3))
    x[0].copy_(torch.tensor(9))
    assert x.tolist() == [[9, 9, 9], [0, 1, 2]]
    assert torch.arange(2).copy_(torch.tensor([1.7, -3.9])).tolist() == [1, -3]


def test_indexed_forms():
    x = torch.arange(6.0).view(2, 3)
    x.index_fill_(1, torch.tensor([0]), 5)
    x.index_add_(0, torch.tensor([0]), torch.ones(1, 3))
    x.scatter_(1, torch.tensor([[2], [2]]), 8.0)
    x.masked_fill_(x == 2, -1)
    assert x.tolist() == [[6, -1, 8], [5, 4, 8]]
    x.put_(torch.tensor([1]), torch.tensor([0.0]))
    x.fill_diagonal_(1)
    assert x.tolist() == [[1, 0, 8], [5, 1, 8]]
    with pytest.raises(RuntimeError):
        x.masked_fill_(torch.tensor([True, False]), 1)


def test_out():
    x = torch.ones(2, 2)
    out = torch.empty(2, 2)
    assert torch.add(x, 1, out=out) is out and out.tolist() == [[2, 2], [2, 2]]
    torch.add(x, x, out=x)
    assert x.tolist() == [[2, 2], [2, 2]]
    turned = torch.zeros(2, 3)
    torch.add(torch.ones(3, 2), 1, out=turned.t())
    assert turned.tolist() == [[2, 2, 2], [2, 2, 2]]
    grown = torch.empty(0)
    torch.matmul(x, x, out=grown)
    assert grown.tolist() == [[8, 8], [8, 8]]
    values, indices = torch.empty(0), torch.empty(0, dtype=torch.long)
    torch.max(torch.tensor([[1.0, 3], [5, 2]]), 1, out=(values, indices))
    assert values.tolist() == [3, 5] and indices.tolist() == [1, 0]
    wide = torch.empty(2, 2, dtype=torch.float64)
    assert torch.add(x, 1, out=wide).dtype == torch.float64
    for kind in (torch.float64, torch.float16, torch.int32):
        whole = torch.empty(0, dtype=kind)
        assert torch.add(torch.arange(3), 1, out=whole) is whole and whole.dtype == kind and whole.tolist() == [1, 2, 3]
    assert torch.eq(x, 2, out=torch.empty(2, 2)).tolist() == [[1, 1], [1, 1]]


def test_out_without_gradients_leaves_the_tape_as_it_is():
    p, x = torch.nn.Parameter(torch.ones(3)), torch.full((3,), 2.0)
    h = p * 3
    with torch.no_grad():
        torch.add(p, x, out=p)
        torch.mul(p, x, out=h)
        torch.mul(p, x, out=x)
        torch.sort(x, out=(x, torch.empty(3, dtype=torch.int64)))
    assert p.is_leaf and p.requires_grad and p.tolist() == [3, 3, 3] and not x.requires_grad and x.tolist() == [6, 6, 6]
    assert h.requires_grad and h.tolist() == [6, 6, 6]
    (p * x + h).sum().backward()
    assert p.grad.tolist() == [9, 9, 9]


def test_out_refusals():
    with pytest.raises(RuntimeError, match="can't be cast"):
        torch.add(torch.ones(3), 1, out=torch.empty(3, dtype=torch.int64)).tolist()
    with pytest.warns(UserWarning, match="resized"):
        torch.add(torch.ones(3), 1, out=torch.empty(2))
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        torch.add(torch.ones(3, requires_grad=True), 1, out=torch.empty(3))
    with pytest.raises(TypeError, match="out"):
        torch.add(torch.ones(2), 1, out=3)
    with pytest.raises(RuntimeError, match="single memory"):
        torch.add(torch.ones(2, 3), 1, out=(base := torch.ones(3)).expand(2, 3))
    assert base.tolist() == [1, 1, 1]


def test_leaf_rules():
    x = torch.ones(3, requires_grad=True)
    for write in (lambda: x.add_(1), lambda: x.zero_(), lambda: x.copy_(torch.ones(3)), lambda: x.__iadd__(1)):
        with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
            write()
    with pytest.raises(RuntimeError, match="view of a leaf"):
        x.view(3).add_(1)
    with torch.no_grad():
        x.add_(1)
        x *= 2
        x[0] = 0
    assert x.tolist() == [0, 4, 4] and x.requires_grad and x.is_leaf
    plain = torch.ones(3)
    plain.add_(x)
    assert plain.requires_grad and not plain.is_leaf
    plain.sum().backward()
    assert x.grad.tolist() == [1, 1, 1]


def test_requires_grad_flag():
    x = torch.ones(2, requires_grad=True)
    y = x * 2
    with pytest.raises(RuntimeError, match="requires_grad flags of leaf variables"):
        y.requires_grad_(False)
    with pytest.raises(RuntimeError, match="requires_grad flags of leaf variables"):
        y.requires_grad = False
    with pytest.raises(RuntimeError, match="floating point"):
        torch.arange(3).requires_grad_()
    y.detach_()
    assert y.is_leaf and not y.requires_grad and y.grad_fn is None
    with pytest.raises(RuntimeError, match="detach views in-place"):
        (kept := x * 1).view(2).detach_()
    assert kept.requires_grad
    assert not x.requires_grad_(False).requires_grad


def test_assigning_gradients():
    x = torch.ones(2, requires_grad=True)
    for bad, error in ((torch.ones(3), RuntimeError), (torch.ones(2, dtype=torch.float64), RuntimeError),
                       (3, TypeError), (x, RuntimeError)):  # fmt: skip
        with pytest.raises(error):
            x.grad = bad
    x.grad = torch.ones(2)
    x.grad.zero_()
    assert x.grad.tolist() == [0, 0]
    del x.grad
    assert x.grad is None


def test_writes_through_data_keep_the_history():
    """Attention masks of old: ``scores.data.masked_fill_(mask, -inf)``: gradients pass as before."""
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 2
    y.data.masked_fill_(torch.tensor([True, False, False]), -5.0)
    (y**2).sum().backward()
    assert y.tolist() == [-5, 4, 6] and x.grad.tolist() == [-20, 16, 24]
    x.grad = None
    y = x * 2
    y.data[1:].mul_(10)
    y.detach()[0] = 7
    (y * y).sum().backward()
    assert y.tolist() == [7, 40, 60] and x.grad.tolist() == [28, 160, 240]
    plain = y.data
    assert not plain.add_(1).requires_grad and y.requires_grad and y.tolist() == [8, 41, 61]


def test_writes_to_views_without_gradients_keep_the_history():
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 2
    part, column = y[:2], y.view(3, 1)
    with torch.no_grad():
        part.mul_(3)
        column.add_(1)
        assert y.tolist() == [7, 13, 7] and part.requires_grad and column.requires_grad
    (part * part).sum().backward()
    assert x.grad.tolist() == [28, 52, 0]


def test_views_that_are_read_without_gradients_stay_on_the_tape():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    part = y[1:]
    with torch.no_grad():
        y.mul_(2)
        assert part.sum().item() == 8
    part.sum().backward()
    assert x.grad.tolist() == [0, 2]


def test_numbers_in_front_of_tensors(monkeypatch):
    """The order of arguments in programs of old, e.g. ``p.data.add_(-lr, grad)`` in their optimizers."""
    monkeypatch.setattr(errors, "always", True)
    x, g, m = torch.arange(3.0), torch.arange(3.0) + 1, torch.ones(2, 2)
    with pytest.warns(UserWarning, match=r"alpha=2"):
        assert x.clone().add_(2, g).tolist() == [2, 5, 8]
    with pytest.warns(UserWarning, match="deprecated"):
        assert torch.add(x, 2, g).tolist() == [2, 5, 8] and x.sub(1, g).tolist() == [-1, -1, -1]
        assert x.clone().addcmul_(0.5, g, g).tolist() == [0.5, 3, 6.5]
        assert x.clone().addcdiv_(-1, g, g).tolist() == [-1, 0, 1]
        assert torch.addmm(0.5, m, m, m).tolist() == [[2.5, 2.5]] * 2 and m.addmm(2, 3, m, m).tolist() == [[8, 8]] * 2
        assert torch.baddbmm(2, m[None], 3, m[None], m[None]).tolist() == [[[8, 8]] * 2]
        step = torch.tensor(2.0)  # as in SharedAdam, whose steps are shared tensors
        assert x.clone().addcdiv_(-step, g, g).tolist() == [-2, -1, 0] and x.add(step, g).tolist() == [2, 5, 8]
        assert step.addcmul(step, step, step).item() == 10 and m.addmm(step, 3, m, m).tolist() == [[8, 8]] * 2
        assert torch.addmm(step, m, step, m, m).tolist() == [[6, 6]] * 2
    for number in (torch.ones(1), step.clone().requires_grad_()):
        with pytest.raises(TypeError, match="positional arguments"):
            x.addcmul(number, g, g)
    for wrong in (lambda: x.add_(1, 2, 3), lambda: x.add(g, g, g), lambda: x.add(g, 1.5, 2)):
        with pytest.raises(TypeError, match="positional arguments"):
            wrong()


def test_numbers_that_are_tensors_still_to_compute():
    """An optimizer's ``p.add_(update, alpha=-lr * trust)`` for each parameter does not execute what is pending."""
    x, g = torch.arange(3.0), torch.arange(3.0) + 1
    trust = (g.norm() / g.norm()) * 2
    calls = [
        x.add(g, alpha=trust), x.clone().sub_(g, alpha=trust * 2), x.clone().addcdiv_(g, g, value=-trust),
        torch.addmm(x[:, None] * 0, x[:, None], g[None, :1], beta=trust, alpha=trust / 2)[:, 0],
    ]  # fmt: skip
    assert all(t._value.data is None for t in (trust, *calls))
    assert [c.tolist() for c in calls] == [[2, 5, 8], [-4, -7, -10], [-2, -1, 0], [0, 1, 2]]
    whole = torch.arange(3)
    with pytest.raises(RuntimeError, match="must not be a floating point"):
        whole.add(whole, alpha=x.sum() * 1).tolist()
    with pytest.raises(TypeError, match="must be Number, not Tensor"):
        x.add(g, alpha=torch.tensor(2.0, requires_grad=True) * 1)
