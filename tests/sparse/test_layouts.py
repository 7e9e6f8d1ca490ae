"""Sparse tensors: making them, from one layout to another, what they say of themselves, what they refuse."""

import copy
import io
import pickle

import numpy as np
import pytest

import pytorchlike as torch
from pytorchlike.sparse import check_sparse_tensor_invariants

DENSE = np.array([[0, 0, 2, 0], [4, 0, 5, 0], [0, 0, 0, 0], [0, 7, 0, 1]], np.float32)
MAKERS = {
    "coo": lambda x: x.to_sparse(),
    "csr": lambda x: x.to_sparse_csr(),
    "csc": lambda x: x.to_sparse_csc(),
    "bsr": lambda x: x.to_sparse_bsr((2, 2)),
    "bsc": lambda x: x.to_sparse_bsc((2, 1)),
}


def dense():
    return torch.tensor(DENSE)


@pytest.mark.parametrize("source", MAKERS)
@pytest.mark.parametrize("target", ["coo", "csr", "csc"])
def test_conversions_keep_the_matrix(source, target):
    s = MAKERS[source](dense())
    if source in ("bsr", "bsc") and target != "coo":
        with pytest.raises(RuntimeError, match="expected SparseCsr or SparseCsc"):
            MAKERS[target](s)
        return
    got = MAKERS[target](s)
    assert str(got.layout) == f"torch.sparse_{target}"
    np.testing.assert_array_equal(got.to_dense().numpy(), DENSE)


def test_blocks_from_any_layout():
    for source in ("coo", "csr", "csc"):
        got = MAKERS[source](dense()).to_sparse_bsr((2, 2))
        np.testing.assert_array_equal(got.to_dense().numpy(), DENSE)
        assert got.values().shape == (4, 2, 2)
    with pytest.raises(RuntimeError, match="divisible by given blocksize"):
        dense().to_sparse_bsr((3, 2))


def test_batches_of_compressed_matrices():
    x = torch.tensor(np.stack([DENSE, DENSE.T]))
    for name in ("csr", "csc"):
        s = MAKERS[name](x)
        assert s.values().shape == (2, 5)
        np.testing.assert_array_equal(s.to_dense().numpy(), x.numpy())
        np.testing.assert_array_equal(s[1].to_dense().numpy(), DENSE.T)
    np.testing.assert_array_equal(x.to_sparse_csr().to_sparse_csc().to_dense().numpy(), x.numpy())
    with pytest.raises(RuntimeError, match="same number of specified elements"):
        torch.tensor([[[1.0, 0], [0, 0]], [[1, 1], [0, 0]]]).to_sparse_csr()


def test_coalesce_adds_what_is_at_one_place():
    s = torch.sparse_coo_tensor([[1, 0, 1], [2, 0, 2]], [1.0, 2.0, 3.0], (2, 3))
    assert not s.is_coalesced() and s._nnz() == 3
    with pytest.raises(RuntimeError, match="please call .coalesce"):
        s.values()
    c = s.coalesce()
    assert c.indices().tolist() == [[0, 1], [0, 2]] and c.values().tolist() == [2.0, 4.0]
    assert c.is_coalesced() and c.coalesce() is c
    assert s.to_dense().tolist() == c.to_dense().tolist()


def test_booleans_and_whole_numbers():
    s = torch.sparse_coo_tensor([[0, 0]], [True, True], (2,))
    assert s.coalesce().values().tolist() == [True] and s.to_dense().tolist() == [True, False]
    s = torch.sparse_coo_tensor([[0, 0]], [2, 3], (2,))
    assert s.dtype == torch.int64 and s.to_dense().tolist() == [5, 0]


def test_hybrid_tensors_have_dense_dimensions():
    s = torch.sparse_coo_tensor([[0, 2]], [[1.0, 2.0], [3.0, 4.0]], (3, 2))
    assert (s.sparse_dim(), s.dense_dim(), s.dim()) == (1, 1, 2)
    assert s.to_dense().tolist() == [[1, 2], [0, 0], [3, 4]]
    assert dense().to_sparse(1).values().shape == (3, 4)
    assert (dense().sparse_dim(), dense().dense_dim()) == (0, 2)


def test_sizes_are_inferred_and_empty_ones_possible():
    assert torch.sparse_coo_tensor([[0, 3], [1, 0]], [1.0, 1.0]).shape == (4, 2)
    assert torch.sparse_csr_tensor([0, 1, 2], [0, 1], [1.0, 2.0]).shape == (2, 2)
    assert torch.sparse_bsr_tensor(torch.tensor([0, 1]), torch.tensor([1]), torch.ones(1, 2, 3)).shape == (2, 6)
    for empty in (torch.sparse_coo_tensor((2, 3)), torch.zeros(2, 3).to_sparse_csr(), torch.zeros(2, 3).to_sparse()):
        assert empty._nnz() == 0 and empty.to_dense().tolist() == [[0.0] * 3] * 2
        assert (empty @ torch.ones(3, 5)).tolist() == [[0.0] * 5] * 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.sparse_coo_tensor([[0, 5]], [1.0, 2.0], (3,)), "size is 3 but found index 5"),
        (lambda: torch.sparse_coo_tensor([[0, -1]], [1.0, 2.0], (3,)), "found negative index -1 for dim 0"),
        (lambda: torch.sparse_coo_tensor([[0, 1]], [1.0, 2.0, 3.0], (3,)), "must have same nnz"),
        (lambda: torch.sparse_coo_tensor([[0, 1]], [1.0, 2.0], (3, 3)), "len.size. = 2, sparse_dim = 1"),
        (lambda: torch.sparse_coo_tensor([[0, 1]], torch.ones(2, 4), (3, 3)), "values has incorrect size"),
        (lambda: torch.sparse_csr_tensor([0, 1, 3], [0, 1], [1.0, 2.0], (2, 2)), "== nnz"),
        (lambda: torch.sparse_csr_tensor([1, 1, 2], [0, 1], [1.0, 2.0], (2, 2)), "0. == 0"),
        (lambda: torch.sparse_csr_tensor([0, 1, 2], [0, 5], [1.0, 2.0], (2, 2)), "col_indices < ncols"),
        (lambda: torch.sparse_csr_tensor([0, 1], [0, 1], [1.0, 2.0], (2, 2)), "number of rows"),
        (lambda: torch.sparse_compressed_tensor([0, 1], [0], [1.0], (1, 1)), "but got none"),
        (lambda: torch.sparse_bsr_tensor([0, 1], [0], [1.0], (1, 1)), "block dimensionalities"),
    ],
)
def test_parts_that_do_not_fit_are_refused(make, message):
    with pytest.raises(RuntimeError, match=message):
        make()


def test_all_invariants_are_checked_on_request():
    def unsorted():
        return torch.sparse_csr_tensor([0, 2, 2], [1, 0], [1.0, 2.0], (2, 2))

    unsorted()
    with check_sparse_tensor_invariants(), pytest.raises(RuntimeError, match="sorted and distinct"):
        unsorted()
    assert not check_sparse_tensor_invariants.is_enabled()
    check_sparse_tensor_invariants.enable()
    try:
        with pytest.raises(RuntimeError, match="sorted and distinct"):
            unsorted()
        with check_sparse_tensor_invariants(False):
            unsorted()
    finally:
        check_sparse_tensor_invariants.disable()
    with pytest.raises(RuntimeError, match="uncoalesced"):
        torch.sparse_coo_tensor([[1, 0]], [1.0, 2.0], (2,), is_coalesced=True, check_invariants=True)


def test_parts_of_other_layouts_are_refused():
    coo, csr = MAKERS["coo"](dense()), MAKERS["csr"](dense())
    with pytest.raises(RuntimeError, match="crow_indices expected sparse row compressed tensor layout but got Sparse"):
        coo.crow_indices()
    with pytest.raises(RuntimeError, match="indices expected sparse coordinate tensor layout but got SparseCsr"):
        csr.indices()
    with pytest.raises(RuntimeError, match="values expected sparse tensor layout but got Strided"):
        dense().values()
    with pytest.raises(RuntimeError, match="coalesce expected sparse coordinate"):
        csr.coalesce()


def test_what_a_layout_does_not_have_is_refused_by_name():
    s, x = dense().to_sparse(), dense()
    for call in (lambda: torch.exp(s), lambda: s.cos(), lambda: s == s, lambda: s.reshape(16), lambda: torch.max(s)):
        with pytest.raises(NotImplementedError, match=r"(exp|cos|eq|reshape|max): .*torch.sparse_coo.*to_dense"):
            call()
    # functions that only ask for shape and dtype would otherwise answer with a dense tensor
    for name in ("ones_like", "rand_like"):
        with pytest.raises(NotImplementedError):
            getattr(torch, name)(s)
    assert torch.zeros_like(s).layout == torch.sparse_coo
    with pytest.raises(RuntimeError, match=r"Use add\(dense, sparse\)"):
        s + x
    with pytest.raises(TypeError, match="to_dense"):
        s.numpy()
    with pytest.raises(TypeError, match="Cannot assign"):
        s[0] = 1


def test_what_a_tensor_says_of_itself():
    s = dense().to_sparse()
    assert s.is_sparse and not s.is_sparse_csr and s.layout == torch.sparse_coo and isinstance(s, torch.Tensor)
    assert (s.shape, s.numel(), s.ndim, s.element_size(), len(s)) == ((4, 4), 16, 2, 4, 4)
    assert s.stride() == (0, 0) and not s.is_contiguous() and s.is_floating_point()
    c = dense().to_sparse_csr()
    assert c.is_sparse_csr and not c.is_sparse
    with pytest.raises(RuntimeError, match="Sparse CSR tensors do not have strides"):
        c.stride()
    assert s.double().dtype == torch.float64 and s.to(torch.int32).values().dtype == torch.int32
    assert s.to(torch.float32) is s and s.cpu() is s


def test_printing():
    s = torch.sparse_coo_tensor([[0, 1], [2, 0]], [3.0, 4.0], (2, 3))
    assert repr(s) == (
        "tensor(indices=tensor([[0, 1],\n                       [2, 0]]),\n       values=tensor([3., 4.]),\n"
        "       size=(2, 3), nnz=2, layout=torch.sparse_coo)"
    )
    assert repr(s.double().to_sparse_csr().requires_grad_()) == (
        "tensor(crow_indices=tensor([0, 1, 2]),\n       col_indices=tensor([2, 0]),\n       values=tensor([3., 4.]), "
        "size=(2, 3), nnz=2, dtype=torch.float64,\n       layout=torch.sparse_csr, requires_grad=True)"
    )
    assert "values=tensor([], size=(0,))" in repr(torch.sparse_coo_tensor((2, 3)))


@pytest.mark.parametrize("name", MAKERS)
def test_copies_and_files(name):
    s = MAKERS[name](dense())
    file = io.BytesIO()
    torch.save({"s": s}, file)
    file.seek(0)
    for other in (torch.load(file)["s"], pickle.loads(pickle.dumps(s)), copy.deepcopy(s), copy.copy(s), s.clone()):
        assert repr(other) == repr(s)


def test_a_file_with_indices_outside_is_refused():
    s = torch.sparse_coo_tensor([[0, 1]], [1.0, 2.0], (2,))
    s._pattern.indices = torch.tensor([[0, 9]])
    file = io.BytesIO()
    torch.save(s, file)
    file.seek(0)
    with pytest.raises(Exception, match="found index 9"):
        torch.load(file)


def test_sparse_tensors_are_pytrees():
    import jax

    s = torch.sparse_coo_tensor([[0, 1], [2, 0]], [3.0, 4.0], (2, 3))

    @jax.jit
    def double(t, x):
        return t * 2, t @ x, t.to_dense()

    t, product, whole = double(s, torch.ones(3, 2))
    assert t.layout == torch.sparse_coo and t.to_dense().tolist() == [[0, 0, 6], [8, 0, 0]]
    assert product.tolist() == [[3, 3], [4, 4]] and whole.tolist() == s.to_dense().tolist()


def test_typed_constructors():
    """``torch.sparse.FloatTensor(indices, values, size)``, as graph networks of old make their adjacency matrix."""
    i, v = torch.LongTensor([[0, 1, 1], [2, 0, 2]]), torch.FloatTensor([3, 4, 5])
    s = torch.sparse.FloatTensor(i, v, torch.Size([2, 3]))
    assert s.to_dense().tolist() == [[0, 0, 3], [4, 0, 5]] and s.dtype is torch.float32
    assert isinstance(s, torch.sparse.FloatTensor) and not isinstance(s, torch.sparse.DoubleTensor)
    assert not isinstance(v, torch.sparse.FloatTensor)
    assert torch.sparse.FloatTensor(i, v).shape == (2, 3) and torch.sparse.LongTensor(2, 3)._nnz() == 0
    with pytest.raises(TypeError, match="float64"):
        torch.sparse.DoubleTensor(i, v)


def test_custom_functions_keep_sparse_tensors():
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            assert ctx.needs_input_grad == (False, True)
            ctx.save_for_backward(a, b)
            return torch.spmm(a, b)

        @staticmethod
        def backward(ctx, grad):
            return None, ctx.saved_tensors[0].t().matmul(grad)

    a = torch.sparse_coo_tensor([[0, 1, 1], [2, 0, 2]], [3.0, 4.0, 5.0], (2, 3))
    b = torch.ones(3, 2, requires_grad=True)
    Product.apply(a, b).sum().backward()
    assert b.grad.tolist() == [[4, 4], [0, 0], [8, 8]]
