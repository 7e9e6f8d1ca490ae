"""Kernels for shapes that hardly come again are evaluated by NumPy: with XLA's results, and only then."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from jax import lax
from jax.experimental.sparse import BCSR

import pytorchlike as torch
from pytorchlike.engine import _primitives, flush, local, policy, read, record, stats
from pytorchlike.engine import interpret as interpretation
from pytorchlike.engine.interpret import Interpreted, Missing, interpret

from .toys import PICK, value

F, nn = torch.nn.functional, torch.nn

EDGE = np.array([0.0, -0.0, 1.5, -2.5, 0.49999997, np.inf, -np.inf, np.nan, 3e9, -1e20, 2.0**63, 255.7], np.float32)
WHOLE = np.array([0, 1, -1, 7, -7, 2**31 - 1, -(2**31)], np.int32)
LEFT, RIGHT = (a.ravel() for a in np.meshgrid(WHOLE, WHOLE))
ROWS = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
WITH_NAN = np.where(ROWS > 1, np.nan, ROWS)
AT = np.array([[0], [4], [9], [-1], [4]], np.int32)
MANY_ROWS = np.random.default_rng(3).normal(size=(30, 900)).astype(np.float32)
MANY_ROWS_AT = np.arange(-3, 27, dtype=np.int32) % 11 - 1  # also outside, on both sides
CLIP, DROP = ({"mode": mode, "wrap_negative_indices": False} for mode in ("clip", "drop"))
IMAGE = np.random.default_rng(1).normal(size=(2, 4, 7, 6)).astype(np.float32)
KERNEL = np.random.default_rng(2).normal(size=(6, 2, 3, 2)).astype(np.float32)
ROW_GATHER = lax.GatherDimensionNumbers(offset_dims=(1,), collapsed_slice_dims=(0,), start_index_map=(0,))
ROW_SCATTER = lax.ScatterDimensionNumbers((1,), (0,), (0,))


def gather(mode):
    return lambda x, i: lax.gather(x, i, ROW_GATHER, (1, 6), mode=mode)


def scatter(how, mode="drop"):
    return lambda x, i: how(x, i, jnp.ones((5, 6), x.dtype) * 2, ROW_SCATTER, mode=lax.GatherScatterMode.from_any(mode))


def sparse_product(values, cols, starts, dense):
    return BCSR((values, cols, starts), shape=(len(starts) - 1, len(dense))) @ dense


def power_of_two_above(n):
    return lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] * 2, c[1] + 1), (jnp.int32(1), jnp.int32(0)))


#: Results that must be the same to the bit: whole numbers, and floats that are only moved or compared.
EXACT = {
    "div": (lax.div, LEFT, RIGHT),
    "div, unsigned": (lax.div, LEFT.view(np.uint32), RIGHT.view(np.uint32)),
    "rem": (lax.rem, LEFT, RIGHT),
    "mul wraps around": (lax.mul, LEFT, RIGHT),
    "abs": (lax.abs, WHOLE),
    "integer_pow": (lambda x: x**3, WHOLE),
    "shift_left": (lax.shift_left, LEFT, RIGHT),
    "shift_right_logical": (lax.shift_right_logical, LEFT, RIGHT),
    "shift_right_arithmetic": (lax.shift_right_arithmetic, LEFT, RIGHT),
    "population_count": (lax.population_count, WHOLE),
    "sign": (lax.sign, EDGE),
    "round away from zero": (lambda x: lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO), EDGE),
    "round to even": (lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN), EDGE),
    "max": (lax.max, EDGE, EDGE[::-1].copy()),
    "clamp": (lambda x: lax.clamp(np.float32(-1), x, np.float32(1)), EDGE),
    "rem of floats": (lambda x: lax.rem(x, np.float32(0.75)), EDGE),
    "to bool": (lambda x: x.astype(bool), EDGE),
    **{f"to {t}": (lambda x, t=t: lax.convert_element_type(x, t), EDGE) for t in ("int8", "uint8", "int32", "int64")},
    "to uint64": (lambda x: lax.convert_element_type(x, "uint64"), EDGE),
    "to bfloat16": (lambda x: x.astype(jnp.bfloat16), ROWS),
    "int64 to int8": (lambda x: x.astype(np.int8), WHOLE.astype(np.int64) * 3),
    "bitcast": (lambda x: lax.bitcast_convert_type(x, np.uint8), EDGE),
    "sort": (lambda x: lax.sort((x, x * 2), dimension=0, num_keys=1), WITH_NAN),
    "top_k": (lambda x: lax.top_k(x, 3), WITH_NAN),
    "argmax": (lambda x: lax.argmax(x, 1, np.int32), WITH_NAN),
    "argmin of ties": (lambda x: lax.argmin(jnp.round(x), 0, np.int64), ROWS),
    "cummax backwards": (lambda x: lax.cummax(x, 1, reverse=True), ROWS),
    "cumsum of ints": (lambda x: lax.cumsum(x), WHOLE),
    "max of nothing": (lambda x: x.max(0, initial=-np.inf), np.zeros((0, 3), np.float32)),
    "sum of bytes": (lambda x: jnp.sum(x, dtype=np.uint8), np.full(9, 100, np.uint8)),
    "select": (lambda x: jnp.where(x > 0, x, -1), WITH_NAN),
    "pad": (lambda x: lax.pad(x, np.float32(9), [(-1, 2, 1), (1, -2, 0)]), ROWS),
    "slice": (lambda x: lax.slice(x, (1, 0), (5, 6), (2, 4)), ROWS),
    "dynamic_slice beyond the end": (lambda x: lax.dynamic_slice(x, (np.int32(4), np.int32(-1)), (2, 3)), ROWS),
    "dynamic_update_slice": (lambda x: lax.dynamic_update_slice(x, x[:2, :2] * 0, (np.int32(9), np.int32(1))), ROWS),
    "gather, fill": (gather("fill"), ROWS, AT),
    "gather, clip": (gather("clip"), ROWS, AT),
    "gather of columns": (lambda x, i: jnp.take(x, i[:, 0], 1, mode="clip"), ROWS, AT),
    "gather of elements": (lambda x, i: x.at[i[:, 0], i[:, 0]].get(**CLIP), ROWS, AT),
    "scatter": (scatter(lax.scatter), ROWS, AT),
    "scatter_min of elements": (lambda x, i: x.at[i[:, 0], i[:, 0]].min(0.5, **DROP), ROWS, AT),
    "scatter_max of columns": (lambda x, i: x.at[:, i[:, 0]].max(0.5, **DROP), ROWS, AT),
    "scatter_max": (scatter(lax.scatter_max), ROWS, AT),
    "scatter_add of ints": (scatter(lax.scatter_add), (ROWS * 9).astype(np.int32), AT),
    "rev, transpose, iota": (lambda x: lax.rev(x.T, (0,)) + lax.broadcasted_iota(np.float32, (6, 5), 1), ROWS),
    "dot of bytes": (
        lambda x, y: lax.dot(x, y, preferred_element_type=np.int32),
        np.full((2, 40), 100, np.int8), np.full((40, 3), 100, np.int8),
    ),
    "while": (lambda n: power_of_two_above(n), np.int32(1000)),
    "cond": (lambda i: lax.switch(i, [lambda: 1.0, lambda: 2.0, lambda: 3.0]), np.int32(7)),
    "scan backwards": (lambda x: lax.scan(lambda c, r: (c + r, c), jnp.zeros(2, np.int32), x, reverse=True),
                       np.arange(10, dtype=np.int32).reshape(5, 2)),
    "scan of nothing": (lambda x: lax.scan(lambda c, r: (c + r, c), jnp.zeros(2, np.int32), x),
                        np.zeros((0, 2), np.int32)),
}  # fmt: skip

#: Results that may differ by rounding.
CLOSE = {
    "sparse product": (sparse_product, ROWS[0], np.int32([4, 0, 2, 3, 1, 1]), np.int32([0, 0, 3, 3, 5, 6, 6]), ROWS),
    "sparse product, room left": (sparse_product, ROWS[0], np.int32([4, 0, 2, 9, 9, 9]), np.int32([0, 1, 3]), ROWS),
    "sparse product of nothing": (sparse_product, ROWS[0, :0], np.zeros(0, np.int32), np.int32([0, 0, 0]), ROWS),
    **{f: (getattr(lax, f), EDGE) for f in ("exp", "log", "tanh", "logistic", "rsqrt", "erf", "lgamma", "cbrt")},
    "erf_inv": (lax.erf_inv, np.linspace(-1, 1, 41, dtype=np.float32)),
    "pow": (lax.pow, np.repeat(np.float32([-2, -0.0, 0, 0.5, np.nan]), 4), np.tile(np.float32([0, -1, 3, np.inf]), 5)),
    "dot": (lambda x: x @ x.T, ROWS),
    "dot in batches": (lambda x: jnp.einsum("bij,bkj->bik", x, x), IMAGE[0]),
    "dot of many rows": (lambda x: jnp.tile(x, (300, 50)) @ jnp.ones((300, 40)), ROWS),
    "dot of bfloat16": (lambda x: x @ x.T, ROWS.astype(ml_dtypes.bfloat16)),
    "softmax": (lambda x: jax.nn.softmax(x), ROWS),
    "logsumexp, cumulative": (lambda x: lax.cumlogsumexp(x, 1), ROWS),
    "scatter_add": (scatter(lax.scatter_add), ROWS, AT),
    "scatter_add of elements": (lambda x, i: x.at[i[:, 0], i[::-1, 0]].add(0.3, **DROP), ROWS, AT),
    "scatter_add of many rows": (lambda x, i: jnp.zeros((9, 900)).at[i].add(x, **DROP), MANY_ROWS, MANY_ROWS_AT),
    "conv": (
        lambda x, w: lax.conv_general_dilated(x, w, (2, 1), [(1, 0), (2, 1)], (1, 2), (1, 2), feature_group_count=2),
        IMAGE, KERNEL,
    ),
    "max pooling": (lambda x: lax.reduce_window(x, -np.inf, lax.max, (1, 1, 3, 2), (1, 1, 2, 1), "SAME"), IMAGE),
    "complex": (lambda x: jnp.exp(1j * x) * jnp.conj(x + 2j), ROWS),
    "gradient of a norm": (jax.grad(lambda x: jnp.sum(jnp.linalg.norm(x, axis=1))), ROWS),
    "gradient of a scan": (
        jax.grad(lambda x: lax.scan(lambda c, r: (jnp.tanh(c + r), c), jnp.zeros(6), x)[0].sum()), ROWS),
}  # fmt: skip


@pytest.mark.parametrize("name", [*EXACT, *CLOSE])
def test_equals_xla(name):
    fn, *args = EXACT.get(name) or CLOSE[name]
    with jax.enable_x64(True):
        want = jax.tree.leaves(jax.jit(fn)(*args))
        got = interpret(jax.make_jaxpr(fn)(*args), args)
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        assert g.dtype == w.dtype and g.shape == w.shape
        if name in EXACT:
            np.testing.assert_array_equal(g, w)
            if g.dtype.kind == "f":
                np.testing.assert_array_equal(np.signbit(g[~np.isnan(g)]), np.signbit(np.asarray(w)[~np.isnan(g)]))
        else:
            rtol = 2e-2 if g.dtype.kind == "V" else 2e-5
            kind = np.complex128 if g.dtype.kind == "c" else np.float64
            np.testing.assert_allclose(g.astype(kind), np.asarray(w).astype(kind), rtol=rtol, atol=1e-6)


@pytest.mark.parametrize("elements", [1, 200, 1000])
def test_the_windows_of_large_images_are_written_out_in_portions(monkeypatch, elements):
    """All at once they would take many times the image's memory.  One row at least; some; one image at most."""
    fn, *args = CLOSE["conv"]
    closed = jax.make_jaxpr(fn)(*args)
    whole = interpret(closed, args)
    monkeypatch.setattr(_primitives, "_WINDOWS", elements)
    np.testing.assert_allclose(interpret(closed, args)[0], whole[0], rtol=1e-5, atol=1e-5)


def test_results_share_no_memory_with_arguments_or_constants():
    table = np.arange(6.0)
    x = np.ones((2, 3))
    with jax.enable_x64(True):
        closed = jax.make_jaxpr(lambda x: (x, x.T, x.reshape(-1), jnp.asarray(table), x[0]))(x)
    for out in interpret(closed, [x]):
        assert not np.shares_memory(out, x) and not np.shares_memory(out, table)
        assert out.flags.c_contiguous and out.flags.writeable


def test_what_numpy_lacks_is_said_when_the_function_is_made():
    def fn(x):
        return jnp.linalg.eig(x)

    with pytest.raises(Missing, match="eig"):
        Interpreted(fn, (jax.ShapeDtypeStruct((3, 3), np.float32),))


def losses(size: int, ids: list[int], seed: int = 0) -> list:
    """A value and gradients through many kinds of operations."""
    torch.manual_seed(seed)
    table, lin, norm = nn.Embedding(11, 8), nn.Linear(8, 8), nn.LayerNorm(8)
    rnn, conv = nn.LSTM(8, 8, batch_first=True), nn.Conv1d(8, 4, 3, padding=1)
    x = table(torch.tensor([ids]))
    h, _ = rnn(F.gelu(norm(lin(x))))
    h = F.scaled_dot_product_attention(h[:, None], h[:, None], h[:, None], is_causal=True)[:, 0]
    h = conv(h.transpose(1, 2)).cumsum(-1)[..., :size]
    loss = F.cross_entropy(h.reshape(-1, 4), torch.arange(h.numel() // 4) % 4) + h.std() + h.sort(-1)[0][..., -1].sum()
    loss.backward()
    params = [p for m in (table, lin, norm, rnn, conv) for p in m.parameters()]
    return [loss.detach().numpy(), *[p.grad.numpy() for p in params]]


@pytest.mark.parametrize("ids", [[3], [1, 2, 3], [1, 1, 4, 10, 0, 9, 1]])
def test_gradients_of_a_network_are_those_of_the_compiled_program(tier, ids):
    tier("fused")
    want = losses(3, ids)
    tier("interpret")
    before = stats.interpreted
    got = losses(3, ids)
    assert stats.interpreted > before
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("draw", [
    lambda: torch.rand(7), lambda: torch.randint(0, 9, (7,)), lambda: torch.randperm(9),
    lambda: F.dropout(torch.ones(20)), lambda: torch.bernoulli(torch.full((9,), 0.3)),
])  # fmt: skip
def test_random_numbers_are_the_same_to_the_bit(tier, draw):
    found = []
    for name in ("fused", "interpret"):
        tier(name)
        torch.manual_seed(5)
        found.append(draw().tolist())
    assert found[0] == found[1]


def test_normal_numbers_of_a_seed_do_not_depend_on_what_was_drawn_before(tier):
    """NumPy's rounding differs from XLA's, so that they are always XLA's."""
    tier("auto")

    def draw(n):
        torch.manual_seed(3)
        return torch.nn.init.normal_(torch.empty(n)).tolist()

    first = draw(23)
    for n in range(1, 12):
        [torch.randn(k + n).sum().item() for k in range(2)]
    assert draw(23) == first


def test_failed_data_checks_are_raised(tier):
    tier("interpret")
    x, at = value(np.ones((3, 2))), value(np.int32(5))
    with pytest.raises(IndexError, match="out of range for size 3"):
        read(record(PICK, (), (x, at)))
        torch.accelerator.synchronize()
    local.checks.clear()


def test_generating_compiles_no_kernel_per_length(tier):
    """Each token makes the sequence longer, so each step has shapes of its own."""
    tier("auto")
    table, head, norm = nn.Embedding(13, 16), nn.Linear(16, 13), nn.LayerNorm(16)

    def step(ids):
        x = norm(table(ids))
        q = x.view(1, -1, 2, 8).transpose(1, 2)
        x = x + F.scaled_dot_product_attention(q, q, q, is_causal=True).transpose(1, 2).reshape(1, -1, 16)
        return torch.cat([ids, head(F.gelu(x))[:, -1].argmax(-1, keepdim=True)], 1)

    def generate(n, peek):
        ids = torch.zeros(1, 3, dtype=torch.long)
        with torch.no_grad():
            for _ in range(n):
                ids = step(ids)
                if peek:
                    ids[0, -1].item()
        return ids.tolist()

    want = generate(30, peek=True)
    compiled = stats.kernels + stats.compiles
    assert generate(30, peek=True) == want
    assert generate(45, peek=False)[0][:33] == want[0]
    operations = 20
    assert stats.kernels + stats.compiles - compiled < 2 * operations
    assert stats.interpreted > 0


def test_batches_that_shrink_as_sequences_end_compile_nothing_until_they_come_back(tier, monkeypatch):
    """Which lengths come together differs at every step, so that a program of such a decoder is not used twice."""
    tier("auto")
    monkeypatch.setattr(policy, "UNEVENLY", 30)
    table, cell, head = nn.Embedding(11, 8), nn.LSTMCell(8, 8), nn.Linear(8, 11)
    sgd = torch.optim.SGD([*table.parameters(), *cell.parameters(), *head.parameters()], 0.1)
    words = torch.arange(36).view(6, 6) % 11
    losses = []

    def step(lengths):
        h = c = torch.zeros(6, 8)
        scores = torch.zeros(6, 6, 11)
        for t in range(max(lengths)):
            n = sum(length > t for length in lengths)
            h, c = cell(table(words[:n, t]), (h[:n], c[:n]))
            scores[:n, t] = head(h)
        loss = scores.pow(2).mean()
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        losses.append(loss.item())

    before = stats.compiles
    for lengths in ([6, 5, 4, 3, 2, 1], [6, 6, 4, 3, 2, 1], [6, 5, 5, 3, 2, 1]):
        step(lengths)
    assert stats.compiles == before
    step([6, 5, 4, 3, 2, 1])
    assert losses[3] < losses[0]


def test_static_loops_interpret_nothing(tier, monkeypatch):
    """Also those with a smaller last batch, which is one more program."""
    tier("auto")
    for name in ("_kernels", "_families"):
        monkeypatch.setattr(policy, name, type(getattr(policy, name))())  # what other tests did does not count
    policy.reset()
    net = nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 3))
    sgd = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    batches = [torch.ones(n, 6) * k for k, n in enumerate((4, 4, 4, 2))]

    def epoch():
        for x in batches:
            sgd.zero_grad()
            F.mse_loss(net(x), torch.zeros(len(x), 3)).backward()
            sgd.step()
        with torch.no_grad():
            return [net(x).sum().item() for x in batches]

    interpreted = stats.interpreted
    for _ in range(2):
        epoch()
    compiled = stats.compiles, stats.kernels
    for _ in range(10):
        epoch()
    assert (stats.compiles, stats.kernels) == compiled
    assert stats.interpreted == interpreted


def test_what_is_used_often_is_compiled_in_the_end(monkeypatch):
    compiled = []

    def compile():
        compiled.append(1)
        return jax.jit(jnp.sin)

    monkeypatch.setattr(policy, "least", lambda nbytes: 0.0)  # else a call that is quick enough costs nothing
    run = Interpreted(jnp.sin, (jax.ShapeDtypeStruct((3,), np.float32),), compile)
    x = np.float32([0, 1, 2])
    np.testing.assert_allclose(run(x), np.sin(x))
    assert not compiled and type(run(x)) is np.ndarray
    monkeypatch.setattr(policy, "RENT", -1.0)
    np.testing.assert_allclose(run(x), np.sin(x), rtol=1e-6)
    assert compiled and isinstance(run(x), jax.Array)
    assert len(compiled) == 1


def test_large_work_is_compiled():
    """An interpretation that would take longer than a compilation is refused."""
    big = jax.ShapeDtypeStruct((8000, 8000), np.float32)
    with pytest.raises(Missing, match="ms"):
        Interpreted(jnp.sin, (big,), lambda: None)
    Interpreted(lambda x: x @ x, (big,), lambda: None)  # a product takes XLA as long


def test_the_update_of_hundreds_of_weights_is_interpreted_at_first(monkeypatch):
    """Its compilation would take seconds, and a deep network's first step has no use for it later."""
    specs = (jax.ShapeDtypeStruct((200, 200), np.float32),) * 400

    def update(*weights):
        return [w * 0.9 + 0.1 * jnp.sqrt(w) - w / 3 for w in weights]

    Interpreted(update, specs, lambda: None)
    monkeypatch.setattr(policy, "EQUATION", 0.0)
    with pytest.raises(Missing, match="ms"):
        Interpreted(update, specs, lambda: None)
    assert interpretation.policy.SLOW < 1e9 * 10 * policy.RENT


def test_tensors_of_interpreted_results_are_like_others(tier):
    tier("interpret")
    x = torch.arange(6.0).reshape(2, 3)
    y = x.t() * 1
    z = y.clone()
    y[0] = 5
    y.add_(1)
    assert z.tolist() == [[0, 3], [1, 4], [2, 5]] and y.tolist() == [[6, 6], [2, 5], [3, 6]]
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert z._value.data.base is None, "small values stay NumPy's, in memory of their own"
    large = torch.ones(40, 40) * 2
    large.sum().item()
    assert type(large._value.data) is type(jnp.ones(1)), "others are JAX's arrays, whoever computed them"


@pytest.mark.parametrize("shape", [(0, 0), (2, 0, 0), (0, 3, 3)])
def test_decompositions_of_nothing(shape, tier):
    """Small arrays are left to NumPy, empty ones too."""
    tier("interpret")
    x = torch.zeros(shape, requires_grad=True)
    linalg = torch.linalg
    for f in (linalg.inv, linalg.det, lambda a: linalg.slogdet(a)[1], lambda a: linalg.lu_factor(a)[0],
              lambda a: linalg.solve(a, a), linalg.cholesky, lambda a: linalg.qr(a)[1], linalg.eigvalsh,
              lambda a: linalg.solve_triangular(a, a, upper=True)):  # fmt: skip
        y = f(x)
        assert y.sum().item() in (0, 1, 2)
        y.sum().backward()
        assert x.grad.shape == shape


def test_ever_new_shapes_are_interpreted_however_large_the_arrays_are(monkeypatch):
    """A few kernels of a kind are compiled, then the compilation would take longer than NumPy does."""
    monkeypatch.setattr(policy, "_kernels", {})
    place = jax.devices("cpu")[0]
    assert [policy.interprets("kind", place, 4_000_000) for _ in range(6)] == [False] * policy.SHAPES + [True, True]
    assert policy.interprets("splits", place, 4_000_000, policy.MANY + 1)  # each result takes XLA its time


def test_rows_of_a_tensor_are_cut_out_by_numpy():
    # a program for it would have a result per row, each of which takes XLA a hundredth of a second
    x = torch.rand(200, 6)
    expected = x.numpy().copy()
    flush()
    with torch.compiler.report() as report:
        for k in range(4):
            y = x * (k + 1) + 1
            found = [bool(label > 1.5) for _, label in zip(y[:, :4], y[:, -1], strict=True)]
            assert found == (expected[:, -1] * (k + 1) + 1 > 1.5).tolist()
    assert all(e.operations < 4 for e in report.compilations), report


@pytest.mark.filterwarnings("error")
def test_decompositions_of_singular_matrices_are_as_xlas(tier):
    """NumPy and SciPy raise and warn where XLA gives NaN and infinities, which the operations look for."""
    stack = torch.eye(3).repeat(3, 1, 1)
    stack[1, 2, 2] = -1
    nan = stack.clone()
    nan[1, 2, 2] = math.nan
    for how in ("interpret", "ops"):
        tier(how)
        factor, info = torch.linalg.cholesky_ex(stack.clone())
        assert factor.isnan().any(-1).any(-1).tolist() == [False, True, False] and (info > 0).tolist()[1]
        with pytest.raises(torch.linalg.LinAlgError, match=r"linalg\.inv: "):
            torch.linalg.inv(torch.diag(torch.tensor([1.0, 0.0]))).sum().item()
        with pytest.raises(torch.linalg.LinAlgError, match="failed to converge"):
            torch.linalg.svdvals(nan.clone()).sum().item()
        low = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        solved = torch.linalg.solve_triangular(low, torch.ones(2, 1), upper=False)
        assert solved[0].item() == 1 and not solved[1].isfinite().item()
        a, b = torch.randn(2, 3, 3), torch.randn(2, 3, 2)
        for upper in (True, False):
            t = (a.triu() if upper else a.tril()) + 4 * torch.eye(3)
            assert torch.allclose(t @ torch.linalg.solve_triangular(t, b, upper=upper), b, atol=1e-4)
            x = torch.linalg.solve_triangular(t, b.mT, upper=upper, left=False)
            assert torch.allclose(x @ t, b.mT, atol=1e-4)
