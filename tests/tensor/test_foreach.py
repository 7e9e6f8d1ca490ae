"""Functions on lists of tensors do to each what the function of that name does."""

import pytest

import pytorchlike as torch


def values(tensors):
    return [t.tolist() for t in tensors]


def test_functions_on_lists():
    a, b = [torch.tensor([1.0, 4.0]), torch.tensor([9.0])], [torch.tensor([2.0, 3.0]), torch.tensor([5.0])]
    assert values(torch._foreach_add(a, b, alpha=2)) == [[5, 10], [19]]
    assert values(torch._foreach_mul(a, [2.0, 3.0])) == [[2, 8], [27]] and values(a) == [[1, 4], [9]]
    assert values(torch._foreach_sqrt(a)) == [[1, 2], [3]] and values(torch._foreach_norm([a[1]])) == [9]
    assert values(torch._foreach_addcdiv(a, b, a, value=-0.5)) == [[0, 3.625], [pytest.approx(9 - 2.5 / 9)]]
    assert all(x is y for x, y in zip(torch._foreach_add_(a, 1), a, strict=True))  # what is written to is returned
    assert values(torch._foreach_pow(2.0, [torch.tensor([1.0, 3.0])])) == [[2, 8]]
    torch._foreach_lerp_(a, b, 0.5)
    torch._foreach_addcmul_(a, b, b, [2.0, 1.0])
    torch._foreach_neg_(a)
    assert values(a) == [[-10, -22], [-32.5]]
    torch._foreach_zero_(a)
    torch._foreach_maximum_(a, b)
    assert values(a) == values(b)
    assert values(torch._foreach_maximum(a, 2.5)) == [[2.5, 3], [5]]
    assert values(torch._foreach_minimum(a, [2.5, 4])) == [[2, 2.5], [4]]
    torch._foreach_minimum_(a, 2.5)
    assert values(a) == [[2, 2.5], [2.5]]
    with pytest.raises(RuntimeError, match="same number"):
        torch._foreach_add(a, b[:1])
    with pytest.raises(TypeError, match="tuple of Tensors"):
        torch._foreach_add(a[0], 1)


def test_what_is_refused_changes_nothing():
    a, p = torch.ones(2), torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        torch._foreach_add_([a, p], 1)
    assert a.tolist() == [1, 1]


def test_an_optimizer_of_ones_own_is_one_program():
    from pytorchlike import compiler

    weights = [torch.ones(3, requires_grad=True), torch.ones(2, requires_grad=True)]
    moments = [torch.zeros(3), torch.zeros(2)]

    def step():
        sum((w * w).sum() for w in weights).backward()
        with torch.no_grad():
            torch._foreach_lerp_(moments, [w.grad for w in weights], 0.1)
            torch._foreach_add_(weights, moments, alpha=-1.0)
        for w in weights:
            w.grad = None
        return weights[0].sum().item()

    seen = [step() for _ in range(4)]
    assert seen == sorted(seen, reverse=True)
    before = compiler.stats()
    step()
    assert compiler.stats()["compiles"] == before["compiles"]


def test_copies_products_and_sums_of_powers():
    a = [torch.tensor([[1.0, -2.0]]), torch.tensor([[3.0]])]
    copies = torch._foreach_clone(a)
    a[0].zero_()
    assert values(copies) == [[[1, -2]], [[3]]]
    assert values(torch._foreach_powsum(copies)) == [5, 9]
    assert values(torch._foreach_mm(copies, [torch.ones(2, 1), torch.ones(1, 2)])) == [[[-1]], [[3, 3]]]
