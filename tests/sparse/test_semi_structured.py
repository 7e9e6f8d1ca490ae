"""Two of four elements: values, products, gradients of what meets them."""

import pytest

import pytorchlike as torch
import pytorchlike.nn.functional as F
from pytorchlike import nn
from pytorchlike.sparse import SparseSemiStructuredTensor, to_sparse_semi_structured


@pytest.fixture
def dense():
    return torch.tensor([[1.0, 0, 2, 0, 0, 0, 3, 4], [0, 0, 0, 0, 5, 0, 0, 6]])


def test_a_weight_is_kept_in_half_of_the_memory_and_multiplies_as_before(dense):
    sparse = to_sparse_semi_structured(dense)
    assert isinstance(sparse, SparseSemiStructuredTensor) and sparse.shape == (2, 8) and sparse.values().shape == (2, 4)
    assert torch.equal(sparse.to_dense(), dense) and torch.equal(sparse.t().to_dense(), dense.t())
    x = torch.arange(24.0).reshape(3, 8).sin().requires_grad_()
    out = F.linear(x, sparse, torch.ones(2))
    torch.testing.assert_close(out, x @ dense.t() + 1)
    out.sum().backward()
    torch.testing.assert_close(x.grad, dense.sum(0).expand(3, 8))
    torch.testing.assert_close(torch.mm(sparse, x.detach().t()), dense @ x.detach().t())
    layer = nn.Linear(8, 2)
    layer.weight = nn.Parameter(sparse)
    assert layer(x).shape == (3, 2) and "transposed=False" in repr(layer.weight)


def test_what_has_no_such_pattern(dense):
    for wrong, message in ((torch.ones(2, 4), "more than two"), (torch.ones(4), "Only 2d"),
                           (torch.ones(2, 6), "multiple of 4"), (torch.ones(2, 4, dtype=torch.int64), "dtype")):
        with pytest.raises(RuntimeError, match=message):
            to_sparse_semi_structured(wrong)
    with pytest.raises(NotImplementedError, match="to_dense"):
        to_sparse_semi_structured(dense) + 1
