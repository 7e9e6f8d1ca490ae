"""Products of factors with scales."""

import math

import pytest

import pytorchlike as torch
import pytorchlike.nn.functional as F
from pytorchlike.nn.functional import ScalingType


def _factors(m, k, n):
    a, b = torch.arange(float(m * k)).sin().reshape(m, k), torch.arange(float(k * n)).cos().reshape(k, n)
    return a.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn)


def test_scales_of_the_whole_of_rows_and_of_blocks():
    a, b = _factors(4, 256, 3)
    x, y = a.float(), b.float()
    whole, row = ScalingType.TensorWise, ScalingType.RowWise
    found = F.scaled_mm(a, b, torch.tensor(2.0), whole, torch.tensor(0.5), whole)
    assert found.dtype is torch.bfloat16 and torch.equal(found, (x @ y).bfloat16())
    sa, sb, bias = torch.tensor([[1.0], [2], [3], [4]]), torch.tensor([[1.0, 0.5, 2]]), torch.ones(3)
    found = F.scaled_mm(a, b, sa, row, sb, row, bias=bias, output_dtype=torch.float32)
    torch.testing.assert_close(found, (x * sa) @ (y * sb) + 1)
    blocks = torch.tensor([[1.0, 2.0]] * 4)
    found = F.scaled_mm(a, b, [blocks], [ScalingType.BlockWise1x128], sb, row, output_dtype=None)
    torch.testing.assert_close(found, (x * blocks.repeat_interleave(128, 1)) @ (y * sb))


def test_groups():
    a, b = _factors(4, 16, 6)
    b = b.reshape(16, 2, 3).permute(1, 0, 2)
    sa, sb = torch.tensor([1.0, 2, 3, 4]), torch.tensor([[1.0, 2, 3], [4, 5, 6]])
    row = ScalingType.RowWise
    ends = torch.tensor([1, 4], dtype=torch.int32)
    found = F.scaled_grouped_mm(a, b, sa, row, sb, row, offs=ends, output_dtype=torch.float32)
    x, y = a.float() * sa[:, None], b.float() * sb[:, None]
    torch.testing.assert_close(found, torch.cat([x[:1] @ y[0], x[1:] @ y[1]]))


def test_what_is_refused():
    a, b = _factors(4, 16, 3)
    one, whole = torch.ones(()), ScalingType.TensorWise
    with pytest.raises(ValueError, match="4 scales"):
        F.scaled_mm(a, b, one, ScalingType.RowWise, one, whole)
    with pytest.raises(ValueError, match="one number"):
        F.scaled_mm(a, b, torch.ones(2), whole, one, whole)
    with pytest.raises(NotImplementedError, match="scale by row"):
        F.scaled_mm(a, b, one, ScalingType.BlockWise1x16, one, whole)
    with pytest.raises(NotImplementedError, match="unswizzled"):
        F.scaled_mm(a, b, one, whole, one, whole, swizzle_a=F.SwizzleType.SWIZZLE_32_4_4)


def test_no_queries_or_batch():
    for shape in ((1, 0, 4), (0, 2, 4), (0, 0, 4)):
        x = torch.zeros(shape)
        assert torch.nn.functional.scaled_dot_product_attention(x, x, x).shape == shape


def test_results_lie_in_memory_as_queries_do():
    """So heads can be joined by a view, as programs written for PyTorch do; nothing is said of what has no kernel."""
    heads = torch.randn(2, 5, 3, 8).transpose(1, 2)
    attend = torch.nn.functional.scaled_dot_product_attention
    found = attend(heads, heads, heads, is_causal=True)
    assert found.stride() == heads.stride() == (120, 8, 24, 1)
    joined = found.transpose(1, 2).view(2, 5, 24)
    torch.testing.assert_close(joined[:, :, 8:16], found[:, 1])
    torch.testing.assert_close(found, attend(*[heads.contiguous()] * 3, is_causal=True))
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        found.view(2, 15, 8)
    parts = torch.randn(2, 5, 72).chunk(3, dim=2)
    q, k, v = [p.view(2, 5, 3, 8).transpose(1, 2) for p in parts]  # steps of 72 from row to row
    assert attend(q, k, v).stride() == (120, 8, 24, 1)
    mask = torch.zeros(5, 5, requires_grad=True)
    others = {
        "contiguous": attend(*[heads.contiguous()] * 3),
        "dropout": attend(heads, heads, heads, dropout_p=0.1),
        "mask with gradient": attend(heads, heads, heads, attn_mask=mask),
        "smaller values": attend(heads, heads, heads[..., :4]),
    }
    assert {n: y.is_contiguous() for n, y in others.items()} == dict.fromkeys(others, True)


def test_a_mask_beside_is_causal_hides_what_either_hides():
    attend = torch.nn.functional.scaled_dot_product_attention
    q, k, v = (torch.randn(2, n, 4, dtype=torch.float64) for n in (3, 5, 5))
    causal, bias = torch.ones(3, 5, dtype=torch.bool).tril(), torch.randn(3, 5, dtype=torch.float64)
    shown = torch.tensor([[1, 0, 1, 1, 1], [0, 1, 1, 1, 1], [1, 1, 0, 1, 1]], dtype=torch.bool)
    for mask, both in ((bias, bias.masked_fill(~causal, -math.inf)), (shown, shown & causal)):
        torch.testing.assert_close(attend(q, k, v, mask, is_causal=True), attend(q, k, v, both))


def test_softmax_takes_the_level_of_its_warning():
    """Modules copied from PyTorch pass ``_stacklevel`` on."""
    x = torch.tensor([[1.0, 2.0]])
    for f in (F.softmax, F.log_softmax, F.softmin):
        assert torch.equal(f(x, 1, _stacklevel=5), f(x, 1))


def test_softmax_of_nested_and_sparse_tensors():
    """They have rules of their own, which know nothing of that level."""
    rows = [torch.ones(1, 2), torch.zeros(2, 2)]
    nested = torch.nested.nested_tensor(rows, layout=torch.jagged)
    for f in (F.softmax, torch.softmax, F.log_softmax):
        assert torch.equal(f(nested, -1).values(), f(torch.cat(rows), -1))
    assert torch.equal(torch.sparse.softmax(torch.eye(2).to_sparse(), 1).to_dense(), torch.eye(2))


def test_a_causal_mask_beside_is_causal():
    mask = torch.nn.attention.bias.causal_upper_left(2, 2)
    with pytest.raises(ValueError, match="CausalBias should not be used with causal=True"):
        F.scaled_dot_product_attention(*[torch.zeros(1, 1, 2, 2)] * 3, attn_mask=mask, is_causal=True)
