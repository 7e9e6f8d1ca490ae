"""Reverse passes: through pending traces and executed ones, in parts, twice, to any order, under JAX's transforms."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytorchlike.engine import backward, config, flush, get_mode, local, read, record, set_mode
from pytorchlike.engine.trace import concrete

from .toys import ADD, MUL, SPLIT, SUM, TANH, get, value


def grads(loss, leaves, **kw):
    pairs, _ = backward([loss], [None], **kw)
    found = dict(pairs)
    return [get(found[v.node]) if v.node in found else None for v in leaves]


def test_gradients_flow_through_a_trace_that_was_executed(tier):
    tier("fused")
    x = value([0.5, -1.0], leaf=True)
    y = record(TANH, (), (record(MUL, (), (x, 3.0)),))
    flush()
    z = record(SUM, (), (record(MUL, (), (y, y)),))
    flush()
    (g,) = grads(z, [x])
    t = np.tanh(3 * np.array([0.5, -1.0]))
    np.testing.assert_allclose(g, 2 * t * (1 - t**2) * 3, rtol=1e-5)


def test_second_reverse_pass_needs_retain_graph():
    x = value([0.5], leaf=True)
    y = record(SUM, (), (record(TANH, (), (x,)),))
    grads(y, [x], retain_graph=True)
    grads(y, [x])
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        grads(y, [x])
    flush()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        grads(y, [x])


def test_a_graph_without_saved_values_may_be_used_twice_while_pending():
    x = value([0.5], leaf=True)
    y = record(SUM, (), (record(ADD, (), (x, 1.0)),))
    np.testing.assert_array_equal(grads(y, [x])[0], [1.0])
    np.testing.assert_array_equal(grads(y, [x])[0], [1.0])


@pytest.mark.parametrize("cut", [False, True])
def test_third_derivative(cut):
    x = value([1.5], leaf=True)
    y = record(SUM, (), (record(MUL, (), (record(MUL, (), (x, x)), record(MUL, (), (x, x)))),))
    mode = set_mode(get_mode().replace(grad=True))
    for want in (4 * 1.5**3, 12 * 1.5**2, 24 * 1.5):
        if cut:
            flush()
        _, (g,) = backward([y], [None], [x], True, True)
        np.testing.assert_allclose(get(g) if cut else np.asarray(read(g)), [want], rtol=1e-5)
        y = record(SUM, (), (g,))
    set_mode(mode)


def test_gradient_of_an_interior_value_and_of_an_unused_one():
    x, unused = value([2.0], leaf=True), value([1.0], leaf=True)
    h = record(MUL, (), (x, x))
    y = record(SUM, (), (record(MUL, (), (h, h)),))
    _, (gh, gx, none) = backward([y], [None], [h, x, unused], True)
    np.testing.assert_allclose(get(gh), [8.0])
    np.testing.assert_allclose(get(gx), [32.0])
    assert none is None


def test_several_outputs_of_one_operation_one_unused():
    x = value([2.0, 3.0], leaf=True)
    _, b = record(SPLIT, (), (x,))
    np.testing.assert_allclose(grads(record(SUM, (), (b,)), [x])[0], [2.0, 2.0])


def test_a_value_pending_in_another_thread_can_be_read():
    import threading

    x = value(np.arange(4.0))
    y = record(MUL, (), (x, 3.0))
    out = []

    def look():
        out.append(get(y).copy())
        out.append(get(record(ADD, (), (y, 1.0))).copy())

    t = threading.Thread(target=look)
    t.start()
    t.join()
    np.testing.assert_array_equal(out[0], 3 * np.arange(4.0))
    np.testing.assert_array_equal(out[1], 3 * np.arange(4.0) + 1)
    np.testing.assert_array_equal(get(y), 3 * np.arange(4.0))


def test_operations_apply_at_once_inside_jax_transforms():
    def f(a):
        v = concrete(a, "traced")
        return read(record(SUM, (), (record(TANH, (), (record(MUL, (), (v, 2.0)),)),)))

    a = np.array([0.1, 0.2], np.float32)
    np.testing.assert_allclose(jax.jit(f)(a), np.tanh(2 * a).sum(), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(f)(a), 2 * (1 - np.tanh(2 * a) ** 2), rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(f)(np.stack([a, a])), [np.tanh(2 * a).sum()] * 2, rtol=1e-6)


def test_pending_work_is_bounded(monkeypatch):
    monkeypatch.setattr(config, "max_pending", 50)
    x = value(np.ones(2))
    y = x
    for _ in range(180):
        y = record(ADD, (), (y, x))
        assert len(local.trace.values) < 80
    np.testing.assert_array_equal(get(y), [181, 181])


def test_the_trie_forgets(monkeypatch):
    from pytorchlike.engine import trace as t

    monkeypatch.setattr(config, "max_states", t._n_states + 200)
    for k in range(60):
        y = value(np.ones(1))
        for j in range(k % 20 + 1):
            y = record(ADD, (), (y, float(k * 100 + j)))
        np.testing.assert_allclose(get(y), [1 + sum(k * 100 + j for j in range(k % 20 + 1))])
        assert t._n_states <= config.max_states + 50


def test_forgetting_looks_at_each_state_once():
    """Two keys lead to a call with a number, its own and a short cut: a walk over both would never end."""
    from pytorchlike.engine import trace as t

    y = value(np.ones(1))
    for j in range(60):
        y = record(ADD, (), (y, float(j)))
    t._prune(local.trace.state)
    np.testing.assert_allclose(get(y), [1 + sum(range(60))])


def test_graphs_that_never_come_again_leave_nothing_behind():
    from pytorchlike.engine import trace as t

    rng = np.random.default_rng(0)
    before = 0
    for k in range(60):
        if k == 20:
            before = t._n_states
        leaf = value([0.5, -0.2], leaf=True)
        have = [leaf]
        for i in rng.integers(0, 1000, 30):
            have.append(record(TANH, (), (have[i % len(have)],)) if i % 2 else
                        record(ADD, (), (have[-1], have[i % len(have)])))  # fmt: skip
        [(_, grad)], _ = backward([record(SUM, (), (have[-1],))], [None])
        assert np.isfinite(get(grad)).all()
    assert t._n_states - before < 40 * 15


STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "mul", "tanh", "number", "split", "cut", "detach"]), st.integers(0, 9),
              st.integers(0, 9)),
    min_size=2, max_size=14,
)  # fmt: skip


def play(steps, executor):
    """Run a random trace under one executor: the values and the gradients of both leaves."""
    before, config.tier = config.tier, executor
    try:
        a, b = value([0.3, -0.7, 1.1], leaf=True), value([0.9, 0.2, -0.4], leaf=True)
        have = [a, b]
        for name, i, j in steps:
            x, y = have[i % len(have)], have[j % len(have)]
            if name == "add":
                have.append(record(ADD, (), (x, y)))
            elif name == "mul":
                have.append(record(MUL, (), (x, y)))
            elif name == "tanh":
                have.append(record(TANH, (), (x,)))
            elif name == "number":
                have.append(record(MUL, (), (x, 0.5 + j / 10)))
            elif name == "split":
                have.extend(record(SPLIT, (), (record(TANH, (), (x,)),)))
            elif name == "detach":
                mode = set_mode(get_mode().replace(grad=False))
                have.append(record(MUL, (), (x, x)))
                set_mode(mode)
            else:
                flush()
        total = record(SUM, (), (record(TANH, (), (have[-1],)),))
        for v in have:
            total = record(ADD, (), (total, record(SUM, (), (record(TANH, (), (v,)),))))
        g = grads(total, [a, b])
        return [get(v) for v in have] + [get(total)] + g
    finally:
        flush()
        config.tier = before


@settings(max_examples=15, deadline=None)
@given(STEPS)
def test_both_executors_agree_on_random_traces(steps):
    for p, q in zip(play(steps, "fused"), play(steps, "ops"), strict=True):
        np.testing.assert_allclose(p, q, rtol=2e-6, atol=2e-6)
