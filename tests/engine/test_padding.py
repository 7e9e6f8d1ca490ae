"""Evaluation with room for larger sizes: each operation leaves out what lies beyond the present ones.

Three jaxprs of a function are made into one for all sizes; that is compiled once and compared with the function itself
at other sizes, with NaN in all places that hold no elements.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental.sparse import BCSR

from pytorchlike.engine import padded  # registers all rules
from pytorchlike.engine.generic import Size, Sizes, Unlike, generic_of
from pytorchlike.engine.interpret import interpret
from pytorchlike.engine.padding import Again, Room, Spread, evaluate, factors
from pytorchlike.ops import _random

SEEN, OTHERS, ROOM = ((5, 11), (7, 13), (8, 12)), ((6, 9), (9, 14), (16, 16)), (16, 16)


def floats(rng, *shape):
    return rng.normal(size=shape).astype(np.float32)


def table(rng, n, m):
    return (floats(rng, n, m),)


def batch(rng, n, m):
    return (floats(rng, 4, n, 8),)


def indexed(rng, n, m):
    return floats(rng, n, 3), rng.integers(0, n, m)


def images(rng, n, m):
    return floats(rng, 2, 3, n, m), floats(rng, 5, 3, 3, 3)


def sequence(rng, n, m):
    return floats(rng, n, 2, 4), floats(rng, 2, 4), floats(rng, 4, 4)


def recurrence(x, h, w):
    def step(h, x):
        h = jnp.tanh(h @ w + x)
        return h, h

    h, ys = lax.scan(step, h, x)
    return (ys**2).mean() + h.sum()


def attention(x):
    q = x.reshape(4, -1, 2, 4).transpose(0, 2, 1, 3)
    scores = q @ q.transpose(0, 1, 3, 2)
    n = x.shape[1]
    scores = jnp.where(jnp.tril(jnp.ones((n, n), bool)), scores, -1e9)
    return (jax.nn.softmax(scores) @ q).transpose(0, 2, 1, 3).reshape(x.shape)


def neighbours(x, i):
    return jnp.zeros(x.shape).at[i].add(x[i] * 2)


def sparse(rng, n, m):
    """Values and columns of five rows, the last one empty, where rows begin, and a dense matrix."""
    return floats(rng, n), rng.integers(0, 7, n), np.array([0, 2, 2, 3, n, n]), floats(rng, 7, m)


def sparse_product(values, cols, starts, dense):
    return (BCSR((values, cols, starts), shape=(5, 7)) @ dense).sum(1)


def convolved(x, w):
    return (lax.conv_general_dilated(x, w, (1, 1), [(1, 1), (1, 1)]) ** 2).mean()


CASES = {
    "sums": (lambda x: (x.sum(), x.mean(0), x.var(1, ddof=1), x.max(), x.min(1), x.prod(0)), table),
    "deviation of all": (lambda x: x.std(ddof=1), table),
    "softmax": (lambda x: jax.nn.log_softmax(x, -1), table),
    "product of a sparse matrix": (sparse_product, sparse),
    "softmax's gradient": (jax.grad(lambda x: jax.nn.logsumexp(x, 0).sum()), table),
    "product's gradient": (jax.grad(lambda x: ((x @ x.T) ** 2).mean()), table),
    "joined dimensions": (lambda x: (x.reshape(-1, 8).mean(0), x.reshape(-1, 8).argmax(0), x.reshape(-1).max()), batch),
    "joined and parted": (lambda x: (x.reshape(-1, 8) * 2).reshape(4, -1, 8).sum(0), batch),
    "two sizes joined": (lambda x: (x.reshape(-1) * 1).reshape(x.shape).sum(0) + x.reshape(-1).mean(), table),
    "attention's gradient": (jax.grad(lambda x: (attention(x) ** 2).mean()), batch),
    "slices": (lambda x: (x[1:], x[:-1], x[-1], x[:, -2:].sum(), x[::2].sum(0)), table),
    "slices' gradient": (jax.grad(lambda x: (x[1:] * x[:-1]).sum() + (x[-1] ** 3).sum()), table),
    "concatenation": (lambda x: (jnp.concatenate([x, x[:2]]), jnp.concatenate([x[:1], x])), table),
    "concatenation's gradient": (jax.grad(lambda x: (jnp.concatenate([x, x[:2], x]) ** 2).mean()), table),
    "stack": (lambda x: jnp.stack([x, x * 2], 1).sum((0, 1)), table),
    "rows by number": (lambda x, i: x[i].sum(0), indexed),
    "gradient of rows by number": (jax.grad(lambda x, i: (x[i] ** 2).mean()), indexed),
    "adding at indices": (neighbours, indexed),
    "writing at indices": (lambda x, i: jnp.asarray(x).at[i].set(1.5), indexed),
    "one-hot": (lambda x, i: jax.nn.one_hot(i % 5, 5).sum(0), indexed),
    "numbers of joined rows": (
        lambda x, i: x.reshape(-1, 3)[i], lambda rng, n, m: (floats(rng, 4, n, 3), rng.integers(0, 4 * n, m)),
    ),
    "gradient by joined rows": (
        jax.grad(lambda x, i: (x.reshape(-1, 3)[i] ** 2).sum()),
        lambda rng, n, m: (floats(rng, 4, n, 3), rng.integers(0, 4 * n, m)),
    ),
    "running sums": (lambda x: (x.cumsum(0), lax.cumsum(x, 0, reverse=True), lax.cummax(x, 1)), table),
    "order": (lambda x: (jnp.sort(x, 0), jnp.argsort(x, 1), lax.top_k(x, 2)[0]), table),
    "backwards": (lambda x: (x[::-1] * x[:, ::-1]) + x[::-1], table),
    "padding": (lambda x: (jnp.pad(x, ((1, 2), (0, 1))) ** 2).sum(0), table),
    "loop": (recurrence, sequence),
    "loop's gradient": (jax.grad(recurrence, (0, 1, 2)), sequence),
    "loop over a batch that varies": (
        jax.grad(recurrence, (0, 1, 2)),
        lambda rng, n, m: (floats(rng, 6, m, 4), floats(rng, m, 4), floats(rng, 4, 4)),
    ),
    "loop of as many rounds as told": (
        lambda x, k: lax.while_loop(lambda s: s[0] < k, lambda s: (s[0] + 1, s[1] * 0.5), (np.int64(0), x))[1].sum(),
        lambda rng, n, m: (floats(rng, n, m), np.int64(3)),
    ),
    "branch": (
        lambda x: lax.cond(x[0, 0] > 0, lambda x: x.sum(0), lambda x: x.max(0), x), table,
    ),
    "convolution": (lambda x, w: lax.conv_general_dilated(x, w, (1, 1), [(1, 1), (1, 1)]).max((2, 3)), images),
    "convolution's gradient": (jax.grad(convolved, (0, 1)), images),
    "window": (lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 3), (1, 1), "VALID").sum(1), table),
    "random numbers": (
        lambda k, x: _random.uniform((k, np.int64(3)), (4, *x.shape)) * x,
        lambda rng, n, m: (np.int64(5), floats(rng, n, m)),
    ),
    "part at a place": (
        lambda x, i: lax.dynamic_slice_in_dim(x, i, 2, 0), lambda rng, n, m: (floats(rng, n, m), np.int64(100)),
    ),
    "writing at a place": (
        lambda x, y, i: lax.dynamic_update_slice_in_dim(x, y, i, 0),
        lambda rng, n, m: (floats(rng, 20, m), floats(rng, n, m), np.int64(3)),
    ),
    "pairs": (lambda x: (x[:, None] * x[None]).sum((0, 1)), table),
    "constants": (lambda x: (x * np.arange(x.shape[0], dtype=np.float32)[:, None]).sum(), table),
}  # fmt: skip


def compiled(function, make):
    """The function with room, and the sizes of what it takes and gives."""
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        jaxprs = [jax.make_jaxpr(function)(*make(rng, *s)) for s in SEEN]
    sizes = Sizes([tuple(s[k] for s in SEEN) for k in range(2)])
    generic, orders, axes = generic_of(jaxprs, sizes), {}, []

    def run(present, *arrays):
        room = Room(ROOM, [present[k].astype(np.int32) for k in range(2)])
        given = [Spread(x, tuple((n,) if type(n) is Size else None for n in shape))
                 for x, shape in zip(arrays, generic.shapes, strict=True)]  # fmt: skip
        outs = evaluate(generic, given, room, sizes, orders)
        axes[:] = [o.axes for o in outs]
        return [o.x for o in outs]

    return jax.jit(run), generic.shapes, axes


def widened(x, shape):
    fill = np.nan if x.dtype.kind == "f" else 77
    out = np.full(shape, fill, x.dtype)
    out[tuple(map(slice, x.shape))] = x
    return out


def cut(x, axes, sizes):
    room, now, shape = [], [], []
    for d, a in enumerate(axes):
        parts = (x.shape[d],) if a is None else factors(a)
        room += [f.at(ROOM) if type(f) is Size else f for f in parts]
        now += [f.at(sizes) if type(f) is Size else f for f in parts]
        shape.append(int(np.prod(now[len(now) - len(parts) :])))
    return x.reshape(room)[tuple(map(slice, now))].reshape(shape)


@pytest.mark.parametrize("name", CASES)
def test_what_lies_beyond_the_sizes_does_not_matter(name):
    function, make = CASES[name]
    run, shapes, axes = compiled(function, make)
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        for sizes in OTHERS:
            given = [np.asarray(a) for a in make(rng, *sizes)]
            wide = [widened(a, Room(ROOM, sizes).at(shape)) for a, shape in zip(given, shapes, strict=True)]
            try:
                found = run(np.array(sizes), *wide)
            except Again:  # it knows by now how dimensions have to be joined
                found = run(np.array(sizes), *wide)
            wanted = interpret(jax.make_jaxpr(function)(*given), given)
            assert len(found) == len(wanted)
            for x, a, w in zip(found, axes, wanted, strict=True):
                np.testing.assert_allclose(cut(np.asarray(x), a, sizes), w, rtol=2e-4, atol=1e-5)


def test_jaxprs_of_other_operations_are_unlike():
    functions = [jnp.sin, jnp.cos, jnp.sin]
    jaxprs = [jax.make_jaxpr(f)(np.zeros(n, np.float32)) for f, n in zip(functions, (3, 4, 6), strict=True)]
    with pytest.raises(Unlike, match="sin for one size, cos for another"):
        generic_of(jaxprs, Sizes([(3, 4, 6)]))


def test_numbers_that_do_not_follow_from_sizes_are_told():
    jaxprs = [jax.make_jaxpr(lambda x, k=k: x * k)(np.zeros(n, np.float32)) for n, k in ((3, 0.3), (4, 7.1), (6, 0.2))]
    with pytest.raises(Unlike, match="unknown origin"):
        generic_of(jaxprs, Sizes([(3, 4, 6)]))


def test_sizes_are_expressed_by_what_varies():
    sizes = Sizes([(3, 5, 8), (7, 20, 11)])
    for seen, at, value in (
        ((24, 40, 64), (10, 2), 80), ((2, 4, 7), (10, 2), 9), ((21, 100, 88), (10, 2), 20), ((10, 25, 19), (10, 2), 12),
        ((1, 2, 4), (10, 2), 5), ((4, 4, 4), (10, 2), 4),
    ):  # fmt: skip
        found = sizes.of(seen)
        assert (found if type(found) is int else found.at(at)) == value
    assert padded.LEAST == 2  # a dimension of one is spread, which no program with room knows of


@pytest.mark.parametrize("seen", [(17, 15, 12), (-4, -15, -3)], ids=["20 - n", "n - m"])
def test_what_is_less_where_a_size_is_more_has_no_room_as_a_dimension(seen):
    """Room for 8 is 20 - 8 = 12 for the rest of 20, which is 15 where n is 5."""
    symbols = [(3, 5, 8), (7, 20, 11)]
    size = Sizes(symbols).of(seen)
    assert size.at((3, 7)) == seen[0]
    with pytest.raises(Unlike, match="shorter where another one is longer"):
        Room((8, 20), (5, 20)).at((size, 4))
    now = (5, 20)
    assert Room(now, now).at(size) == seen[1]  # messages tell present sizes
    own = Sizes([*symbols, seen], {seen})
    assert own.symbols == [*symbols, seen]
