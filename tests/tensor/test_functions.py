"""Functions over Tensors that are no operators: views in place, memory, settings, control flow, typed constructors."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.engine import stats


def test_view_in_place_leaves_other_views_alone():
    x = torch.arange(6.0).reshape(2, 3).clone()
    row = x[0]
    assert x.t_() is x
    assert x.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert x.stride() == (1, 3)
    row.mul_(10)  # still the same storage
    assert x[:, 0].tolist() == [0, 10, 20]
    assert x.unsqueeze_(0).shape == (1, 3, 2)
    assert x.squeeze_(0).transpose_(0, 1).tolist() == [[0, 10, 20], [3, 4, 5]]


def test_view_in_place_carries_gradients():
    w = torch.ones(2, 3, requires_grad=True)
    y = w * torch.arange(6.0).reshape(2, 3)
    y.t_()
    (y * torch.arange(6.0).reshape(3, 2)).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), np.arange(6).reshape(2, 3) * np.arange(6).reshape(3, 2).T)
    with pytest.raises(RuntimeError, match="leaf Variable"):
        w.t_()


def test_resize():
    x = torch.arange(6.0)
    x.resize_(2, 2)
    assert x.tolist() == [[0, 1], [2, 3]]
    assert x.resize_(2, 4).tolist()[0] == [0, 1, 2, 3]
    assert x.resize_as_(torch.zeros(1, 2)).shape == (1, 2)
    with pytest.raises(RuntimeError, match="require grad"):
        torch.ones(2, requires_grad=True).resize_(3)


def test_set_shares_storage():
    a, b = torch.zeros(4), torch.arange(4.0)
    a.set_(b)
    assert a.is_set_to(b)
    a[0] = 7
    assert b.tolist() == [7, 1, 2, 3]
    assert torch.zeros(0).set_(b, 1, (2,), (2,)).tolist() == [1, 3]
    with pytest.raises(RuntimeError, match="Could not set"):
        a.set_(torch.zeros(1, dtype=torch.int64))


def test_copies_of_views():
    x = torch.arange(4.0).reshape(2, 2).clone()
    out = torch.empty(2, 2)
    torch.t_copy(x, out=out)
    x.zero_()
    assert out.tolist() == [[0, 2], [1, 3]]
    parts = [torch.empty(2) for _ in range(2)]
    torch.unbind_copy(torch.eye(2), out=parts)
    assert [p.tolist() for p in parts] == [[1, 0], [0, 1]]


def test_frombuffer_shares_memory():
    buffer = bytearray(np.arange(4, dtype=np.int32).tobytes())
    t = torch.frombuffer(buffer, dtype=torch.int32, offset=4, count=2)
    assert t.tolist() == [1, 2]
    t[0] = 9
    assert np.frombuffer(buffer, np.int32).tolist() == [0, 9, 2, 3]
    with pytest.raises(ValueError, match="must be a multiple"):
        torch.frombuffer(bytearray(5), dtype=torch.int32)
    with pytest.raises(ValueError, match="must not be"):
        torch.frombuffer(bytearray(4), dtype=torch.int32, count=2)


def test_from_file(tmp_path):
    path = tmp_path / "numbers"
    np.arange(4, dtype=np.float32).tofile(path)
    t = torch.from_file(str(path), shared=True, size=4)
    t.mul_(2)
    assert t.tolist() == [0, 2, 4, 6]
    with pytest.raises(RuntimeError, match="smaller"):
        torch.from_file(str(path), size=5)
    assert torch.from_file(str(path), size=4, device="cpu", layout=torch.strided).tolist() == [0, 2, 4, 6]
    with pytest.raises(RuntimeError, match="strided"):
        torch.from_file(str(path), size=4, layout=torch.sparse_coo)


def test_by_the_element():
    x = torch.tensor([1.0, 2.0])
    assert x.apply_(lambda v: v * 3).tolist() == [3, 6]
    assert x.map_(torch.tensor([1.0, 2.0]), lambda a, b: a - b).tolist() == [2, 4]
    assert torch.zeros(3, 3).fill_diagonal_(2).tolist() == [[2, 0, 0], [0, 2, 0], [0, 0, 2]]
    tall = torch.zeros(7, 3)
    tall.fill_diagonal_(1, wrap=True)
    assert tall.sum(1).tolist() == [1, 1, 1, 0, 1, 1, 1]
    assert list(reversed(torch.arange(3))) == [2, 1, 0]


def test_control_flow():
    assert torch.cond(torch.tensor(True), lambda x: x + 1, lambda x: x - 1, (torch.tensor(1),)).item() == 2
    n, total = torch.while_loop(lambda n, _: n < 4, lambda n, t: (n + 1, t + n), (torch.tensor(0), torch.tensor(0)))
    assert (n.item(), total.item()) == (4, 6)


def test_typed_constructors():
    assert torch.DoubleTensor([1, 2]).dtype is torch.float64
    assert torch.LongTensor(2, 3).shape == (2, 3)
    assert isinstance(torch.ones(1), torch.FloatTensor)
    assert not isinstance(torch.ones(1), torch.DoubleTensor)


def test_settings():
    assert torch.get_float32_matmul_precision() == "highest"
    with pytest.raises(RuntimeError, match="not one of"):
        torch.set_float32_matmul_precision("low")
    with pytest.warns(UserWarning, match="no effect"):
        torch.set_num_threads(torch.get_num_threads() + 1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.get_deterministic_debug_mode() == 1
    torch.set_deterministic_debug_mode("default")
    assert not torch.are_deterministic_algorithms_enabled()


def test_low_rank():
    torch.manual_seed(0)
    a = torch.randn(6, 2) @ torch.randn(2, 5)
    u, s, v = torch.svd_lowrank(a, q=2)
    np.testing.assert_allclose(((u * s) @ v.T).numpy(), a.numpy(), atol=1e-4)
    np.testing.assert_allclose(s.numpy(), torch.linalg.svdvals(a)[:2].numpy(), rtol=1e-4)
    values, vectors = torch.lobpcg(a @ a.T, k=1)
    np.testing.assert_allclose(values.numpy(), (s[:1] ** 2).numpy(), rtol=1e-3)


def test_names_that_are_gone():
    with pytest.raises(RuntimeError, match="torch.linalg.eigh"):
        torch.symeig(torch.eye(2))


def test_multinomial_refuses_known_weights_at_once():
    with pytest.raises(RuntimeError, match="inf"):
        torch.multinomial(torch.tensor([1.0, -1.0]), 1)
    with pytest.raises(RuntimeError, match="sum of probabilities"):
        torch.multinomial(torch.tensor([0.0, 0.0]), 1)


def test_numbers_alone_are_no_operands():
    with pytest.raises(TypeError, match="expected a Tensor"):
        torch.pow(2, 3)
    with pytest.raises(TypeError, match="tuple of Tensors"):
        torch.cat(torch.ones(2, 2))


def test_lifted_number_keeps_its_kind():
    """A number at one place of a loop may change its type from step to step."""
    for value in (1, 2, True, False, 1.5, 2.5, 3):
        x = torch.ones(2)
        got = x.masked_fill(torch.tensor([True, False]), value)
        assert got.tolist() == [float(value), 1.0]


@pytest.mark.parametrize("refused, call, numbers, bad", [
    ("integral input", lambda x, n: torch.sub(x, 1, alpha=n), (0.25, 0.5), (1.5, 2.5)),
    ("Boolean alpha", lambda x, n: torch.add(x, 1, alpha=n), (), (True, False, True)),
    ("bool tensor", lambda x, n: x - n, (2, 3, 4, 5, 6, 7, 8), (True, False, True)),
    ("negative integer powers", lambda x, n: x**n, (5, 3, 2), (-1, -2)),
])
def test_numbers_that_vary_are_refused_as_constants_are(refused, call, numbers, bad):
    x = torch.tensor([1, 2])
    for n in numbers:
        try:
            call(x, n).tolist()
        except RuntimeError as error:
            assert refused in str(error)
    for n in bad:
        with pytest.raises(RuntimeError, match=refused):
            call(x, n).tolist()
    y = torch.tensor([2.0]) ** 3  # the same operator, where it may
    assert [(y**n).item() for n in (-1, -2, 2)] == [1 / 8, 1 / 64, 64.0]


def test_numpy_numbers_stand_for_tensors_where_python_numbers_do():
    assert torch.mul(np.int64(2), torch.ones(2)).tolist() == [2.0, 2.0]
    assert torch.sub(np.float32(2), torch.ones(2, dtype=torch.float16)).dtype == torch.float16


def test_real_numbers_of_complex_tensors():
    assert float(torch.tensor(2 + 0j)) == 2.0 and int(torch.tensor(2 + 0j)) == 2
    for convert in (float, int):
        with pytest.raises(RuntimeError, match="without overflow"):
            convert(torch.tensor(1 + 2j))


@pytest.mark.parametrize("kind, dtype", [
    (torch.LongTensor, torch.int64), ("torch.DoubleTensor", torch.float64), (torch.Tensor, torch.float32),
    (torch.float16, torch.float16), (torch.BoolTensor, torch.bool),
])
def test_type_takes_the_types_of_old(kind, dtype):
    x = torch.tensor([1, 0, 3], dtype=torch.int32)
    y = x.type(kind)
    assert y.dtype is dtype
    assert y.tolist() == [bool(v) if dtype is torch.bool else v for v in (1, 0, 3)]
    with pytest.raises(ValueError, match="invalid type"):
        x.type("FooTensor")
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError):
            x.type(torch.cuda.FloatTensor)  # says where to, not only which dtype


def test_typed_constructors_take_sizes():
    assert torch.FloatTensor(torch.Size([2, 1])).shape == (2, 1)
    assert torch.LongTensor(torch.zeros(3).size()).shape == (3,)
    assert torch.LongTensor((3, 1)).tolist() == [3, 1]  # a tuple is data
    for size in (np.int64(3), np.uint8(3), np.array(3)):  # as the sizes of gym's spaces: sizes, too
        assert torch.FloatTensor(size).shape == torch.Tensor(size).shape == torch.ones(1).new(size).shape == (3,)
    assert torch.FloatTensor(np.int64(2), np.int32(3)).shape == (2, 3)
    assert torch.FloatTensor(np.array([3])).tolist() == torch.FloatTensor(np.array([3.0])).tolist() == [3]
    for number in (3.0, np.float32(3), True, np.bool_(True), None):
        for make in (torch.FloatTensor, torch.Tensor, torch.ones(1).new):
            with pytest.raises(TypeError, match="data must be a sequence"):
                make(number)


def test_sparse_leads_back_to_torch():
    # one-hot vectors, as programs of old make them
    assert torch.sparse.torch.eye(3)[[2, 0]].tolist() == [[0, 0, 1], [1, 0, 0]]


def test_split_under_the_names_of_its_parameters():
    x = torch.arange(6.0)
    for parts in (torch.split(tensor=x, split_size_or_sections=[2, 4]), x.split(split_size=[2, 4], dim=-1),
                  x.tensor_split(indices=[2]), torch.split(x, (2, 4))):  # fmt: skip
        assert [p.tolist() for p in parts] == [[0, 1], [2, 3, 4, 5]]
    assert [len(p) for p in torch.tensor_split(x, sections=4)] == [2, 2, 1, 1]
    with pytest.raises(TypeError, match="split_size_or_sections"):
        x.split(split_size_or_sections=2)
    with pytest.raises(TypeError, match="one of"):
        x.tensor_split()


def test_distances_are_of_points_of_one_dtype():
    """They are not promoted, as PyTorch does not."""
    with pytest.raises(RuntimeError, match="expected scalar type Float but found Double"):
        torch.cdist(torch.ones(2, 3), torch.ones(2, 3, dtype=torch.float64))


def test_ints_outside_of_the_dtype_wrap_in_operators():
    u, i = torch.tensor([1, 2], dtype=torch.uint8), torch.tensor([1, 2], dtype=torch.int8)
    assert (u + 256).tolist() == [1, 2] and (u - 300).tolist() == [213, 214] and (256 - u).tolist() == [255, 254]
    assert (u == -1).tolist() == [False, False] and (u == 257).tolist() == [True, False]
    assert (i + 200).tolist() == [-55, -54] and (i * 200).tolist() == [-56, -112]
    assert (torch.tensor([1], dtype=torch.int32) * 2**40).tolist() == [0]
    assert (torch.tensor([1]) + 2**63).tolist() == [-(2**63) + 1]
    with pytest.raises(OverflowError):
        torch.tensor([1]) * 2**64
    # what fills takes negative numbers modulo 2**bits, and refuses larger ones
    u[0] = -1
    assert u.tolist() == [255, 2] and torch.where(u > 2, u, -2).tolist() == [255, 254]
    assert torch.full((2,), -3, dtype=torch.uint8).tolist() == [253, 253]
    x = torch.tensor([1, 2], dtype=torch.int16)
    for refused in (lambda: torch.where(x > 2, x, 70000), lambda: x.clamp(max=70000), lambda: i.clamp(min=-200),
                    lambda: u.masked_fill(u > 2, -256)):  # fmt: skip
        with pytest.raises(RuntimeError, match="without overflow"):
            refused()


def test_named_tuples_read_and_are_made_as_torchs():
    found = torch.max(torch.tensor([[1.0, 2.0]]), 1)
    assert repr(found) == "torch.return_types.max(\nvalues=tensor([2.]),\nindices=tensor([1]))"
    assert type(found).__name__ == "max" and found.n_fields == 2
    again = type(found)(t + 1 for t in found)
    assert type(again) is torch.return_types.max and again.values.item() == 3 and again.indices.item() == 2
    assert type(torch.linalg.qr(torch.eye(2))).__name__ == "linalg_qr"
    assert copy.deepcopy(found).values.item() == pickle.loads(pickle.dumps(found)).values.item() == 2


def test_nan_is_the_largest_for_topk():
    x = torch.tensor([3.0, float("nan"), 1.0, float("inf"), -float("inf")])
    assert torch.topk(x, 4, largest=False).values.tolist() == [-float("inf"), 1, 3, float("inf")]
    assert torch.topk(x, 2, largest=False).indices.tolist() == [4, 2] and torch.topk(x, 1).indices.tolist() == [1]


def test_the_gradient_of_a_quantile_goes_to_both_neighbours():
    for values in ([0.0, 0.0], [0.0, 1.0]):
        x = torch.tensor(values, requires_grad=True)
        torch.quantile(x, 0.25).backward()
        assert x.grad.tolist() == [0.75, 0.25]
    assert torch.tensor([float("inf")] * 2).quantile(0.5).item() == float("inf")


def test_positive_is_the_tensor_itself():
    x = torch.ones(2)
    assert +x is x and x.positive() is x and torch.positive(x) is x
    with pytest.raises(RuntimeError, match="bool"):
        +torch.tensor([True])


def test_predicates_of_what_is_no_tensor():
    for predicate in (torch.is_floating_point, torch.is_complex):
        with pytest.raises(TypeError, match="must be Tensor, not int"):
            predicate(1)


def test_joining_a_tensor_many_times_with_itself_is_one_sum_in_reverse():
    x = torch.arange(6.0).reshape(2, 3).requires_grad_()
    for dim in (0, 1, -1):
        y = torch.cat([x] * 12, dim)
        assert torch.equal(y, torch.cat([x * 1 for _ in range(12)], dim))
        w = torch.arange(72.0).reshape(y.shape)
        (g,) = torch.autograd.grad((y * w).sum(), x)
        assert torch.equal(g, sum(w.chunk(12, dim)))
        assert y.grad_fn.name() == "RepeatBackward0"
    with pytest.raises(IndexError):
        torch.cat([x] * 12, 2)
    with pytest.raises(RuntimeError, match="zero-dimensional"):
        torch.cat([x.sum()] * 12)
    assert torch.cat([torch.empty(0)] * 12).shape == (0,)


def test_randint_like_takes_its_bounds_by_name():
    x = torch.empty(400, dtype=torch.float64)
    for drawn, low in ((torch.randint_like(x, high=3), 0), (torch.randint_like(x, low=1, high=3), 1),
                       (torch.randint_like(x, 1, high=3), 1), (torch.randint_like(x, 3), 0)):
        assert drawn.dtype == torch.float64 and drawn.unique().tolist() == list(range(low, 3))
    with pytest.raises(TypeError, match="high"):
        torch.randint_like(x)


def test_matrix_exp_is_exact_to_the_last_digits_where_it_is_scaled():
    # A rotation by t in the plane: the exponential of t times the quarter turn.
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    t = torch.tensor([0.3, 6.0, 7.0, 30.0, 3000.0], dtype=torch.float64, requires_grad=True)
    e = torch.matrix_exp(t[:, None, None] * turn)
    assert (e[:, 0, 0] - t.cos()).abs().max() < 1e-12 and (e[:, 1, 0] - t.sin()).abs().max() < 1e-12
    e[:, 1, 0].sum().backward()
    assert (t.grad - t.detach().cos()).abs().max() < 1e-12


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_what_does_not_broadcast_names_its_last_dim():
    a, b = torch.zeros(8, 16, 256), torch.zeros(17, 16)
    for f in (torch.add, torch.maximum, torch.nn.functional.smooth_l1_loss):
        with pytest.raises(RuntimeError, match=r"a \(256\) must match .* b \(16\) at non-singleton dimension 2"):
            f(a, b)


def test_a_dim_without_a_default_may_come_by_numpys_name():
    x, i = torch.arange(6.0).reshape(2, 3), torch.tensor([0])
    for name, more in (("logsumexp", {"keepdims": True}), ("cumsum", {}), ("cummax", {}), ("unsqueeze", {}),
                       ("softmax", {}), ("index_select", {"index": i}), ("gather", {"index": i[None]}),
                       ("index_fill", {"index": i, "value": 7.0})):  # fmt: skip
        spelled = {{"keepdims": "keepdim"}.get(k, k): v for k, v in more.items()}
        for function in (lambda *a, **kw: getattr(torch, name)(*a, **kw), lambda x, **kw: getattr(x, name)(**kw)):  # noqa: B023
            got, want = function(x, axis=1, **more), function(x, dim=1, **spelled)
            for a, b in zip(*((r if isinstance(r, tuple) else (r,)) for r in (got, want)), strict=True):
                assert torch.equal(a, b)
    with pytest.raises(TypeError, match=r'cumsum\(\) missing 1 required positional arguments: "dim"'):
        torch.cumsum(x)
    with pytest.raises(TypeError, match=r'gather\(\) missing 1 required positional arguments: "index"'):
        x.gather(0)


def test_truth_over_no_dims_is_that_of_each_element():
    x = torch.tensor([[1, 0], [1, 1]])
    for reduce in (torch.any, torch.all):
        assert reduce(x, ()).tolist() == x.bool().tolist() == reduce(x + 0, (), True).tolist()
        assert reduce(x, None).shape == ()
    assert x.sum(()).item() == 3


def test_factories_refuse_what_they_cannot_make():
    with pytest.raises(RuntimeError, match="does not match dtype of out"):
        torch.zeros(2, dtype=torch.int64, out=torch.empty(2))
    into = torch.empty(0)
    assert torch.arange(3, out=into) is into and into.tolist() == [0, 1, 2]
    with pytest.raises(NotImplementedError, match="linspace"):
        torch.linspace(0, 1, 3, dtype=torch.bool)
    with pytest.raises(NotImplementedError, match="tril_indices"):
        torch.tril_indices(3, 3, dtype=torch.float32)
    assert torch.triu_indices(2, 2, layout=torch.strided).tolist() == [[0, 0, 1], [0, 1, 1]]
    with pytest.raises(RuntimeError, match="N must be non-negative"):
        torch.vander(torch.tensor([1, 2]), N=-1)
    with pytest.raises(ValueError, match="buffer protocol"):
        torch.frombuffer([1], dtype=torch.uint8)
    held = [0]
    held.append(held)
    with pytest.raises(TypeError, match="self-referential lists are incompatible"):
        torch.tensor(held)


@pytest.mark.filterwarnings("ignore:torch.set_default_tensor_type")
def test_a_dtype_is_no_default_tensor_type():
    with pytest.raises(TypeError, match="only floating-point types"):
        torch.set_default_tensor_type(torch.float32)


def test_empty_sparse_tensors_come_of_factories():
    for make in (torch.zeros, torch.empty):
        x = make(2, 3, dtype=torch.float64, layout=torch.sparse_coo)
        assert x.layout is torch.sparse_coo and x._nnz() == 0 and x.to_dense().tolist() == [[0] * 3] * 2
        assert x.dtype is torch.float64


def test_magnitudes_do_not_go_into_complex_tensors():
    x = torch.tensor([3 + 4j])
    with pytest.raises(RuntimeError, match="In-place abs is not supported for complex tensors"):
        x.abs_()
    assert x.tolist() == [3 + 4j]


def test_tensors_without_data_are_pickled():
    x = pickle.loads(pickle.dumps(torch.ones(2, 3, dtype=torch.float16, device="meta", requires_grad=True)))
    assert x.is_meta and x.shape == (2, 3) and x.dtype is torch.float16 and x.requires_grad
    assert pickle.loads(pickle.dumps(torch.nn.Linear(2, 3, device="meta"))).weight.is_meta


def test_new_tensors_of_a_size_that_is_a_tensor():
    x = torch.ones(1, dtype=torch.float64)
    assert x.new_zeros(torch.tensor(2)).tolist() == [0, 0] and x.new_ones(torch.Size([2])).shape == (2,)


def test_a_tensor_made_of_a_storage_is_over_its_memory():
    storage = torch.FloatStorage([1, 2])
    for make in (torch.FloatTensor, torch.Tensor):
        x = make(storage)
        x[0] += 4
        storage[1] = x[0].item()
    assert storage.tolist() == [9, 9] and x.tolist() == [9, 9]
    with pytest.raises(RuntimeError, match="Expected a Storage of type"):
        torch.LongTensor(storage)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int64])
def test_bincount_counts_integers_of_any_size(dtype):
    assert torch.bincount(torch.tensor([3, 1, 1], dtype=dtype)).tolist() == [0, 2, 0, 1]
    assert torch.bincount(torch.tensor([], dtype=dtype), minlength=2).tolist() == [0, 0]


def test_linspace_of_float32_rounds_as_pytorch_does():
    """The distance is rounded to float32, then multiplied and added at once: the limits of buckets depend on it."""
    assert torch.linspace(-2, 2, 15)[7].item() == float(np.float32(-8.940696716308594e-08))
    start, end, steps = np.float32(0.3), np.float32(1.7), 24
    distance = (end - start) / np.float32(steps - 1)
    i = np.arange(steps)
    exact = np.where(i < steps // 2, float(start) + float(distance) * i, float(end) - float(distance) * (steps - 1 - i))
    assert torch.linspace(0.3, 1.7, steps).tolist() == exact.astype(np.float32).tolist()
    assert torch.linspace(0.1, 2.0, 1).tolist() == [float(np.float32(0.1))]


def test_histogram_with_edges_is_named_as_the_other():
    """Both forms of histogram give the same kind of tuple."""
    whole = torch.histogram(torch.arange(6.0), torch.tensor([0.0, 2.0, 6.0]))
    assert type(whole).__name__ == "histogram" and whole.hist.tolist() == [2, 4]


def test_histogram_has_a_hundred_bins_and_takes_no_whole_numbers():
    """Without bins there are 100, also of the method; edges between whole numbers are refused."""
    hist, edges = torch.arange(5.0).histogram(density=True)
    assert hist.shape == (100,) and edges.shape == (101,) and hist.sum().item() == pytest.approx(25)
    for bins in (3, torch.tensor([0.0, 2.0])):
        with pytest.raises(NotImplementedError, match="not implemented for 'Long'"):
            torch.histogram(torch.arange(5), bins)


@pytest.mark.parametrize("rows", [1, 10])
def test_a_text_that_grows_by_drawn_tokens_is_joined_on_the_host(rows):
    """A token that a model draws is computed, and its text no part of the next step: no round records anything new."""
    torch.manual_seed(0)
    table, weight, text = torch.randn(9, 4), torch.randn(4, 4), torch.zeros(rows, 1, dtype=torch.int64)
    misses = []
    for _ in range(12):
        x = table[text[:, -3:]]
        for _ in range(40):
            x = (x @ weight).tanh()
        text = torch.cat((text, torch.multinomial((x[:, -1] @ table.T).softmax(-1), 1)), dim=1)
        misses.append(stats.misses)
    assert text.shape == (rows, 13) and 0 <= text.min() and text.max() < 9
    assert misses[-1] == misses[-6] > misses[0]


def test_what_a_policy_draws_while_it_is_trained_executes_nothing():
    """Each draw would end a program, and the loss would go back through as many of them."""
    x = torch.randn(2, 4, requires_grad=True)
    y = x
    for _ in range(70):
        y = y.tanh()
    with torch.no_grad():
        drawn = torch.multinomial(y.softmax(-1), 1)
    assert drawn._value.data is None
    assert drawn.shape == (2, 1) and 0 <= drawn.min() and drawn.max() < 4


def test_dims_are_ints():
    """NumPy's ints are dims, also where another argument may stand in their place; floats and bools are refused, and
    calls with ints after them are not mistaken for them."""
    x, one = torch.arange(24.0).reshape(2, 3, 4), np.int64(1)
    for name in ("std", "var", "max", "sum", "cumsum"):
        ours, plain = getattr(x, name)(one), getattr(x, name)(1)
        assert torch.equal(ours[0] if name == "max" else ours, plain[0] if name == "max" else plain)
    assert torch.equal(torch.var_mean(x, one)[1], x.mean(1))
    for name in ("cumprod", "softmax", "argmin", "unsqueeze"):
        for wrong in (1.0, True):
            with pytest.raises(TypeError, match=f"{name}.*must be int, not {type(wrong).__name__}"):
                getattr(x, name)(wrong)
        getattr(x, name)(1).tolist()
    with pytest.raises(TypeError, match="argument 'k'.*must be int"):
        x.topk(1.0)


def test_sizes_are_asked_for():
    """An empty size is spelled out, ``x.view(())``: none at all is a mistake."""
    x = torch.ones(2, 3)
    calls = (lambda: torch.empty(), lambda: torch.zeros(), lambda: torch.rand(), lambda: x.flip(), lambda: x.view(),
             lambda: x.reshape(), lambda: x.permute(), lambda: x.expand(), lambda: x.repeat(), lambda: x.tile(),
             lambda: x.new_zeros(), lambda: x.new_ones(), lambda: x.new_empty(), lambda: x.resize_())  # fmt: skip
    for call in calls:
        with pytest.raises(TypeError, match="missing 1 required positional arguments"):
            call()
    one = torch.ones(1)
    assert one.view(()).shape == one.reshape(()).shape == torch.empty(()).shape == x.new_zeros(size=()).shape == ()
    assert x.flip(()).equal(x) and torch.tensor(1.0).expand(()).shape == ()


def test_flags_and_dims_are_what_they_are_declared_as():
    x = torch.ones(2, 3)
    for call, what in (
        (lambda: torch.sort(x, 0, "x"), "argument 'descending' .* must be bool, not str"),
        (lambda: x.sum(0, 1), "argument 'keepdim' .* must be bool, not int"),
        (lambda: x.topk(1, 0, "x"), "must be bool, not str"),
        (lambda: x.prod((0, 1)), "argument 'dim' .* must be int, not tuple"),
        (lambda: x.argmax((0, 1)), "must be int, not tuple"),
        (lambda: x.unsqueeze((0, 1)), "must be int, not tuple"),
        (lambda: torch.full((2,), torch.tensor([3.0])), "must be Number, not Tensor"),
        (lambda: x.clamp(0, torch.ones(3)), "invalid combination"),
    ):
        with pytest.raises(TypeError, match=what):
            call()
    # what PyTorch's own Python looks at may be anything that is true
    assert len(torch.nn.functional.max_pool2d(torch.ones(1, 1, 4, 4), 2, return_indices=1)) == 2
    assert torch.stft(torch.ones(8), 4, window=torch.ones(4), center=1, return_complex=True).shape == (3, 9)
    assert x.sum(np.int64(0), np.bool_(True)).shape == (1, 3) and x.cumsum(torch.tensor(1))[0, 2] == 3
    assert x.clamp(torch.tensor(0.0), 3).equal(x) and x.clamp(None, torch.zeros(3)).sum() == 0
    with pytest.raises(RuntimeError, match="mat2 must be a matrix"):
        torch.nn.functional.linear(x, torch.ones(3), torch.ones(()))


def test_a_short_window_of_stft_begins_with_the_signal():
    """``align_to_window`` pads by what the transform is longer than the window: the first frame sees its start."""
    s = torch.arange(10.0)
    for win, first in ((4, 6.0), (8, 28.0)):
        out = torch.stft(s, 8, hop_length=2, win_length=win, window=torch.ones(win), center=False,
                         align_to_window=True, return_complex=True)  # fmt: skip
        assert out.shape == (5, 1 + (10 - win) // 2) and out[0, 0].real.item() == first


def test_matrix_norms_need_two_dims():
    """As PyTorch says it, rather than an index error about a dim that the caller may not have named."""
    with pytest.raises(RuntimeError, match="must have at least 2 dimensions"):
        torch.linalg.norm(torch.ones(3), "fro", dim=(-2, -1))


def test_sizes_that_no_memory_has():
    """More elements than 64 bits count are an error; XLA would have ended the process."""
    for make in (lambda: torch.zeros(2**62, 2**10), lambda: torch.zeros(1).expand(2**62, 2**10)):
        with pytest.raises(RuntimeError, match="overflowed"):
            make()


def test_dtypes_of_small_integers_stay():
    """einsum of one list of subscripts sums in the operands' dtype; NumPy's numbers are numbers to result_type."""
    for dtype in (torch.uint8, torch.int32, torch.int64):
        x = torch.ones(3, dtype=dtype)
        assert torch.einsum("i,i", x, x).dtype == dtype
        assert torch.result_type(x, np.int8(1)) == dtype and torch.result_type(x, np.float64(1)) == torch.float32


def test_a_wrong_call_does_not_spoil_the_right_one():
    """3.0 equals 3: what was made for the one, and failed, is not found by the other, as in a notebook's next try."""
    x = torch.ones(1, 1, 4, 4)
    with pytest.raises(TypeError):
        torch.nn.functional.interpolate(x, size=3.0)
    assert torch.nn.functional.interpolate(x, size=3).shape == (1, 1, 3, 3)


def test_clone_as_a_function_takes_a_memory_format():
    x = torch.ones(2, 3, requires_grad=True)
    y = torch.clone(x, memory_format=torch.preserve_format)
    y.sum().backward()
    assert y is not x and y.tolist() == x.tolist() and x.grad.tolist() == [[1.0] * 3] * 2
    with pytest.raises(TypeError, match="must be Tensor, not list"):
        torch.clone([1.0])


@pytest.mark.parametrize("x", [torch.zeros(3, 4), torch.zeros(4, 3).t()], ids=["as usual", "transposed"])
def test_bounds_of_randint_like_by_name(x):
    def drawn(*args, **named):
        torch.manual_seed(0)
        return torch.randint_like(x, *args, **named).tolist()

    assert drawn(5) == drawn(high=5) == drawn(0, 5) == drawn(low=0, high=5) == drawn(0, high=5)
    for args, named in (((), {}), ((), {"low": 1}), ((5,), {"low": 1}), ((1, 5), {"high": 6})):
        with pytest.raises(TypeError, match="low and high"):
            torch.randint_like(x, *args, **named)
