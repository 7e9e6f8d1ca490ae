"""A training loop is one compiled program per step, whatever happens in it."""

from __future__ import annotations

import numpy as np
import pytest

from pytorchlike.engine import backward, execute, flush, local, read, record, stats

from .toys import ADD, MATMUL, MUL, PICK, SUM, TANH, Cell, descend, get, value


def net(cells, x):
    for c in cells:
        x = record(TANH, (), (record(MATMUL, (), (x, c.v)),))
    return record(SUM, (), (record(MUL, (), (x, x)),))


def cells_of(seed=0, n=3):
    rng = np.random.default_rng(seed)
    return [Cell(value(rng.normal(size=(4, 4)) * 0.5, leaf=True)) for _ in range(n)]


def step(cells, x, rate=0.1, peek=False):
    loss = net(cells, x)
    seen = float(get(loss)) if peek else None
    by_leaf = {c.v.node: c for c in cells}
    pairs, _ = backward([loss], [None])
    for leaf, g in pairs:
        descend(by_leaf[leaf], g, rate)
    del pairs, g
    flush()
    return float(get(loss)) if seen is None else seen


def reference(seed, x, steps, rates):
    import jax
    import jax.numpy as jnp

    ws = [jnp.asarray(get(c.v)) for c in cells_of(seed)]

    def f(ws):
        h = x
        for w in ws:
            h = jnp.tanh(h @ w)
        return jnp.sum(h * h)

    out = []
    for k in range(steps):
        loss, gs = jax.value_and_grad(f)(ws)
        ws = [w - rates[k] * g for w, g in zip(ws, gs, strict=True)]
        out.append(float(loss))
    return out


@pytest.mark.parametrize("peek", [False, True])
@pytest.mark.parametrize("executor", ["fused", "ops"])
def test_loss_follows_hand_written_jax(tier, executor, peek):
    tier(executor)
    x = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
    rates = [0.1, 0.05, 0.2, 0.1, 0.01]
    cells, xv = cells_of(3), value(x)
    got = [step(cells, xv, r, peek) for r in rates]
    np.testing.assert_allclose(got, reference(3, x, 5, rates), rtol=1e-5)


@pytest.mark.parametrize("peek", [False, True])
def test_nothing_compiles_after_the_first_steps(tier, peek):
    tier("fused")
    cells, xv = cells_of(), value(np.ones((2, 4)))
    for k in range(3):
        step(cells, xv, 0.1 / (k + 1), peek)
    before = stats.as_dict()
    for k in range(50):
        step(cells, xv, 0.1 / (k + 2), peek)
    after = stats.as_dict()
    assert after["compiles"] == before["compiles"]
    assert after["misses"] == before["misses"]


def test_a_last_batch_of_another_size_costs_one_program(tier):
    tier("fused")
    cells = cells_of()
    full, last = np.ones((2, 4)), np.ones((1, 4))
    for _ in range(2):
        for batch in (full, full, last):
            step(cells, value(batch))
    before = stats.compiles
    for _ in range(10):
        for batch in (full, full, last):
            step(cells, value(batch))
    assert stats.compiles == before


def test_old_weights_are_donated(tier):
    tier("fused")
    cells, xv = cells_of(), value(np.ones((2, 4)))
    step(cells, xv)
    step(cells, xv)
    old = cells[0].v.data
    held = [c.v.data for c in cells[1:]]
    del old
    array = cells[0].v.data
    pointer = array.unsafe_buffer_pointer()
    del array
    step(cells, xv)
    pointers = {c.v.data.unsafe_buffer_pointer() for c in cells}
    assert pointer in pointers, "the first weight's memory was not used again"
    # arrays that somebody holds are never taken away
    assert all(not h.is_deleted() for h in held)


def test_only_what_is_still_referred_to_comes_out(tier):
    tier("fused")
    x = value(np.ones(3))
    y = record(MUL, (), (x, x))
    for _ in range(10):
        y = record(ADD, (), (y, x))
    state = local.trace.state
    flush()
    (program,) = set(state.programs.values())
    (part,) = program.parts
    assert len(part.outs) == 1
    np.testing.assert_array_equal(get(y), 11 * np.ones(3))


def test_what_is_referred_to_may_differ_from_time_to_time(tier):
    """The same trace comes again and again, with other results and inputs in use: each time the right ones come out."""
    tier("fused")
    for turn in range(24):
        x, kept = value(np.full(3, float(turn))), []
        y = record(MUL, (), (x, x))
        for k in range(10):
            y = record(ADD, (), (y, x))
            if k % 3 == turn % 3:
                kept.append((k, y))
        again = x if turn % 2 else None
        del x
        flush()
        assert all(v.data is not None for _, v in kept)
        if again is not None:
            np.testing.assert_array_equal(get(again), np.full(3, float(turn)))
        for k, v in [*kept, (9, y)]:
            np.testing.assert_array_equal(get(v), np.full(3, turn * turn + (k + 1) * turn, float))


def test_a_program_that_returns_more_is_used_again(tier):
    tier("fused")

    def run(keep):
        x = value(np.ones(5))
        y = record(MUL, (), (x, x))
        z = record(TANH, (), (y,))
        kept = y if keep else None
        del y
        flush()
        return kept, get(z)

    run(True)
    before = stats.compiles
    run(False)
    assert stats.compiles == before


def test_numbers_become_inputs_when_they_change(tier):
    tier("fused")

    def run(c, d):
        x = value(np.ones(7))
        return get(record(ADD, (), (record(MUL, (), (x, c)), d)))

    np.testing.assert_allclose(run(2.0, 1.0), 3 * np.ones(7))
    run(3.0, 1.0)
    run(5.0, 2.0)
    before = stats.compiles
    for c, d in [(7.0, 1.0), (2.0, 9.0), (0.5, -1.0), (-0.0, 0.0)]:
        np.testing.assert_allclose(run(c, d), (c + d) * np.ones(7))
    assert stats.compiles == before


def test_signed_zeros_and_types_of_numbers_are_told_apart(tier):
    tier("fused")
    x = value(np.ones(2))
    plus = get(record(MUL, (), (x, 0.0)))
    minus = get(record(MUL, (), (x, -0.0)))
    assert not np.signbit(plus).any() and np.signbit(minus).all()
    assert get(record(MUL, (), (value(np.arange(3)), 2))).dtype == np.int64
    assert get(record(MUL, (), (value(np.arange(3)), 2.0))).dtype.kind == "f"


@pytest.mark.parametrize("executor", ["fused", "ops"])
def test_a_failed_check_is_raised_at_the_read_and_changes_nothing(tier, executor):
    tier(executor)
    cell = Cell(value([1.0, 2.0, 3.0], leaf=True))
    before = get(cell.v).copy()

    def train(index):
        loss = record(SUM, (), (record(MUL, (), (record(PICK, (), (cell.v, value(np.int64(index)))), 2.0)),))
        ((_, g),), _ = backward([loss], [None])
        descend(cell, g, 1.0)
        del g
        flush()
        return loss

    with pytest.raises(IndexError, match=r"out of range for size 3.*test_loops.py"):
        loss = train(7)
        read(loss)
    np.testing.assert_array_equal(get(cell.v), before)
    read(train(1))
    np.testing.assert_allclose(get(cell.v), [1.0, 0.0, 3.0])


def test_flags_of_both_executors_can_wait_for_the_same_read(tier):
    x = value([1.0, 2.0, 3.0])
    kept = []
    for executor in ("ops", "fused", "ops", "fused"):
        tier(executor)
        for index in range(3):
            kept.append(record(PICK, (), (x, value(np.int64(index)))))
            flush()
    np.testing.assert_allclose([get(v) for v in kept], [1.0, 2.0, 3.0] * 4)


def test_an_interrupted_program_leaves_what_was_before(tier, monkeypatch):
    tier("fused")
    cells, xv = cells_of(), value(np.ones((2, 4)))
    step(cells, xv)
    before = [get(c.v).copy() for c in cells]
    from pytorchlike.engine import execute

    def boom(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(execute, "vectors", boom)
    with pytest.raises(KeyboardInterrupt):
        step(cells, xv)
    monkeypatch.undo()
    for c, b in zip(cells, before, strict=True):
        np.testing.assert_array_equal(get(c.v), b)
    step(cells, xv)
    assert not np.array_equal(get(cells[0].v), before[0])


def test_a_copy_of_what_is_donated_survives(tier):
    """A result that is an input of the program, which is donated to it, must not point at the lost buffer."""
    import pytorchlike as torch

    tier("fused")
    p = torch.tensor(np.ones(4, np.float32))
    with torch.no_grad():
        for k in range(4):
            copy = p.clone()
            p.add_(1.0)
            assert float(p.sum()) == 4 * (k + 2)
            assert copy.tolist() == [k + 1.0] * 4


@pytest.mark.parametrize("executor", ["fused", "ops"])
def test_a_failed_check_takes_nothing_else_along(tier, executor):
    tier(executor)
    x = record(MUL, (), (value(np.ones(3)), 2.0))
    bad = record(PICK, (), (x, record(ADD, (), (value(np.int64(2)), value(np.int64(5))))))
    with pytest.raises(IndexError):
        read(bad)
    np.testing.assert_array_equal(get(x), [2, 2, 2])


def test_what_an_interrupt_was_not_about_can_still_be_read(tier, monkeypatch):
    tier("fused")
    from pytorchlike.engine import execute

    x = record(MUL, (), (value(np.ones(3)), 5.0))

    def boom(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(execute, "vectors", boom)
    with pytest.raises(KeyboardInterrupt):
        flush()
    monkeypatch.undo()
    np.testing.assert_array_equal(get(x), [5, 5, 5])


@pytest.mark.parametrize("draw", ["randint", "normal", "uniform_"])
def test_random_draws_with_bounds_are_found_again(draw):
    """Their bounds are constants of the program, their seeds are not: every step is the same recording."""
    import pytorchlike as torch

    draws = {
        "randint": lambda: torch.randint(0, 5, (4,)),
        "normal": lambda: torch.normal(0.0, 2.0, (4,)),
        "uniform_": lambda: torch.empty(4).uniform_(-1, 1),
    }
    for _ in range(3):
        (draws[draw]() * torch.randn(4)).sum().item()
    before = stats.misses, stats.compiles
    for _ in range(3):
        (draws[draw]() * torch.randn(4)).sum().item()
    assert (stats.misses, stats.compiles) == before


def test_a_rate_that_changes_is_found_out_for_all_parameters_at_once():
    import pytorchlike as torch

    flush("a test begins")
    execute.forget_compiled()  # else three leaves may be made apart, as in another test that began so
    weights = [torch.ones(3, requires_grad=True) for _ in range(6)]
    for k in range(5):
        if k == 2:
            before = stats.misses
        loss = sum((w * w).sum() for w in weights)
        loss.backward()
        with torch.no_grad():
            for w in weights:
                w.addcmul_(w.grad, torch.ones(3), value=-0.01 * (k + 1))
                w.grad = None
        loss.item()
    assert stats.misses == before
