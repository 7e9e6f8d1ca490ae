"""Views: what aliases what, where elements lie, and which views are refused."""

import copy

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pytorchlike as torch

# Each: what it does to a tensor and what it does to the NumPy array that stands for it (a view of the same memory).
STEPS = {
    "row": (lambda t: t[1], lambda a: a[1, ...]),
    "last": (lambda t: t[..., -1], lambda a: a[..., -1]),
    "every second": (lambda t: t[::2], lambda a: a[::2]),
    "tail": (lambda t: t[..., 1:], lambda a: a[..., 1:]),
    "new": (lambda t: t[:, None], lambda a: a[:, None]),
    "turned": (lambda t: t.transpose(0, -1), lambda a: a.swapaxes(0, -1)),
    "reversed dims": (lambda t: t.permute(*reversed(range(t.ndim))), lambda a: a.T),
    "flat": (lambda t: t.view(-1), lambda a: a.reshape(-1)),
    "narrow": (lambda t: t.narrow(0, 0, 1), lambda a: a[0:1]),
    "unsqueezed": (lambda t: t.unsqueeze(0), lambda a: a[None]),
    "squeezed": (lambda t: t.squeeze(), lambda a: a.squeeze()),
    "diagonal": (lambda t: t.diagonal(0, 0, 1), lambda a: np.lib.stride_tricks.as_strided(
        a, a.diagonal(0, 0, 1).shape, a.diagonal(0, 0, 1).strides)),
    "half": (lambda t: t.chunk(2)[0], lambda a: a[: (len(a) + 1) // 2]),
    "same": (lambda t: t[:], lambda a: a[:]),
    "detached": (lambda t: t.detach(), lambda a: a),
}  # fmt: skip


def _fits(name, array):
    if name in ("row", "turned", "reversed dims", "flat", "every second", "narrow", "new", "half", "same"):
        if array.ndim == 0 or array.shape[0] < 2:
            return False
    if name in ("last", "tail"):
        return array.ndim > 0 and array.shape[-1] > 1
    if name == "diagonal":
        return array.ndim >= 2 and 0 not in array.shape
    if name == "flat":
        return array.flags.c_contiguous
    return True


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 5)), min_size=1, max_size=6), st.booleans())
def test_chains_alias_as_memory_does(steps, pending):
    memory = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
    base = torch.arange(24, dtype=torch.float32).view(4, 3, 2) if pending else torch.tensor(memory)
    pairs = [(base, memory)]
    for name, which in steps:
        t, a = pairs[which % len(pairs)]
        if not _fits(name, a):
            continue
        forward, like = STEPS[name]
        t, a = forward(t), like(a)
        pairs.append((t, a))
        if a.size:
            if which % 2:
                t.mul_(2)
                a *= 2
            else:
                t[...] = float(which)
                a[...] = float(which)
    for t, a in pairs:
        assert tuple(t.shape) == a.shape
        assert np.array_equal(t.numpy(), a)
        if a.size > 1 and 1 not in a.shape:
            assert t.stride() == tuple(s // 4 for s in a.strides)
            start = a.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
            assert t.storage_offset() == start // 4


def test_strides_are_those_of_pytorch():
    x = torch.arange(24.0).view(2, 3, 4)
    assert x.stride() == (12, 4, 1)
    assert x.transpose(0, 2).stride() == (1, 4, 12)
    assert (x[None].stride(), x[:, None].stride(), x[..., None].stride()) == (
        (24, 12, 4, 1),
        (12, 12, 4, 1),
        (12, 4, 1, 1),
    )
    assert x[1, ::2, 1:].storage_offset() == 13
    assert x[1, ::2, 1:].stride() == (8, 1)
    assert x.expand(5, 2, 3, 4).stride() == (0, 12, 4, 1)
    assert x[:, :1].expand(2, 6, 4).stride() == (12, 0, 1)
    assert x.diagonal(0, 0, 1).stride() == (1, 16)
    assert x.unfold(2, 2, 1).stride() == (12, 4, 1, 1)
    assert torch.zeros(3, 0, 2).stride() == (2, 2, 1)
    assert x.view(1, 2, 3, 4, 1).squeeze().stride() == (12, 4, 1)
    assert x.stride(-1) == 1
    with pytest.raises(IndexError, match="out of range"):
        x.stride(3)


def test_contiguity():
    x = torch.arange(6.0).view(2, 3)
    assert x.is_contiguous()
    assert not x.t().is_contiguous()
    assert not x[:, :1].expand(2, 5).is_contiguous()
    assert x[:1].t().is_contiguous() and x[1:].is_contiguous()
    assert x.contiguous() is x
    y = x.t().contiguous()
    y[0] = 7
    assert y.is_contiguous()
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(("shape", "images", "volumes"), [
    ((), False, False), ((3,), False, False), ((2, 3), False, False), ((2, 3, 4), False, False),
    ((2, 3, 4, 5), False, False), ((2, 1, 4, 5), True, False), ((2, 3, 1, 1), True, False),
    ((2, 1, 4, 5, 6), False, True),
])  # fmt: skip
def test_channels_lie_last_in_images_and_volumes_only(shape, images, volumes):
    x = torch.zeros(shape)
    assert x.is_contiguous(memory_format=torch.channels_last) is images
    assert x.is_contiguous(memory_format=torch.channels_last_3d) is volumes
    assert x.is_contiguous(memory_format=torch.contiguous_format)


def test_empty_takes_a_memory_format():
    x = torch.empty(2, 3, 4, 5, memory_format=torch.channels_last)
    assert x.shape == (2, 3, 4, 5) and torch.empty((2,), memory_format=torch.contiguous_format).shape == (2,)


def test_view_refuses_what_needs_a_copy():
    x = torch.arange(6.0).view(2, 3)
    with pytest.raises(RuntimeError, match=r"view size is not compatible.*\(size \[3, 2\], stride \[1, 3\]"):
        x.t().view(6)
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        x[:, :2].view(-1)
    assert x.t().view(3, 1, 2).stride() == (1, 6, 3)
    assert x[:, :2].view(2, 2, 1).tolist() == [[[0], [1]], [[3], [4]]]
    with pytest.raises(RuntimeError, match="is invalid for input of size 6"):
        x.view(4, 2)
    with pytest.raises(RuntimeError, match="only one dimension can be inferred"):
        x.view(-1, -1)


@pytest.mark.parametrize("name", ["reshape", "flatten", "ravel"])
def test_reshape_copies_only_where_it_must(name):
    def flat(t):
        return t.reshape(-1) if name == "reshape" else getattr(t, name)()

    x = torch.arange(6.0).view(2, 3)
    flat(x)[0] = 9
    assert x[0, 0].item() == 9
    y = flat(x.t())
    y[1] = 50
    assert y._base is None and not y._is_view() and y.is_contiguous()
    assert x.tolist() == [[9, 1, 2], [3, 4, 5]]
    host = torch.tensor([[1.0, 2], [3, 4]])
    flat(host.t())[1] = 50
    assert host.tolist() == [[1, 2], [3, 4]]


def test_dtype_views():
    x = torch.arange(4.0).view(2, 2)
    x.view(torch.int32)[0, 0] = 0x3F800000
    assert x.tolist() == [[1, 1], [2, 3]]
    z = torch.tensor([1 + 2j, 3 + 4j])
    z.real[0] = 5
    z.imag.mul_(2)
    torch.view_as_real(z)[1, 0] = 7
    assert z.tolist() == [5 + 4j, 7 + 8j]
    pairs = torch.zeros(2, 2)
    torch.view_as_complex(pairs)[0] = 2 + 3j
    assert pairs.tolist() == [[2, 3], [0, 0]]
    assert x.real is x


def test_base_and_versions():
    x = torch.arange(6)
    y = x[2:4]
    z = y[0]
    assert y._base is x and z._base is x and x._base is None and z._is_view()
    z.fill_(100)
    x.add_(0)
    assert x._version == y._version == z._version == 2
    d = y.detach()
    assert d._base is None and not d._is_view() and d[1:]._is_view()
    d.add_(1)
    assert x._version == 3
    hidden = x.data
    hidden.add_(1)
    assert (x._version, hidden._version) == (3, 1)
    assert x.tolist() == [1, 2, 102, 5, 5, 6]


def test_expanded_tensors_are_not_written():
    x = torch.zeros(3)
    y = x.expand(2, 3)
    for write in (lambda: y.add_(1), lambda: y.zero_(), lambda: y.copy_(torch.ones(2, 3)), lambda: y.fill_(1)):
        with pytest.raises(
            RuntimeError, match="more than one element of the written-to tensor refers to a single memory"
        ):
            write()
    x.expand(1, 3).add_(1)
    x.add_(1)
    assert x.tolist() == [2, 2, 2]
    assert y.tolist() == [[2, 2, 2], [2, 2, 2]]


def test_writes_through_detach_data_and_parameters():
    x = torch.arange(3.0, requires_grad=True)
    x.detach()[0] = 5
    x.data.add_(1)
    assert x.tolist() == [6, 2, 3] and x.is_leaf and x.requires_grad
    data = torch.zeros(3)
    p = torch.nn.Parameter(data)
    data[0] = 1
    p.data[1] = 2
    with torch.no_grad():
        p[2] = 3
    assert p.tolist() == data.tolist() == [1, 2, 3]
    assert p.is_leaf and p.requires_grad and not data.requires_grad
    p.data = torch.full((2,), 7.0)
    assert p.tolist() == [7, 7] and data.tolist() == [1, 2, 3]


def test_from_numpy_shares_both_ways():
    memory = np.zeros((2, 3), np.float32)
    t = torch.from_numpy(memory)
    turned = torch.from_numpy(memory.T)
    part = t[1]
    memory[0, 0] = 1
    t[0, 1] = 2
    part += 3
    turned[2, 0] = 4
    assert memory.tolist() == t.tolist() == [[1, 2, 4], [3, 3, 3]]
    assert part.tolist() == [3, 3, 3]
    assert turned.stride() == (1, 3) and not turned.is_contiguous() and part.storage_offset() == 3
    before = t + 0
    memory[...] = 8
    assert before.tolist() == [[1, 2, 4], [3, 3, 3]]
    t.numpy()[0, 0] = 5
    assert memory[0, 0] == 5
    assert torch.as_tensor(memory)[0, 0] == 5
    copied = torch.tensor(memory)
    memory[...] = 0
    assert copied[1].tolist() == [8, 8, 8]


def test_views_put_in_place():
    x = torch.arange(6.0).view(2, 3)
    whole = x.view(6)
    x.t_()
    x[0, 1] = 50
    x.unsqueeze_(0).squeeze_(0)
    assert x.shape == (3, 2) and whole.tolist() == [0, 1, 2, 50, 4, 5]
    other = torch.zeros(3)
    other.set_(whole[1:4])
    other[0] = -1
    assert whole[1].item() == -1
    assert whole.as_strided((2, 2), (1, 2), 1).tolist() == [[-1, 50], [2, 4]]
    with pytest.raises(RuntimeError, match="out of bounds for storage"):
        whole.as_strided((4, 2), (1, 2), 1)


def test_strides_count_elements_of_the_tensor_in_the_whole_storage():
    z = torch.complex(torch.arange(6.0), torch.arange(6.0) * 10).view(2, 3)
    shown = z.imag.as_strided((2,), (1,), 1)
    assert shown.dtype == torch.float32 and shown.tolist() == [0, 1]
    assert z.real[1:].as_strided((2,), (2,)).tolist() == [3, 4]
    shown.add_(100)
    assert z[0].tolist() == [100j, 101 + 10j, 2 + 20j]
    pairs = torch.arange(8.0).view(4, 2)
    assert torch.view_as_complex(pairs).as_strided((2,), (2,), 1).tolist() == [2 + 3j, 6 + 7j]
    assert torch.arange(4).view(torch.int32).as_strided((2,), (4,), 2).tolist() == [1, 3]
    x = torch.arange(4.0, requires_grad=True)
    (torch.complex(x, x * 2).imag.as_strided((2,), (2,), 3) * torch.tensor([1.0, 10])).sum().backward()
    assert x.grad.tolist() == [0, 2, 20, 0]
    whole, part = torch.arange(8.0), torch.zeros(3)
    part.set_(whole[2:5])  # it is no view, yet begins within its storage
    assert part.as_strided((2,), (1,), 1).tolist() == [1, 2] and part[1:].as_strided((2,), (2,)).tolist() == [3, 5]
    p = torch.nn.Parameter(torch.zeros(3))
    p.data = whole[2:5]
    p.as_strided((2,), (1,), 3).sum().backward()
    assert p.grad.tolist() == [0, 1, 1]
    part.resize_(4)
    part[3] = 50
    assert whole[5].item() == 50
    leaf = torch.arange(6.0)[1:].requires_grad_()
    (leaf.as_strided((2,), (2,)).sum() + leaf[1:].as_strided((2,), (1,)).sum()).backward()
    assert leaf.grad.tolist() == [1, 1, 2, 0, 0]


def test_conjugated_views_lie_where_their_base_does():
    z = torch.complex(torch.arange(6.0), torch.arange(6.0) * 10).view(2, 3)
    for view, strides, offset in (
        (z.conj(), (3, 1), 0), (z.conj().imag, (6, 2), 1), (z.mH, (1, 3), 0), (z[1:].mH, (1, 3), 3),
        (z.H.real, (2, 6), 0),
    ):  # fmt: skip
        assert view.stride() == strides and view.storage_offset() == offset
        assert view.data_ptr() - z.data_ptr() == offset * view.itemsize
    assert z.mH.as_strided((2,), (2,), 1).tolist() == [1 - 10j, 3 - 30j]
    assert z.mH.real.as_strided((2, 2), (2, 1)).tolist() == [[0, 0], [1, 10]]
    with pytest.raises(RuntimeError, match="conjugated"):
        z.conj().imag.as_strided((2,), (2,))


def test_what_is_not_conjugated_resolves_to_itself():
    z = torch.complex(torch.arange(3.0), torch.ones(3))
    assert z.resolve_conj() is z and z.real.resolve_neg()[0] == 0 and z.conj().real.resolve_neg()._is_view()
    z.resolve_conj().mul_(2)
    assert z.tolist() == [2j, 2 + 2j, 4 + 2j]
    for copied in (z.conj().resolve_conj(), z.conj()[1:].resolve_conj(), z.conj().imag.resolve_neg()):
        copied.zero_()
    assert z.tolist() == [2j, 2 + 2j, 4 + 2j] and torch.resolve_conj(z.conj()).tolist() == [-2j, 2 - 2j, 4 - 2j]


def test_views_of_views_of_what_is_gone():
    x = (torch.arange(6.0) * 2).view(2, 3).t()
    x[0] = 1
    y = x.reshape(6)
    y[0] = 9
    assert x.tolist() == [[1, 1], [2, 8], [4, 10]]
    assert x.stride() == (1, 3)
    for row in x:
        row.add_(1)
    assert x.tolist() == [[2, 2], [3, 9], [5, 11]]


@pytest.mark.parametrize(
    "use",
    [
        lambda a, v: a * v,
        lambda a, v: v * a,
        lambda a, v: torch.cat([a, v]),
        lambda a, v: torch.where(a > 1, v, a),
        lambda a, v: a.clone().mul_(v),
        lambda a, v: torch.nn.functional.dropout(v + a, 0.0),
    ],
)
def test_a_view_of_an_updated_leaf_begins_a_new_program(use):
    """Bringing the view up to date executes what is pending, in the middle of recording the operation that uses it."""
    w = torch.ones(4, requires_grad=True)
    v = w[:2]
    with torch.no_grad():
        w.mul_(3)
    a = torch.ones(2) + 1
    out = use(a, v)
    out.sum().backward()
    fixed = torch.ones(2) + 1
    leaf = torch.full((2,), 3.0, requires_grad=True)
    expected = use(fixed, leaf)
    expected.sum().backward()
    assert out.tolist() == expected.tolist() and w.grad.tolist() == [*leaf.grad.tolist(), 0, 0]


def test_flat_parts_of_complex_temporaries():
    """Rotary embeddings: ``view_as_real(x * f).flatten(3)``, where nobody refers to the product."""
    x = torch.arange(6.0).reshape(1, 3, 2)
    turned = torch.view_as_real(torch.view_as_complex(x.reshape(1, 3, 1, 2)) * torch.tensor(1j)).flatten(2)
    assert turned.tolist() == [[[-1, 0], [-3, 2], [-5, 4]]]


@pytest.mark.parametrize("assigned", [False, True])
@pytest.mark.parametrize("write", [
    lambda w, v: w.mul_(2), lambda w, v: v.mul_(2), lambda w, v: v.sub_(v), lambda w, v: w[1:].mul_(2),
    lambda w, v: v[1].zero_(), lambda w, v: w.data[0].mul_(2), lambda w, v: v.detach().mul_(2),
])  # fmt: skip
def test_views_of_a_leaf_keep_their_gradients_when_it_is_written_to_without(write, assigned):
    w = torch.ones(6, requires_grad=True)
    if assigned:
        w.data = w.data * 2
    v, other = w[:3], w.view(2, 3)
    part = v[1:]
    with torch.no_grad():
        write(w, v)
    x = torch.tensor([1.0, 2, 3])
    assert v.requires_grad and other.requires_grad and not v.is_leaf
    assert v.tolist() == w.tolist()[:3] and part.tolist() == w.tolist()[1:3]
    (v * x).sum().backward(retain_graph=True)
    assert w.grad.tolist() == [1, 2, 3, 0, 0, 0]
    (other * x).sum().backward()
    (part * x[1:]).sum().backward()
    assert w.grad.tolist() == [2, 6, 9, 1, 2, 3]


def test_windows_that_overlap_can_be_written_to():
    x = torch.zeros(3, 2)
    x.unfold(0, 2, 1)[0].add_(1)
    assert x.tolist() == [[1, 1], [1, 1], [0, 0]]
    x.as_strided((2, 3), (2, 1))[1].mul_(0).add_(5)
    assert x.tolist() == [[1, 1], [5, 5], [5, 0]]
    leaf = torch.ones(4, requires_grad=True)
    y = leaf * 1
    y.unfold(0, 2, 1)[1].mul_(3)
    y.sum().backward()
    assert y.tolist() == leaf.grad.tolist() == [1, 3, 3, 1]


def test_parts_of_complex_tensors_can_be_assigned():
    c = torch.tensor([1 + 2j, 3 + 4j])
    c.real = torch.tensor([5.0, 6.0])
    c.imag = 0
    assert c.tolist() == [5, 6]
    x = torch.zeros(2)
    x.real = 1
    assert x.tolist() == [1, 1]


def test_copies_keep_what_was_hung_on_a_tensor():
    x = torch.zeros(2)
    x.tag = "a"
    y = copy.copy(x)
    y[0] = 1
    assert y.tag == "a" and x.tolist() == [1, 0]


@pytest.mark.parametrize("read", [False, True], ids=["pending", "executed"])
def test_data_given_to_what_is_on_the_tape_leaves_its_history(read):
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x.exp()
    old = y.detach().numpy().copy()
    if not read:
        y = x.exp()
    y.data = torch.tensor([10.0, 20.0, 30.0])
    assert y.requires_grad and not y.is_leaf and y.tolist() == [10.0, 20.0, 30.0]
    seen = []
    y.register_hook(seen.append)
    (y * y).sum().backward()
    assert seen[0].tolist() == [20.0, 40.0, 60.0]
    np.testing.assert_allclose(x.grad.numpy(), [20.0, 40.0, 60.0] * old, rtol=1e-5)


def test_the_address_of_what_has_no_data():
    assert torch.empty(3, device="meta").data_ptr() == 0


def test_copies_lie_elsewhere_and_views_do_not():
    x = torch.arange(6.0)
    address = x.data_ptr()
    copies = [x.clone(), copy.deepcopy(x), x.clone().clone()]
    assert len({x.data_ptr(), *(c.data_ptr() for c in copies)}) == 4 and x.data_ptr() == address
    assert all(c.untyped_storage().data_ptr() == c.data_ptr() and torch.equal(c, x) for c in copies)
    assert x.view(2, 3)[1].data_ptr() == address + 12 and x.detach().data_ptr() == address
    p = torch.nn.Parameter(torch.ones(3))
    q = p.detach().clone()
    assert p.data_ptr() != q.data_ptr() and p.data.data_ptr() == p.data_ptr()
    q.mul_(2)
    assert p.tolist() == [1, 1, 1] and q.tolist() == [2, 2, 2]
    a = x.numpy()
    assert torch.from_numpy(a).data_ptr() == torch.from_numpy(a).data_ptr() == x.data_ptr()
    layers = torch.nn.ModuleList([copy.deepcopy(torch.nn.Linear(2, 2)) for _ in range(2)])
    twice = copy.deepcopy(layers)
    assert len({p.data_ptr() for p in (*layers.parameters(), *twice.parameters())}) == 8


def test_views_of_a_view_whose_base_is_gone_know_how_it_lies():
    y = torch.arange(24.0).view(1, 2, 3, 4).mul(1).transpose(1, 2)
    z = y.transpose(1, 2)
    assert y.stride() == (24, 4, 12, 1) and z.stride() == (24, 12, 4, 1) and z.is_contiguous()
    assert y.detach().stride() == y.stride() and y[0, 1].stride() == (12, 1) and y[0, 1].storage_offset() == 4
    z.view(1, 2, 12).zero_()
    assert not y.any()
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        y.view(1, 24)


def test_elements_of_a_vector_that_was_computed_are_recorded_alike_whatever_its_length(tier):
    """As the returns of an episode; they are views all the same."""
    from pytorchlike.engine.stats import stats

    tier("auto")
    weight = torch.ones(3, requires_grad=True)

    def episode(n):
        returns = torch.arange(float(n))
        returns = (returns - returns.mean()) / (returns.std() + 1e-6)
        before = stats.misses
        losses = [-(weight * k).sum() * r for k, r in zip(range(10), returns, strict=False)]
        missed = stats.misses - before
        torch.stack(losses).sum().backward()
        return missed

    for n in (20, 21):
        episode(n)
    assert episode(23) == episode(24) == 0
    y = torch.arange(3.0) * 2
    for row in y:
        row += 1
    assert y.tolist() == [1, 3, 5]
    y = torch.arange(3.0) * 2
    rows = list(y)
    y.mul_(10)
    assert [float(r) for r in rows] == [0, 20, 40] and rows[1]._base is y


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_the_storage_of_a_transposed_tensor_whose_base_is_gone():
    """It lies in memory as the base did; writes through it are seen."""
    t = torch.arange(6.0).reshape(2, 3).t()
    assert t.stride() == (1, 3) and list(t.storage()) == [0, 1, 2, 3, 4, 5]
    assert t.as_strided((2, 3), (3, 1)).tolist() == [[0, 1, 2], [3, 4, 5]]
    t.storage()[1] = 9.0
    t.as_strided((1,), (1,)).fill_(-1)
    assert t.tolist() == [[-1, 3], [9, 4], [2, 5]]
    t = torch.arange(6.0).reshape(2, 3).t()
    assert bytes(t.untyped_storage()) == np.arange(6, dtype=np.float32).tobytes()
    w = torch.arange(6.0).requires_grad_()
    (w * 2).reshape(2, 3).t().as_strided((3,), (1,)).sum().backward()
    assert w.grad.tolist() == [2, 2, 2, 0, 0, 0]


@pytest.mark.parametrize("pending", [False, True])
def test_items_of_another_size_must_lie_in_memory_as_they_are_read(pending):
    def made(*shape, dtype=torch.float32):
        x = torch.arange(12.0).view(*shape).to(dtype)
        return x + 0 if pending else x

    with pytest.raises(RuntimeError, match=r"self.stride\(-1\) must be 1"):
        made(3, 4).t().view(torch.int16)
    assert made(3, 4).t().view(torch.int32).shape == (4, 3)
    shorts = made(3, 4, dtype=torch.int16)
    assert shorts[:, 2:].view(torch.int32).shape == (3, 1)
    with pytest.raises(RuntimeError, match=r"self.storage_offset\(\) must be divisible by 2"):
        shorts[:, 1:3].view(torch.int32)
    with pytest.raises(RuntimeError, match=r"self.stride\(0\) must be divisible by 2"):
        made(4, 3, dtype=torch.int16)[:, :2].view(torch.int32)
    assert torch.ones(0, 2).view(torch.int16).shape == (0, 4)
    with pytest.raises(RuntimeError, match="Tensor must have a last dimension with stride 1"):
        torch.view_as_complex(made(3, 2, 2).transpose(1, 2))
    with pytest.raises(RuntimeError, match="Tensor must have a stride divisible by 2"):
        torch.view_as_complex(made(4, 3)[:, :2])


def test_transposes_of_numbers_are_themselves():
    x = torch.tensor(5.0)
    assert x.mT.item() == x.mH.item() == x.adjoint().item() == 5
    with pytest.raises(RuntimeError, match="only supported on matrices"):
        torch.ones(2).mT.sum()


def test_splits_and_shapes_refuse_what_is_no_whole_number():
    with pytest.raises(TypeError):
        torch.tensor_split(torch.ones(3), [1.5])
    with pytest.raises(RuntimeError, match="zero-dimensional or one-dimensional tensor"):
        torch.tensor_split(torch.ones(3), torch.tensor([[1]]))
    with pytest.raises(RuntimeError, match="Input shapes should be of type ints"):
        torch.broadcast_shapes(1.1)
    with pytest.raises(ValueError, match="negative"):
        torch.broadcast_shapes((4, -11))
    assert torch.ones(2).resize_(torch.tensor(1)).shape == (1,)


def test_a_tensor_given_its_own_memory_again_and_again_stays_as_cheap():
    """By way of views that undo each other, as parameters are initialised of which another layout is shown."""
    p = torch.nn.Parameter(torch.zeros(2, 3, 4))
    for i in range(3):
        shown = p.detach().transpose(0, 1)
        shown[i] = i + 1.0
        p.data = shown.transpose(0, 1).contiguous()
        assert not p._alias.chain
        assert p.data_ptr() == shown.data_ptr()
        shown[i, 0] += 10  # still the same memory
    assert p[:, :, 0].tolist() == [[11, 12, 13], [1, 2, 3]]
    p.data = p.data.transpose(1, 2).transpose(0, 1)  # another layout stays a view
    assert p.shape == (4, 2, 3) and p[0].tolist() == [[11, 12, 13], [1, 2, 3]]
