"""Indexing and assignment against NumPy, and the errors."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pytorchlike as torch
from pytorchlike import compiler
from pytorchlike.engine import flush

SHAPE = (2, 3, 4)


def _item(n):
    """An index of a dim of size n: (for NumPy)."""
    return st.one_of(
        st.integers(-n, n - 1),
        st.builds(slice, st.one_of(st.none(), st.integers(-n - 1, n + 1)),
                  st.one_of(st.none(), st.integers(-n - 1, n + 1)), st.one_of(st.none(), st.integers(1, 3))),
        st.just(slice(None)),
        st.lists(st.integers(-n, n - 1), min_size=2, max_size=2).map(np.array),
        st.lists(st.booleans(), min_size=n, max_size=n).map(np.array),
    )  # fmt: skip


@st.composite
def indices(draw):
    items = [draw(_item(n)) for n in SHAPE[: draw(st.integers(0, 3))]]
    masks = [i for i, x in enumerate(items) if isinstance(x, np.ndarray) and x.dtype == bool]
    if masks and sum(isinstance(x, np.ndarray) for x in items) > 1:  # lengths have to agree
        for i in masks:
            items[i] = slice(None)
    if draw(st.booleans()) and len(items) < 3:
        items.insert(draw(st.integers(0, len(items))), None)
    if draw(st.booleans()):
        # NumPy counts an integer among the index arrays when both occur; PyTorch takes integers first
        arrays = any(isinstance(x, np.ndarray) for x in items)
        at = draw(st.integers(0, len(items)))
        if not arrays and sum(x is not None for x in items[at:]) == 0:
            items.insert(at, Ellipsis)
    if any(isinstance(x, np.ndarray) for x in items):
        items = [slice(x, x + 1 or None) if isinstance(x, int) else x for x in items]
    return tuple(items)


def ours(index):
    return tuple(torch.tensor(x) if isinstance(x, np.ndarray) else x for x in index)


@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(indices(), st.booleans())
def test_get_as_numpy(index, pending):
    a = np.arange(24.0, dtype=np.float32).reshape(SHAPE)
    x = torch.tensor(a) + 0 if pending else torch.tensor(a)
    got = x[ours(index)]
    assert tuple(got.shape) == a[index].shape
    assert np.array_equal(got.numpy(), a[index])


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(indices(), st.sampled_from(["number", "one", "full"]))
def test_set_as_numpy(index, kind):
    a = np.arange(24.0, dtype=np.float32).reshape(SHAPE)
    x = torch.tensor(a) + 0
    shape = a[index].shape
    value = {"number": -1.0, "one": np.float32([-2]), "full": -np.arange(np.prod(shape, dtype=int), dtype=np.float32)}[
        kind
    ]
    if any(isinstance(i, np.ndarray) and i.dtype != bool and len({v % 4 for v in i}) < len(i) for i in index):
        value = -1.0  # the order of writes to one place is not told
    if kind == "full" and not isinstance(value, float):
        value = value.reshape(shape)
    if kind == "one" and not shape and not isinstance(value, float):
        value = value.reshape(())
    a[index] = value
    x[ours(index)] = value if isinstance(value, float) else torch.tensor(value)
    assert np.array_equal(x.numpy(), a)


def test_forms():
    x = torch.arange(24).view(2, 3, 4)
    a = x.numpy()
    assert x[[0, 1], [1, 2]].tolist() == a[[0, 1], [1, 2]].tolist()
    with pytest.warns(UserWarning, match="non-tuple sequence"):
        assert x[[[0, 1], [1, 0]]].tolist() == x[[0, 1], [1, 0]].tolist()
    assert x[range(2)].shape == (2, 3, 4)
    assert x[np.int64(1)].tolist() == a[1].tolist()
    assert x[torch.tensor(1)].tolist() == a[1].tolist()
    assert x[torch.tensor(0) : torch.tensor(1)].shape == (1, 3, 4)
    assert x[:, [0, 1], [0, 1]].shape == (2, 2)
    assert x[[0, 1], :, [0, 1]].shape == (2, 3)
    assert x[0, :, [0, 1]].shape == (3, 2), "integers select first; the rest is one block"
    assert x[True].shape == (1, 2, 3, 4) and x[False].shape == (0, 2, 3, 4)
    assert x[torch.tensor([0, 1], dtype=torch.int32)].shape == (2, 3, 4)
    assert x[x > 20].tolist() == [21, 22, 23]
    assert x[:, x[0] > 9].tolist() == [[10, 11], [22, 23]]
    assert x[..., None, 0].shape == (2, 3, 1) and x[None, ..., None].shape == (1, 2, 3, 4, 1)
    assert x[[]].shape == (0, 3, 4) and x[5:].shape == (0, 3, 4)
    scalar = torch.tensor(3.0)
    assert scalar[None].shape == (1,) and scalar[...].item() == scalar[()].item() == 3
    with pytest.warns(UserWarning, match="uint8"):
        assert x[torch.tensor([0, 1], dtype=torch.uint8)].shape == (1, 3, 4)


def test_one_value_under_a_mask_of_bytes_is_refused():
    """In PyTorch that is ``masked_fill_``, which takes boolean masks only; several values are set."""
    mask = torch.tensor([1, 0, 1], dtype=torch.uint8)
    with pytest.warns(UserWarning, match="uint8"):
        for value in (1.0, torch.tensor(1.0), torch.tensor([1.0])):
            with pytest.raises(RuntimeError, match="boolean masks"):
                torch.zeros(3)[mask] = value
        with pytest.raises(RuntimeError, match="boolean masks"):
            torch.zeros(2, 3)[:, mask.numpy()] = 0
        with pytest.raises(RuntimeError, match="boolean masks"):
            torch.zeros(3).index_put_((mask,), torch.tensor(1.0))
        x = torch.zeros(3)
        x[mask] = torch.tensor([1.0, 2.0])
        x[mask] += 1
        x.index_put_((mask,), torch.tensor(1.0), accumulate=True)
        x[torch.tensor(0, dtype=torch.uint8)] = 7.0  # no dims: true or false, here nothing
    assert x.tolist() == [3, 0, 4]


def test_in_place_arithmetic_on_parts():
    x = torch.zeros(3, 4)
    x[0, 0] += 1
    x[1] += torch.arange(4.0)
    x[:, 1] *= 3
    x[[0, 0, 2], [1, 1, 2]] += 1
    x[x == 0] = torch.tensor(-1.0)
    assert x.tolist() == [[1, 1, -1, -1], [-1, 3, 2, 3], [-1, -1, 1, -1]]
    x[0], x[1] = x[1].clone(), x[0].clone()
    assert x[0].tolist() == [-1, 3, 2, 3]
    ints = torch.arange(4)
    ints[0], ints[1], ints[2] = 1.7, torch.tensor(2.9), True
    assert ints.tolist() == [1, 2, 1, 3]


@pytest.mark.parametrize("shape, index, error", [
    ((2, 3), 2, IndexError), ((2, 3), -3, IndexError), ((2, 3), (0, 3), IndexError), ((2, 3), (0, 0, 0), IndexError),
    ((2, 3), [5], IndexError), ((2, 3), 1.0, IndexError), ((2, 3), slice(None, None, -1), ValueError),
    ((2, 3), slice(None, None, 0), ValueError), ((), 0, IndexError), ((), slice(None), IndexError),
    ((2, 3), ([0, 1], [0, 1, 2]), IndexError), ((2, 3), [True, False, True], IndexError), ((2, 3), "a", TypeError),
])  # fmt: skip
def test_bad_indices(shape, index, error):
    x = torch.zeros(shape)
    with pytest.raises(error) as caught:
        x[index]
    assert len(str(caught.value)) > 10
    with pytest.raises(error):
        x[index] = 1


def test_bad_indices_that_only_data_can_tell():
    x = torch.tensor([0.0, 1, 2, 3])
    late = x[torch.full((1,), 2) + torch.tensor([3])]
    with pytest.raises(IndexError, match="out of bounds|out of range"):
        late.tolist()
    with pytest.raises(IndexError, match=r"5.*size 4"):
        x[torch.tensor([5])]
    with pytest.raises(IndexError, match="long, int, byte or bool"):
        x[torch.tensor([1.0])]
    assert x.tolist() == [0, 1, 2, 3]


def test_bad_values():
    x = torch.arange(4.0)
    for value, error in (("a", TypeError), (None, TypeError), (torch.ones(3), RuntimeError)):
        with pytest.raises(error):
            x[:2] = value
    with pytest.raises((RuntimeError, IndexError)):
        x[x > 1] = torch.tensor([7.0, 8, 9])
        x.tolist()
    with pytest.raises(TypeError, match="does not support deleting"):
        del x[0]


def test_gradients_of_indexing():
    x = torch.arange(6.0).view(2, 3).requires_grad_()
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        x[0] = 1
    y = x * 2
    y[0] = x[1] * 5
    y[y > 20] = 0
    (y.sum() + x[[0, 0], [1, 1]].sum() + x[:, ::2].sum()).backward()
    assert x.grad.tolist() == [[1, 2, 1], [8, 7, 3]]


def test_warnings_stay_away():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = torch.arange(6).view(2, 3)
        assert x[(0, 1)] == x[0][1] == 1


def test_selections_of_other_sizes_are_the_same_program():
    """``a[mask] = b[mask]`` in a loop, each time with another number of true elements, records nothing new."""
    def step(k):
        drive = torch.arange(6.0) * k
        mask = (drive > 6) & (drive < 20)
        reset = torch.zeros(6)
        reset[mask] = torch.ones_like(drive)[mask] * 1
        held = (drive + 1)[mask]
        reset[mask] = held
        other = drive * 1
        chosen = other[mask]
        other.zero_()  # what was chosen stays
        reset2 = torch.zeros(6)
        reset2[mask] = chosen
        chosen += 1  # what is written now is no selection any more
        reset[mask] = chosen
        return mask, drive, reset, reset2

    for k in range(1, 8):
        mask, drive, reset, reset2 = step(k)
        assert reset.tolist() == torch.where(mask, drive + 1, torch.zeros(())).tolist()
        assert reset2.tolist() == torch.where(mask, drive, torch.zeros(())).tolist()

    def only(k):
        drive = torch.arange(6.0) * k
        mask = drive > 6
        reset = torch.zeros(6)
        reset[mask] = torch.ones_like(drive)[mask]
        return reset + drive

    for k in (2.5, 3.5, 4.5):
        only(k).tolist()
    before = compiler.stats()
    for k in (9.5, 1.25, 0.5, 1.75):
        assert only(k).tolist() == [v * k + (v * k > 6) for v in range(6)]
    after = compiler.stats()
    assert (after["misses"], after["kernels"]) == (before["misses"], before["kernels"])


def test_selections_keep_shape_dtype_and_gradients():
    x = torch.arange(12.0).reshape(3, 4) * 1
    rows, columns = x.sum(1) > 10, torch.tensor([True, False, False, True])
    assert x[rows].tolist() == x.tolist()[1:]
    assert x[:, columns].tolist() == [[r[0], r[3]] for r in x.tolist()]
    assert x.half()[rows].dtype is torch.float16
    leaf = torch.zeros(3, 4, requires_grad=True)
    y = leaf * 2
    y[x > 5] = x[x > 5]
    mask = x > 5
    z = y + 0
    z[mask] = x[mask]
    z.sum().backward()
    assert leaf.grad.tolist() == (2 * (x <= 5)).tolist()
    with pytest.raises(RuntimeError, match="dtypes"):
        torch.zeros(3, 4, dtype=torch.float64)[mask] = x[mask]


def test_scalar_tensors_as_indices_convert_what_is_written():
    x, i = torch.zeros(2, 3), torch.tensor(1)
    x[:, i] = torch.tensor([4, 5])
    x[i] = torch.tensor([7, 8, 9], dtype=torch.float64)
    assert x.tolist() == [[0, 4, 0], [7, 8, 9]]
    w = torch.ones(2, requires_grad=True)
    y = torch.zeros(2, 2, dtype=torch.float64)
    y[:, i] = 3 * w
    y.sum().backward()
    assert w.grad.tolist() == [3, 3] and w.grad.dtype == torch.float32
    with pytest.raises(RuntimeError, match="dtypes match"):
        x[i, torch.tensor([0])] = torch.tensor([1])


@pytest.mark.parametrize("dtype", ["bool", "float32", "int64", "complex64", "bfloat16"])
@pytest.mark.parametrize("shape", [(7,), (3, 4), (2, 3, 5), (0, 4), (4, 0), (1, 1)])
def test_places_of_what_is_not_zero(shape, dtype):
    values = np.random.default_rng(0).integers(-1, 2, shape).astype(np.float32)
    if values.size > 1:
        values.flat[1], values.flat[-1] = (np.nan, -0.0) if dtype not in ("bool", "int64") else (1, 0)
    t = torch.tensor(values).to(getattr(torch, dtype))
    for x, host in ((t, values), (t.mT, np.swapaxes(values, -1, -2))) if len(shape) > 1 else ((t, values),):
        expected = np.nonzero(host)
        assert x.nonzero().shape == (len(expected[0]), len(shape))
        np.testing.assert_array_equal(x.nonzero().numpy(), np.stack(expected, 1))
        for got, want in zip(torch.where(x), expected, strict=True):
            assert got.dtype is torch.int64 and got.is_contiguous()
            np.testing.assert_array_equal(got.numpy(), want)


def test_a_number_in_a_tensor_of_any_integers_is_an_index():
    x = torch.arange(6.0).view(2, 3)
    for dtype in (torch.int8, torch.int16, torch.int32, torch.int64):
        row = x[torch.tensor(1, dtype=dtype)]
        assert row.tolist() == [3, 4, 5] and row.data_ptr() == x[1].data_ptr()
    with pytest.raises(IndexError, match="long, int, byte or bool"):
        x[torch.tensor([1], dtype=torch.int16)]


def test_unravel_index_says_what_a_shape_is():
    assert [t.tolist() for t in torch.unravel_index(torch.tensor([3, 5]), (2, 3))] == [[1, 1], [0, 2]]
    with pytest.raises(TypeError, match="expected 'shape' to be int or sequence"):
        torch.unravel_index(torch.tensor([1]), torch.tensor([1, 2, 3]))
    with pytest.raises(TypeError, match="expected 'shape' sequence to only contain ints"):
        torch.unravel_index(torch.tensor([1]), (1, 2, 2.0))


def test_take_along_dim_takes_long_indices_only():
    x = torch.ones(2, 3)
    for dtype in (torch.int32, torch.bool, torch.float32):
        with pytest.raises(RuntimeError, match="dtype of indices should be Long"):
            torch.take_along_dim(x, torch.zeros(2, 1, dtype=dtype), 1)


def test_one_boolean_alone_assigns_all_or_nothing():
    x = torch.zeros(2, 3)
    x[True] = torch.tensor([3])  # an assignment casts, unlike one by index tensors
    assert x.tolist() == [[3.0] * 3] * 2
    x[False] = torch.ones(5)
    x[True] = torch.ones(1, 1, 2, 3)
    assert x.tolist() == [[1.0] * 3] * 2
    with pytest.raises(RuntimeError):
        x[True] = torch.ones(5)


@pytest.mark.parametrize("known", [True, False], ids=["known", "still to compute"])
def test_parts_at_an_integer_tensor_are_views(known):
    """Writes to them are seen in the tensor, whether or not the integer has to be computed first."""
    order = torch.tensor([2, 0]) if known else torch.arange(3).flip(0)[::2] + 0
    x = torch.arange(6.0).reshape(3, 2) + 0
    row = x[order[0]]
    row *= 10
    assert x.tolist() == [[0, 1], [2, 3], [40, 50]] and row.tolist() == [40, 50]
    row[0] = 7
    x[order[1]].add_(1)
    x[order[1], 1:].neg_()
    assert x.tolist() == [[1, -2], [2, 3], [7, 50]]
    x[order[0]] -= 1
    assert x[order[0], 0].item() == 6 and x[order[0]].clone().zero_().tolist() == [0, 0] and x[2].tolist() == [6, 49]


def test_a_row_of_a_weight_at_a_token_can_be_set():
    weight = torch.nn.Parameter(torch.ones(3, 2))
    token = weight.detach().sum(1).argmin()
    with torch.no_grad():
        weight[token].fill_(4)
    weight.data[torch.tensor([1, 2])[0]].zero_()
    weight.data[weight.detach().sum(1).argmin()].zero_()
    assert weight.tolist() == [[4, 4], [0, 0], [1, 1]]
    (weight[token] * torch.tensor([1.0, 2.0])).sum().backward()
    weight.grad[token].mul_(3)
    assert weight.grad.tolist() == [[3, 6], [0, 0], [0, 0]]


def test_a_part_at_an_integer_tensor_has_a_way_back_when_it_is_written_to():
    w = torch.ones(3, requires_grad=True)
    y = w * 2
    part = y[y.detach().argmax()]
    part += 5
    y.mul(torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert y.tolist() == [7, 2, 2] and w.grad.tolist() == [2, 4, 6] and repr(y).endswith("grad_fn=<CopySlices>)")


def test_what_a_part_at_an_integer_to_compute_shows_goes_on_with_the_tensor():
    x = torch.arange(6.0).reshape(3, 2) + 0
    row = x[x.sum(1).argmax()]
    x.mul_(3)
    assert row.tolist() == [12, 15]
    element = row[1]
    x[2, 1] = -1
    assert element.item() == -1 and (row + 1).tolist() == [13, 0]
    element.add_(5)
    column = x[x.sum(1).argmax()].view(2, 1)
    column.neg_()
    assert x.tolist() == [[0, 3], [6, 9], [-12, -4]] and column.shape == (2, 1)


def test_a_part_whose_tensor_is_gone_is_a_tensor_like_others():
    def best():
        scores = torch.arange(4.0) * 2
        return scores[scores.argmax()]

    found = best()
    found += 1
    assert found.item() == 7


def test_adding_to_a_part_at_an_integer_to_compute_executes_nothing():
    from pytorchlike.engine import stats

    x, scores = torch.ones(3, 2) + 0, torch.arange(3.0) + 0
    assert x.sum().item() + scores.sum().item() == 9
    flushes = stats.flushes
    best = scores.argmax()
    x[best] += 1
    x[best, 0] *= 3
    assert stats.flushes == flushes and x.tolist() == [[1, 1], [1, 1], [6, 2]]


def test_a_part_is_that_at_the_integer_of_then():
    x, scores = torch.zeros(3, 2) + 0, torch.tensor([1.0, 5.0, 2.0]) + 0
    at = scores.argmax()
    row = x[at]
    at += 1
    row += 1
    element = x[scores.argmax()][0]
    element += 1
    row += 5  # still a view, though a part of it was written to first
    assert x.tolist() == [[0, 0], [7, 6], [0, 0]] and at.item() == 2


def test_a_part_of_memory_that_the_user_has_is_a_part_of_that():
    memory = np.zeros((3, 2))
    shared, best = torch.from_numpy(memory), torch.arange(3.0).argmax()
    row = shared[best]
    row += 3
    shared[best] += 1
    assert memory.tolist() == [[0, 0], [0, 0], [4, 4]]


def test_sizes_that_are_elements_of_what_was_computed():
    """They are read while an operation on the same tensor is being recorded."""
    n = torch.arange(6) + 0
    flush("computed")
    assert n.view(n[2], n[3]).sum(n[1]).tolist() == [3, 12] and n.reshape(n[3], -1).shape == (3, 2)
    flush("again")
    m = torch.arange(6) + 1
    flush("computed")
    x = torch.ones(2, 3) * 2
    assert x.repeat(m[0], m[1]).shape == (2, 6) and torch.cat([x, x], dim=m[0] - 1).sum() == 24
    assert torch.nn.functional.one_hot(m, m[5] + 1).sum() == 6 and x.sum(m[0]).tolist() == [6, 6]


def test_parts_at_integers_to_compute_that_are_kept_elsewhere():
    """``rows[0] += 1`` sets nothing of the tensor itself, as ``x[i] += 1`` does."""
    x, scores = torch.zeros(3, 2) + 0, torch.tensor([1.0, 5.0, 2.0]) + 0
    rows = [x[scores.argmax()], x[scores.argmin()]]
    rows[0] += 1
    named = {"row": rows[1]}
    named["row"] += 2
    x[scores.argmax(), 0] += 5
    x[scores.argmin()][1] += 7
    assert x.tolist() == [[2, 9], [6, 1], [0, 0]]
