"""A failed data check leaves everything as it was, and that costs no copy of what is replaced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.engine.kept import choosing


@jax.jit
def _moved(w, m, g):
    m = 0.9 * m + 0.1 * g
    return w - m / (1 + jnp.abs(m)), m


def _update(arrays):
    """Weights and moments, as an optimizer makes them: [w', …, m', …] and no checks."""
    ws, ms, gs = arrays
    pairs = [_moved(w, m, g) for w, m, g in zip(ws, ms, gs, strict=True)]
    return (*[p[0] for p in pairs], *[p[1] for p in pairs]), ()


@pytest.mark.parametrize("fails", [False, True])
def test_all_results_are_new_or_all_are_old(fails):
    arrays = [[jnp.arange(6.0).reshape(2, 3) + k, jnp.ones(4) * k] for k in (1, 2, 3)]
    old = dict(enumerate(arrays[0] + arrays[1]))
    outs, flags = choosing(_update, arrays, old, jnp.array(fails))
    want = list(old.values()) if fails else _update(arrays)[0]
    assert flags == () and len(outs) == 4
    for got, expected in zip(outs, want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=0 if fails else 1e-6)


def test_what_is_replaced_is_not_copied():
    """Chosen at the end, each moment was computed twice, from an array that could not be overwritten."""

    def step(ws, ms, gs, failed):
        old = dict(enumerate([*ws, *ms]))
        return choosing(_update, (ws, ms, gs), old, failed)

    def late(ws, ms, gs, failed):
        outs, _ = _update((ws, ms, gs))
        return [jnp.where(failed, o, n) for o, n in zip([*ws, *ms], outs, strict=True)]

    like = [jax.ShapeDtypeStruct((64, 8), jnp.float32), jax.ShapeDtypeStruct((32, 8), jnp.float32)]
    flag = jax.ShapeDtypeStruct((), jnp.bool_)

    def copies(f):
        text = jax.jit(f, donate_argnums=(0, 1)).lower(like, like, like, flag).compile().as_text()
        return text[text.index("\nENTRY") :].count(" copy(")

    assert copies(step) == 0
    if copies(late) == 0:
        pytest.skip("this XLA does not copy either way")


@pytest.mark.parametrize(
    ("kind", "check_last", "compiled"),
    [  # a plain step of an optimizer is a program of its own: what fails after it, fails after it
        (kind, last, compiled)
        for kind in ("Adam", "by hand") for last in (False, True) for compiled in (False, True)
        if not (kind == "Adam" and last and not compiled)
    ],
)  # fmt: skip
def test_a_step_with_a_bad_index_changes_nothing(tier, kind, check_last, compiled):
    """The index is looked at before the update or after it; the update is one operation, or several in place."""
    tier("fused")
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 4)
    weight = model.weight
    moment, square = torch.zeros(4, 3), torch.zeros(4, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    table = torch.arange(4.0)
    x = torch.ones(5, 3)

    def step(index):
        loss = model(x).square().mean()
        if not check_last:
            loss = loss * table[index].sum()
        optimizer.zero_grad()
        loss.backward()
        if kind == "Adam":
            optimizer.step()
        else:
            with torch.no_grad():
                moment.mul_(0.9).add_(weight.grad, alpha=0.1)
                square.mul_(0.99).addcmul_(weight.grad, weight.grad, value=0.01)
                weight.addcdiv_(moment, square.sqrt().add(1e-8), value=-0.1)
        return loss.detach() + (table[index].sum() if check_last else 0)

    run = torch.compile(step) if compiled else step
    good, bad = torch.arange(2) + 1, torch.arange(2) + 3
    for _ in range(3):
        run(good).item()

    def everything():
        states = [] if kind == "by hand" else [optimizer.state[weight][k] for k in ("step", "exp_avg", "exp_avg_sq")]
        return [t.detach().numpy().copy() for t in (weight, model.bias, moment, square, *states)]

    before = everything()
    with pytest.raises(IndexError):
        run(bad).item()
    for now, then in zip(everything(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    run(good).item()
    assert not np.array_equal(everything()[0], before[0])


def test_gradients_that_are_held_channels_last(tier):
    """A scale of the channels of a convolution's images, whose gradient is an image itself, beside checked labels."""
    tier("fused")
    torch.manual_seed(0)
    conv, scale = torch.nn.Conv2d(16, 4, 3, padding=1), torch.nn.Parameter(torch.ones(2, 4, 6, 6))
    parameters = [*conv.parameters(), scale]
    optimizer = torch.optim.Adam(parameters, lr=0.1)
    x, labels = torch.randn(2, 16, 6, 6), torch.randint(0, 4, (2,))
    found = []
    for _ in range(3):
        loss = torch.nn.functional.cross_entropy((torch.relu(conv(x)) * scale).mean((2, 3)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    assert found[2] < found[1] < found[0]
